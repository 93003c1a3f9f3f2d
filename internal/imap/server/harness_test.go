package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/internal/auth"
	"rtls/internal/testpki"
	"rtls/store"
)

// site is a server with one user, alice, whose password is secret.
type site struct {
	t       testing.TB
	ca      *testpki.CA
	addr    string
	dir     string         // of alice's account
	account *store.Account // a second handle on it, as another process would have
	log     *logBuffer
	server  *Server
	wrap    func(net.Listener) net.Listener // nil for a plain listener
	stop    func()                          // ends the server and waits for it
}

var testCA = sync.OnceValues(testpki.New)

// passwords is an Authenticator.
type passwords map[string]string

func (passwords) Mechanisms(auth.Peer) []string { return []string{auth.Plain, auth.PlainTwo} }

func (p passwords) Login(_ context.Context, _ auth.Peer, name, password string) (auth.Login, error) {
	login := auth.Login{User: name, Mechanism: auth.PlainTwo}
	if want, ok := p[name]; !ok || want != password {
		return login, auth.ErrCredentials
	}
	return login, nil
}

func (p passwords) Admits(string) (bool, error) { return true, nil }

func (p passwords) Start(peer auth.Peer, mechanism string) auth.Exchange {
	return auth.NewPlain(mechanism, func(ctx context.Context, user, password string) (auth.Login, error) {
		return p.Login(ctx, peer, user, password)
	})
}

func newSite(t testing.TB, configure ...func(*Server)) *site {
	t.Helper()
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost", "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, ca: ca, dir: filepath.Join(t.TempDir(), "alice"), log: &logBuffer{}}
	if err := store.Create(s.dir, nil); err != nil {
		t.Fatal(err)
	}
	if s.account, err = store.Open(s.dir, nil); err != nil {
		t.Fatal(err)
	}
	server := &Server{
		Hostname: "localhost",
		TLS:      &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true},
		Auth:     passwords{"alice": "secret", "ghost": "secret"},
		OpenAccount: func(_ context.Context, user string) (*store.Account, error) {
			return store.Open(filepath.Join(filepath.Dir(s.dir), user), nil)
		},
		Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	}
	for _, f := range configure {
		f(server)
	}
	s.server = server
	s.start()
	t.Cleanup(func() {
		s.stop()
		if err := s.account.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(s.log.String(), "msg=panic") {
			t.Errorf("the server panicked:\n%s", s.log)
		}
	})
	return s
}

func (s *site) start() {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	if s.wrap != nil {
		l = s.wrap(l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.server.Serve(ctx, l) }() // stop waits for it
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

func (s *site) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// logBuffer may be read while it is written.
type logBuffer struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var testDate = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// deliver delivers a message the way rtls-lda does.
func (s *site) deliver(mailbox, raw string, meta store.Meta) {
	s.t.Helper()
	if meta.Tag == store.TagUnknown && meta.Origin == store.OriginUnknown {
		meta.Tag = store.TagNone
	}
	if meta.Date.IsZero() {
		meta.Date = testDate
	}
	d, err := s.account.Deliver(context.Background(), mailbox)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(d, raw); err != nil {
		s.t.Fatal(err)
	}
	if _, err := d.Commit(meta); err != nil {
		s.t.Fatal(err)
	}
}

// deliverN delivers n small messages with the subjects 1 to n, one after the
// other so that UIDs are in their order.
func (s *site) deliverN(n int) {
	s.t.Helper()
	for i := range n {
		s.deliver("INBOX", message(i+1), store.Meta{})
		s.sync("INBOX")
	}
}

func (s *site) sync(mailbox string) {
	s.t.Helper()
	m, err := s.account.Mailbox(context.Background(), mailbox)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// box opens a mailbox through the other handle.
func (s *site) box(mailbox string) *store.Mailbox {
	s.t.Helper()
	m, err := s.account.Mailbox(context.Background(), mailbox)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { m.Close() })
	return m
}

func message(n int) string {
	return fmt.Sprintf("From: Bob <bob@example.com>\r\nTo: alice@example.org\r\nSubject: message %d\r\nDate: Sat, 14 Mar 2026 15:09:%02d +0000\r\nMessage-ID: <%d@example.com>\r\n\r\nbody %d\r\n", n, n%60, n, n)
}

// client is the other end of a dialogue.
type client struct {
	t    testing.TB
	conn *tls.Conn
	r    *bufio.Reader
	w    io.Writer
}

// offered is what passwords offers.
const offered = "AUTH=PLAIN AUTH=LOGIN"

// connect returns a client that has read the greeting.
func (s *site) connect() *client {
	s.t.Helper()
	c := s.dialRaw(nil)
	c.expect(`* OK [CAPABILITY IMAP4rev1 IMAP4rev2 ` + offered + ` SASL-IR LITERAL+ ID ENABLE] localhost rtls-imapd ready`)
	return c
}

// dialRaw returns a client that has read nothing yet. config may be nil, and lack what
// verifies the server.
func (s *site) dialRaw(config *tls.Config) *client {
	s.t.Helper()
	full := config.Clone()
	if full == nil {
		full = &tls.Config{}
	}
	full.RootCAs, full.ServerName = s.ca.Pool(), "localhost"
	conn, err := tls.Dial("tcp", s.addr, full)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &client{s.t, conn, bufio.NewReader(conn), conn}
}

// login returns a client that has logged in, and selected a mailbox unless that
// is empty.
func (s *site) login(mailbox string) *client {
	s.t.Helper()
	c := s.connect()
	c.do("LOGIN alice secret")
	if mailbox != "" {
		c.do("SELECT " + mailbox)
	}
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.w, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", line, err)
	}
	return line
}

// wildcards are "<*>" in an expected line: letters, digits and what is in dates.
func pattern(want string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(want)
	return regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(quoted, `<\*>`, `[-+:.A-Za-z0-9 ]+`) + `\r\n\z`)
}

func (c *client) expect(want string) {
	c.t.Helper()
	if got := c.line(); !pattern(want).MatchString(got) {
		c.t.Fatalf("\n got %q\nwant %q", got, want)
	}
}

// closed expects the end of the stream.
func (c *client) closed() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Fatalf("got %q, %v in place of the end", rest, err)
	}
}

// text sends a command and returns the tagged reply without the tag.
func (c *client) text(cmd string) string {
	c.t.Helper()
	c.send("text " + cmd + "\r\n")
	for {
		if rest, ok := strings.CutPrefix(c.line(), "text "); ok {
			return rest
		}
	}
}

// do sends a command, expects OK and returns the lines before that.
func (c *client) do(cmd string) []string {
	c.t.Helper()
	c.send("do " + cmd + "\r\n")
	var lines []string
	for {
		line := c.line()
		if rest, ok := strings.CutPrefix(line, "do "); ok {
			if !strings.HasPrefix(rest, "OK ") {
				c.t.Fatalf("%s: %s", cmd, line)
			}
			return lines
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
	}
}

// script runs a dialogue: lines that begin with "C: " are sent, those with "S: "
// expected. Both end in CRLF on the wire.
func (c *client) script(dialogue string) {
	c.t.Helper()
	for line := range strings.Lines(dialogue) {
		line = strings.TrimLeft(strings.TrimRight(line, "\n"), "\t")
		switch {
		case line == "":
		case strings.HasPrefix(line, "C: "):
			c.send(line[3:] + "\r\n")
		case strings.HasPrefix(line, "S: "):
			c.expect(line[3:])
		case line == "C:":
			c.send("\r\n")
		case line == "S:":
			c.expect("")
		default:
			c.t.Fatalf("neither C nor S: %s", line)
		}
	}
}

// selectLines are the answer to SELECT of a mailbox without keywords.
const (
	flagsLine     = `S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $RequireTLSUnknown $RequireTLS $TLSOptional)`
	permanentLine = `S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded \*)] flags permitted`
)
