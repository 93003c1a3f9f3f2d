// Package lmtptest is a mail transfer agent for tests of an LMTP server. It says
// what it is told, right or wrong, and ends the test when the server says
// something else.
package lmtptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// patience is how long a whole connection may take.
const patience = time.Minute

// Client is one connection.
type Client struct {
	T    testing.TB
	TLS  *tls.Config // for StartTLS
	Conn net.Conn
	Said bytes.Buffer // everything that the server said

	r *bufio.Reader
}

// Dial connects. The greeting is still to be read.
func Dial(t testing.TB, network, addr string, config *tls.Config) *Client {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &Client{T: t, TLS: config}
	c.use(conn)
	return c
}

func (c *Client) use(conn net.Conn) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		c.T.Fatal(err)
	}
	c.Conn, c.r = conn, bufio.NewReader(io.TeeReader(conn, &c.Said))
}

// Write sends octets as they are.
func (c *Client) Write(s string) {
	c.T.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.T.Fatalf("write %.60q: %v", s, err)
	}
}

// Read reads a reply, which may have several lines, without their ends.
func (c *Client) Read() (lines []string, err error) {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return lines, err
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return lines, nil
		}
	}
}

// Expect reads a reply for each prefix, with which its last line has to start. It
// returns the lines of the last.
func (c *Client) Expect(prefixes ...string) (last []string) {
	c.T.Helper()
	for _, prefix := range prefixes {
		var err error
		if last, err = c.Read(); err != nil {
			c.T.Fatalf("expected %q: %v", prefix, err)
		}
		if !strings.HasPrefix(last[len(last)-1], prefix) {
			c.T.Fatalf("got %q, expected %q", last, prefix)
		}
	}
	return last
}

// Say sends a line and expects the replies.
func (c *Client) Say(line string, prefixes ...string) {
	c.T.Helper()
	c.Write(line + "\r\n")
	c.Expect(prefixes...)
}

// Talk runs a script: lines that begin with "C: " are sent, with "S: " expected.
func (c *Client) Talk(script string) {
	c.T.Helper()
	for line := range strings.Lines(script) {
		line = strings.Trim(line, "\t\n")
		switch {
		case strings.HasPrefix(line, "C: "):
			c.Write(line[3:] + "\r\n")
		case strings.HasPrefix(line, "S: "):
			c.Expect(line[3:])
		case line != "":
			c.T.Fatalf("script line %q", line)
		}
	}
}

// LHLO returns the keywords on offer.
func (c *Client) LHLO() (keywords []string) {
	c.T.Helper()
	c.Write("LHLO relay.example.com\r\n")
	for _, line := range c.Expect("250 ")[1:] {
		keywords = append(keywords, line[4:])
	}
	return keywords
}

// Hello reads the greeting and says LHLO.
func (c *Client) Hello() (keywords []string) {
	c.T.Helper()
	c.Expect("220 ")
	return c.LHLO()
}

// StartTLS says STARTTLS and shakes hands.
func (c *Client) StartTLS() *Client {
	c.T.Helper()
	c.Say("STARTTLS", "220 2.0.0")
	return c.Handshake()
}

// Handshake begins TLS.
func (c *Client) Handshake() *Client {
	c.T.Helper()
	conn := tls.Client(c.Conn, c.TLS)
	if err := conn.Handshake(); err != nil {
		c.T.Fatal(err)
	}
	c.use(conn)
	return c
}

// Open begins a transaction with recipients that are all accepted.
func (c *Client) Open(mail string, rcpts ...string) {
	c.T.Helper()
	c.Say("MAIL FROM:"+mail, "250 2.1.0")
	for _, r := range rcpts {
		c.Say("RCPT TO:"+r, "250 2.1.5")
	}
}

// Deliver runs a transaction whose recipients all get the message, which is in the
// form that follows DATA.
func (c *Client) Deliver(mail, message string, rcpts ...string) {
	c.T.Helper()
	c.Open(mail, rcpts...)
	c.Say("DATA", "354")
	c.Write(message + ".\r\n")
	for range rcpts {
		c.Expect("250 2.0.0 delivered as ")
	}
}

// Rest reads all that the server still says.
func (c *Client) Rest() (string, error) {
	rest, err := io.ReadAll(c.r)
	return string(rest), err
}

// Closed makes sure that the server says nothing more and ends the connection in
// order.
func (c *Client) Closed() {
	c.T.Helper()
	if rest, err := c.Rest(); err != nil || rest != "" {
		c.T.Fatalf("expected the end, got %q and %v", rest, err)
	}
}
