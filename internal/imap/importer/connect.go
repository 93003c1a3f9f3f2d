package importer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

const (
	dialTimeout = 30 * time.Second
	silence     = 2 * time.Minute
)

func connect(ctx context.Context, cfg *Config) (*client, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	c := &client{ctx: ctx, conn: &patientConn{Conn: raw, silence: cfg.Silence}}
	c.stop = context.AfterFunc(ctx, func() { raw.Close() })
	c.busy(true)
	defer c.busy(false)
	err = c.start(cfg)
	if err == nil {
		err = c.logIn(cfg)
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("connect to %s: %w", cfg.Addr, c.explain(err))
	}
	return c, nil
}

// start brings the connection to where the client can log in.
func (c *client) start(cfg *Config) error {
	greeting := ""
	if cfg.StartTLS {
		if err := askForTLS(c.conn); err != nil {
			return err
		}
		greeting = "* OK\r\n" // there is none behind STARTTLS, and the library waits for one
	}
	conn := tls.Client(c.conn, cfg.TLS)
	if err := conn.HandshakeContext(c.ctx); err != nil {
		if cutOff(err) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrTLS, err)
	}
	c.old = &oldConn{Conn: conn, r: io.MultiReader(strings.NewReader(greeting), conn)}
	c.Client = imapclient.New(c.old, nil)
	return c.WaitGreeting()
}

// cutOff says that it was not TLS that has failed, but what is below.
func cutOff(err error) bool {
	_, system := errors.AsType[syscall.Errno](err)
	return system || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)
}

// askForTLS says STARTTLS, and nothing else. What the other side says before TLS is
// believed in nothing but that TLS may begin; what comes behind that ends it.
func askForTLS(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 4096)
	greeting, err := readLine(in)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(strings.ToUpper(greeting), "* OK") {
		return fmt.Errorf("the server greets with %.100q", greeting)
	}
	if _, err := io.WriteString(conn, "a STARTTLS\r\n"); err != nil {
		return err
	}
	const most = 10 // of lines that it may say before the answer
	for range most {
		line, err := readLine(in)
		if err != nil {
			return err
		}
		switch upper := strings.ToUpper(line); {
		case strings.HasPrefix(upper, "* ") && !strings.HasPrefix(upper, "* BYE"):
			continue
		case !strings.HasPrefix(upper, "A OK"):
			return fmt.Errorf("%w: the server does not begin it: %.100q", ErrTLS, line)
		case in.Buffered() > 0:
			return fmt.Errorf("%w: the server goes on in clear behind STARTTLS", ErrTLS)
		}
		return nil
	}
	return errors.New("the server does not answer STARTTLS")
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// logIn logs in, and asks what the server can do for who has.
func (c *client) logIn(cfg *Config) error {
	caps, err := c.Capability().Wait()
	if err != nil {
		return err
	}
	if c.State() == imap.ConnStateNotAuthenticated {
		if caps.Has(imap.AuthCap(sasl.Plain)) {
			err = c.Authenticate(sasl.NewPlainClient("", cfg.Login, cfg.Password))
		} else {
			err = c.Login(cfg.Login, cfg.Password).Wait()
		}
		if refused(err) {
			return fmt.Errorf("%w: %w", refusal(err), err)
		}
		if err != nil {
			return err
		}
	}
	_, err = c.Capability().Wait()
	c.old.known.Store(true)
	return err
}

// refusal tells a login that is refused from one that is not possible now.
func refusal(err error) error {
	answer, _ := errors.AsType[*imap.Error](err)
	switch answer.Code {
	case imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeLimit, imap.ResponseCodeServerBug:
		return ErrBroken // RFC 5530
	}
	return ErrLogin
}

// oldConn makes a server one of IMAP4rev1: until its capabilities are known, it hides
// that it knows IMAP4rev2, too. To a server that does, the library writes names of
// mailboxes in UTF-8 without having said so (ENABLE), and once it has, with "&-" for "&".
type oldConn struct {
	net.Conn
	r     io.Reader // what is read of it
	held  []byte    // read and not handed on
	known atomic.Bool
}

var (
	rev1 = []byte("IMAP4rev1")
	rev2 = []byte("IMAP4rev2")
)

func (o *oldConn) Read(p []byte) (int, error) {
	for {
		known := o.known.Load()
		if known && len(o.held) == 0 {
			return o.r.Read(p)
		}
		ready := len(o.held)
		if !known {
			o.held = bytes.ReplaceAll(o.held, rev2, rev1)
			ready -= startOf(o.held, rev2)
		}
		if ready > 0 {
			n := copy(p, o.held[:ready])
			o.held = o.held[n:]
			return n, nil
		}
		buf := make([]byte, 1024)
		n, err := o.r.Read(buf)
		o.held = append(o.held, buf[:n]...)
		if n == 0 && err != nil {
			return 0, err // what is held is the start of a word
		}
	}
}

// startOf is the length of the end of b that word starts with.
func startOf(b, word []byte) int {
	for n := min(len(b), len(word)-1); n > 0; n-- {
		if bytes.HasPrefix(word, b[len(b)-n:]) {
			return n
		}
	}
	return 0
}

// patientConn gives every read the same time while an answer is waited for, and no
// limit otherwise. The library's own deadlines are for a whole message, however large
// it is, and end when nothing is asked.
type patientConn struct {
	net.Conn
	silence time.Duration

	mu      sync.Mutex // guards what follows, and the order of deadlines
	waiting bool
}

var _ net.Conn = (*patientConn)(nil)

func (p *patientConn) wait(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = on
	p.extend()
}

// extend must be called with mu held.
func (p *patientConn) extend() {
	deadline := time.Time{}
	if p.waiting {
		deadline = time.Now().Add(p.silence)
	}
	_ = p.Conn.SetReadDeadline(deadline) // a closed connection says so when it is read
}

func (p *patientConn) Read(b []byte) (int, error) {
	p.mu.Lock()
	p.extend()
	p.mu.Unlock()
	return p.Conn.Read(b)
}

// SetReadDeadline does nothing: see above.
func (p *patientConn) SetReadDeadline(time.Time) error { return nil }

// SetDeadline sets that for writing.
func (p *patientConn) SetDeadline(t time.Time) error { return p.Conn.SetWriteDeadline(t) }
