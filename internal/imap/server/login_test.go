package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"rtls/internal/auth"
	"rtls/store"
)

const loggedIn = "OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE IDLE NAMESPACE NOTIFY CHILDREN UNSELECT UIDPLUS MOVE BINARY ESEARCH MULTISEARCH SEARCHRES SORT SORT=DISPLAY ESORT CONTEXT=SEARCH CONTEXT=SORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES WITHIN LIST-EXTENDED LIST-METADATA LIST-STATUS METADATA STATUS=SIZE SPECIAL-USE CREATE-SPECIAL-USE CONDSTORE QRESYNC INPROGRESS MULTIAPPEND CATENATE URL-PARTIAL REPLACE OBJECTID PARTIAL PREVIEW QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE SAVEDATE UIDONLY UTF8=ACCEPT UNAUTHENTICATE APPENDLIMIT=104857600] logged in"

func TestLogin(t *testing.T) {
	s := newSite(t)
	s.connect().script(`
		C: a LOGIN alice wrong
		S: a NO [AUTHENTICATIONFAILED] user name or password is wrong
		C: b LOGIN nobody secret
		S: b NO [AUTHENTICATIONFAILED] user name or password is wrong
		C: c LOGIN "alice" {6+}
		C: secret
		S: c ` + loggedIn + `
		C: d LOGIN alice secret
		S: d BAD LOGIN is not possible now: no mailbox is selected, or login is over
		C: e UNAUTHENTICATE
		S: e OK UNAUTHENTICATE completed
		C: f SELECT INBOX
		S: f BAD SELECT is not possible before login
		C: g CAPABILITY
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 ` + offered + ` SASL-IR LITERAL+ ID ENABLE
		S: g OK CAPABILITY completed
		C: h ID ("name" "test")
		S: * ID ("name" "rtls-imapd" "version" "devel")
		S: h OK ID completed
		C: i STARTTLS
		S: i BAD STARTTLS is not possible inside TLS
		C: j LOGOUT
		S: * BYE see you
		S: j OK LOGOUT completed
	`)
	log := s.log.String()
	if strings.Contains(log, "secret") {
		t.Errorf("the password is in the log:\n%s", log)
	}
	// I16
	if !regexp.MustCompile(`msg=login remote=127\.0\.0\.1:\d+ tls="TLS 1\.3" cipher=TLS_\S+ user=alice mechanism=LOGIN`).MatchString(log) {
		t.Errorf("no line of the login:\n%s", log)
	}
}

// A user who passes but has no account gets a temporary answer.
func TestLoginWithoutAccount(t *testing.T) {
	s := newSite(t)
	s.connect().script(`
		C: a LOGIN ghost secret
		S: a NO [UNAVAILABLE] temporary failure, try again later
		C: b LOGIN alice secret
		S: b ` + loggedIn + `
	`)
}

// Defects 18, 19 and 20: what is malformed is BAD, the challenge is empty, and a
// response may be long.
func TestAuthenticate(t *testing.T) {
	s := newSite(t)
	s.connect().script(`
		C: a AUTHENTICATE PLAIN AGFsaWNlAHdyb25n
		S: a NO [AUTHENTICATIONFAILED] user name or password is wrong
		C: b AUTHENTICATE PLAIN
		S: + 
		C: *
		S: b BAD authentication was cancelled
		C: c AUTHENTICATE PLAIN
		S: + 
		C: !!!
		S: c BAD the response is not base64
		C: d AUTHENTICATE PLAIN =
		S: d BAD the response makes no sense: it is not that of PLAIN
		C: e AUTHENTICATE PLAIN Ym9iAGFsaWNlAHNlY3JldA==
		S: e NO [AUTHORIZATIONFAILED] acting for another user is not allowed
		C: f AUTHENTICATE OAUTHBEARER
		S: f NO [CANNOT] mechanism is not supported
		C: g AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
		S: g ` + loggedIn + `
	`)
	c := s.connect()
	c.send("a AUTHENTICATE PLAIN\r\n")
	c.script("S: + ")
	c.send(strings.Repeat("QUJD", 5000) + "\r\nb NOOP\r\n")
	c.script("S: a BAD the response makes no sense: it is not that of PLAIN\nS: b OK NOOP completed")
	c.send("c AUTHENTICATE PLAIN\r\n")
	c.script("S: + ")
	c.send(strings.Repeat("QUJD", 20000) + "\r\nd AUTHENTICATE PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\n")
	c.script("S: c BAD line is too long\nS: + \nS: d " + loggedIn)
}

// Defect 9: guessing ends the connection.
func TestDefect09Guessing(t *testing.T) {
	s := newSite(t)
	c := s.connect()
	c.script(`
		C: a LOGIN alice a
		S: a NO [AUTHENTICATIONFAILED] user name or password is wrong
		C: b LOGIN alice b
		S: b NO [AUTHENTICATIONFAILED] user name or password is wrong
		C: c AUTHENTICATE PLAIN AGFsaWNlAHdyb25n
		S: c NO [AUTHENTICATIONFAILED] user name or password is wrong
		S: * BYE too many failed logins
	`)
	c.closed()
}

// throttled is an Authenticator that lets nobody try.
type throttled struct {
	passwords
	peer chan netip.Addr
}

func (a throttled) Login(_ context.Context, peer auth.Peer, _, _ string) (auth.Login, error) {
	a.peer <- peer.Addr
	return auth.Login{}, auth.ErrThrottled
}

func TestThrottled(t *testing.T) {
	a := throttled{nil, make(chan netip.Addr, 1)}
	s := newSite(t, func(srv *Server) { srv.Auth = a })
	s.connect().script(`
		C: a LOGIN alice secret
		S: a NO [LIMIT] too many failed logins, try again later
	`)
	if peer := <-a.peer; peer != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("the peer is %s", peer)
	}
}

// Defect 8: who says nothing before TLS, and before login, is cut off.
func TestDefect08SilentClients(t *testing.T) {
	s := newSite(t, func(srv *Server) {
		srv.HandshakeTimeout = 100 * time.Millisecond
		srv.LoginTimeout = 200 * time.Millisecond
	})
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := raw.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d octets, %v", n, err)
	}
	c := s.connect()
	c.do("NOOP")
	c.expect("* BYE autologout: waited too long")
	c.closed()
}

// A client in clear gets nothing that could be taken for IMAP.
func TestClearText(t *testing.T) {
	s := newSite(t)
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, _ = io.WriteString(raw, "a LOGIN alice secret\r\n")
	answer, _ := io.ReadAll(raw)
	if strings.Contains(string(answer), "OK") || len(answer) > 7 {
		t.Errorf("got %q", answer)
	}
}

func TestLimits(t *testing.T) {
	s := newSite(t, func(srv *Server) {
		srv.MaxPerAddr = 2
		srv.MaxPerUser = 2
	})
	one, two := s.connect(), s.connect()
	refused := func() bool {
		conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost"})
		if err == nil {
			conn.Close()
		}
		return err != nil
	}
	if !refused() {
		t.Error("a third connection before login is accepted")
	}
	one.do("LOGIN alice secret") // makes room
	two.do("LOGIN alice secret")
	three := s.connect()
	three.script(`
		C: a LOGIN alice secret
		S: a NO [LIMIT] too many sessions of this user
	`)
	two.do("LOGOUT")
	s.waitLog("reason=logout")
	three.do("LOGIN alice secret")
}

func TestMaxConns(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.MaxConns = 1 })
	s.connect()
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost"})
	if err == nil {
		conn.Close()
		t.Error("a second connection is accepted")
	}
}

// Defect 16: an empty line or a bad tag costs nothing but an answer, as long as it
// does not go on.
func TestDefect16BadLines(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.send("\r\n+ NOOP\r\na\r\n(\r\nb NOOP\r\n")
	c.script(`
		S: * BAD no tag
		S: * BAD no tag
		S: a BAD no command
		S: * BAD no tag
		S: b OK NOOP completed
	`)
	c = s.connect()
	for range 9 {
		c.send("x\r\n")
		c.expect("x BAD no command")
	}
	c.script("C: x\nS: x BAD no command\nS: * BYE too many errors")
	c.closed()
	c = s.connect()
	for range 50 {
		c.do("NOOP")
	}
	c.script("C: a NOOP\nS: * BYE too much before login")
	c.closed()
}

// Defect 28: an error's text cannot split a response.
func TestDefect28TextIsHarmless(t *testing.T) {
	s := newSite(t)
	c := s.login("INBOX")
	c.send("a STATUS INBOX (\x01\x02)\r\nb FETCH 1 \xff\r\nc STORE 1 +FLAGS (a\x00b)\r\n")
	for _, tag := range []string{"a", "b", "c"} {
		if line := c.line(); !strings.HasPrefix(line, tag+" BAD ") || strings.ContainsFunc(line[:len(line)-2], func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("got %q", line)
		}
	}
}

// Defect 31: UNAUTHENTICATE leaves the mailbox, too.
func TestDefect31Unauthenticate(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	c := s.login("INBOX")
	c.do("ENABLE QRESYNC IMAP4rev2")
	c.do("UNAUTHENTICATE")
	c.script(`
		C: a FETCH 1 UID
		S: a BAD FETCH is not possible before login
	`)
	c.do("LOGIN alice secret")
	c.script(`
		C: b FETCH 1 UID
		S: b BAD FETCH is not possible now: no mailbox is selected, or login is over
		C: c SELECT INBOX (QRESYNC (1 1))
		S: c BAD QRESYNC was not enabled
	`)
	if strings.Contains(s.log.String(), "secret") {
		t.Errorf("the password is in the log:\n%s", s.log)
	}
}

// Defect 29: shutdown waits for a running command, for a while.
func TestDefect29ShutdownLetsCommandsFinish(t *testing.T) {
	s := newSite(t)
	c := s.login("")
	c.send("a APPEND INBOX {3}\r\n")
	c.expect("+ go ahead")
	stopped := make(chan struct{})
	go func() {
		s.stop()
		close(stopped)
	}()
	for { // the listener is closed first
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	c.send("abc\r\n")
	c.script("S: a OK [APPENDUID <*> 1] APPEND completed\nS: * BYE [UNAVAILABLE] localhost is shutting down")
	c.closed()
	<-stopped
}

func TestShutdownDoesNotWaitForever(t *testing.T) {
	s := newSite(t, func(srv *Server) { srv.Grace = 50 * time.Millisecond })
	c := s.login("")
	c.send("a APPEND INBOX {3}\r\n")
	c.expect("+ go ahead")
	s.stop()
	if n := s.files(); n != 0 {
		t.Errorf("%d files were left", n)
	}
}

// Sessions of one user share the account and hear of each other at once.
func TestSharedAccount(t *testing.T) {
	opened := make(chan struct{}, 10)
	s := newSite(t, func(srv *Server) {
		open := srv.OpenAccount
		srv.OpenAccount = func(ctx context.Context, user string) (*store.Account, error) {
			opened <- struct{}{}
			return open(ctx, user)
		}
	})
	a, b := s.login("INBOX"), s.login("INBOX")
	a.do("APPEND INBOX {1+}\r\nx")
	b.script(`
		C: a FETCH 1:* UID
		S: * 1 EXISTS
		S: * 0 RECENT
		S: a BAD there are no messages
	`)
	if len(opened) != 1 {
		t.Errorf("opened %d times", len(opened))
	}
}

// Who is disabled is sent away, in whatever state.
func TestDisabledUsersAreSentAway(t *testing.T) {
	g := gate(t)
	s := newSite(t, withGate(g), func(srv *Server) { srv.AdmitEvery = time.Millisecond })
	waits, idles := s.dial(nil, strong), s.dial(nil, strong)
	waits.do("LOGIN alice secret")
	idles.do("LOGIN alice secret")
	idles.do("SELECT INBOX")
	idles.send("i IDLE\r\n")
	idles.expect("+ idling")
	if err := g.Users.Disable("alice"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{waits, idles} {
		c.expect("* BYE the user may not log in any more")
		c.closed()
	}
	s.dial(nil, "AUTH=PLAIN AUTH=LOGIN").script(`
		C: a LOGIN alice secret
		S: a NO [AUTHENTICATIONFAILED] user name or password is wrong
	`)
}

// The log names the app password.
func TestAppPasswordInTheLog(t *testing.T) {
	g := gate(t)
	password, err := g.Users.AddApp("alice", "phone")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, withGate(g))
	c := s.dial(nil, strong)
	c.do("LOGIN alice " + password)
	s.waitLog("msg=login remote=")
	s.waitLog("user=alice mechanism=LOGIN app=phone")
	c = s.dial(nil, strong)
	if line := c.scram("SCRAM-SHA-256-PLUS", scramClient(t, "alice", password, "").NewConversationWithChannelBinding(binding(t, c))); !strings.HasPrefix(line, "s OK ") {
		t.Errorf("got %q", line)
	}
	s.waitLog("user=alice mechanism=SCRAM-SHA-256-PLUS app=phone")
}
