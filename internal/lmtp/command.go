package lmtp

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"rtls/internal/lda"
	"rtls/internal/requiretls"
)

// transaction is what MAIL began.
type transaction struct {
	mail     mailParams
	rcpts    []lda.Recipient
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
	if c.tls == nil {
		lines = append(lines, "STARTTLS")
	} else {
		// RFC 8689 section 2: a promise about TLS is made inside TLS only.
		lines = append(lines, requiretls.Keyword)
	}
	// RFC 2034 section 4: no enhanced status code here.
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		fmt.Fprintf(c.w, "250%s%s\r\n", sep, l)
	}
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
	case m.requireTLS && c.tls == nil:
		// RFC 8689 section 2: only inside TLS. Without TLS the parameter is not
		// offered, and taking the message without it would be a downgrade.
		c.wrong(530, requiretls.StatusNoTLS, "REQUIRETLS takes STARTTLS first")
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
	if len(c.tx.rcpts) >= c.cfg.MaxRecipients {
		c.reply(452, "4.5.3", "too many recipients")
		return
	}
	r, err := c.cfg.Backend.Resolve(c.work, p.address)
	if err != nil {
		e := lda.Classify(err)
		c.cfg.Logger.Info("recipient refused", "remote", c.remote(), "from", c.tx.mail.sender, "rcpt", p.address, "err", e)
		c.replyError(e)
		return
	}
	r.Notify, r.ORcpt = p.notify, p.orcpt
	c.tx.rcpts = append(c.tx.rcpts, r)
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
		fmt.Fprintf(c.w, "354 end with CR LF . CR LF\r\n")
		c.dataBy = time.Now().Add(c.cfg.MessageTimeout)
		return c.deliver(&dotReader{r: c.r})
	}
	return true
}

// deliver hands a message to the backend and replies once per recipient. msg is
// read to its end in any case; if that fails the connection is of no more use.
func (c *conn) deliver(msg io.Reader) bool {
	tx := c.tx
	limited := &sizeLimit{r: msg, left: c.cfg.MaxSize}
	env := c.envelope()
	results := c.cfg.Backend.Deliver(c.work, env, tx.rcpts, limited)
	if _, err := io.Copy(io.Discard, msg); err != nil {
		return c.brokenOff(err)
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
	return true
}

func (c *conn) envelope() lda.Envelope {
	m := &c.tx.mail
	env := lda.Envelope{
		ID:       rand.Text()[:16],
		Sender:   m.sender,
		Protocol: "LMTP",
		Client:   c.client,
		Remote:   c.remote(),
		TLS:      c.tls,
		Ret:      m.ret,
		EnvID:    m.envID,
	}
	if c.tls != nil {
		env.Protocol += "S" // RFC 3848
	}
	if m.utf8 {
		env.Protocol = "UTF8" + env.Protocol // RFC 6531 section 4.3
	}
	if m.requireTLS {
		env.Evidence = lda.ByParameter
	}
	return env
}

// brokenOff ends a connection on which a message broke off.
func (c *conn) brokenOff(err error) bool {
	c.farewell(err)
	return false
}

func tooLarge() *lda.Error {
	return &lda.Error{Code: 552, Status: "5.3.4", Text: "message too large"}
}
