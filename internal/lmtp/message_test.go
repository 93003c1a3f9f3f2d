package lmtp

import (
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rtls/internal/lda"
)

// L07, L08.
func TestTagBelongsToItsTransaction(t *testing.T) {
	r := start(t, nil)
	c := r.secure()
	const finish = `
		C: RCPT TO:<b@example.org>
		S: 250
		C: DATA
		S: 354
		C: x
		C: .
		S: 250`
	c.Talk(`
		C: MAIL FROM:<a@example.org> REQUIRETLS
		S: 250
		C: RCPT TO:<first@example.org>
		S: 250
		C: MAIL FROM:<other@example.org>
		S: 503 5.5.1 there is a transaction already` + finish + `
		S: 250`)
	c.Talk(`
		C: MAIL FROM:<a@example.org> REQUIRETLS
		S: 250
		C: RSET
		S: 250
		C: MAIL FROM:<after-rset@example.org>
		S: 250` + finish)
	c.Talk(`
		C: MAIL FROM:<a@example.org> REQUIRETLS
		S: 250`)
	c.LHLO()
	c.Talk(`
		C: MAIL FROM:<after-lhlo@example.org>
		S: 250` + finish)
	c.Talk(`
		C: MAIL FROM:<after-delivery@example.org>
		S: 250` + finish)

	got := r.fake.messages()
	for i, want := range []struct {
		sender string
		tag    bool
		rcpts  int
	}{{"a@example.org", true, 2}, {"after-rset@example.org", false, 1}, {"after-lhlo@example.org", false, 1}, {"after-delivery@example.org", false, 1}} {
		if m := got[i]; m.env.Sender != want.sender || m.env.RequireTLS != want.tag || len(m.rcpts) != want.rcpts {
			t.Errorf("message %d: %v, REQUIRETLS %t", i, m, m.env.RequireTLS)
		}
	}
}

func TestEnvelope(t *testing.T) {
	r := start(t, nil)
	c := r.secure()
	c.Talk(`
		C: MAIL FROM:<@relay.example:ä@example.org> SMTPUTF8 RET=full ENVID=a+2Bb REQUIRETLS
		S: 250
		C: RCPT TO:<"b c"@example.org> NOTIFY=delay ORCPT=rfc822;b
		S: 250
		C: DATA
		S: 354
		C: x
		C: .
		S: 250`)
	m := r.fake.messages()[0]
	env := m.env
	if env.TLS == nil || env.TLS.Version != "TLS 1.3" || !strings.HasPrefix(env.TLS.Cipher, "TLS_") || len(env.ID) < 10 {
		t.Errorf("%+v", env)
	}
	env.TLS, env.ID = nil, ""
	if want := (lda.Envelope{
		Sender: "ä@example.org", Protocol: "UTF8LMTPS", Client: "relay.example.com", Remote: "unix",
		RequireTLS: true, Ret: "FULL", EnvID: "a+2Bb",
	}); env != want {
		t.Errorf("got  %+v\nwant %+v", env, want)
	}
	const address = `"b c"@example.org`
	if got, want := m.rcpts, (lda.Recipient{Address: address, User: address, Notify: "DELAY", ORcpt: "rfc822;b"}); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// L32, over a socket: what stays one message here was sent as one.
func TestSmuggling(t *testing.T) {
	r := start(t, nil)
	c := r.hello()
	n := 0
	for _, in := range smuggling {
		content, rest, ok := naiveDot(in)
		if !ok || rest != "" {
			continue
		}
		c.Talk(`
			C: MAIL FROM:<a@example.org>
			S: 250
			C: RCPT TO:<b@example.org>
			S: 250
			C: DATA
			S: 354`)
		c.Write(in)
		c.Expect("250 2.0.0 delivered as")
		all := r.fake.messages()
		if n++; len(all) != n || all[n-1].data != content {
			t.Fatalf("%q became %d messages, the last %q", in, len(all)-n+1, all[len(all)-1].data)
		}
	}
	if n < 10 {
		t.Errorf("only %d cases", n)
	}
}

func TestBDATBytes(t *testing.T) {
	r := start(t, nil)
	c := r.hello()
	data := "a\r\n.\r\n..\nNOOP\r\n\x00\r" + strings.Repeat("z", 100_000)
	c.Write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n")
	c.Expect("250 ", "250 ")
	for chunk := range slices.Chunk([]byte(data), 33_333) {
		c.Write(fmt.Sprintf("BDAT %d\r\n%s", len(chunk), chunk))
		c.Expect(fmt.Sprintf("250 2.0.0 %d octets received", len(chunk)))
	}
	c.Write("BDAT 0 LAST\r\n")
	c.Expect("250 2.0.0 delivered as")
	if got := r.fake.messages()[0].data; got != data {
		t.Errorf("%d octets became %d", len(data), len(got))
	}
}

// LHLO, QUIT and STARTTLS between chunks end the transaction as well; a client
// that just goes away has delivered nothing.
func TestAbandonedBDAT(t *testing.T) {
	for _, end := range []string{"LHLO x", "QUIT", "STARTTLS", ""} {
		t.Run(end, func(t *testing.T) {
			r := start(t, nil)
			c := r.hello()
			c.Write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nBDAT 3\r\nabc")
			c.Expect("250 ", "250 ", "250 2.0.0 3 octets received")
			if end == "" {
				c.Conn.Close()
			} else {
				c.Write(end + "\r\n")
				c.Expect(map[string]string{"LHLO x": "250 STARTTLS", "QUIT": "221 2.0.0", "STARTTLS": "220 2.0.0"}[end])
			}
			r.stop()
			c.Conn.Close()
			<-r.done
			if got := r.fake.messages(); len(got) > 0 {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestSizeLimit(t *testing.T) {
	r := start(t, func(s *Server) { s.MaxSize = 1000 })
	c := r.hello()
	const open = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\n"
	line := strings.Repeat("x", 98) + "\r\n"
	tooLarge := []string{"552 5.3.4 message too large", "552 5.3.4 message too large"}
	c.Write(open + "DATA\r\n" + strings.Repeat(line, 10) + ".\r\n")
	c.Expect("250 ", "250 ", "250 ", "354 ", "250 ", "250 ")
	c.Write(open + "DATA\r\n" + strings.Repeat(line, 10) + "\r\n.\r\n")
	c.Expect("250 ", "250 ", "250 ", "354 ")
	c.Expect(tooLarge...)
	c.Write(open + "BDAT 1000\r\n" + strings.Repeat(line, 10) + "BDAT 1\r\nxBDAT 1 LAST\r\nx")
	c.Expect("250 ", "250 ", "250 ", "250 ", "250 ")
	c.Expect(tooLarge...)
	c.Write(open + "BDAT 10000 LAST\r\n" + strings.Repeat(line, 100))
	c.Expect("250 ", "250 ", "250 ")
	c.Expect(tooLarge...)
	if got := r.fake.messages(); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// A message that breaks off is not delivered, and nothing is said of it.
func TestBrokenOff(t *testing.T) {
	for _, how := range []string{"DATA\r\nx\r\n", "DATA\r\nx\r\n.", "DATA\r\nx\r\n.\r", "BDAT 5 LAST\r\nx\r\n"} {
		t.Run(how, func(t *testing.T) {
			r := start(t, nil)
			c := r.hello()
			c.Write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n" + how)
			if err := c.Conn.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			c.Expect("250 ", "250 ")
			rest, _ := c.Rest()
			if strings.Contains(string(rest), "delivered") || len(r.fake.messages()) > 0 {
				t.Errorf("stored %v, said %q", r.fake.messages(), rest)
			}
		})
	}
}
