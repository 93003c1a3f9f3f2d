package submit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if target := os.Getenv("SUBMIT_TEST_PIPE"); target != "" {
		os.Exit(pipe(target))
	}
	os.Exit(m.Run())
}

// pipe joins standard input and output with a connection, as a proxy command does.
func pipe(target string) int {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	done := make(chan struct{})
	go func() { // the process ends with it
		_, _ = io.Copy(os.Stdout, conn)
		close(done)
	}()
	_, _ = io.Copy(conn, os.Stdin)
	conn.Close()
	<-done
	return 0
}

// socksProxy takes one connection and keeps what was asked for.
type socksProxy struct {
	addr string
	wait sync.WaitGroup
	user string // asks for a password if it is set
	code byte   // of the reply

	asked string // host:port; valid after wait
	login string
}

func startSOCKS(t *testing.T, p *socksProxy) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	p.wait.Go(func() { // ended by the cleanup
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		p.serve(conn)
	})
	t.Cleanup(func() { l.Close(); p.wait.Wait() })
}

func (p *socksProxy) serve(conn net.Conn) {
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(conn, b)
		return b
	}
	methods := read(int(read(2)[1]))
	method := byte(0)
	if p.user != "" {
		method = 2
	}
	if !bytes.Contains(methods, []byte{method}) {
		method = 0xff
	}
	_, _ = conn.Write([]byte{5, method})
	if method == 2 {
		user := string(read(int(read(2)[1])))
		password := string(read(int(read(1)[0])))
		p.login = user + ":" + password
		_, _ = conn.Write([]byte{1, 0})
	}
	if method == 0xff {
		return
	}
	head := read(4)
	var host string
	switch head[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	case 4:
		host = net.IP(read(16)).String()
	}
	p.asked = fmt.Sprintf("%s:%d", host, binary.BigEndian.Uint16(read(2)))
	_, port, _ := net.SplitHostPort(p.asked)
	_, _ = conn.Write([]byte{5, p.code, 0, 1, 127, 0, 0, 1, 0, 1})
	if p.code != 0 {
		return
	}
	out, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return
	}
	defer out.Close()
	p.wait.Go(func() { _, _ = io.Copy(conn, out); conn.Close() })
	_, _ = io.Copy(out, conn)
}

func TestSOCKS5(t *testing.T) {
	for _, tc := range []struct {
		name  string
		proxy *socksProxy
		login string // in the URL
		ok    bool
	}{
		{"plain", &socksProxy{}, "", true},
		{"password", &socksProxy{user: "me"}, "me:pw@", true},
		{"password wanted", &socksProxy{user: "me"}, "", false},
		{"refused", &socksProxy{code: 5}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := tc.proxy
			startSOCKS(t, p)
			target := dead()
			if tc.ok {
				target = serveDialogues(t, whole)
			}
			var err error
			if target.Dial, err = SOCKS5("socks5://"+tc.login+p.addr, nil); err != nil {
				t.Fatal(err)
			}
			_, err = Send(t.Context(), target, message(), client)
			if (err == nil) != tc.ok || err != nil && strings.Contains(err.Error(), "pw") {
				t.Errorf("%v, want ok: %v", err, tc.ok)
			}
			p.wait.Wait()
			if tc.ok && (p.asked != target.addr() || p.login+"@" != tc.login && tc.login != "") {
				t.Errorf("the proxy was asked for %q as %q", p.asked, p.login)
			}
		})
	}
	for _, bad := range []string{"", "127.0.0.1:1080", "http://127.0.0.1:1080", "socks5://", "socks5://h/path", "socks5://\x00:pw@h"} {
		if _, err := SOCKS5(bad, nil); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCommandDial(t *testing.T) {
	target := serveDialogues(t, whole)
	t.Setenv("SUBMIT_TEST_PIPE", target.addr())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	target.Dial = Command([]string{self, "%h", "%p"}, io.Discard)
	if _, err := Send(t.Context(), target, message(), client); err != nil {
		t.Error(err)
	}
	// A program that does not speak, or is not there, is a failure that may pass.
	t.Setenv("SUBMIT_TEST_PIPE", "")
	for _, argv := range [][]string{{"/bin/false"}, {"/nonexistent/program"}} {
		config := tlsConfig(t)
		config.ServerName = "localhost"
		target := &Target{Host: "localhost", Port: 1, TLS: config, Dial: Command(argv, io.Discard)}
		_, err := Send(t.Context(), target, message(), client)
		if e, ok := errors.AsType[*Error](err); !ok || !e.Temporary() {
			t.Errorf("%q: %v", argv, err)
		}
	}
}

func TestSource(t *testing.T) {
	target := serveDialogues(t, whole)
	var from net.Addr
	direct, err := Direct("127.0.0.1", nil)
	if err != nil {
		t.Fatal(err)
	}
	target.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := direct(ctx, network, strings.Replace(addr, "localhost", "127.0.0.1", 1))
		if err == nil {
			from = conn.LocalAddr()
		}
		return conn, err
	}
	if _, err := Send(t.Context(), target, message(), client); err != nil || !strings.HasPrefix(from.String(), "127.0.0.1:") {
		t.Errorf("from %v: %v", from, err)
	}
	if _, err := Direct("eth0", nil); err == nil {
		t.Error("a name passes for an address")
	}
}
