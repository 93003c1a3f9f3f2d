package server

import (
	"fmt"
	"strings"
	"testing"

	"rtls/store"
)

// draft is the message of RFC 4469's examples 1 and 2, with UID 1 in Drafts.
const draft = "From: Bob Ar <bar@example.org>\r\n" +
	"To: foo@example.net\r\n" +
	"Subject: About our holiday trip\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=\"------------030308070208000400050907\"\r\n" +
	"\r\n" +
	"--------------030308070208000400050907\r\n" +
	"Content-Type: text/plain; format=flowed\r\n" +
	"\r\n" +
	"Our travel agent has sent the updated schedule.\r\n" +
	"--------------030308070208000400050907\r\n" +
	"Content-Type: application/x-zip-compressed\r\n" +
	"Content-Transfer-Encoding: base64\r\n" +
	"\r\n" +
	"UEsDBA==\r\n" +
	"--------------030308070208000400050907--\r\n"

// newCatenateSite has draft in Drafts, with UID 1, and a message in INBOX.
func newCatenateSite(t *testing.T) (s *site, validity string) {
	s = newSite(t)
	s.mailboxes("Drafts", "Work/Lists")
	s.deliver("Drafts", draft, store.Meta{})
	s.deliver("INBOX", message(1), store.Meta{Tag: store.TagRequire, Origin: store.OriginESMTP})
	return s, fmt.Sprint(s.box("Drafts").Snapshot().UIDValidity())
}

// body is what the server says a message holds.
func (c *client) body(uid int) string {
	c.t.Helper()
	c.send(fmt.Sprintf("body UID FETCH %d BODY.PEEK[]\r\n", uid))
	line := c.line()
	var n int
	if _, err := fmt.Sscanf(line[strings.LastIndex(line, "{"):], "{%d}", &n); err != nil {
		c.t.Fatalf("%s: %v", line, err)
	}
	var b strings.Builder
	for b.Len() < n+len(")\r\n") {
		b.WriteString(c.line())
	}
	c.expect("body OK UID FETCH completed")
	return b.String()[:n]
}

// RFC 4469 appendix A, examples 1 and 2.
func TestCatenate(t *testing.T) {
	s, validity := newCatenateSite(t)
	c := s.login("Drafts")
	url := "/Drafts;UIDVALIDITY=" + validity + "/;UID=1/;section="
	c.script(`
		C: A003 APPEND Drafts (\Seen \Draft $MDNSent) CATENATE (URL "` + url + `HEADER" TEXT {42}
		S: + go ahead
		C: 
		C: --------------030308070208000400050907
		C:  URL "` + url + `1.MIME" URL "` + url + `1" TEXT {42}
		S: + go ahead
		C: 
		C: --------------030308070208000400050907
		C:  URL "` + url + `2.MIME" URL ;UID=1/;section=2 TEXT {44+}
		C: 
		C: --------------030308070208000400050907--
		C: )
		S: * 2 EXISTS
		S: * 2 RECENT
		S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $MDNSent $RequireTLSUnknown $RequireTLS $TLSOptional)
		S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $MDNSent \*)] flags permitted
		S: A003 OK [APPENDUID ` + validity + ` 2] APPEND completed
	`)
	want := strings.Replace(draft, "\r\n\r\n-", "\r\n\r\n\r\n-", 1)
	if got := c.body(2); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	c.script(`
		C: b UID FETCH 1:2 FLAGS
		S: * 1 FETCH (UID 1 FLAGS (\Recent))
		S: * 2 FETCH (UID 2 FLAGS (\Seen \Draft \Recent $MDNSent))
		S: b OK UID FETCH completed
	`)
}

// Whole messages, ranges of octets (RFC 5550, RFC 5092), several messages and the
// place of the old one (RFC 8508), with all forms of URLs that mean this server.
func TestCatenateForms(t *testing.T) {
	s, _ := newCatenateSite(t)
	s.deliver("Work/Lists", "Subject: list\r\n\r\nx\r\n", store.Meta{})
	c := s.login("INBOX")
	c.do("ENABLE UTF8=ACCEPT")
	c.do(`APPEND INBOX CATENATE (URL /INBOX/;UID=1)`)
	c.do("APPEND INBOX CATENATE (URL imap://localhost/Drafts/;UID=1/;PARTIAL=6.6 TEXT {2+}\r\n\r\n) (\\Flagged) {3+}\r\nabc CATENATE (URL \"imap://alice;AUTH=*@LOCALHOST/inbox/;UID=1/;SECTION=HEADER.FIELDS%20(Subject)/;PARTIAL=9\" UTF8 (~{2+}\r\né))")
	c.do("SELECT Work/Lists")
	c.do("APPEND INBOX CATENATE (URL Lists/;UID=1/;SECTION=TEXT URL /;UID=1/;SECTION=HEADER)")
	c.do("REPLACE 1 INBOX CATENATE (URL ;UID=1/;PARTIAL=0.7)")
	c.do("SELECT INBOX")
	for uid, want := range map[int]string{2: message(1), 3: "Bob Ar\r\n", 4: "abc", 5: "message 1\r\n\r\né", 6: "x\r\nSubject: list\r\n\r\n", 7: "Subject"} {
		if got := c.body(uid); got != want {
			t.Errorf("UID %d: %q, want %q", uid, got, want)
		}
	}
	// The tag is no octet of a message, and APPEND gives none.
	if got := c.found("KEYWORD $RequireTLS"); got != "1" {
		t.Errorf("with the tag: %q", got)
	}
	if lines := c.do("STATUS Work/Lists (MESSAGES)"); lines[0] != "* STATUS Work/Lists (MESSAGES 0)" {
		t.Errorf("replaced: %q", lines)
	}
}

// RFC 4469 section 4 and appendix A, example 4: the first URL that does not work is
// named, and nothing is stored.
func TestCatenateRefused(t *testing.T) {
	s, _ := newCatenateSite(t)
	c := s.login("")
	for url, text := range map[string]string{
		"/INBOX;UIDVALIDITY=1/;UID=1":               "no such message",
		"/INBOX/;UID=2":                             "no such message",
		"/INBOX/;UID=1/;section=1.5.9":              "no such message or part",
		"/Drafts/;UID=1/;SECTION=1.HEADER":          "no such message or part",
		"/Nowhere/;UID=1":                           "no such mailbox",
		"/a%2F%2Fb/;UID=1":                          "no such mailbox",
		"/;UID=1":                                   "it is of another server or user, or of no mailbox",
		"imap://localhost/;UID=1":                   "it is of another server or user, or of no mailbox",
		"imap://mail.example.org/INBOX/;UID=1":      "it is of another server or user, or of no mailbox",
		"imap://bob@localhost/INBOX/;UID=1":         "it is of another server or user, or of no mailbox",
		"imap://localhost:1/INBOX/;UID=1":           "it is of another server or user, or of no mailbox",
		"http://localhost/INBOX/;UID=1":             "scheme of URL is not imap",
		"/INBOX":                                    "URL is of no message",
		"/INBOX/;UID=1;URLAUTH=anonymous:internal:": "URL has a parameter that is not known, or in a wrong place",
	} {
		c.script(fmt.Sprintf(`
			C: a APPEND INBOX (\Seen) CATENATE (TEXT {3+}
			C: abc URL /INBOX/;UID=1 URL "%s" URL "x" TEXT {3+}
			C: abc) CATENATE (URL x)
			S: a NO [BADURL %s] %s
		`, url, url, text))
	}
	c.script(`
		C: b APPEND INBOX CATENATE (URL "a]b c" TEXT {999999999}
		S: b NO [BADURL a%5Db%20c] URL has characters that have to be encoded
		C: c APPEND INBOX {3+}
		C: abc CATENATE (URL /INBOX/;UID=9)
		S: c NO [BADURL /INBOX/;UID=9] no such message
		C: d APPEND INBOX CATENATE ()
		S: d BAD expected an atom, found ")"
		C: e APPEND INBOX CATENATE (TEXT {3+}
		C: abc
		S: e BAD expected ' ', found the end of the command
		C: f APPEND INBOX CATENATE (TEXT {3}
		S: + go ahead
		C: abc FOO {3}
		S: f BAD a part is TEXT or URL, not FOO
		C: g STATUS INBOX (MESSAGES)
		S: * STATUS INBOX (MESSAGES 1)
		S: g OK STATUS completed
	`)
	if n := s.files(); n != 1 {
		t.Errorf("%d files", n)
	}
}

func TestCatenateTooBig(t *testing.T) {
	s := newSite(t, func(server *Server) { server.AppendLimit = 1000 })
	s.deliver("INBOX", message(1)+strings.Repeat("x", 400), store.Meta{})
	c := s.login("")
	c.script(`
		C: a APPEND INBOX CATENATE (URL /INBOX/;UID=1 URL /INBOX/;UID=1)
		S: a NO [TOOBIG] a message has at most 1000 octets
		C: b APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {900}
		S: b NO [TOOBIG] a message has at most 1000 octets
		C: c APPEND INBOX CATENATE (TEXT {900+}
		C: ` + strings.Repeat("x", 900) + ` TEXT {101}
		S: c NO [TOOBIG] a message has at most 1000 octets
	`)
	c.send("d APPEND INBOX CATENATE (" + strings.Repeat("URL /INBOX/;UID=1/;PARTIAL=0.1 ", 1000) + "URL x)\r\n")
	c.expect("d NO [LIMIT] a message has at most 1000 parts")
	if n := s.files(); n != 1 {
		t.Errorf("%d files", n)
	}
}
