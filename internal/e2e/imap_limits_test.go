package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
	"rtls/store"
)

// Each limit of rtls-imapd(8) and rtls.toml(5) is gone beyond: whoever does that hears
// what he should, the others notice nothing, and then there is room again.
func TestIMAPDLimits(t *testing.T) {
	p := newPKI(t)
	for name, test := range map[string]func(*testing.T, *pki){
		"connections":              limitConnections,
		"connections before login": limitBeforeLogin,
		"connections of a user":    limitUser,
		"commands before login":    limitTalk,
		"octets of commands":       limitOctets,
		"octets of messages":       limitMessages,
		"time to log in":           limitLoginTime,
		"time without progress":    limitStall,
		"time to search":           limitSearch,
		"memory":                   limitMemory,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// limited starts a server with limits, and a client of it that has to notice nothing.
func limited(t *testing.T, p *pki, settings ...string) (*imapd, *imapConn) {
	t.Helper()
	d := startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost"}}, settings...)
	other := d.login(t, p, "INBOX")
	t.Cleanup(func() { other.ok("NOOP") })
	return d, other
}

// tryDial connects from an address of this host. The error is that of the handshake.
func (d *imapd) tryDial(t *testing.T, p *pki, from string) (net.Conn, error) {
	t.Helper()
	dialer := &net.Dialer{Timeout: imapTimeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := tls.DialWithDialer(dialer, "tcp", d.addr, &tls.Config{RootCAs: p.Pool(), ServerName: "localhost"})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return conn, nil
}

// admitted waits until there is room for a connection.
func (d *imapd) admitted(t *testing.T, p *pki) {
	t.Helper()
	for deadline := time.Now().Add(imapTimeout); ; time.Sleep(10 * time.Millisecond) {
		conn, err := d.tryDial(t, p, "127.0.0.1")
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no room again: %v", err)
		}
	}
}

func limitConnections(t *testing.T, p *pki) {
	d, other := limited(t, p, "max_connections = 3")
	second := d.login(t, p, "")
	d.login(t, p, "")
	if _, err := d.tryDial(t, p, "127.0.0.1"); err == nil {
		t.Error("there is a fourth connection")
	}
	d.waitLog(t, regexp.MustCompile(`msg="turned away" remote=127.0.0.1 reason="too many connections"`))
	other.ok("NOOP")
	second.ok("LOGOUT")
	second.closed()
	d.admitted(t, p)
}

func limitBeforeLogin(t *testing.T, p *pki) {
	d, other := limited(t, p, "max_per_address = 600")
	var silent []net.Conn
	for range 500 {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		silent = append(silent, conn)
	}
	if _, err := d.tryDial(t, p, "127.0.0.1"); err == nil {
		t.Error("there are 501 connections before login")
	}
	d.waitLog(t, regexp.MustCompile(`msg="turned away" .*reason="too many connections before login"`))
	other.ok("NOOP")
	for _, conn := range silent {
		conn.Close()
	}
	d.admitted(t, p)
	d.login(t, p, "INBOX")

	// The same of one address, of which there are others.
	d, other = limited(t, p, "max_per_address = 2")
	waiting := d.dial(t, p, nil)
	d.dial(t, p, nil)
	if _, err := d.tryDial(t, p, "127.0.0.1"); err == nil {
		t.Error("there are three connections of one address before login")
	}
	d.waitLog(t, regexp.MustCompile(`msg="turned away" remote=127.0.0.1 reason="too many connections from this address"`))
	if _, err := d.tryDial(t, p, "127.0.0.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
	waiting.ok("LOGIN %s %q", imapUser, imapPassword) // counts no more
	d.admitted(t, p)
	other.ok("NOOP")
}

func limitUser(t *testing.T, p *pki) {
	d, _ := limited(t, p, "max_per_user = 2")
	d.addUser(t, "bob@example.org")
	second := d.login(t, p, "")
	third := d.dial(t, p, nil)
	third.fails("NO", "[LIMIT]", "LOGIN %s %q", imapUser, imapPassword)
	third.ok("LOGIN bob@example.org %q", imapPassword)
	third = d.dial(t, p, nil)
	third.fails("NO", "[LIMIT]", "LOGIN %s %q", imapUser, imapPassword)
	second.ok("UNAUTHENTICATE")
	third.ok("LOGIN %s %q", imapUser, imapPassword)
}

func limitTalk(t *testing.T, p *pki) {
	d, _ := limited(t, p)
	says := func(c *imapConn, want string) {
		t.Helper()
		for {
			line, err := c.tryRead()
			if err != nil {
				t.Errorf("the end comes with %v, want %s", err, want)
				return
			}
			if strings.HasPrefix(line, "* BYE ") {
				if line != want {
					t.Errorf("%s, want %s", line, want)
				}
				c.closed()
				return
			}
		}
	}
	c := d.dial(t, p, nil)
	for range 50 {
		c.ok("NOOP")
	}
	c.write("x NOOP\r\n")
	says(c, "* BYE too much before login")

	c = d.dial(t, p, nil)
	for range 9 {
		c.fails("BAD", "", "NONSENSE")
	}
	c.write("x NONSENSE\r\n")
	says(c, "* BYE too many errors")

	c = d.dial(t, p, nil)
	for range 3 {
		c.write("x NOOP " + strings.Repeat("x", 80_000) + "\r\n")
	}
	c.write("x NOOP " + strings.Repeat("x", 262_144-3*80_000)) // to the last octet: what comes behind is not read
	says(c, "* BYE too much before login")

	c = d.dial(t, p, nil)
	for range 2 {
		c.fails("NO", "[AUTHENTICATIONFAILED]", "LOGIN %s wrong", imapUser)
	}
	c.write("x LOGIN " + imapUser + " wrong\r\n")
	says(c, "* BYE too many failed logins")
	d.login(t, p, "INBOX")
}

func limitOctets(t *testing.T, p *pki) {
	d, _ := limited(t, p)
	c := d.login(t, p, "INBOX")
	c.ok("NOOP")
	c.fails("BAD", "", "SEARCH SUBJECT %q", strings.Repeat("x", 65_000)+strings.Repeat("y", 65_000))
	c.fails("BAD", "[TOOBIG]", "SEARCH SUBJECT {262145}")
	c.fails("BAD", "[TOOBIG]", "SEARCH SUBJECT {262145+}\r\n%s", strings.Repeat("\r\nx LOGOUT\r\n", 21846)[:262145])
	c.fails("BAD", "", "SEARCH %s", strings.Repeat("SUBJECT {60000+}\r\n"+strings.Repeat("x", 60_000)+" ", 5)+"ALL")
	c.fails("BAD", "", "SEARCH %s", strings.Repeat("(", 30_000)+"ALL"+strings.Repeat(")", 30_000))
	c.ok("SEARCH SUBJECT {50000+}\r\n%s", strings.Repeat("x", 50_000))
	for range 48 {
		c.fails("BAD", "", "NONSENSE")
	}
	c.ok("NOOP") // and they are forgotten
	for range 49 {
		c.fails("BAD", "", "NONSENSE")
	}
	c.write("x NONSENSE\r\n")
	if line := c.read(); !strings.HasPrefix(line, "x BAD ") {
		t.Error(line)
	}
	if line := c.read(); line != "* BYE too many errors" {
		t.Error(line)
	}
	c.closed()
}

func limitMessages(t *testing.T, p *pki) {
	d, other := limited(t, p, `max_message = "1M"`)
	c := d.login(t, p, "INBOX")
	for _, size := range []int{1<<20 + 1, 1 << 40} {
		c.fails("NO", "[TOOBIG]", "APPEND INBOX {%d}", size)
	}
	message := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcd\r\n", 1<<17)
	c.fails("NO", "[TOOBIG]", "APPEND INBOX {%d+}\r\n%s", 1<<20+1, message[:1<<20+1])
	c.write(fmt.Sprintf("x APPEND INBOX {%d+}\r\n", 4<<20))
	if line := c.read(); !strings.HasPrefix(line, "* BYE ") {
		t.Errorf("%s, want BYE", line)
	}
	c.closed()
	if n := len(d.stored(t, "INBOX")); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
	if r := other.append("INBOX", "", []byte(message[:1<<20])); r.status != "OK" {
		t.Errorf("%s %s", r.status, r.text)
	}
}

func limitLoginTime(t *testing.T, p *pki) {
	d, other := limited(t, p, `login_time = "2s"`)
	silent, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := d.dial(t, p, nil)
	drops := make(chan error, 1)
	go func() { // a sign of life now and then is not enough; the end of the connection ends it
		for {
			if _, err := io.WriteString(c.conn, " "); err != nil {
				drops <- err
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if line := c.read(); line != "* BYE autologout: waited too long" {
		t.Error(line)
	}
	c.closed()
	<-drops
	_ = silent.SetDeadline(time.Now().Add(imapTimeout))
	if _, err := io.Copy(io.Discard, silent); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a client that does not begin with TLS is not cut off")
	}
	d.waitLog(t, regexp.MustCompile(`msg="TLS handshake failed" .*err=`))
	other.ok("NOOP") // has been there for longer
}

func limitStall(t *testing.T, p *pki) {
	d, other := limited(t, p, `stall_time = "2s"`)
	message := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcd\r\n", 1<<18)
	d.deliver(t, "INBOX", []byte(message), store.TagNone, store.OriginESMTP)
	stops := d.login(t, p, "INBOX")
	stops.write("x APPEND INBOX {1000}\r\n")
	stops.read()
	stops.write("Subject: half")

	deaf := d.login(t, p, "INBOX")
	deaf.write(strings.Repeat("x FETCH 1 BODY.PEEK[]\r\n", 20))

	// Who is slow and goes on is no such client. The socket's buffers have to be full
	// for that, or the server is through at once.
	slow := d.login(t, p, "INBOX")
	_ = slow.conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(1 << 16)
	slow.write(strings.Repeat("y FETCH 1 BODY.PEEK[]\r\n", 3))
	began := time.Now()
	for got := 0; got < 3*len(message); {
		n, err := io.CopyN(io.Discard, slow.r, min(256<<10, int64(3*len(message)-got)))
		if got += int(n); err != nil {
			t.Fatalf("the slow client after %d octets and %s: %v", got, time.Since(began), err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if line := stops.read(); line != "* BYE autologout: waited too long" {
		t.Error(line)
	}
	stops.closed()
	d.waitLog(t, regexp.MustCompile(`msg=disconnect remote=`+regexp.QuoteMeta(deaf.conn.LocalAddr().String())+` .*i/o timeout`))
	if n := len(d.stored(t, "INBOX")); n != 1 {
		t.Errorf("%d messages are stored", n)
	}
	other.ok("NOOP") // between commands nobody is pressed
}

func limitSearch(t *testing.T, p *pki) {
	d, other := limited(t, p, `search_time = "1ns"`)
	for range 10 {
		d.deliver(t, "INBOX", []byte("Subject: x\r\n\r\nbody\r\n"), store.TagNone, store.OriginESMTP)
	}
	other.ok("NOOP")
	c := d.login(t, p, "INBOX")
	for _, command := range []string{`SEARCH TEXT "not there"`, `SORT (SUBJECT) UTF-8 BODY "not there"`, `ESEARCH IN (personal) BODY "not there"`} {
		c.fails("NO", "[LIMIT] the search took longer than 1ns, ask for less", "%s", command)
	}
	other.ok("NOOP")
	if r := c.do("UID FETCH 1:* FLAGS"); r.status != "OK" || len(r.untagged) != 10 {
		t.Errorf("%+v", r)
	}
}

// limitMemory: clients that send without end, and those that do not take what they
// have asked for, cost next to nothing each.
func limitMemory(t *testing.T, p *pki) {
	d, other := limited(t, p)
	d.deliver(t, "INBOX", []byte("Subject: x\r\n\r\n"+strings.Repeat("0123456789abcd\r\n", 1<<21)), store.TagNone, store.OriginESMTP)
	other.ok("NOOP")
	const clients, sent = 20, 16 << 20
	most := clients * 2 << 10 // KiB
	if len(raceFlag) > 0 {
		most *= 10
	}
	var all []*imapConn
	for range clients {
		all = append(all, d.login(t, p, "INBOX"))
	}
	before := d.memory(t)
	chunk := strings.Repeat("x", 1<<16)
	for i, c := range all {
		switch i % 3 {
		case 0:
			c.write("x FETCH 1 (BODY.PEEK[] BODY.PEEK[TEXT])\r\n")
			c.write("y FETCH 1 (BODY.PEEK[] BODY.PEEK[TEXT])\r\n")
		case 1:
			c.write("x SEARCH SUBJECT ")
			for n := 0; n < sent; n += len(chunk) {
				c.write(chunk)
			}
		case 2:
			c.write("x SEARCH ")
			for n := 0; n < sent; n += len(chunk) {
				c.write("SUBJECT {65536+}\r\n" + chunk + " ")
			}
		}
	}
	other.ok("NOOP")
	after := d.memory(t)
	if used := after - before; used > most {
		t.Errorf("%d clients take %d KiB, most is %d", clients, used, most)
	} else {
		t.Logf("%d clients take %d KiB, beside %d", clients, used, before)
	}
	for _, c := range all {
		c.conn.Close()
	}
	d.login(t, p, "INBOX")
}
