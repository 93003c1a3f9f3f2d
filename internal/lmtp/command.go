package lmtp

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"rtls/internal/lda"
	"rtls/internal/requiretls"
)

// transaction is what MAIL began.
type transaction struct {
	mail     mailParams
	rcpts    []lda.Recipient
	octets   int  // of what RCPT said
	chunking bool // BDAT has begun to deliver
}

// command runs one command and says whether to go on.
func (c *conn) command(line string) bool {
	verb, args, _ := strings.Cut(line, " ")
	args = strings.TrimRight(args, " ")
	switch strings.ToUpper(verb) {
	case "LHLO":
		c.lhlo(args)
	case "MAIL":
		c.mail(args)
	case "RCPT":
		c.rcpt(args)
	case "DATA":
		return c.data(args)
	case "BDAT":
		return c.bdat(args)
	case "RSET":
		c.tx = nil
		c.reply(250, "2.0.0", "forgotten")
	case "NOOP":
		c.reply(250, "2.0.0", "ok")
	case "VRFY":
		c.reply(252, "2.0.0", "RCPT will tell")
	case "HELP":
		c.reply(214, "2.0.0", "see RFC 2033")
	case "STARTTLS":
		switch {
		case args != "":
			c.wrong(501, "5.5.4", "STARTTLS has no parameters")
		case c.tls != nil:
			c.wrong(503, "5.5.1", "TLS is on")
		default:
			return c.startTLS()
		}
	case "QUIT":
		c.reply(221, "2.0.0", "%s says goodbye", c.cfg.Hostname)
		return false
	case "EHLO", "HELO": // RFC 2033 section 4.1
		c.wrong(500, "5.5.1", "this is LMTP, say LHLO")
	default:
		c.wrong(500, "5.5.1", "no such command")
	}
	return true
}

func (c *conn) lhlo(name string) {
	if !validHello(name) {
		c.wrong(501, "5.5.4", "say LHLO and a host name")
		return
	}
	c.client, c.tx = name, nil
	lines := []string{
		c.cfg.Hostname, "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING",
		fmt.Sprintf("SIZE %d", c.cfg.MaxSize),
	}
	if c.cfg.DSN {
		lines = append(lines, "DSN")
	}
	if c.tls == nil {
		lines = append(lines, "STARTTLS")
	}
	if c.mayRequireTLS() {
		lines = append(lines, requiretls.Keyword)
	}
	// RFC 2034 section 4: no enhanced status code here.
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		c.say("250%s%s\r\n", sep, l)
	}
}

// mayRequireTLS says whether REQUIRETLS is offered and taken. A promise about TLS
// is made inside TLS only (RFC 8689 section 2), unless the administrator has said
// that a local process of this user stands for the path that the message took.
func (c *conn) mayRequireTLS() bool { return c.tls != nil && !c.stranger() || c.local }

// stranger says whether clients have certificates here, and this one has shown
// none. One that cannot be verified does not get through the handshake.
func (c *conn) stranger() bool {
	return c.cfg.TLS != nil && c.cfg.TLS.ClientCAs != nil && (c.tls == nil || len(c.tls.VerifiedChains) == 0)
}

// validHello keeps out what would break a Received field.
func validHello(name string) bool {
	if name == "" || len(name) > 255 {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == '\uFFFD' || strings.ContainsRune(`()<>@,;"\`, r)
	}) < 0
}

func (c *conn) mail(args string) {
	if c.client == "" {
		c.wrong(503, "5.5.1", "say LHLO first")
		return
	}
	if c.tx != nil { // RFC 5321 section 4.1.4: no effect on the transaction
		c.wrong(503, "5.5.1", "there is a transaction already")
		return
	}
	m, err := parseMail(args)
	switch {
	case err != nil:
		c.bad++
		c.replyError(err)
	// Taking the message without the parameter would be a downgrade.
	case m.requireTLS && c.tls != nil && !c.mayRequireTLS():
		c.wrong(550, requiretls.StatusNoSupport, "REQUIRETLS takes a client certificate")
	case m.requireTLS && !c.mayRequireTLS():
		c.wrong(530, requiretls.StatusNoTLS, "REQUIRETLS takes STARTTLS first")
	case c.tls == nil && !c.private:
		c.wrong(530, requiretls.StatusNoTLS, "say STARTTLS first")
	case m.size > c.cfg.MaxSize:
		c.replyError(tooLarge())
	default:
		c.tx = &transaction{mail: m}
		c.reply(250, "2.1.0", "sender ok")
	}
}

func (c *conn) rcpt(args string) {
	if c.tx == nil || c.tx.chunking {
		c.wrong(503, "5.5.1", "say MAIL first")
		return
	}
	p, err := parseRcpt(args, c.tx.mail.utf8)
	if err != nil {
		c.bad++
		c.replyError(err)
		return
	}
	size := len(p.address) + len(p.orcpt)
	if len(c.tx.rcpts) >= c.cfg.MaxRecipients || c.tx.octets+size > maxRcpts {
		c.reply(452, "4.5.3", "too many recipients")
		return
	}
	r, err := c.cfg.Backend.Resolve(c.work, p.address)
	if a, ok := c.cfg.Backend.(Admitter); ok && err == nil {
		err = a.Admit(c.work, r, c.tx.mail.size)
	}
	if err != nil {
		e := lda.Classify(err)
		c.cfg.Logger.Info("recipient refused", "remote", c.remote(), "from", c.tx.mail.sender, "rcpt", p.address, "err", e)
		c.replyError(e)
		return
	}
	r.Notify, r.ORcpt = p.notify, p.orcpt
	c.tx.rcpts = append(c.tx.rcpts, r)
	c.tx.octets += size
	c.reply(250, "2.1.5", "recipient ok")
}

func (c *conn) data(args string) bool {
	switch {
	case args != "":
		c.wrong(501, "5.5.4", "DATA has no parameters")
	case c.tx == nil || len(c.tx.rcpts) == 0: // RFC 2033 section 4.2
		c.wrong(503, "5.5.1", "no recipient")
	case c.tx.chunking:
		c.wrong(503, "5.5.1", "BDAT has begun")
	default:
		c.say("354 end with CR LF . CR LF\r\n")
		c.dataBy = time.Now().Add(c.cfg.MessageTimeout)
		if err := c.deliver(&dotReader{r: c.r}); err != nil {
			c.farewell(err)
			return false
		}
	}
	return true
}

// deliver hands a message to the backend and replies once per recipient. msg is
// read to its end in any case; if that fails, deliver returns the error, nobody
// has been replied to, and nothing was delivered, as the backend promises.
func (c *conn) deliver(msg io.Reader) error {
	tx := c.tx
	limited := &sizeLimit{r: msg, left: c.cfg.MaxSize}
	env := c.envelope()
	results := c.results(env, tx.rcpts, limited)
	if _, err := io.Copy(io.Discard, msg); err != nil {
		return err
	}
	c.tx = nil
	for i := range tx.rcpts {
		switch {
		case limited.exceeded:
			c.replyError(tooLarge())
		case results[i] != nil:
			c.replyError(results[i])
		default:
			c.reply(250, "2.0.0", "delivered as %s", env.ID)
		}
	}
	return nil
}

// results asks the backend. If it panics, or forgets a recipient, that is a
// temporary failure like any other doubt.
func (c *conn) results(env lda.Envelope, rcpts []lda.Recipient, msg io.Reader) (results []error) {
	defer func() {
		v := recover()
		if v != nil {
			c.cfg.Logger.Error("panic in delivery", "id", env.ID, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
		if v != nil || len(results) != len(rcpts) {
			results = slices.Repeat([]error{errors.New("no result")}, len(rcpts))
		}
	}()
	return c.cfg.Backend.Deliver(c.work, env, rcpts, msg)
}

func (c *conn) envelope() lda.Envelope {
	m := &c.tx.mail
	env := lda.Envelope{
		ID:         rand.Text()[:16],
		Sender:     m.sender,
		Protocol:   "LMTP",
		Client:     c.client,
		Remote:     c.remote(),
		Local:      c.local,
		Stranger:   c.stranger(),
		RequireTLS: m.requireTLS,
		Ret:        m.ret,
		EnvID:      m.envID,
	}
	if c.tls != nil {
		env.TLS = &lda.TLS{Version: tls.VersionName(c.tls.Version), Cipher: tls.CipherSuiteName(c.tls.CipherSuite)}
		env.Protocol += "S" // RFC 3848
	}
	if m.utf8 {
		env.Protocol = "UTF8" + env.Protocol // RFC 6531 section 4.3
	}
	return env
}

func tooLarge() *lda.Error {
	return &lda.Error{Code: 552, Status: "5.3.4", Text: "message too large"}
}
