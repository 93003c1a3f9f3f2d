package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rtls/internal/tlsconf"
)

const (
	implicit = "implicit TLS"
	starttls = "STARTTLS"
)

// server takes mail as fast as it can and keeps nothing but counts.
type server struct {
	config    *tls.Config
	listeners map[string]net.Listener // by mode
	wait      sync.WaitGroup

	messages atomic.Int64
	tagged   atomic.Int64 // with REQUIRETLS
	octets   atomic.Int64 // of all messages
}

func newServer(cert, key string) (*server, error) {
	config, err := tlsconf.Server(cert, key)
	if err != nil {
		return nil, err
	}
	s := &server{config: config, listeners: make(map[string]net.Listener)}
	for _, mode := range []string{implicit, starttls} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		s.listeners[mode] = l
		s.wait.Go(func() { // close waits for it
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				s.wait.Go(func() { s.serve(conn, mode == implicit) })
			}
		})
	}
	return s, nil
}

func (s *server) port(mode string) string { return portOf(s.listeners[mode]) }

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func (s *server) close() {
	for _, l := range s.listeners {
		l.Close()
	}
	s.wait.Wait()
}

const (
	inClear = "250-localhost\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n"
	inTLS   = "250-localhost\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n" +
		"250-DSN\r\n250-REQUIRETLS\r\n250 AUTH PLAIN LOGIN\r\n"
)

func (s *server) serve(conn net.Conn, secure bool) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if secure {
		conn = tls.Server(conn, s.config)
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	reply := "220 localhost ESMTP\r\n"
	for {
		// Replies to commands that came together go together.
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
		reply = ""
		for reply == "" || in.Buffered() > 0 {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
			switch verb {
			case "EHLO":
				if secure {
					reply += inTLS
				} else {
					reply += inClear
				}
			case "STARTTLS":
				_, _ = io.WriteString(conn, "220 2.0.0 go ahead\r\n")
				conn = tls.Server(conn, s.config)
				in.Reset(conn)
				secure = true
				line, err = in.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, "EHLO") {
					return
				}
				reply += inTLS
			case "AUTH":
				if !ask(conn, in, strings.Fields(line)[1:]) {
					return
				}
				reply += "235 2.7.0 welcome\r\n"
			case "DATA":
				if _, err := io.WriteString(conn, reply+"354 go ahead\r\n"); err != nil || s.data(in) != nil {
					return
				}
				reply = "250 2.0.0 taken\r\n"
			case "QUIT":
				_, _ = io.WriteString(conn, reply+"221 2.0.0 bye\r\n")
				return
			default:
				if verb == "MAIL" && strings.Contains(line, " REQUIRETLS") {
					s.tagged.Add(1)
				}
				reply += "250 2.0.0 fine\r\n"
			}
		}
	}
}

// ask goes through AUTH PLAIN or LOGIN. Words are the mechanism and what the client has
// said already.
func ask(conn net.Conn, in *bufio.Reader, words []string) bool {
	questions := []string{"334 \r\n"}
	if len(words) > 0 && strings.EqualFold(words[0], "LOGIN") {
		questions = []string{"334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n"}
	}
	questions = questions[min(max(len(words)-1, 0), len(questions)):]
	for _, q := range questions {
		if _, err := io.WriteString(conn, q); err != nil {
			return false
		}
		if _, err := in.ReadString('\n'); err != nil {
			return false
		}
	}
	return true
}

// data reads a message.
func (s *server) data(in *bufio.Reader) error {
	n, atStart := 0, true
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if atStart && bytes.Equal(line, []byte(".\r\n")) {
			s.octets.Add(int64(n))
			s.messages.Add(1)
			return nil
		}
		n += len(line)
		atStart = bytes.HasSuffix(line, []byte("\r\n"))
	}
}

// delayed is a way to a port that takes 25 ms in each direction, without limit on
// what is under way. The TCP handshake is not delayed.
func delayed(target string) (port string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var wait sync.WaitGroup
	wait.Go(func() { // stop waits for it
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", "127.0.0.1:"+target)
			if err != nil {
				from.Close()
				return
			}
			wait.Go(func() { carry(to, from) })
			wait.Go(func() { carry(from, to) })
		}
	})
	return portOf(l), func() { l.Close(); wait.Wait() }, nil
}

type piece struct {
	due  time.Time
	data []byte
}

// carry brings what comes from one side to the other, and then closes that.
func carry(to, from net.Conn) {
	pieces := make(chan piece, 1<<16)
	go func() { // ends with from
		defer close(pieces)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 {
				pieces <- piece{time.Now().Add(25 * time.Millisecond), buf[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	for range pieces { // so that the reader can end
	}
}
