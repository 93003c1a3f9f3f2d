package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// i11: SCRAM-SHA-256-PLUS takes the exporter of this connection, and of no other. The
// client's side is another implementation's.
func i11(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	bindingOf := func(c *imapConn) scram.ChannelBinding {
		state := c.conn.(*tls.Conn).ConnectionState()
		b, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	client, err := scram.SHA256.NewClient(imapUser, imapPassword, "")
	if err != nil {
		t.Fatal(err)
	}
	c, other := d.dial(t, p, nil), d.dial(t, p, nil)
	if line := strings.Join(c.ok("CAPABILITY"), "\n"); !strings.Contains(line, " AUTH=SCRAM-SHA-256-PLUS ") {
		t.Errorf("not offered: %s", line)
	}
	for _, wrong := range []scram.ChannelBinding{bindingOf(other), {Type: scram.ChannelBindingTLSExporter, Data: make([]byte, 32)}} {
		if r := c.scram("SCRAM-SHA-256-PLUS", client.NewConversationWithChannelBinding(wrong)); r.status != "NO" {
			t.Errorf("another binding: %s %s", r.status, r.text)
		}
	}
	c = d.dial(t, p, nil)
	// A client that could bind and was not offered it: somebody has changed the offer.
	if r := c.scram("SCRAM-SHA-256", client.NewConversationAdvertisingChannelBinding()); r.status != "NO" {
		t.Errorf("after a changed offer: %s %s", r.status, r.text)
	}
	conversation := client.NewConversationWithChannelBinding(bindingOf(c))
	if r := c.scram("SCRAM-SHA-256-PLUS", conversation); r.status != "OK" || !conversation.Valid() {
		t.Errorf("bound: %s %s, the server is proved: %v", r.status, r.text, conversation.Valid())
	}
	c.ok("SELECT INBOX")

	c = d.dial(t, p, &tls.Config{MaxVersion: tls.VersionTLS12})
	if line := strings.Join(c.ok("CAPABILITY"), "\n"); strings.Contains(line, "-PLUS") {
		t.Errorf("under TLS 1.2, which has no such exporter: %s", line)
	}
}

// scram runs an exchange up to the server's verdict.
func (c *imapConn) scram(mechanism string, conversation *scram.ClientConversation) (r imapReply) {
	c.t.Helper()
	challenge, command := "", "x AUTHENTICATE "+mechanism+" "
	for {
		message, err := conversation.Step(challenge)
		if err != nil {
			c.t.Fatalf("%q: %v", challenge, err)
		}
		c.write(command + base64.StdEncoding.EncodeToString([]byte(message)) + "\r\n")
		command = ""
		line := c.read()
		text, more := strings.CutPrefix(line, "+ ")
		if !more {
			r.status, r.text, _ = strings.Cut(strings.TrimPrefix(line, "x "), " ")
			return r
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			c.t.Fatalf("%q: %v", line, err)
		}
		challenge = string(raw)
	}
}
