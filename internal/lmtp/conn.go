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
	"rtls/internal/unixsock"
)

const (
	readBuffer = 32 << 10
	maxReplies = 64 << 10 // octets of replies that wait for a client to stop talking
	maxLine    = 8 << 10  // RFC 5321 asks for 512, extensions for some more
	maxRcpts   = 1 << 20  // octets of addresses in a transaction
	maxBad     = 50       // protocol errors until the connection is closed
	linger     = time.Second
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

	replies bytes.Buffer // not sent yet
	lost    error        // why replies can no longer be sent

	client string // what LHLO said; empty before it
	tx     *transaction
	bad    int
	dataBy time.Time // not zero: a message is being read and ends by then

	mu       sync.Mutex // guards what follows
	waiting  bool       // for a command
	stopping bool       // no command is read any more
	deaf     bool       // nor anything else
}

func newConn(cfg *Server, work context.Context, raw net.Conn) *conn {
	c := &conn{cfg: cfg, work: work, raw: raw, private: true}
	if addr, ok := raw.LocalAddr().(*net.TCPAddr); ok {
		c.private = addr.IP.IsLoopback()
	}
	if uid, ok := unixsock.PeerUID(raw); ok {
		c.local = slices.Contains(cfg.LocalUsers, uid)
	}
	c.use(raw)
	return c
}

func (c *conn) use(rw net.Conn) {
	c.rw = rw
	c.r = bufio.NewReaderSize(stream{c}, readBuffer)
}

// stream is the reading side below the buffer: it sends pending replies before it
// waits for the client, and so answers in one write all that came in one piece.
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
		if err := c.readBy(by); err != nil {
			return 0, err
		}
	}
	n, err := c.rw.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && c.readBy(past) != nil {
		err = errStopping
	}
	return n, err
}

// flush sends what is pending. A client that does not take it within
// WriteTimeout is not spoken to again.
func (c *conn) flush() error {
	if c.lost != nil || c.replies.Len() == 0 {
		return c.lost
	}
	if c.lost = c.raw.SetWriteDeadline(time.Now().Add(c.cfg.WriteTimeout)); c.lost == nil {
		_, c.lost = c.rw.Write(c.replies.Bytes())
	}
	c.replies.Reset()
	return c.lost
}

// readBy sets the deadline for reading, unless reading is over.
func (c *conn) readBy(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf {
		return errStopping
	}
	return c.raw.SetReadDeadline(t)
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
		_ = c.raw.SetReadDeadline(past)
	}
}

// stopReading makes a connection end even in the middle of a message. Whoever is
// being answered still gets the answer: it may say that a message was stored.
func (c *conn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping, c.deaf = true, true
	_ = c.raw.SetReadDeadline(past)
}

var past = time.Unix(1, 0)

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
	defer c.close()
	defer func() {
		if v := recover(); v != nil {
			c.cfg.Logger.Error("panic", "remote", c.remote(), "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			c.reply(421, "4.3.0", "internal error")
		}
	}()
	// RFC 2034 section 4: no enhanced status code in the greeting.
	c.say("220 %s LMTP rtls-lda ready\r\n", c.cfg.Hostname)
	for more := true; more; {
		var line string
		var err error
		if line, err = c.readLine(); err != nil {
			c.farewell(err)
			break
		}
		more = c.command(line)
	}
}

// close sends what is pending and ends the connection. A TCP socket that is closed
// with octets unread takes back replies that are still on their way, and with
// them perhaps the news that a message was stored: so the client first gets a
// moment to see the end and to close its side.
func (c *conn) close() {
	defer func() { _ = c.rw.Close() }() // inside TLS it says close_notify first
	tcp, ok := c.raw.(*net.TCPConn)
	if c.flush() != nil || !ok { // the client may be gone; every reply that counted was preceded by a commit
		return
	}
	if t, ok := c.rw.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	if tcp.CloseWrite() == nil && tcp.SetReadDeadline(time.Now().Add(linger)) == nil {
		_, _ = io.Copy(io.Discard, tcp)
	}
}

func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errStopping):
		c.reply(421, "4.3.2", "%s is shutting down", c.cfg.Hostname)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.reply(421, "4.4.2", "%s waited too long", c.cfg.Hostname)
	case errors.Is(err, errBadChunk):
		c.reply(501, "5.5.4", "say BDAT, a size and perhaps LAST; closing, since what follows may be content")
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
	c.say("%d %s %.400s\r\n", code, status, text)
}

// say queues what has no status code, too.
func (c *conn) say(format string, args ...any) {
	fmt.Fprintf(&c.replies, format, args...)
	if c.replies.Len() > maxReplies {
		_ = c.flush() // c.lost keeps the error
	}
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
	c.client, c.tx, c.dataBy = "", nil, time.Time{}
	ctx, cancel := context.WithTimeout(c.work, c.cfg.HandshakeTimeout)
	defer cancel()
	by := time.Now().Add(c.cfg.HandshakeTimeout)
	if c.readBy(by) != nil || c.raw.SetWriteDeadline(by) != nil {
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
