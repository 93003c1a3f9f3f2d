package importer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

const (
	dialTimeout = 30 * time.Second
	silence     = 2 * time.Minute
)

// client is a connection that is logged in.
type client struct {
	*imapclient.Client
	ctx  context.Context // that of connect: why reading has ended
	conn *patientConn
	stop func() bool
}

func connect(ctx context.Context, cfg *Config) (*client, error) {
	if cfg.Silence == 0 {
		cfg.Silence = silence
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	c := &client{ctx: ctx, conn: &patientConn{Conn: raw, silence: cfg.Silence}}
	c.stop = context.AfterFunc(ctx, func() { raw.Close() })
	c.busy(true)
	defer c.busy(false)
	if err := c.start(cfg); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// start brings the connection to where mailboxes can be listed. Nothing but STARTTLS is
// said before TLS, and nothing that was heard before it counts.
func (c *client) start(cfg *Config) (err error) {
	if cfg.StartTLS {
		c.Client, err = imapclient.NewStartTLS(c.conn, &imapclient.Options{TLSConfig: cfg.TLS})
	} else {
		conn := tls.Client(c.conn, cfg.TLS)
		if err = conn.HandshakeContext(c.ctx); err == nil {
			c.Client = imapclient.New(conn, nil)
			err = c.WaitGreeting()
		}
	}
	if err != nil {
		return fmt.Errorf("connect to %s: %w", cfg.Addr, c.explain(err))
	}
	caps, err := c.Capability().Wait()
	if err == nil && c.State() == imap.ConnStateNotAuthenticated {
		if caps.Has(imap.AuthCap(sasl.Plain)) {
			err = c.Authenticate(sasl.NewPlainClient("", cfg.Login, cfg.Password))
		} else {
			err = c.Login(cfg.Login, cfg.Password).Wait()
		}
		if refused(err) {
			return fmt.Errorf("%w: %w", ErrLogin, err)
		}
	}
	if err == nil { // some servers offer more behind the login
		_, err = c.Capability().Wait()
	}
	if err != nil {
		return fmt.Errorf("log in: %w", c.explain(err))
	}
	return nil
}

// busy says whether an answer is waited for, which has to come in time then.
func (c *client) busy(on bool) { c.conn.wait(on) }

// explain makes an error of the connection ErrBroken, unless the server has answered or
// we were told to stop.
func (c *client) explain(err error) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	var verify *tls.CertificateVerificationError
	if err == nil || refused(err) || errors.As(err, &verify) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

func (c *client) close() {
	c.stop()
	c.conn.Close()
	if c.Client != nil {
		<-c.Closed()
	}
}

func (c *client) logout() {
	c.busy(true)
	_ = c.Logout().Wait() // all is done: whatever it says
}

func (c *client) examine(mailbox string) (*imap.SelectData, error) {
	c.busy(true)
	defer c.busy(false)
	data, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	return data, c.explain(err)
}

// list lists the messages of the mailbox.
func (c *client) list() ([]message, error) {
	c.busy(true)
	defer c.busy(false)
	var all imap.UIDSet
	all.AddRange(1, 0)
	cmd := c.Fetch(all, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true})
	var list []message
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		var m message
		for item := data.Next(); item != nil; item = data.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				m.uid = item.UID
			case imapclient.FetchItemDataFlags:
				m.flags = item.Flags
			case imapclient.FetchItemDataInternalDate:
				m.date = item.Time
			case imapclient.FetchItemDataRFC822Size:
				m.size = item.Size
			}
		}
		if m.uid != 0 {
			list = append(list, m)
		}
	}
	return list, c.explain(cmd.Close())
}

// exists says whether the mailbox still has a message.
func (c *client) exists(uid imap.UID) (bool, error) {
	c.busy(true)
	defer c.busy(false)
	if err := c.Noop().Wait(); err != nil { // it may not tell before
		return false, c.explain(err)
	}
	var uids imap.UIDSet
	uids.AddNum(uid)
	data, err := c.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{uids}}, nil).Wait()
	if err != nil {
		return false, c.explain(err)
	}
	return len(data.AllUIDs()) > 0, nil
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

// copyBody tells errors of reading from those of writing.
func copyBody(w io.Writer, r io.Reader) (n int64, readErr, err error) {
	in := &errReader{r: r}
	n, err = io.Copy(w, in)
	if in.err != nil {
		return n, in.err, nil
	}
	return n, nil, err
}

type errReader struct {
	r   io.Reader
	err error
}

func (e *errReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}
