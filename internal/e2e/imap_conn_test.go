package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// imapConn is an IMAP client driven line by line.
type imapConn struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	tags int
}

// imapReply is what a command got: untagged responses, literals and all, and the
// tagged one.
type imapReply struct {
	untagged []string
	status   string // OK, NO, BAD
	text     string
}

// dial connects over TLS and reads the greeting. config may be nil.
func (d *imapd) dial(t *testing.T, p *pki, config *tls.Config) *imapConn {
	t.Helper()
	return dialIMAP(t, d.addr, p, config)
}

// dialIMAP does so with any server.
func dialIMAP(t *testing.T, addr string, p *pki, config *tls.Config) *imapConn {
	t.Helper()
	if config == nil {
		config = &tls.Config{}
	}
	config.RootCAs, config.ServerName = p.Pool(), "localhost"
	raw, err := net.DialTimeout("tcp", addr, imapTimeout)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, config)
	c := &imapConn{t: t, conn: conn, r: bufio.NewReader(conn)}
	t.Cleanup(func() { conn.Close() })
	if greeting := c.read(); !strings.HasPrefix(greeting, "* OK ") {
		t.Fatalf("greeting: %s", greeting)
	}
	return c
}

// login connects, logs in and, if a mailbox is named, selects it.
func (d *imapd) login(t *testing.T, p *pki, mailbox string) *imapConn {
	t.Helper()
	c := d.dial(t, p, nil)
	c.ok("LOGIN %s %q", imapUser, imapPassword)
	if mailbox != "" {
		c.ok("SELECT %q", mailbox)
	}
	return c
}

func (c *imapConn) write(s string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(imapTimeout))
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

var imapLiteral = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// read reads a response with its literals, without the CRLF at its end.
func (c *imapConn) read() string {
	c.t.Helper()
	s, err := c.tryRead()
	if err != nil {
		c.t.Fatalf("read: %v after %q", err, s)
	}
	return s
}

func (c *imapConn) tryRead() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(imapTimeout))
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String(), err
		}
		m := imapLiteral.FindStringSubmatch(line)
		if m == nil {
			return strings.TrimSuffix(b.String(), "\r\n"), nil
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err == nil {
			_, err = io.CopyN(&b, c.r, n)
		}
		if err != nil {
			return b.String(), err
		}
	}
}

// do sends a command and reads up to its tagged response.
func (c *imapConn) do(format string, args ...any) imapReply {
	c.t.Helper()
	c.tags++
	tag := fmt.Sprintf("a%d", c.tags)
	c.write(tag + " " + fmt.Sprintf(format, args...) + "\r\n")
	return c.tagged(tag)
}

func (c *imapConn) tagged(tag string) imapReply {
	c.t.Helper()
	var r imapReply
	for {
		line := c.read()
		rest, ok := strings.CutPrefix(line, tag+" ")
		if !ok {
			r.untagged = append(r.untagged, line)
			continue
		}
		r.status, r.text, _ = strings.Cut(rest, " ")
		return r
	}
}

// ok does a command that has to succeed and returns the untagged responses.
func (c *imapConn) ok(format string, args ...any) []string {
	c.t.Helper()
	r := c.do(format, args...)
	if r.status != "OK" {
		c.t.Fatalf("%s: %s %s", fmt.Sprintf(format, args...), r.status, r.text)
	}
	return r.untagged
}

// fails does a command that has to get a status and a text.
func (c *imapConn) fails(status, text string, format string, args ...any) {
	c.t.Helper()
	if r := c.do(format, args...); r.status != status || !strings.Contains(r.text, text) {
		c.t.Errorf("%s: %s %s; want %s %s", fmt.Sprintf(format, args...), r.status, r.text, status, text)
	}
}

// append uploads a message; flags are in parentheses, or empty.
func (c *imapConn) append(mailbox, flags string, message []byte) imapReply {
	c.t.Helper()
	c.tags++
	tag := fmt.Sprintf("a%d", c.tags)
	c.write(strings.Join(strings.Fields(fmt.Sprintf("%s APPEND %q %s {%d}", tag, mailbox, flags, len(message))), " ") + "\r\n")
	if line := c.read(); !strings.HasPrefix(line, "+ ") {
		c.t.Fatalf("APPEND: %s", line)
	}
	c.write(string(message) + "\r\n")
	return c.tagged(tag)
}

// closed reads until the server has closed the connection.
func (c *imapConn) closed() {
	c.t.Helper()
	for {
		if s, err := c.tryRead(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.t.Errorf("the connection is not closed: %v after %q", err, s)
			return
		}
	}
}

var (
	imapFlags  = regexp.MustCompile(`^\* \d+ FETCH \(.*FLAGS \(([^)]*)\)`)
	imapSearch = regexp.MustCompile(`^\* SEARCH( [\d ]*)?$`)
	imapBody   = regexp.MustCompile(`BODY\[\] \{(\d+)\}\r\n`)
	imapUID    = regexp.MustCompile(`UID (\d+)`)
)

// flags fetches the flags of a message, sorted and without \Recent.
func (c *imapConn) flags(uid uint32) []string {
	c.t.Helper()
	for _, line := range c.ok("UID FETCH %d (UID FLAGS)", uid) {
		if m := imapFlags.FindStringSubmatch(line); m != nil {
			flags := strings.Fields(m[1])
			flags = slices.DeleteFunc(flags, func(f string) bool { return f == `\Recent` })
			slices.Sort(flags)
			return flags
		}
	}
	c.t.Errorf("UID %d has no flags", uid)
	return nil
}

// search returns UIDs in their order.
func (c *imapConn) search(format string, args ...any) []uint32 {
	c.t.Helper()
	var uids []uint32
	for _, line := range c.ok("UID SEARCH "+format, args...) {
		m := imapSearch.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for _, word := range strings.Fields(m[1]) {
			uid, err := strconv.ParseUint(word, 10, 32)
			if err != nil {
				c.t.Fatal(err)
			}
			uids = append(uids, uint32(uid))
		}
	}
	slices.Sort(uids)
	return uids
}

// bodies fetches all messages of the selected mailbox whole, by UID.
func (c *imapConn) bodies() map[uint32]string {
	c.t.Helper()
	found := make(map[uint32]string)
	for _, line := range c.ok("UID FETCH 1:* (UID BODY.PEEK[])") {
		at := imapBody.FindStringSubmatchIndex(line)
		uid := imapUID.FindStringSubmatch(line)
		if at == nil || uid == nil {
			continue
		}
		size, _ := strconv.Atoi(line[at[2]:at[3]])
		n, _ := strconv.ParseUint(uid[1], 10, 32)
		found[uint32(n)] = line[at[1] : at[1]+size]
	}
	return found
}
