package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rtls/store"
)

// sorted runs a SORT and returns the numbers.
func (c *client) sorted(rest string) string {
	c.t.Helper()
	lines := c.do("SORT " + rest)
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "* SORT") {
		c.t.Fatalf("SORT %s: %q", rest, lines)
	}
	return strings.TrimSpace(strings.TrimPrefix(lines[0], "* SORT"))
}

// sortSite has messages of which every key makes another order.
func sortSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	for i, m := range []string{
		"From: Zed <dan@example.com>\nTo: q@example.org\nCc: b@x\nSubject: Re: banana\nDate: Sun, 3 May 2020 00:30:00 +0200\n\n" + strings.Repeat("x", 40),
		"From: bob@example.com\nTo: =?utf-8?q?=C3=84rger?= <p@example.org>\nSubject: apple\nDate: Sat, 2 May 2020 23:00:00 +0000\n\n",
		"From: =?iso-8859-1?q?=C9mile?= <carl@example.com>\nTo: Friends: r@example.org;\nCc: A@x\nSubject: =?utf-8?q?BAN?=\n =?utf-8?q?ANA?=\nDate: Sat, 2 May 2020 10:00:00 -0800\n\n" + strings.Repeat("x", 20),
		"To: s@example.org\nSubject: [list] Cherry (fwd)\n\n" + strings.Repeat("x", 200),
		"From: Alice <bob@example.com>\nSubject:\nDate: nonsense\n\n" + strings.Repeat("x", 80),
	} {
		date := time.Date(2020, 5, 1+(i+2)%5, 12, 0, 0, 0, time.UTC)
		s.deliver("INBOX", m, store.Meta{Date: date})
		s.sync("INBOX")
	}
	return s
}

// RFC 5256 section 3, RFC 5957 section 3.
func TestSort(t *testing.T) {
	s := sortSite(t)
	c := s.login("INBOX")
	check := func() {
		t.Helper()
		for rest, want := range map[string]string{
			"(ARRIVAL) UTF-8 ALL":                         "4 5 1 2 3",
			"(REVERSE ARRIVAL) UTF-8 ALL":                 "3 2 1 5 4",
			"(DATE) UTF-8 ALL":                            "4 5 3 1 2",
			"(FROM) UTF-8 ALL":                            "4 2 5 3 1",
			"(REVERSE FROM) UTF-8 ALL":                    "1 3 2 5 4",
			"(FROM REVERSE SIZE) UTF-8 ALL":               "4 5 2 3 1",
			"(TO) UTF-8 ALL":                              "5 3 2 1 4",
			"(CC) US-ASCII ALL":                           "2 4 5 3 1",
			"(SIZE) UTF-8 ALL":                            "2 5 1 3 4",
			"(SUBJECT) UTF-8 ALL":                         "5 2 1 3 4",
			"(SUBJECT REVERSE ARRIVAL) UTF-8 ALL":         "5 2 3 1 4",
			"(DISPLAYFROM) UTF-8 ALL":                     "4 5 2 3 1",
			"(DISPLAYTO) UTF-8 ALL":                       "5 2 3 1 4",
			`(SUBJECT) "utf-8" SUBJECT an`:                "1 3",
			"(REVERSE SUBJECT) UTF-8 SUBJECT an":          "1 3",
			"(SUBJECT) UTF-8 2:4 NOT 3":                   "2 4",
			"(SIZE SUBJECT) UTF-8 TEXT nowhere":           "",
			"(SUBJECT SUBJECT) UTF-8 OR TEXT apple CC a@": "2 3",
		} {
			if got := c.sorted(rest); got != want {
				t.Errorf("SORT %s: got %q, want %q", rest, got, want)
			}
		}
	}
	check()
	check() // from summaries that are kept
	c.script(`
		C: a UID SORT (SUBJECT) UTF-8 SEEN
		S: * SORT
		S: a OK UID SORT completed
		C: b SORT (SUBJECT) KOI8-R ALL
		S: b NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported
		C: c SORT (SIZE) UTF-8 MODSEQ 1
		S: * OK [HIGHESTMODSEQ 6] highest
		S: * SORT 2 5 1 3 4 (MODSEQ 6)
		S: c OK SORT completed
	`)
}

// RFC 5267 section 3: the result is in the order of the messages.
func TestESort(t *testing.T) {
	s := sortSite(t)
	c := s.login("INBOX")
	c.do(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	c.do("EXPUNGE") // UIDs 2 to 5 stay
	c.script(`
		C: E01 UID SORT RETURN (COUNT) (REVERSE DATE) UTF-8 UNDELETED
		S: * ESEARCH (TAG "E01") UID COUNT 4
		S: E01 OK UID SORT completed
		C: E02 UID SORT RETURN (MIN MAX) (FROM) UTF-8 ALL
		S: * ESEARCH (TAG "E02") UID MIN 4 MAX 3
		S: E02 OK UID SORT completed
		C: E03 SORT RETURN () (SUBJECT) UTF-8 ALL
		S: * ESEARCH (TAG "E03") ALL 4,1:3
		S: E03 OK SORT completed
		C: E04 UID SORT RETURN (ALL SAVE) (REVERSE ARRIVAL) UTF-8 3:4
		S: * ESEARCH (TAG "E04") UID ALL 5,4
		S: E04 OK UID SORT completed
		C: a FETCH $ UID
		S: * 3 FETCH (UID 4)
		S: * 4 FETCH (UID 5)
		S: a OK FETCH completed
		C: E05 UID SORT RETURN (MAX SAVE) (FROM) UTF-8 ALL
		S: * ESEARCH (TAG "E05") UID MAX 3
		S: E05 OK UID SORT completed
		C: b UID SEARCH $
		S: * SEARCH 3
		S: b OK UID SEARCH completed
		C: E06 SORT RETURN (ALL SAVE) (FROM) X ALL
		S: E06 NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported
		C: c SEARCH $
		S: * SEARCH
		S: c OK SEARCH completed
		C: E07 SORT RETURN (ALL COUNT) (FROM) UTF-8 SEEN
		S: * ESEARCH (TAG "E07") COUNT 0
		S: E07 OK SORT completed
	`)
}

// Numbers do not change during SORT, but may during UID SORT (RFC 5256 section 3). A
// message that is gone has no header to go by.
func TestSortAndExpunge(t *testing.T) {
	s := newSite(t)
	s.deliverN(3)
	c := s.login("INBOX")
	other := s.login("INBOX")
	other.do(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	other.do("EXPUNGE")
	c.script(`
		C: a SORT (REVERSE SUBJECT) UTF-8 ALL
		S: * SORT 3 1 2
		S: a OK SORT completed
		C: b UID SORT (REVERSE SUBJECT) UTF-8 ALL
		S: * SORT 3 1
		S: * 2 EXPUNGE
		S: b OK UID SORT completed
		C: c SORT (REVERSE SUBJECT) UTF-8 ALL
		S: * SORT 2 1
		S: c OK SORT completed
	`)
}

// There are more messages than summaries are held at once.
func TestSortMany(t *testing.T) {
	s := newSite(t)
	const n = 1100
	for i := range n {
		s.deliver("INBOX", fmt.Sprintf("Subject: %04d\r\n\r\n", (i*7)%n), store.Meta{})
	}
	c := s.login("INBOX")
	order := strings.Fields(c.sorted("(SUBJECT) UTF-8 ALL"))
	if len(order) != n {
		t.Fatalf("%d numbers", len(order))
	}
	last := ""
	subjects := make(map[string]string)
	for _, line := range c.do("FETCH 1:* ENVELOPE") {
		fields := strings.Fields(line)
		subjects[fields[1]] = fields[5]
	}
	for _, seq := range order {
		if subjects[seq] <= last {
			t.Fatalf("%s behind %s", subjects[seq], last)
		}
		last = subjects[seq]
	}
}
