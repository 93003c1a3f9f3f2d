package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// clearClient is a client in clear, that has read the greeting.
type clearClient struct {
	*site
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// clearSite is a site with a listener for STARTTLS, and how to connect to it.
func clearSite(t *testing.T, configure ...func(*Server)) (*site, func() *clearClient) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, append(configure, func(srv *Server) { srv.StartTLS = []net.Listener{l} })...)
	return s, func() *clearClient {
		t.Helper()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		c := &clearClient{s, t, conn, bufio.NewReader(conn)}
		c.expect("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 STARTTLS LOGINDISABLED] localhost rtls-imapd ready")
		return c
	}
}

func (c *clearClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clearClient) expect(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		got, err := c.r.ReadString('\n')
		if err != nil || got != want+"\r\n" {
			c.t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
}

// ends expects the end of the stream and returns what comes before it.
func (c *clearClient) ends() string {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		c.t.Fatalf("the connection is not closed; got %q", rest)
	}
	return string(rest) // a reset is an end, too: the server left octets unread
}

// secure begins with TLS.
func (c *clearClient) secure() *client {
	c.t.Helper()
	conn := tls.Client(c.conn, &tls.Config{RootCAs: c.ca.Pool(), ServerName: "localhost"})
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return &client{c.t, conn, bufio.NewReader(conn), conn}
}

func TestStartTLS(t *testing.T) {
	s, connect := clearSite(t)
	c := connect()
	c.send("a CAPABILITY\r\nb NOOP\r\nc ID (\"name\" \"x\")\r\nd STARTTLS\r\n")
	c.expect("* CAPABILITY IMAP4rev1 IMAP4rev2 STARTTLS LOGINDISABLED", "a OK CAPABILITY completed",
		"b OK NOOP completed", "* ID NIL", "c OK ID completed", "d OK STARTTLS completed")
	// No second greeting, and other capabilities.
	c.secure().script(`
		C: a CAPABILITY
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 ` + offered + ` SASL-IR LITERAL+ ID ENABLE
		S: a OK CAPABILITY completed
		C: b STARTTLS
		S: b BAD STARTTLS is not possible inside TLS
		C: c LOGIN alice secret
		S: c ` + loggedIn + `
		C: d STARTTLS
		S: d BAD STARTTLS is not possible inside TLS
	`)
	s.waitLog("msg=login ")
}

// No password is asked for in clear, nor taken, and the log says that one was seen.
func TestLoginInClear(t *testing.T) {
	s, connect := clearSite(t)
	c := connect()
	const no = "NO [PRIVACYREQUIRED] say STARTTLS first"
	c.send("a LOGIN alice secret\r\n" +
		"b LOGIN alice {6+}\r\nsecret\r\n" +
		"c LOGIN {5}\r\n" +
		"d AUTHENTICATE PLAIN\r\n" +
		"e AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n" +
		"f LOGIN\r\n" +
		"g SELECT INBOX\r\n" +
		"h LOGOUT\r\n")
	c.expect("a "+no, "b "+no, "c "+no, "d "+no, "e "+no, "f BAD expected ' ', found the end of the command",
		"g BAD SELECT is not possible before STARTTLS", "* BYE see you", "h OK LOGOUT completed")
	if rest := c.ends(); rest != "" {
		t.Errorf("after the end: %q", rest)
	}
	s.waitLog(`msg="disconnect in clear"`)
	if n := strings.Count(s.log.String(), "login in clear refused"); n != 3 || strings.Contains(s.log.String(), "secret") {
		t.Errorf("%d warnings, want 3:\n%s", n, s.log)
	}
}

// What was sent behind STARTTLS is neither answered nor run, whether it comes with
// the command or after it.
func TestStartTLSInjection(t *testing.T) {
	s, connect := clearSite(t)
	c := connect()
	c.send("a STARTTLS\r\nb LOGIN alice secret\r\n")
	if answer := c.ends(); answer != "" {
		t.Errorf("got %q", answer)
	}
	s.waitLog("octets behind STARTTLS")
	c = connect()
	c.send("a STARTTLS\r\n")
	c.expect("a OK STARTTLS completed")
	c.send("b LOGIN alice secret\r\n")
	if answer := c.ends(); strings.Contains(answer, "b ") {
		t.Errorf("got %q", answer)
	}
	s.waitLog("TLS handshake failed")
}

func TestClearLimits(t *testing.T) {
	_, connect := clearSite(t)
	c := connect()
	c.send(strings.Repeat("a NOOP\r\n", 10) + "b STARTTLS\r\n")
	for range 10 {
		c.expect("a OK NOOP completed")
	}
	if got := c.ends(); got != "* BYE too much before STARTTLS\r\n" {
		t.Errorf("too many commands: got %q", got)
	}
	c = connect()
	c.send("a NOOP " + strings.Repeat("x", 9000))
	if got := c.ends(); got != "* BYE too much before STARTTLS\r\n" {
		t.Errorf("a line without an end: got %q", got)
	}
	c = connect()
	c.send("a LOGIN alice {100000+}\r\n")
	if got := c.ends(); !strings.HasSuffix(got, "* BYE announced literals are too large\r\n") {
		t.Errorf("a large literal: got %q", got)
	}
}

// Who says nothing in clear is cut off like who says nothing inside TLS.
func TestClearTimeout(t *testing.T) {
	_, connect := clearSite(t, func(srv *Server) { srv.LoginTimeout = 100 * time.Millisecond })
	if got := connect().ends(); got != "" {
		t.Errorf("got %q", got)
	}
}
