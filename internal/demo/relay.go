package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/spf13/pflag"

	"rtls/internal/tlsconf"
)

// event is one line of a relay's log: one thing that a client achieved.
type event struct {
	What       string // "auth", "mail", "message"
	RequireTLS bool   // the parameter of MAIL
	Optional   bool   // a TLS-Required: No field
	In, Out    string // TLS of the client's session, and of ours to the LMTP server
	BodySHA256 string
	Error      string
}

// relay is a submission server on somebody else's implementation of REQUIRETLS,
// go-smtp, which hands every message on over LMTP.
type relay struct {
	lmtp string
	out  *tls.Config

	mu  sync.Mutex // guards log
	log *json.Encoder
}

func relayMain(ctx context.Context, args []string) error {
	fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:0", "address to serve submission on")
	starttls := fs.Bool("starttls", false, "STARTTLS in place of implicit TLS")
	offer := fs.Bool("requiretls", false, "offer REQUIRETLS")
	cert := fs.String("cert", "", "certificate without .pem, key without .key")
	ca := fs.String("ca", "", "authority that the LMTP server's certificate is from")
	lmtp := fs.String("lmtp", "", "Unix socket of the LMTP server")
	logName := fs.String("log", "", "file for events")
	if err := fs.Parse(args); err != nil {
		return err
	}
	logFile, err := os.OpenFile(*logName, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	in, err := tlsconf.Server(*cert+".pem", *cert+".key")
	if err != nil {
		return err
	}
	out, err := tlsconf.Client(*ca, "localhost")
	if err != nil {
		return err
	}
	r := &relay{lmtp: *lmtp, out: out, log: json.NewEncoder(logFile)}

	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{relay: r, conn: c}, nil
	}))
	server.Domain = "localhost"
	server.EnableSMTPUTF8 = true
	server.EnableREQUIRETLS = *offer
	server.MaxMessageBytes = 64 << 20
	server.MaxLineLength = 1 << 20
	server.ReadTimeout = time.Minute
	server.WriteTimeout = time.Minute
	server.TLSConfig = in

	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "relay on %s\n", l.Addr())
	if !*starttls {
		l = tls.NewListener(l, in)
	}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
		return err
	}
	return nil
}

func (r *relay) record(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.log.Encode(e) // a missing line makes the demo fail
}

// session is one client's.
type session struct {
	relay *relay
	conn  *smtp.Conn

	authenticated bool
	from          string
	opts          smtp.MailOptions
	to            []string
}

var _ smtp.AuthSession = (*session)(nil)

func (s *session) AuthMechanisms() []string {
	if _, ok := s.conn.TLSConnectionState(); !ok {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, pw string) error {
		s.relay.record(event{What: "auth"})
		if username != sender || pw != password {
			return smtp.ErrAuthFailed
		}
		s.authenticated = true
		return nil
	}), nil
}

func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	s.relay.record(event{What: "mail", RequireTLS: opts.RequireTLS})
	if !s.authenticated {
		return smtp.ErrAuthRequired
	}
	s.from, s.opts = from, *opts
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Reset() { s.from, s.opts, s.to = "", smtp.MailOptions{}, nil }

func (s *session) Logout() error { return nil }

func (s *session) Data(r io.Reader) error {
	var state tls.ConnectionState
	if c, ok := s.conn.TLSConnectionState(); ok {
		state = c
	}
	raw, err := io.ReadAll(r) // a demo's relay may hold a message
	if err != nil {
		return err
	}
	header, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	e := event{
		What:       "message",
		RequireTLS: s.opts.RequireTLS,
		Optional:   hasOptional(header),
		In:         describe(state),
		BodySHA256: digest(body),
	}
	if e.Out, err = s.relay.forward(s.from, s.to, s.opts, raw); err != nil {
		e.Error = err.Error()
	}
	s.relay.record(e)
	return err
}

// hasOptional looks for the field of RFC 8689 section 3, without our own parser.
func hasOptional(header []byte) bool {
	for line := range strings.Lines(string(header)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "TLS-Required") && strings.EqualFold(strings.TrimSpace(value), "no") {
			return true
		}
	}
	return false
}

// forward hands a message to the LMTP server inside STARTTLS, with REQUIRETLS
// where the message came with it, and says what TLS it had.
func (r *relay) forward(from string, to []string, opts smtp.MailOptions, raw []byte) (hop string, err error) {
	conn, err := r.startTLS()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	hop = describe(conn.ConnectionState())
	// go-smtp has no STARTTLS for LMTP clients and waits for a greeting, which
	// there is none of after TLS.
	client := smtp.NewClientLMTP(&greeted{Conn: conn, greeting: strings.NewReader("220 localhost\r\n")})
	if err := client.Mail(from, &smtp.MailOptions{RequireTLS: opts.RequireTLS, UTF8: opts.UTF8, Size: int64(len(raw))}); err != nil {
		return hop, err
	}
	for _, addr := range to {
		if err := client.Rcpt(addr, nil); err != nil {
			return hop, err
		}
	}
	w, err := client.Data()
	if err != nil {
		return hop, err
	}
	fmt.Fprintf(w, "Received: from localhost by relay.example.org with ESMTPSA; %s\r\n", time.Now().Format(time.RFC1123Z))
	if _, err := w.Write(raw); err != nil {
		return hop, err
	}
	if _, err := w.CloseWithLMTPResponse(); err != nil {
		return hop, err
	}
	_ = client.Quit() // the server has answered for the message and may be gone
	return hop, nil
}

func (r *relay) startTLS() (*tls.Conn, error) {
	raw, err := net.Dial("unix", r.lmtp)
	if err != nil {
		return nil, err
	}
	text := textproto.NewConn(raw)
	if _, _, err := text.ReadResponse(220); err != nil {
		raw.Close()
		return nil, err
	}
	for _, step := range []struct {
		command string
		code    int
	}{{"LHLO relay.example.org", 250}, {"STARTTLS", 220}} {
		if err := text.PrintfLine("%s", step.command); err != nil {
			raw.Close()
			return nil, err
		}
		if _, _, err := text.ReadResponse(step.code); err != nil {
			raw.Close()
			return nil, fmt.Errorf("%s: %w", step.command, err)
		}
	}
	conn := tls.Client(raw, r.out)
	if err := conn.Handshake(); err != nil {
		raw.Close()
		return nil, fmt.Errorf("LMTP server's TLS: %w", err)
	}
	return conn, nil
}

// greeted is a connection on which a greeting comes first.
type greeted struct {
	net.Conn
	greeting io.Reader
}

func (g *greeted) Read(p []byte) (int, error) {
	if n, err := g.greeting.Read(p); err == nil {
		return n, nil
	}
	return g.Conn.Read(p)
}

// describe names protocol version and cipher suite in a few letters.
func describe(state tls.ConnectionState) string {
	if state.Version == 0 {
		return "clear"
	}
	version := strings.TrimPrefix(tls.VersionName(state.Version), "TLS ")
	suite := strings.TrimPrefix(tls.CipherSuiteName(state.CipherSuite), "TLS_")
	return version + " " + suite
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
