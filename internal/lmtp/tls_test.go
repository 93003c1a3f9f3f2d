package lmtp

import (
	"crypto/tls"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

// What a client said in clear is forgotten when TLS begins.
func TestSTARTTLSForgets(t *testing.T) {
	c := start(t, nil).hello()
	c.Talk(`
		C: MAIL FROM:<a@example.org>
		S: 250`)
	c.StartTLS()
	c.Talk(`
		C: RCPT TO:<b@example.org>
		S: 503 5.5.1 say MAIL first
		C: MAIL FROM:<a@example.org>
		S: 503 5.5.1 say LHLO first`)
}

// L36: the commands behind STARTTLS were sent in clear, by whomever.
func TestSTARTTLSInjection(t *testing.T) {
	r := start(t, nil)
	c := r.hello()
	c.Write("STARTTLS\r\nLHLO evil.example\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.org>\r\n")
	c.Expect("220 2.0.0")
	c.Handshake()
	c.Talk(`
		C: DATA
		S: 503 5.5.1 no recipient
		C: MAIL FROM:<a@example.org>
		S: 503 5.5.1 say LHLO first`)
}

// L37: behind a failed handshake nothing is said in clear.
func TestFailedHandshakeCloses(t *testing.T) {
	c := start(t, nil).hello()
	c.Write("STARTTLS\r\n")
	c.Expect("220 2.0.0")
	c.Write("NOOP\r\nMAIL FROM:<a@example.org>\r\n")
	rest, _ := c.Rest() // a reset is as good as an end
	if strings.Contains(string(rest), "250") || strings.Contains(string(rest), "50") {
		t.Errorf("the server went on in clear: %q", rest)
	}
}

// L38.
func TestOldTLSIsRefused(t *testing.T) {
	r := start(t, nil)
	c := r.hello()
	c.Write("STARTTLS\r\n")
	c.Expect("220 2.0.0")
	conn := tls.Client(c.Conn, &tls.Config{RootCAs: r.ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := conn.Handshake(); err == nil {
		t.Fatal("TLS 1.1 was accepted")
	}
}

// L42: a process of a user we trust may say REQUIRETLS without TLS.
func TestLocalUsers(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		r := start(t, func(s *Server) {
			s.LocalUsers = []uint32{uint32(os.Getuid()) + 1}
			if trusted {
				s.LocalUsers = append(s.LocalUsers, uint32(os.Getuid()))
			}
		})
		c := r.dial()
		if offered := slices.Contains(c.Hello(), "REQUIRETLS"); offered != trusted {
			t.Errorf("trusted %t, offered %t", trusted, offered)
		}
		c.Write("MAIL FROM:<a@example.org> REQUIRETLS\r\n")
		if !trusted { // L41
			c.Expect("530 5.7.10")
			continue
		}
		c.Write("RCPT TO:<b@example.org>\r\nDATA\r\n.\r\n")
		c.Expect("250 ", "250 ", "354 ", "250 ")
		if env := r.fake.messages()[0].env; !env.RequireTLS || !env.Local || env.Protocol != "LMTP" {
			t.Errorf("%+v", env)
		}
	}
}

// remote is a transcript on an interface that others can listen in on.
type remote struct{ transcript }

func (r *remote) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 24} }

func (r *remote) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 999}
}

// L25: beyond loopback nothing is taken in clear.
func TestTLSBeyondLoopback(t *testing.T) {
	const in = "LHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n.\r\nQUIT\r\n"
	for _, inTLS := range []bool{false, true} {
		backend := &fake{}
		server := (&Server{Hostname: "localhost", Backend: backend}).withDefaults()
		far := &remote{transcript{in: strings.NewReader(in)}}
		c := newConn(server, t.Context(), far)
		if inTLS {
			c.tls = &tls.ConnectionState{}
		}
		c.serve()
		if refused := strings.Contains(far.out.String(), "530 5.7.10 say STARTTLS first"); refused == inTLS {
			t.Errorf("TLS %t:\n%s", inTLS, far.out.String())
		}
		if stored := backend.messages(); len(stored) > 0 != inTLS {
			t.Errorf("TLS %t: stored %v", inTLS, stored)
		} else if inTLS && stored[0].env.Remote != "[IPv6:2001:db8::1]" {
			t.Errorf("remote is %q", stored[0].env.Remote)
		}
	}
}
