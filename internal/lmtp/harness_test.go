package lmtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/internal/lda"
	"rtls/internal/testpki"
)

// stored is one message that a fake backend took.
type stored struct {
	env   lda.Envelope
	rcpts []lda.Recipient
	data  string
}

// fake is a backend that knows everybody but those whose address contains
// "unknown", and does with a message what its address asks for: "full" is a
// temporary failure behind the message, "deaf" one before it is read, "panic"
// panics behind it.
type fake struct {
	mu     sync.Mutex // guards what follows
	stored []stored
	copies int // successes reported

	hold chan struct{} // if not nil, deliveries wait for it behind the message
	held chan struct{} // receives when one waits
}

var _ Backend = (*fake)(nil)

func (f *fake) Resolve(_ context.Context, address string) (lda.Recipient, error) {
	if strings.Contains(address, "unknown") {
		return lda.Recipient{}, &lda.Error{Code: 550, Status: "5.1.1", Text: "no such user here"}
	}
	if strings.Contains(address, "broken") {
		return lda.Recipient{}, errors.New("open /etc/secret: permission denied")
	}
	return lda.Recipient{Address: address, User: address}, nil
}

func (f *fake) Deliver(ctx context.Context, env lda.Envelope, rcpts []lda.Recipient, msg io.Reader) []error {
	results := make([]error, len(rcpts))
	all := func(err error) []error {
		for i := range results {
			results[i] = err
		}
		return results
	}
	if strings.Contains(rcpts[0].Address, "deaf") {
		return all(errors.New("disk on fire"))
	}
	data, err := io.ReadAll(msg)
	if err != nil {
		return all(err)
	}
	if f.hold != nil {
		f.held <- struct{}{}
		select {
		case <-f.hold:
		case <-ctx.Done():
			return all(ctx.Err())
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored = append(f.stored, stored{env, rcpts, string(data)})
	for i, r := range rcpts {
		switch {
		case strings.Contains(r.Address, "full"):
			results[i] = &lda.Error{Code: 452, Status: "4.2.2", Text: "mailbox is full, try again later"}
		case strings.Contains(r.Address, "panic"):
			panic("a bug")
		default:
			f.copies++
		}
	}
	return results
}

func (f *fake) messages() []stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]stored(nil), f.stored...)
}

// testCA makes an authority and a server's configuration.
func testCA(t testing.TB) (*testpki.CA, *tls.Config) {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	return ca, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
}

// running is a server under test on a Unix socket.
type running struct {
	t    *testing.T
	ca   *testpki.CA
	addr string
	fake *fake
	stop context.CancelFunc
	done chan struct{} // closed when Serve has returned
	err  error         // of Serve, once done is closed
}

// start serves on a Unix socket. change may be nil.
func start(t *testing.T, change func(*Server)) *running {
	t.Helper()
	ca, config := testCA(t)
	r := &running{t: t, ca: ca, addr: filepath.Join(t.TempDir(), "lmtp"), fake: &fake{}, done: make(chan struct{})}
	server := &Server{Hostname: "localhost", TLS: config, Backend: r.fake, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(server)
	}
	l, err := net.Listen("unix", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.done)
		r.err = server.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		r.stop()
		<-r.done
		if r.err != nil {
			t.Error(r.err)
		}
	})
	return r
}

// client is the other side, driven line by line.
type client struct {
	t    *testing.T
	ca   *testpki.CA
	conn net.Conn
	r    *bufio.Reader
}

func (r *running) dial() *client {
	r.t.Helper()
	conn, err := net.Dial("unix", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	c := &client{t: r.t, ca: r.ca}
	c.use(conn)
	return c
}

func (c *client) use(conn net.Conn) {
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("send %.60q: %v", s, err)
	}
}

// expect reads a line for each pattern. A "*" at a pattern's end stands for
// anything.
func (c *client) expect(patterns ...string) {
	c.t.Helper()
	for _, p := range patterns {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("expected %q: %v", p, err)
		}
		got, ok := strings.CutSuffix(line, "\r\n")
		if prefix, open := strings.CutSuffix(p, "*"); open {
			ok = ok && strings.HasPrefix(got, prefix)
		} else {
			ok = ok && got == p
		}
		if !ok {
			c.t.Fatalf("got %q, expected %q", line, p)
		}
	}
}

// expectEnd makes sure that the server says nothing more and closes.
func (c *client) expectEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Fatalf("expected the end, got %q and %v", rest, err)
	}
}

// hello reads the greeting and says LHLO. It returns the lines of the reply.
func (c *client) hello() []string {
	c.t.Helper()
	c.expect("220 localhost LMTP *")
	return c.lhlo()
}

func (c *client) lhlo() []string {
	c.t.Helper()
	c.send("LHLO client.example\r\n")
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(line[4:]))
		if strings.HasPrefix(line, "250 ") {
			return lines
		}
		if !strings.HasPrefix(line, "250-") {
			c.t.Fatalf("reply to LHLO: %q", line)
		}
	}
}

func (c *client) startTLS() {
	c.t.Helper()
	c.send("STARTTLS\r\n")
	c.expect("220 2.0.0 *")
	conn := tls.Client(c.conn, &tls.Config{RootCAs: c.ca.Pool(), ServerName: "localhost"})
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.use(conn)
}

// secure is hello, STARTTLS and LHLO again.
func (c *client) secure() []string {
	c.t.Helper()
	c.hello()
	c.startTLS()
	return c.lhlo()
}

// talk runs a script: lines that begin with "C: " are sent, with "S: " expected.
// Others, but for empty ones, are mistakes.
func (c *client) talk(script string) {
	c.t.Helper()
	for line := range strings.Lines(script) {
		line = strings.Trim(line, "\t\n")
		switch {
		case strings.HasPrefix(line, "C: "):
			c.send(line[3:] + "\r\n")
		case strings.HasPrefix(line, "S: "):
			c.expect(line[3:])
		case line != "":
			c.t.Fatalf("script line %q", line)
		}
	}
}

// transcript is a connection whose client has said everything beforehand.
type transcript struct {
	in  io.Reader
	out bytes.Buffer
}

var _ net.Conn = (*transcript)(nil)

func (tr *transcript) Read(p []byte) (int, error)       { return tr.in.Read(p) }
func (tr *transcript) Write(p []byte) (int, error)      { return tr.out.Write(p) }
func (tr *transcript) Close() error                     { return nil }
func (tr *transcript) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (tr *transcript) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (tr *transcript) SetDeadline(time.Time) error      { return nil }
func (tr *transcript) SetReadDeadline(time.Time) error  { return nil }
func (tr *transcript) SetWriteDeadline(time.Time) error { return nil }

func (s stored) String() string {
	return fmt.Sprintf("from %q to %d, %d octets", s.env.Sender, len(s.rcpts), len(s.data))
}
