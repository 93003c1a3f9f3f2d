package lmtp

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
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"rtls/internal/cli"
	"rtls/internal/lda"
)

const (
	readBuffer = 32 << 10
	maxLine    = 8 << 10 // RFC 5321 asks for 512, extensions for some more
	maxBad     = 50      // protocol errors until the connection is closed
	writeLimit = 30 * time.Second
)

// conn is one client's connection. All of it but what mu guards belongs to the
// goroutine that runs serve.
type conn struct {
	cfg     *Server
	work    context.Context // ends when deliveries have to
	raw     net.Conn
	private bool     // nobody but this machine can listen in
	local   bool     // the client is a process of one of cfg.LocalUsers
	rw      net.Conn // raw, or TLS on top of it
	tls     *tls.ConnectionState
	r       *bufio.Reader
	w       *bufio.Writer

	client string // what LHLO said; empty before it
	tx     *transaction
	bad    int
	dataBy time.Time // not zero: a message is being read and ends by then

	mu       sync.Mutex // guards what follows
	waiting  bool       // for a command
	stopping bool
}

func newConn(cfg *Server, work context.Context, raw net.Conn) *conn {
	c := &conn{cfg: cfg, work: work, raw: raw, private: true}
	if addr, ok := raw.LocalAddr().(*net.TCPAddr); ok {
		c.private = addr.IP.IsLoopback()
	}
	if uid, ok := peerUser(raw); ok {
		c.local = slices.Contains(cfg.LocalUsers, uid)
	}
	c.use(raw)
	return c
}

func (c *conn) use(rw net.Conn) {
	c.rw = rw
	c.r = bufio.NewReaderSize(stream{c}, readBuffer)
	c.w = bufio.NewWriter(rw)
}

// stream is the reading side below the buffer: it sends pending replies before it
// waits for the client.
type stream struct{ c *conn }

func (s stream) Read(p []byte) (int, error) {
	c := s.c
	if err := c.flush(); err != nil {
		return 0, err
	}
	if !c.dataBy.IsZero() {
		by := time.Now().Add(c.cfg.DataTimeout)
		if by.After(c.dataBy) {
			by = c.dataBy
		}
		if err := c.raw.SetReadDeadline(by); err != nil {
			return 0, err
		}
	}
	return c.rw.Read(p)
}

func (c *conn) flush() error {
	if c.w.Buffered() == 0 {
		return nil
	}
	if err := c.raw.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	return c.w.Flush()
}

// turnAway refuses a connection without serving it.
func (c *conn) turnAway() {
	_ = c.raw.SetWriteDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(c.raw, "421 4.3.2 %s too busy, try again later\r\n", c.cfg.Hostname)
	c.raw.Close()
}

// stop makes a connection end as soon as it waits for a command.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.waiting {
		_ = c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

var errStopping = errors.New("server is shutting down")

// await prepares for a command line.
func (c *conn) await() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return errStopping
	}
	c.waiting = true
	return c.raw.SetReadDeadline(time.Now().Add(c.cfg.IdleTimeout))
}

// awaited says whether the wait ended because of stop.
func (c *conn) awaited() (stopping bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	return c.stopping
}

// serve runs the dialogue to its end and closes the connection.
func (c *conn) serve() {
	defer func() { _ = c.rw.Close() }() // inside TLS it says close_notify first
	defer func() {
		if v := recover(); v != nil {
			c.cfg.Logger.Error("panic", "remote", c.remote(), "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			c.reply(421, "4.3.0", "internal error")
			_ = c.flush()
		}
	}()
	// RFC 2034 section 4: no enhanced status code in the greeting.
	fmt.Fprintf(c.w, "220 %s LMTP rtls-lda ready\r\n", c.cfg.Hostname)
	for more := true; more; {
		var line string
		var err error
		if line, err = c.readLine(); err != nil {
			c.farewell(err)
			break
		}
		more = c.command(line)
	}
	_ = c.flush() // the client may be gone; every reply that counted was preceded by a commit
}

func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errStopping):
		c.reply(421, "4.3.2", "%s is shutting down", c.cfg.Hostname)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.reply(421, "4.4.2", "%s waited too long", c.cfg.Hostname)
	case errors.Is(err, errBadChunk):
		c.reply(501, "5.5.4", "say BDAT, a size and perhaps LAST")
	case errors.Is(err, errTooBad):
		c.reply(421, "4.7.0", "too many errors")
	}
	if err != io.EOF { // between commands: a client that spares itself QUIT
		c.cfg.Logger.Info("connection ended", "remote", c.remote(), "err", err)
	}
}

var errTooBad = errors.New("too many protocol errors")

// readLine returns the next command line without its CRLF. Lines that cannot be
// a command are answered here.
func (c *conn) readLine() (string, error) {
	for {
		if c.bad > maxBad {
			return "", errTooBad
		}
		if err := c.await(); err != nil {
			return "", err
		}
		c.dataBy = time.Time{}
		line, whole, err := c.rawLine()
		stopping := c.awaited()
		if err != nil {
			if stopping && errors.Is(err, os.ErrDeadlineExceeded) {
				err = errStopping
			}
			return "", err
		}
		switch {
		case !whole:
			c.wrong(500, "5.5.2", "line too long")
		case !bytes.HasSuffix(line, []byte("\r\n")):
			c.wrong(500, "5.5.2", "a line ends in CR LF")
		case bytes.ContainsFunc(line[:len(line)-2], func(r rune) bool { return r < ' ' || r == 0x7f }):
			c.wrong(500, "5.5.2", "control character in a command")
		default:
			return string(line[:len(line)-2]), nil
		}
	}
}

// rawLine reads up to a line feed. Of a line that is too long it returns the
// beginning, but reads all.
func (c *conn) rawLine() (line []byte, whole bool, err error) {
	line, err = c.r.ReadSlice('\n')
	whole = len(line) <= maxLine
	for errors.Is(err, bufio.ErrBufferFull) {
		whole = false
		_, err = c.r.ReadSlice('\n')
	}
	return line, whole, err
}

// reply queues a reply. It is sent when the server next waits for the client.
func (c *conn) reply(code int, status, format string, args ...any) {
	text := cli.Printable(fmt.Sprintf(format, args...))
	fmt.Fprintf(c.w, "%d %s %.400s\r\n", code, status, text)
}

// wrong is reply for what a correct client does not do.
func (c *conn) wrong(code int, status, format string, args ...any) {
	c.bad++
	c.reply(code, status, format, args...)
}

func (c *conn) replyError(err error) {
	e := lda.Classify(err)
	c.reply(e.Code, e.Status, "%s", e.Text)
}

// remote describes where the client is, as a Received field may say it.
func (c *conn) remote() string {
	addr, ok := c.raw.RemoteAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return c.raw.RemoteAddr().Network()
	case addr.IP.To4() != nil:
		return "[" + addr.IP.String() + "]"
	}
	return "[IPv6:" + addr.IP.String() + "]"
}

// startTLS follows RFC 3207. Whatever the client sent in clear behind the command
// is dropped unread (section 6), and everything it said before is forgotten. When
// the handshake fails there is nothing left to say in clear.
func (c *conn) startTLS() bool {
	c.reply(220, "2.0.0", "go ahead")
	if err := c.flush(); err != nil {
		return false
	}
	c.client, c.tx = "", nil
	ctx, cancel := context.WithTimeout(c.work, c.cfg.HandshakeTimeout)
	defer cancel()
	if err := c.raw.SetDeadline(time.Now().Add(c.cfg.HandshakeTimeout)); err != nil {
		return false
	}
	t := tls.Server(c.raw, c.cfg.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		c.cfg.Logger.Warn("TLS handshake failed", "remote", c.remote(), "err", err)
		return false
	}
	state := t.ConnectionState()
	c.tls = &state
	c.use(t) // a new buffer: the old one with what is in it is gone
	return true
}
