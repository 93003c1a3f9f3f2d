package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"text/tabwriter"
)

// refuseAll shows three relays that a message with REQUIRETLS must not go to,
// and that none of it went there.
func (s *site) refuseAll(ctx context.Context, w io.Writer) (bool, error) {
	const message = "From: " + sender + "\nTo: " + user + "\nSubject: canary-subject\n\ncanary-body\n"
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "the relay\texit\tAUTH, MAIL\tbytes of the message\tbecause")
	good := true
	for _, c := range []struct {
		name   string
		relay  []string // flags of the relay
		strip  bool     // take STARTTLS out of its replies
		status string
	}{
		{"has no REQUIRETLS", nil, false, "5.7.30"},
		{"has another host's certificate", []string{"--requiretls", "--cert", s.path("other")}, false, "5.7.10"},
		{"has its STARTTLS stripped", []string{"--requiretls", "--starttls"}, true, "5.7.10"},
	} {
		addr, err := freeAddr()
		if err != nil {
			return false, err
		}
		log := strings.ReplaceAll(c.name, " ", "-")
		if err := s.spawnRelay(log, append([]string{"--listen", addr}, c.relay...)...); err != nil {
			return false, err
		}
		tap, err := newTap(addr, c.strip)
		if err != nil {
			return false, err
		}
		mode := "implicit"
		if c.strip {
			mode = "starttls"
		}
		_, port, _ := net.SplitHostPort(tap.addr())
		code, said, err := s.send(ctx, []byte(message), "--requiretls=yes", "--port", port, "--tls", mode, user)
		tap.close()
		if err != nil {
			return false, err
		}
		commands, err := s.countEvents(log)
		if err != nil {
			return false, err
		}
		clear := tap.clientSaid()
		commands += strings.Count(strings.ToUpper(clear), "MAIL FROM") + strings.Count(strings.ToUpper(clear), "AUTH")
		leaked := strings.Count(clear, "canary")
		verdict := ""
		if code != 69 || commands != 0 || leaked != 0 || !strings.Contains(said, c.status) {
			good, verdict = false, "WRONG: "
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s%s\n", c.name, code, commands, leaked, verdict, strings.ReplaceAll(said, "\n", " | "))
	}
	return good, table.Flush()
}

// countEvents counts what a relay was brought to do: AUTH, MAIL and messages,
// inside TLS or not.
func (s *site) countEvents(log string) (int, error) {
	found, _, err := lines(s.path(log+".log"), 0)
	return len(found), err
}

// tap stands between client and server, keeps what the client sends as it
// crosses the wire and, if told so, takes STARTTLS out of the server's replies.
type tap struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu   sync.Mutex // guards said
	said strings.Builder
}

func newTap(server string, strip bool) (*tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{listener: l}
	// close waits for this goroutine and for those that it starts.
	t.wait.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			t.wait.Go(func() { t.serve(client, server, strip) })
		}
	})
	return t, nil
}

func (t *tap) serve(client net.Conn, server string, strip bool) {
	defer client.Close()
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer up.Close()
	t.wait.Go(func() {
		_, _ = io.Copy(io.MultiWriter(up, t), client)
		up.Close()
	})
	if !strip {
		_, _ = io.Copy(client, up)
		return
	}
	for r := bufio.NewReader(up); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if !strings.Contains(line, "STARTTLS") {
			if _, err := io.WriteString(client, line); err != nil {
				return
			}
		}
	}
}

// Write keeps what the client sent.
func (t *tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said.Write(p)
}

func (t *tap) clientSaid() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said.String()
}

func (t *tap) addr() string { return t.listener.Addr().String() }

// close stops accepting and waits until both directions of each connection have
// ended.
func (t *tap) close() {
	t.listener.Close()
	t.wait.Wait()
}
