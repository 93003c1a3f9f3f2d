package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hangUp as a scripted reply closes the connection without one.
const hangUp = "(hang up)"

// everything is what a good submission server offers inside TLS.
var everything = []string{"PIPELINING", "SIZE 67108864", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN", "REQUIRETLS"}

// without is everything but some keywords.
func without(keywords ...string) []string {
	return slices.DeleteFunc(slices.Clone(everything), func(s string) bool {
		word, _, _ := strings.Cut(s, " ")
		return slices.Contains(keywords, word)
	})
}

// fakesub is a submission server that says what a test wants and keeps what it
// hears. Its fields are set before start.
type fakesub struct {
	starttls   bool     // TLS begins with STARTTLS; otherwise at once
	socket     string   // path of a Unix socket to listen on, in place of a port
	lmtp       bool     // it speaks LMTP; a recipient's final reply is that to the command ".<address>"
	plain      bool     // it has no TLS
	clear      []string // EHLO reply before TLS
	ehlo       []string // EHLO reply inside TLS; nil means everything
	cert       tls.Certificate
	later      tls.Certificate // if it is set, from the second handshake on
	maxVersion uint16
	clients    *x509.CertPool // who may connect; nil: everybody
	// script returns a reply for a command in place of the usual one, or "" for the
	// usual one. The final dot is the command ".".
	script func(line string, inTLS bool) string
	// auth conducts an authentication in place of saying 235 to everything.
	auth func(t *talk, line string) bool

	listener net.Listener
	wait     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	heard    []heard
	messages []submitted
	wire     bytes.Buffer // all bytes from clients, as they crossed
	versions []uint16     // of TLS, one a handshake
	peers    []string     // addresses of clients
	closed   []error      // how each TLS session ended; io.EOF is a close_notify
}

// heard is a line from a client: a command, or one of the message.
type heard struct {
	inTLS bool
	line  string
}

// submitted is a message that was taken.
type submitted struct {
	mail  string   // the MAIL command
	rcpts []string // the RCPT commands
	raw   []byte   // without dot-stuffing
}

func (m submitted) header() string {
	header, _, _ := bytes.Cut(m.raw, []byte("\r\n\r\n"))
	return string(header) + "\r\n"
}

func (m submitted) body() []byte {
	_, body, _ := bytes.Cut(m.raw, []byte("\r\n\r\n"))
	return body
}

// start serves with p's certificate for localhost, unless the test has set one.
func (f *fakesub) start(t *testing.T, p *pki) *fakesub {
	t.Helper()
	if f.cert.Certificate == nil {
		cert, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			t.Fatal(err)
		}
		f.cert = cert
	}
	if f.ehlo == nil {
		f.ehlo = everything
	}
	network, addr := "tcp", "127.0.0.1:0"
	if f.socket != "" {
		network, addr = "unix", f.socket
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	f.listener = l
	f.wait.Go(func() { // stop waits for it and for the connections
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.peers = append(f.peers, conn.RemoteAddr().String())
			f.mu.Unlock()
			f.wait.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(f.stop)
	return f
}

// stop waits for the connections to end, so that all is heard.
func (f *fakesub) stop() {
	f.listener.Close()
	f.wait.Wait()
}

func (f *fakesub) port() string {
	_, port, _ := net.SplitHostPort(f.listener.Addr().String())
	return port
}

// wireTap keeps the bytes of a connection.
type wireTap struct {
	net.Conn
	f *fakesub
}

func (w wireTap) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.f.mu.Lock()
	w.f.wire.Write(p[:n])
	w.f.mu.Unlock()
	return n, err
}

// talk is one client's session.
type talk struct {
	f     *fakesub
	conn  net.Conn
	r     *bufio.Reader
	inTLS bool
	now   submitted
}

func (f *fakesub) serve(raw net.Conn) {
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(time.Minute)) // a client that hangs fails its test
	t := &talk{f: f}
	t.use(wireTap{raw, f})
	if !f.starttls && !f.plain && !t.startTLS() {
		return
	}
	greeting := "220 localhost ESMTP"
	if said := t.scripted("(connect)"); said != "" {
		greeting = said
	}
	if !t.say(greeting) {
		return
	}
	for {
		line, err := t.r.ReadString('\n')
		if err != nil {
			f.ended(t.inTLS, err)
			return
		}
		line = strings.TrimRight(line, "\r\n")
		f.hear(t.inTLS, line)
		if !t.command(line) {
			return
		}
	}
}

func (t *talk) use(conn net.Conn) {
	t.conn, t.r = conn, bufio.NewReader(conn)
}

func (f *fakesub) hear(inTLS bool, line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = append(f.heard, heard{inTLS, line})
}

func (f *fakesub) ended(inTLS bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if inTLS {
		f.closed = append(f.closed, err)
	}
}

func (t *talk) startTLS() bool {
	t.f.mu.Lock()
	cert := t.f.cert
	if len(t.f.versions) > 0 && t.f.later.Certificate != nil {
		cert = t.f.later
	}
	t.f.mu.Unlock()
	auth := tls.NoClientCert
	if t.f.clients != nil {
		auth = tls.RequireAndVerifyClientCert
	}
	conn := tls.Server(t.conn, &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS10,
		MaxVersion:   t.f.maxVersion,
		ClientCAs:    t.f.clients,
		ClientAuth:   auth,
	})
	if err := conn.Handshake(); err != nil {
		return false
	}
	t.f.mu.Lock()
	t.f.versions = append(t.f.versions, conn.ConnectionState().Version)
	t.f.mu.Unlock()
	t.inTLS = true
	t.use(conn)
	return true
}

func (t *talk) scripted(line string) string {
	if t.f.script == nil {
		return ""
	}
	return t.f.script(line, t.inTLS)
}

// say sends a reply. It returns false at the end of the session.
func (t *talk) say(reply string) bool {
	if reply == hangUp {
		t.conn.Close()
		return false
	}
	_, err := io.WriteString(t.conn, strings.ReplaceAll(reply, "\n", "\r\n")+"\r\n")
	return err == nil
}

// command answers one command.
func (t *talk) command(line string) bool {
	reply := t.scripted(line)
	verb := strings.ToUpper(strings.TrimRight(strings.SplitN(line, " ", 2)[0], ":"))
	if reply == "" && verb == "AUTH" && t.f.auth != nil {
		reply = "535 5.7.8 no"
		if t.f.auth(t, line) {
			reply = "235 2.7.0 welcome"
		}
	}
	if reply == "" {
		reply = t.usual(verb)
	}
	code := reply[:3]
	switch {
	case verb == "MAIL" && code == "250":
		t.now = submitted{mail: line}
	case verb == "RCPT" && code == "250":
		t.now.rcpts = append(t.now.rcpts, line)
	}
	if !t.say(reply) {
		return false
	}
	switch {
	case verb == "STARTTLS" && code == "220":
		return t.startTLS()
	case verb == "DATA" && code == "354":
		return t.data()
	}
	return true
}

func (t *talk) usual(verb string) string {
	switch verb {
	case "EHLO", "LHLO":
		if t.f.lmtp != (verb == "LHLO") {
			return "500 5.5.1 another protocol is spoken here"
		}
		keywords := t.f.clear
		if t.inTLS || t.f.plain {
			keywords = t.f.ehlo
		}
		lines := append([]string{"localhost"}, keywords...)
		for i := range lines {
			lines[i] = "250-" + lines[i]
		}
		lines[len(lines)-1] = strings.Replace(lines[len(lines)-1], "-", " ", 1)
		return strings.Join(lines, "\n")
	case "STARTTLS":
		return "220 2.0.0 go ahead"
	case "AUTH":
		return "235 2.7.0 welcome"
	case "DATA":
		if len(t.now.rcpts) == 0 {
			return "503 5.5.1 no recipients"
		}
		return "354 go ahead"
	case "QUIT":
		return "221 2.0.0 bye"
	case "MAIL", "RCPT", "RSET", "NOOP":
		return "250 2.0.0 fine"
	}
	return "500 5.5.2 what is " + verb
}

// data reads up to the only end of data there is, CR LF dot CR LF.
func (t *talk) data() bool {
	var raw []byte
	for {
		line, err := t.r.ReadBytes('\n')
		if err != nil {
			t.f.ended(t.inTLS, err)
			return false
		}
		if string(line) == ".\r\n" && (len(raw) == 0 || bytes.HasSuffix(raw, []byte("\r\n"))) {
			break
		}
		t.f.hear(t.inTLS, strings.TrimRight(string(line), "\r\n"))
		if line[0] == '.' {
			line = line[1:]
		}
		raw = append(raw, line...)
	}
	t.now.raw = raw
	if t.f.lmtp {
		return t.deliver()
	}
	reply := t.scripted(".")
	if reply == "" {
		reply = "250 2.0.0 taken"
	}
	if strings.HasPrefix(reply, "250") {
		t.f.mu.Lock()
		t.f.messages = append(t.f.messages, t.now)
		t.f.mu.Unlock()
	}
	reply, after, drop := strings.Cut(reply, hangUp) // "250 taken(hang up)"
	if drop && reply == "" {
		return t.say(hangUp)
	}
	ok := t.say(reply + after)
	if drop {
		return t.say(hangUp)
	}
	return ok
}

// deliver answers for each recipient. What it keeps is for those who got it.
func (t *talk) deliver() bool {
	rcpts := t.now.rcpts
	t.now.rcpts = nil
	replies := make([]string, len(rcpts))
	for i, rcpt := range rcpts {
		addr, _, _ := strings.Cut(strings.TrimPrefix(rcpt, "RCPT TO:"), " ")
		if replies[i] = t.scripted("." + addr); replies[i] == "" {
			replies[i] = "250 2.0.0 delivered"
		}
		if strings.HasPrefix(replies[i], "250") {
			t.now.rcpts = append(t.now.rcpts, rcpt)
		}
	}
	if len(t.now.rcpts) > 0 {
		t.f.mu.Lock()
		t.f.messages = append(t.f.messages, t.now)
		t.f.mu.Unlock()
	}
	for _, reply := range replies {
		if !t.say(reply) {
			return false
		}
	}
	return true
}
