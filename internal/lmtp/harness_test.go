package lmtp

import (
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
	"rtls/internal/lmtptest"
	"rtls/internal/testpki"
)

// stored is one message that a fake backend took.
type stored struct {
	env     lda.Envelope
	rcpts   []lda.Recipient
	results []error
	data    string
}

// fake is a backend that knows everybody but those whose address contains
// "unknown", and does with a message what its address asks for: "full" is a
// temporary failure behind the message, "deaf" one before it is read, "panic"
// panics behind it.
type fake struct {
	mu     sync.Mutex // guards what follows
	stored []stored
	copies int // successes reported

	discard bool // messages are not kept

	hold chan struct{} // if not nil, deliveries wait for it behind the message
	held chan struct{} // receives when one waits
}

var (
	_ Backend  = (*fake)(nil)
	_ Admitter = (*fake)(nil)
)

func (f *fake) Resolve(_ context.Context, address string) (lda.Recipient, error) {
	if strings.Contains(address, "unknown") {
		return lda.Recipient{}, &lda.Error{Code: 550, Status: "5.1.1", Text: "no such user here"}
	}
	if strings.Contains(address, "broken") {
		return lda.Recipient{}, errors.New("open /etc/secret: permission denied")
	}
	return lda.Recipient{Address: address, User: address}, nil
}

// Admit has room for 1000 octets where an address asks for it.
func (f *fake) Admit(_ context.Context, r lda.Recipient, size int64) error {
	if strings.Contains(r.Address, "small") && size > 1000 {
		return &lda.Error{Code: 452, Status: "4.2.2", Text: "mailbox is full, try again later"}
	}
	return nil
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
	if f.discard {
		_, err := io.Copy(io.Discard, msg)
		return all(err)
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
	f.stored = append(f.stored, stored{env, rcpts, results, string(data)})
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

func (r *running) dial() *lmtptest.Client {
	r.t.Helper()
	return lmtptest.Dial(r.t, "unix", r.addr, &tls.Config{RootCAs: r.ca.Pool(), ServerName: "localhost"})
}

// hello is a client that has said LHLO.
func (r *running) hello() *lmtptest.Client {
	r.t.Helper()
	c := r.dial()
	c.Hello()
	return c
}

// secure is a client that has said LHLO, STARTTLS and LHLO again.
func (r *running) secure() *lmtptest.Client {
	r.t.Helper()
	c := r.hello()
	c.StartTLS().LHLO()
	return c
}

// transcript is a connection whose client has said everything beforehand.
type transcript struct {
	in            io.Reader
	out           bytes.Buffer
	reads, writes int
}

var _ net.Conn = (*transcript)(nil)

func (tr *transcript) Read(p []byte) (int, error)       { tr.reads++; return tr.in.Read(p) }
func (tr *transcript) Write(p []byte) (int, error)      { tr.writes++; return tr.out.Write(p) }
func (tr *transcript) Close() error                     { return nil }
func (tr *transcript) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (tr *transcript) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (tr *transcript) SetDeadline(time.Time) error      { return nil }
func (tr *transcript) SetReadDeadline(time.Time) error  { return nil }
func (tr *transcript) SetWriteDeadline(time.Time) error { return nil }

func (s stored) String() string {
	return fmt.Sprintf("from %q to %d, %d octets", s.env.Sender, len(s.rcpts), len(s.data))
}
