package lmtp

import (
	"slices"
	"strings"
	"testing"
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
