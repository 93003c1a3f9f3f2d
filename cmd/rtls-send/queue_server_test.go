package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/internal/cli"
	"rtls/internal/testpki"
)

// sink is a submission server that keeps every octet that it is told.
type sink struct {
	port, caFile string

	listener net.Listener
	wait     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	offers   []string   // in the reply to EHLO
	hangUp   bool       // in place of the reply to the final dot
	ready    func()     // ahead of that reply
	heard    bytes.Buffer
	messages []string // that were taken, as they came
}

func newSink(t testing.TB, offers ...string) *sink {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost", "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{offers: offers, caFile: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(s.caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(s.listener.Addr().String())
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	s.wait.Go(func() { // stop waits for it and for the connections
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.wait.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				s.serve(tls.Server(conn, config))
			})
		}
	})
	t.Cleanup(s.stop)
	return s
}

// stop waits for all connections to end, so that all is heard.
func (s *sink) stop() {
	s.listener.Close()
	s.wait.Wait()
}

func (s *sink) set(hangUp bool, offers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUp, s.offers = hangUp, offers
}

// told is what was heard since the last call.
func (s *sink) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.heard.Reset()
	return s.heard.String()
}

func (s *sink) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.messages...)
}

func (s *sink) serve(conn *tls.Conn) {
	fmt.Fprint(conn, "220 localhost\r\n")
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		s.mu.Lock()
		s.heard.WriteString(line)
		offers, hangUp, ready := s.offers, s.hangUp, s.ready
		s.mu.Unlock()
		if err != nil {
			return
		}
		reply := "250 2.0.0 fine\r\n"
		switch verb, _, _ := strings.Cut(strings.TrimSpace(strings.ToUpper(line)), " "); verb {
		case "EHLO":
			reply = "250-localhost\r\n"
			for _, offer := range offers {
				reply += "250-" + offer + "\r\n"
			}
			reply += "250 AUTH PLAIN\r\n"
		case "AUTH":
			reply = "235 2.7.0 welcome\r\n"
		case "RCPT":
			if strings.Contains(line, "<nobody@") {
				reply = "550 5.1.1 who\r\n"
			}
		case "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		case "DATA":
			fmt.Fprint(conn, "354 go\r\n")
			if !s.data(in) || hangUp {
				return
			}
			if ready != nil {
				ready()
			}
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

func (s *sink) data(in *bufio.Reader) bool {
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		s.mu.Lock()
		s.heard.WriteString(line)
		if line == ".\r\n" {
			s.messages = append(s.messages, text.String())
		}
		s.mu.Unlock()
		if err != nil || line == ".\r\n" {
			return err == nil
		}
		text.WriteString(line)
	}
}

// home is a directory with a configuration for a server, and a spool.
type home struct{ dir string }

func newHome(t testing.TB, s *sink, send string, account string) home {
	t.Helper()
	h := home{t.TempDir()}
	h.configure(t, s, send, account)
	return h
}

func (h home) config() string { return filepath.Join(h.dir, "rtls.toml") }

func (h home) configure(t testing.TB, s *sink, send string, account string) {
	t.Helper()
	secret := filepath.Join(h.dir, "password")
	text := fmt.Sprintf("[send]\nspool = %q\n%s\n[send.account.test]\nfrom = \"me@example.org\"\nhost = \"127.0.0.1\"\nport = %s\nca_file = %q\nuser = \"me\"\npassword_file = %q\n%s\n",
		filepath.Join(h.dir, "spool"), send, s.port, s.caFile, secret, account)
	for path, content := range map[string]string{h.config(): text, secret: "secret\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// canary is a message whose words must not cross where it is not sent.
const canary = "Subject: canary\nMessage-ID: <canary@example.org>\n\ncanary-body\n"

// run runs the command within this process, with the canary as its input.
func (h home) run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	input := filepath.Join(h.dir, "input")
	if err := os.WriteFile(input, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, err := os.Open(input)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var out, errs strings.Builder
	if args[0] == "queue" {
		args = append([]string{"queue", "--config", h.config()}, args[1:]...)
	} else {
		args = append([]string{"--config", h.config()}, args...)
	}
	err = command(name)(t.Context(), cli.Env{
		Args: args, Stdin: stdin, Stdout: &out, Stderr: &errs,
		Getenv: func(key string) string { return map[string]string{"HOME": h.dir, "TMPDIR": h.dir}[key] },
	})
	cli.Report(&errs, name, err)
	return cli.ExitCode(err), out.String(), errs.String()
}

// must is run, for what has to succeed.
func (h home) must(t testing.TB, args ...string) string {
	t.Helper()
	code, stdout, stderr := h.run(t, args...)
	if code != 0 {
		t.Fatalf("%q: exit %d: %s", args, code, stderr)
	}
	return stdout
}
