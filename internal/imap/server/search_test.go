package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rtls/internal/imap/command"
	"rtls/store"
)

// found runs a SEARCH and returns the numbers.
func (c *client) found(keys string) string {
	c.t.Helper()
	lines := c.do("SEARCH " + keys)
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "* SEARCH") {
		c.t.Fatalf("SEARCH %s: %q", keys, lines)
	}
	return strings.TrimSpace(strings.TrimPrefix(lines[0], "* SEARCH"))
}

func TestSearchKeys(t *testing.T) {
	s := newSite(t)
	day := func(d int) time.Time { return time.Date(2020, 5, d, 12, 0, 0, 0, time.Local) }
	for _, m := range []struct {
		raw  string
		meta store.Meta
	}{
		{"From: Bob <bob@example.com>\nTo: alice@example.org\nSubject: first one\nDate: Fri, 1 May 2020 23:30:00 -0800\n\nhello world\n",
			store.Meta{Date: day(1), Flags: store.Seen | store.Answered}},
		{"From: =?utf-8?q?J=C3=B6rg?= <j@example.com>\nCc: carol@example.org\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\n =?utf-8?b?IGFuIGFsbGU=?=\nX-Mark: one\nDate: Sat, 2 May 2020 10:00:00 +0000\n" +
			"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nDer K=E4se ist =\ngut\n",
			store.Meta{Date: day(2), Flags: store.Flagged, Tag: store.TagRequire, Origin: store.OriginESMTP}},
		{"From: x@example.com\nBcc: dave@example.org\nSubject: parts\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPGI+0JzQvtGB0LrQstCwPC9iPg==\n" +
			"--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\naGVsbG8gd29ybGQ=\n--b\nContent-Type: message/rfc822\n\nSubject: inside\n\nneedle in it\n--b--\n",
			store.Meta{Date: day(3), Flags: store.Deleted | store.Draft}},
		{"Subject: big\n\n" + strings.Repeat("filler ", 10000) + "Needle at the end\n", store.Meta{Date: day(4)}},
	} {
		s.deliver("INBOX", m.raw, m.meta)
		s.sync("INBOX")
	}
	c := s.login("INBOX")
	for keys, want := range map[string]string{
		"ALL": "1 2 3 4", "1:2": "1 2", "NOT 1:2": "3 4", "*": "4", "9": "", "3:9": "3 4", "UID 2:3": "2 3", "UID 99:*": "4", "2,4 NOT 4": "2",
		"SEEN": "1", "UNSEEN": "2 3 4", "ANSWERED": "1", "UNANSWERED": "2 3 4", "FLAGGED": "2", "UNFLAGGED": "1 3 4", "DELETED": "3", "UNDELETED": "1 2 4", "DRAFT": "3", "UNDRAFT": "1 2 4",
		"RECENT": "1 2 3 4", "NEW": "2 3 4", "OLD": "",
		"KEYWORD $RequireTLS": "2", "UNKEYWORD $RequireTLS": "1 3 4", "KEYWORD nope": "",
		"OR SEEN FLAGGED": "1 2", "OR (SEEN ANSWERED) (FLAGGED DRAFT)": "1", "NOT OR SEEN FLAGGED": "3 4", "(ALL)": "1 2 3 4",
		"FROM bob": "1", `FROM "JÖRG"`: "2", `FROM ""`: "1 2 3", "TO ALICE": "1", "CC carol": "2", "BCC dave": "3", "SUBJECT first": "1", "SUBJECT {10}\r\nGrüße an": "2",
		"HEADER X-Mark one": "2", "HEADER x-mark two": "", `HEADER X-Mark ""`: "2", "HEADER Subject PARTS": "3",
		"BODY hello": "1", `BODY "Käse"`: "2", `BODY "ist gut"`: "2", `BODY "МОСКВА"`: "3", "BODY needle": "3 4", "BODY inside": "3", "BODY first": "", `BODY ""`: "1 2 3 4",
		"TEXT first": "1", "TEXT x-mark": "2", "TEXT needle": "3 4", `TEXT "grüße"`: "2", "TEXT allefrom": "",
		"LARGER 1000": "4", "SMALLER 1000": "1 2 3", "SMALLER 0": "", "LARGER 0": "1 2 3 4",
		"BEFORE 2-May-2020": "1", "ON 2-May-2020": "2", "SINCE 2-May-2020": "2 3 4", "ON \"03-May-2020\"": "3",
		"SENTBEFORE 2-May-2020": "1", "SENTON 1-May-2020": "1", "SENTSINCE 1-May-2020": "1 2", "SENTON 2-May-2020": "2",
		"OLDER 60": "1 2 3 4", "YOUNGER 60": "",
		"TEXT needle SINCE 4-May-2020 UNSEEN": "4", "UNSEEN NOT BODY needle": "2",
	} {
		keys = strings.ReplaceAll(keys, "{10}\r\n", "{10+}\r\n") // do sends all at once
		if got := c.found(keys); got != want {
			t.Errorf("SEARCH %s: got %q, want %q", keys, got, want)
		}
	}
	c.script(`
		C: a SEARCH CHARSET koi8-r SUBJECT x
		S: a NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported
		C: b SEARCH CHARSET us-ascii SUBJECT first
		S: * SEARCH 1
		S: b OK SEARCH completed
		C: c UID SEARCH 2:3
		S: * SEARCH 2 3
		S: c OK UID SEARCH completed
	`)
}

// RFC 4731.
func TestESearch(t *testing.T) {
	s := newSite(t)
	s.deliverN(5)
	c := s.login("INBOX")
	c.do(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	c.do("EXPUNGE")
	c.script(`
		C: a SEARCH RETURN (MIN MAX COUNT) ALL
		S: * ESEARCH (TAG "a") MIN 1 MAX 4 COUNT 4
		S: a OK SEARCH completed
		C: b UID SEARCH RETURN () ALL
		S: * ESEARCH (TAG "b") UID ALL 2:5
		S: b OK UID SEARCH completed
		C: c SEARCH RETURN (ALL COUNT MIN) SUBJECT nope
		S: * ESEARCH (TAG "c") COUNT 0
		S: c OK SEARCH completed
		C: d SEARCH RETURN (ALL) OR 1 3:4
		S: * ESEARCH (TAG "d") ALL 1,3:4
		S: d OK SEARCH completed
	`)
	c.do("ENABLE IMAP4rev2")
	c.script(`
		C: e UID SEARCH 2
		S: * ESEARCH (TAG "e") UID ALL 3
		S: e OK UID SEARCH completed
		C: f SEARCH SUBJECT nope
		S: * ESEARCH (TAG "f")
		S: f OK SEARCH completed
	`)
}

// RFC 5182, and defect 21: SAVE alone answers nothing.
func TestSearchRes(t *testing.T) {
	s := newSite(t)
	s.deliverN(6)
	c := s.login("INBOX")
	c.script(`
		C: a SEARCH RETURN (SAVE) SUBJECT message
		S: a OK SEARCH completed
		C: b SEARCH RETURN (SAVE) 2:4
		S: b OK SEARCH completed
		C: c FETCH $ UID
		S: * 2 FETCH (UID 2)
		S: * 3 FETCH (UID 3)
		S: * 4 FETCH (UID 4)
		S: c OK FETCH completed
		C: d UID SEARCH $ SUBJECT 3
		S: * SEARCH 3
		S: d OK UID SEARCH completed
		C: e UID SEARCH UID $
		S: * SEARCH 2 3 4
		S: e OK UID SEARCH completed
		C: f UID STORE $ +FLAGS.SILENT (\Deleted)
		S: f OK UID STORE completed
		C: g UID EXPUNGE $
		S: * 4 EXPUNGE
		S: * 3 EXPUNGE
		S: * 2 EXPUNGE
		S: g OK UID EXPUNGE completed
		C: h FETCH $ UID
		S: h OK FETCH completed
		C: i SEARCH RETURN (SAVE MIN) ALL
		S: * ESEARCH (TAG "i") MIN 1
		S: i OK SEARCH completed
		C: j SEARCH $
		S: * SEARCH 1
		S: j OK SEARCH completed
		C: k SEARCH RETURN (SAVE COUNT) ALL
		S: * ESEARCH (TAG "k") COUNT 3
		S: k OK SEARCH completed
		C: l SEARCH $
		S: * SEARCH 1 2 3
		S: l OK SEARCH completed
		C: m SEARCH RETURN (SAVE) CHARSET x ALL
		S: m NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported
		C: n SEARCH $
		S: * SEARCH
		S: n OK SEARCH completed
		C: o UID COPY $ INBOX
		S: o OK no messages found
	`)
}

// A search says the same whatever is looked at first.
func TestSearchManyMessages(t *testing.T) {
	s := newSite(t)
	for i := range 30 {
		flags := store.Flags(0)
		if i%2 == 0 {
			flags = store.Seen
		}
		s.deliver("INBOX", message(i+1), store.Meta{Flags: flags, Date: testDate.AddDate(0, 0, i)})
	}
	c := s.login("INBOX")
	since := testDate.AddDate(0, 0, 10).Format(command.DateLayout)
	for _, keys := range [][2]string{
		{fmt.Sprintf("BODY body SEEN SINCE %s", since), fmt.Sprintf("SINCE %s SEEN BODY body", since)},
		{"OR BODY nope SEEN", "OR SEEN BODY nope"},
		{"NOT (UNSEEN BODY body)", "SEEN"},
	} {
		if a, b := c.found(keys[0]), c.found(keys[1]); a != b || a == "" {
			t.Errorf("%s: %q, but %s: %q", keys[0], a, keys[1], b)
		}
	}
}
