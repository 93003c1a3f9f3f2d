package lmtp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/lda"
	"rtls/internal/lmtptest"
)

func TestCapabilities(t *testing.T) {
	c := start(t, nil).dial()
	want := []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "SIZE 104857600"}
	if got := c.Hello(); !slices.Equal(got, append(slices.Clone(want), "STARTTLS")) { // L01
		t.Errorf("in clear: %q", got)
	}
	c.StartTLS()
	if got := c.LHLO(); !slices.Equal(got, append(want, "REQUIRETLS")) { // L02
		t.Errorf("inside TLS: %q", got)
	}
}

// Each script starts behind LHLO, in clear or inside TLS.
func TestDialogue(t *testing.T) {
	for _, tc := range []struct {
		name   string
		tls    bool
		script string
	}{
		{"L03 REQUIRETLS in clear", false, `
			C: MAIL FROM:<a@example.org> REQUIRETLS
			S: 530 5.7.10 REQUIRETLS takes STARTTLS first
			C: RCPT TO:<b@example.org>
			S: 503 5.5.1 say MAIL first`},
		{"L04 REQUIRETLS has no value and stands once", true, `
			C: MAIL FROM:<a@example.org> REQUIRETLS=yes
			S: 501 5.5.4 REQUIRETLS takes no value
			C: MAIL FROM:<a@example.org> REQUIRETLS=
			S: 501 5.5.4 REQUIRETLS takes no value
			C: MAIL FROM:<a@example.org> REQUIRETLS requiretls
			S: 501 5.5.4 REQUIRETLS may stand once
			C: RCPT TO:<b@example.org>
			S: 503 5.5.1 say MAIL first`},
		{"L05 any case", true, `
			C: mail from:<a@example.org> requireTLS
			S: 250 2.1.0
			C: rcpt to:<b@example.org>
			S: 250 2.1.5`},
		{"L06 long MAIL line", true, `
			C: MAIL FROM:<` + strings.Repeat("a", 64) + "@" + strings.Repeat("b.", 90) + `example> ENVID=` + strings.Repeat("e", 100) + ` RET=HDRS SIZE=00000000000000000001 BODY=8BITMIME SMTPUTF8 REQUIRETLS` + strings.Repeat(" ", 400) + `
			S: 250 2.1.0`},
		{"L16 only LHLO", false, `
			C: EHLO x
			S: 500 5.5.1
			C: HELO x
			S: 500 5.5.1
			C: LHLO
			S: 501 5.5.4
			C: LHLO (x)
			S: 501 5.5.4`},
		{"L19 full at RCPT", false, `
			C: MAIL FROM:<a@example.org> SIZE=1001
			S: 250
			C: RCPT TO:<small@example.org>
			S: 452 4.2.2 mailbox is full
			C: RCPT TO:<b@example.org>
			S: 250
			C: RSET
			S: 250
			C: MAIL FROM:<a@example.org> SIZE=1000
			S: 250
			C: RCPT TO:<small@example.org>
			S: 250`},
		{"L17 DATA without recipient", false, `
			C: DATA
			S: 503 5.5.1
			C: MAIL FROM:<a@example.org>
			S: 250
			C: DATA
			S: 503 5.5.1
			C: RCPT TO:<unknown@example.org>
			S: 550 5.1.1 no such user here
			C: DATA
			S: 503 5.5.1
			C: DATA now
			S: 501 5.5.4`},
		{"L18 one reply per recipient, in order, duplicates too", false, `
			C: MAIL FROM:<a@example.org>
			S: 250
			C: RCPT TO:<b@example.org>
			S: 250
			C: RCPT TO:<unknown@example.org>
			S: 550
			C: RCPT TO:<full@example.org>
			S: 250
			C: RCPT TO:<b@example.org>
			S: 250
			C: DATA
			S: 354
			C: x
			C: .
			S: 250 2.0.0 delivered as
			S: 452 4.2.2
			S: 250 2.0.0 delivered as
			C: NOOP
			S: 250 2.0.0 ok`},
		{"paths", false, `
			C: MAIL FROM:<>
			S: 250
			C: RCPT TO:<postmaster>
			S: 250
			C: RCPT TO:<user>
			S: 250
			C: RCPT TO:<@relay.example,@other.example:user@example.org>
			S: 250
			C: RCPT TO:<"a > b\" c"@example.org>
			S: 250
			C: RCPT TO: <user@[IPv6:::1]>
			S: 250
			C: RCPT TO:<ü@example.org>
			S: 553 5.6.7
			C: RCPT TO:<>
			S: 501 5.1.3
			C: RCPT TO:user@example.org
			S: 501 5.1.3
			C: RCPT TO:<user@example.org
			S: 501 5.1.3
			C: RCPT TO:<user@>
			S: 501 5.1.3
			C: RCPT TO:<@example.org>
			S: 501 5.1.3
			C: RCPT TO:<a b@example.org>
			S: 501 5.1.3
			C: RCPT TO:<a@b@example.org>
			S: 501 5.1.3
			C: RCPT TO:<a@exa..mple.org>
			S: 501 5.1.3
			C: RCPT TO:<a@example.org>NOTIFY=NEVER
			S: 501 5.1.3
			C: RCPT TO:<broken@example.org>
			S: 451 4.3.0 cannot deliver now, try again later`},
		{"UTF-8", false, `
			C: MAIL FROM:<ö@example.org>
			S: 553 5.6.7
			C: MAIL FROM:<ö@example.org> SMTPUTF8
			S: 250
			C: RCPT TO:<ü@exämple.org> ORCPT=utf-8;ü@exämple.org
			S: 250
			C: RCPT TO:<` + "\xff" + `@example.org>
			S: 501 5.1.3`},
		{"parameters of MAIL", false, `
			C: MAIL FROM:<> SIZE=104857601
			S: 552 5.3.4
			C: MAIL FROM:<> SIZE=99999999999999999999
			S: 552 5.3.4
			C: MAIL FROM:<> SIZE=x
			S: 501 5.5.4
			C: MAIL FROM:<> SIZE
			S: 501 5.5.4
			C: MAIL FROM:<> BODY=BINARYMIME
			S: 501 5.5.4
			C: MAIL FROM:<> SMTPUTF8=1
			S: 501 5.5.4
			C: MAIL FROM:<> =1
			S: 501 5.5.4
			C: MAIL FROM:<> NOTIFY=NEVER
			S: 555 5.5.4
			C: MAIL FROM:<> XREQUIRETLS
			S: 555 5.5.4
			C: MAIL FROM:<> body=8bitmime SIZE=104857600
			S: 250`},
		{"L35 parameters of DSN", false, `
			C: MAIL FROM:<> RET=ALL
			S: 501 5.5.4
			C: MAIL FROM:<> RET=FULL RET=FULL
			S: 501 5.5.4 RET may stand once
			C: MAIL FROM:<> ENVID=a+2g
			S: 501 5.5.4
			C: MAIL FROM:<> ENVID=a+2
			S: 501 5.5.4
			C: MAIL FROM:<> ENVID=` + strings.Repeat("x", 101) + `
			S: 501 5.5.4
			C: MAIL FROM:<> RET=hdrs ENVID=a+2Bb
			S: 250
			C: RCPT TO:<b@example.org> NOTIFY=NEVER,DELAY
			S: 501 5.5.4
			C: RCPT TO:<b@example.org> NOTIFY=DELAY,DELAY
			S: 501 5.5.4
			C: RCPT TO:<b@example.org> NOTIFY=
			S: 501 5.5.4
			C: RCPT TO:<b@example.org> NOTIFY=NEVER NOTIFY=NEVER
			S: 501 5.5.4 NOTIFY may stand once
			C: RCPT TO:<b@example.org> ORCPT=b@example.org
			S: 501 5.5.4
			C: RCPT TO:<b@example.org> ORCPT=rfc822;b=c
			S: 501 5.5.4
			C: RCPT TO:<b@example.org> RET=HDRS
			S: 555 5.5.4
			C: RCPT TO:<b@example.org> NOTIFY=success,failure ORCPT=rfc822;b+2Bc@example.org
			S: 250`},
		{"order", false, `
			C: RCPT TO:<b@example.org>
			S: 503 5.5.1
			C: RSET
			S: 250 2.0.0
			C: VRFY b
			S: 252 2.0.0
			C: HELP
			S: 214 2.0.0
			C: EXPN x
			S: 500 5.5.1
			C: STARTTLS x
			S: 501 5.5.4
			C: NOOP with words
			S: 250 2.0.0
			C: QUIT
			S: 221 2.0.0`},
		{"no TLS inside TLS", true, `
			C: STARTTLS
			S: 503 5.5.1`},
		{"BDAT", false, `
			C: MAIL FROM:<a@example.org>
			S: 250
			C: RCPT TO:<b@example.org>
			S: 250
			C: RCPT TO:<full@example.org>
			S: 250
			C: BDAT 3
			C: x
			S: 250 2.0.0 3 octets received
			C: DATA
			S: 503 5.5.1 BDAT has begun
			C: RCPT TO:<c@example.org>
			S: 503 5.5.1
			C: MAIL FROM:<c@example.org>
			S: 503 5.5.1
			C: NOOP
			S: 250
			C: BDAT 4 last
			C: .y
			S: 250 2.0.0 delivered as
			S: 452 4.2.2
			C: BDAT 3
			C: x
			S: 503 5.5.1 no recipient
			C: NOOP
			S: 250 2.0.0 ok`},
		{"L33 BDAT LAST without recipient has no reply", false, `
			C: MAIL FROM:<a@example.org>
			S: 250
			C: RCPT TO:<unknown@example.org>
			S: 550
			C: BDAT 3 LAST
			C: x
			C: NOOP
			S: 250 2.0.0 ok
			C: RCPT TO:<b@example.org>
			S: 503 5.5.1 say MAIL first`},
		{"L33 BDAT LAST has a reply per recipient in every failure", false, `
			C: MAIL FROM:<a@example.org>
			S: 250
			C: RCPT TO:<deaf@example.org>
			S: 250
			C: RCPT TO:<b@example.org>
			S: 250
			C: BDAT 3
			C: x
			S: 250 2.0.0 3 octets received
			C: BDAT 3 LAST
			C: y
			S: 451 4.3.0
			S: 451 4.3.0
			C: NOOP
			S: 250 2.0.0 ok`},
		{"RSET between chunks", false, `
			C: MAIL FROM:<a@example.org>
			S: 250
			C: RCPT TO:<b@example.org>
			S: 250
			C: BDAT 3
			C: x
			S: 250
			C: RSET
			S: 250 2.0.0 forgotten
			C: RCPT TO:<b@example.org>
			S: 503 5.5.1
			C: MAIL FROM:<a@example.org>
			S: 250`},
		{"BDAT without a size ends the connection", false, `
			C: BDAT x LAST
			S: 501 5.5.4`},
		{"panic in a delivery", false, `
			C: MAIL FROM:<a@example.org>
			S: 250
			C: RCPT TO:<panic@example.org>
			S: 250
			C: RCPT TO:<b@example.org>
			S: 250
			C: DATA
			S: 354
			C: x
			C: .
			S: 451 4.3.0
			S: 451 4.3.0
			C: NOOP
			S: 250 2.0.0 ok`},
		{"lines that are no commands", false, `
			C: ` + strings.Repeat("x", 8200) + `
			S: 500 5.5.2 line too long
			C: ` + strings.Repeat("x", 100_000) + `
			S: 500 5.5.2 line too long
			C: NOOP` + "\n" + `C: NO` + "\x00" + `OP
			S: 250
			S: 500 5.5.2 control character in a command
			C: NOOP
			S: 250 2.0.0 ok`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := start(t, nil)
			c := r.hello
			if tc.tls {
				c = r.secure
			}
			c().Talk(tc.script)
		})
	}
}

func TestHelloFirst(t *testing.T) {
	c := start(t, nil).dial()
	c.Talk(`
		S: 220 localhost LMTP rtls-lda ready
		C: MAIL FROM:<a@example.org>
		S: 503 5.5.1 say LHLO first`)
}

// A line ends in CR LF and in nothing else.
func TestLineEnds(t *testing.T) {
	c := start(t, nil).hello()
	c.Write("NOOP\nNOOP\rNOOP\r\nNOOP\r\n")
	c.Talk(`
		S: 500 5.5.2 a line ends in CR LF
		S: 500 5.5.2 control character in a command
		S: 250 2.0.0 ok`)
}

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

// What a client said in clear is forgotten when TLS begins.
func TestSTARTTLSForgets(t *testing.T) {
	c := start(t, nil).hello()
	c.Talk(`
		C: MAIL FROM:<a@example.org>
		S: 250`)
	c.StartTLS()
	c.Talk(`
		C: RCPT TO:<b@example.org>
		S: 503 5.5.1 say MAIL first
		C: MAIL FROM:<a@example.org>
		S: 503 5.5.1 say LHLO first`)
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
	if env.TLS == nil || env.TLS.Version < tls.VersionTLS12 || len(env.ID) < 10 {
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

// L20: a client may send all of it at once, and the next transaction too.
func TestPipelining(t *testing.T) {
	r := start(t, nil)
	c := r.dial()
	one := "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<full@example.org>\r\nDATA\r\nx\r\n..y\r\n.\r\n"
	c.Write("LHLO x\r\n" + one + one + "QUIT\r\n")
	c.Expect("220 ", "250 STARTTLS")
	for range 2 {
		c.Talk(`
			S: 250 2.1.0
			S: 250 2.1.5
			S: 250 2.1.5
			S: 354
			S: 250 2.0.0 delivered
			S: 452 4.2.2`)
	}
	c.Talk("S: 221 2.0.0 ")
	c.Closed()
	for _, m := range r.fake.messages() {
		if m.data != "x\r\n.y\r\n" {
			t.Errorf("stored %q", m.data)
		}
	}
}

// L36: the commands behind STARTTLS were sent in clear, by whomever.
func TestSTARTTLSInjection(t *testing.T) {
	r := start(t, nil)
	c := r.hello()
	c.Write("STARTTLS\r\nLHLO evil.example\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.org>\r\n")
	c.Expect("220 2.0.0")
	c.Handshake()
	c.Talk(`
		C: DATA
		S: 503 5.5.1 no recipient
		C: MAIL FROM:<a@example.org>
		S: 503 5.5.1 say LHLO first`)
}

// L37: behind a failed handshake nothing is said in clear.
func TestFailedHandshakeCloses(t *testing.T) {
	c := start(t, nil).hello()
	c.Write("STARTTLS\r\n")
	c.Expect("220 2.0.0")
	c.Write("NOOP\r\nMAIL FROM:<a@example.org>\r\n")
	rest, _ := c.Rest() // a reset is as good as an end
	if strings.Contains(string(rest), "250") || strings.Contains(string(rest), "50") {
		t.Errorf("the server went on in clear: %q", rest)
	}
}

// L38.
func TestOldTLSIsRefused(t *testing.T) {
	r := start(t, nil)
	c := r.hello()
	c.Write("STARTTLS\r\n")
	c.Expect("220 2.0.0")
	conn := tls.Client(c.Conn, &tls.Config{RootCAs: r.ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := conn.Handshake(); err == nil {
		t.Fatal("TLS 1.1 was accepted")
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

func TestPatience(t *testing.T) {
	const waited = "421 4.4.2 localhost waited too long"
	t.Run("for a command", func(t *testing.T) {
		c := start(t, func(s *Server) { s.IdleTimeout = 50 * time.Millisecond }).dial()
		c.Expect("220 ")
		c.Write("LHLO")
		c.Expect(waited)
		c.Closed()
	})
	for name, change := range map[string]func(*Server){
		"without progress": func(s *Server) { s.DataTimeout = 50 * time.Millisecond },
		"for the message":  func(s *Server) { s.MessageTimeout = 50 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, change)
			for _, begin := range []string{"DATA\r\nx\r\n", "BDAT 5\r\nx"} {
				c := r.hello()
				c.Write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n" + begin)
				c.Expect("250 ", "250 ")
				if begin[0] == 'D' {
					c.Expect("354 ")
				}
				c.Expect(waited)
				c.Closed()
			}
			if len(r.fake.messages()) > 0 {
				t.Error("something was stored")
			}
		})
	}
	t.Run("for TLS", func(t *testing.T) {
		c := start(t, func(s *Server) { s.HandshakeTimeout = 50 * time.Millisecond }).hello()
		c.Write("STARTTLS\r\n")
		c.Expect("220 ")
		c.Closed()
	})
	t.Run("with nonsense", func(t *testing.T) {
		c := start(t, nil).hello()
		c.Write(strings.Repeat("X\r\n", 51))
		for range 51 {
			c.Expect("500 ")
		}
		c.Expect("421 4.7.0 too many errors")
		c.Closed()
	})
}

func TestTooMany(t *testing.T) {
	r := start(t, func(s *Server) { s.MaxConns, s.MaxRecipients = 1, 2 })
	c := r.hello()
	other := r.dial()
	other.Expect("421 4.3.2 localhost too busy, try again later")
	other.Closed()
	c.Talk(`
		C: MAIL FROM:<a@example.org>
		S: 250
		C: RCPT TO:<b@example.org>
		S: 250
		C: RCPT TO:<c@example.org>
		S: 250
		C: RCPT TO:<d@example.org>
		S: 452 4.5.3 too many recipients
		C: DATA
		S: 354
		C: .
		S: 250
		S: 250
		C: QUIT
		S: 221`)
	c.Closed()
}

// L42: a process of a user we trust may say REQUIRETLS without TLS.
func TestLocalUsers(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		r := start(t, func(s *Server) {
			s.LocalUsers = []uint32{uint32(os.Getuid()) + 1}
			if trusted {
				s.LocalUsers = append(s.LocalUsers, uint32(os.Getuid()))
			}
		})
		c := r.dial()
		if offered := slices.Contains(c.Hello(), "REQUIRETLS"); offered != trusted {
			t.Errorf("trusted %t, offered %t", trusted, offered)
		}
		c.Write("MAIL FROM:<a@example.org> REQUIRETLS\r\n")
		if !trusted { // L41
			c.Expect("530 5.7.10")
			continue
		}
		c.Write("RCPT TO:<b@example.org>\r\nDATA\r\n.\r\n")
		c.Expect("250 ", "250 ", "354 ", "250 ")
		if env := r.fake.messages()[0].env; !env.RequireTLS || !env.Local || env.Protocol != "LMTP" {
			t.Errorf("%+v", env)
		}
	}
}

// remote is a transcript on an interface that others can listen in on.
type remote struct{ transcript }

func (r *remote) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 24} }
func (r *remote) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 999}
}

// L25: beyond loopback nothing is taken in clear.
func TestTLSBeyondLoopback(t *testing.T) {
	const in = "LHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n.\r\nQUIT\r\n"
	for _, inTLS := range []bool{false, true} {
		backend := &fake{}
		server := (&Server{Hostname: "localhost", Backend: backend}).withDefaults()
		far := &remote{transcript{in: strings.NewReader(in)}}
		c := newConn(server, t.Context(), far)
		if inTLS {
			c.tls = &tls.ConnectionState{}
		}
		c.serve()
		if refused := strings.Contains(far.out.String(), "530 5.7.10 say STARTTLS first"); refused == inTLS {
			t.Errorf("TLS %t:\n%s", inTLS, far.out.String())
		}
		if stored := backend.messages(); len(stored) > 0 != inTLS {
			t.Errorf("TLS %t: stored %v", inTLS, stored)
		} else if inTLS && stored[0].env.Remote != "[IPv6:2001:db8::1]" {
			t.Errorf("remote is %q", stored[0].env.Remote)
		}
	}
}

// Shutdown: who waits is sent away, who delivers may finish, nobody new comes in.
func TestShutdown(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	r := start(t, nil)
	r.fake.hold, r.fake.held = hold, held
	idle, busy, reading, idleTLS := r.hello(), r.hello(), r.hello(), r.secure()
	const open = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
	busy.Write(open + "busy\r\n.\r\nNOOP\r\n")
	<-held
	reading.Write(open + "rea")
	reading.Expect("250 ", "250 ", "354 ")
	r.stop()
	idle.Expect("421 4.3.2 localhost is shutting down")
	idle.Closed()
	idleTLS.Expect("421 4.3.2 localhost is shutting down")
	idleTLS.Closed() // with close_notify, or this would be an unexpected EOF
	if conn, err := net.Dial("unix", r.addr); err == nil {
		conn.Close()
		t.Error("the socket is still there")
	}
	reading.Write("ding\r\n.\r\n")
	<-held
	close(hold)
	busy.Expect("250 ", "250 ", "354 ", "250 2.0.0 delivered as", "421 4.3.2")
	busy.Closed()
	reading.Expect("250 2.0.0 delivered as", "421 4.3.2")
	reading.Closed()
	<-r.done
	if got := r.fake.messages(); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// When Grace is over, deliveries are cancelled: not delivered, not acknowledged.
func TestShutdownGrace(t *testing.T) {
	r := start(t, func(s *Server) { s.Grace = 50 * time.Millisecond })
	r.fake.hold, r.fake.held = make(chan struct{}), make(chan struct{}, 1)
	c := r.hello()
	c.Write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\n")
	<-r.fake.held
	r.stop()
	<-r.done
	rest, _ := c.Rest()
	if strings.Contains(string(rest), "delivered") || len(r.fake.messages()) > 0 {
		t.Errorf("stored %v, said %q", r.fake.messages(), rest)
	}
}

// Running out of descriptors passes; it does not end the service.
func TestAcceptFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	server := &Server{Hostname: "localhost", Backend: &fake{}}
	served := make(chan error)
	go func() { served <- server.Serve(ctx, &flaky{l, 2}) }()
	c := lmtptest.Dial(t, "tcp", l.Addr().String(), nil)
	c.Hello()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	c.Expect("421 ")
	c.Closed()
}

// flaky is a listener whose first calls fail.
type flaky struct {
	net.Listener
	failures int
}

func (l *flaky) Accept() (net.Conn, error) {
	if l.failures--; l.failures >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}
