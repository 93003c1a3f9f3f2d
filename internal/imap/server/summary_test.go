package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/internal/mimetree"
	"rtls/internal/testmail"
	"rtls/store"
)

// loseIndex removes the index of an account that nobody has open.
func (s *site) loseIndex() {
	s.t.Helper()
	if err := s.account.Close(); err != nil {
		s.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, ".rtls")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	var err error
	if s.account, err = store.Open(s.dir, nil); err != nil {
		s.t.Fatal(err)
	}
}

// kept returns the summaries of INBOX's messages.
func (s *site) kept() (list []store.Summary) {
	s.t.Helper()
	box := s.box("INBOX")
	var uids []uint32
	for at := range box.Snapshot().Len() {
		uids = append(uids, box.Snapshot().At(at).UID)
	}
	err := box.Summaries(context.Background(), uids, new([]byte), func(kept store.Summary) error {
		list = append(list, kept)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

const thunderbirdFields = "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To"

// questions are what summaries answer, or help to.
var questions = []string{
	"FETCH 1:* (ENVELOPE)",
	"FETCH 1:* (BODY BODYSTRUCTURE)",
	"UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (" + thunderbirdFields + ")])",
	"FETCH 1:* BODY.PEEK[HEADER.FIELDS (references SUBJECT x-none)]",
	"FETCH 1:* BODY.PEEK[HEADER.FIELDS (List-Id X-TUID)]",
	"FETCH 1:* BODY.PEEK[HEADER.FIELDS (To Received)]",
	"FETCH 1:* BODY.PEEK[HEADER.FIELDS (From To Content-Type)]<20.50>",
	"FETCH 1:* BODY.PEEK[HEADER.FIELDS.NOT (From To)]",
	"FETCH 1:* (BODY.PEEK[HEADER] BODY.PEEK[1.MIME] BODY.PEEK[2]<0.100> BODY.PEEK[1.HEADER.FIELDS (From)] BODY.PEEK[TEXT]<5.10>)",
	"FETCH 1:* (BINARY.SIZE[1] BINARY.PEEK[2]<0.50>)",
	"FETCH 1:* (EMAILID THREADID)",
	"FETCH 3,9,40 (ENVELOPE BODY.PEEK[1])",
	"SEARCH FROM example.com",
	"SEARCH OR SUBJECT the TO alice NOT CC bob",
	"SEARCH SENTSINCE 1-Jan-2026 BCC \"\"",
	"SEARCH HEADER References \"\"",
	"SEARCH HEADER Received \"\" LARGER 1000",
	"SEARCH SENTBEFORE 1-Jan-2000 TEXT e",
	"FETCH 1 (ENVELOPE RFC822.HEADER)",
}

func (s *site) answers(enable string) []string {
	c := s.login("")
	if enable != "" {
		c.do("ENABLE " + enable)
	}
	c.do("EXAMINE INBOX")
	var all []string
	for _, q := range questions {
		c.send("q " + q + "\r\n")
		var answer strings.Builder
		for {
			line := c.line()
			answer.WriteString(line)
			if strings.HasPrefix(line, "q ") && strings.HasSuffix(line, " completed\r\n") || strings.HasPrefix(line, "q NO [UNKNOWN-CTE]") {
				break
			}
		}
		all = append(all, answer.String())
	}
	c.do("LOGOUT")
	return all
}

// deliverCorpus delivers the test messages and some whose headers are odd.
func (s *site) deliverCorpus() []testmail.Message {
	s.t.Helper()
	all, err := testmail.All("../../../testdata/mail")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, raw := range []string{"X: y\r\nSubject: no end", "From: a\r\n b", "Subject \t: x\r\nnone\r\n to: y\r\nTo:\r\n\r\n"} {
		all = append(all, testmail.Message{Raw: []byte(raw)})
	}
	for _, m := range all {
		s.deliver("INBOX", string(m.Raw), store.Meta{})
		s.sync("INBOX")
	}
	return all
}

// Fields that summaries keep are those of the message: one name that they do not keep
// has all of them read from there.
func TestKeptFields(t *testing.T) {
	s := newSite(t)
	s.deliverCorpus()
	c := s.login("INBOX")
	for _, names := range []string{thunderbirdFields, "subject", "To From", "Content-Type List-Id References", "X-TUID"} {
		kept := strings.Join(c.do("FETCH 1:* BODY.PEEK[HEADER.FIELDS ("+names+")]"), "\n")
		read := strings.Join(c.do("FETCH 1:* BODY.PEEK[HEADER.FIELDS ("+names+" X-Nobody-Has-This)]"), "\n")
		if read = strings.ReplaceAll(read, " X-Nobody-Has-This", ""); kept != read {
			t.Errorf("%s: %s", names, firstDifference(read, kept))
		}
	}
}

// What a client is told does not depend on whether somebody has asked before, nor on
// what has become of the summaries since.
func TestSummariesChangeNothing(t *testing.T) {
	s := newSite(t)
	all := s.deliverCorpus()
	for _, enable := range []string{"", "IMAP4rev2"} {
		put := func(list []store.Summary) {
			t.Helper()
			if err := s.box("INBOX").PutSummaries(context.Background(), list); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(filepath.Join(s.dir, ".rtls", "summaries")); err != nil {
			t.Fatal(err)
		}
		cold := s.answers(enable)
		kept := s.kept()
		if len(kept) < len(all)-2 {
			t.Fatalf("%d summaries of %d messages are kept", len(kept), len(all))
		}
		same := func(what string) {
			t.Helper()
			for i, warm := range s.answers(enable) {
				if warm != cold[i] {
					t.Errorf("%s, with %s: other answer with summaries that are %s\n%s", questions[i], enable, what, firstDifference(cold[i], warm))
				}
			}
			if again := s.kept(); !slices.EqualFunc(again, kept, func(a, b store.Summary) bool { return a.UID == b.UID && bytes.Equal(a.Octets, b.Octets) }) {
				t.Errorf("summaries that were %s are not as they were before", what)
			}
		}
		same("there")
		put(damaged(kept, func(octets []byte) []byte { octets[len(octets)/2]++; return octets }))
		same("damaged")
		put(damaged(kept, func(octets []byte) []byte { return octets[:len(octets)/2] }))
		same("cut off")
		put(damaged(kept, func(octets []byte) []byte { octets[0]++; return octets }))
		same("of another version")
		// Each has that of the message before, which is in order.
		moved := slices.Clone(kept)
		for i := range moved {
			moved[i].Octets = kept[max(i, 1)-1].Octets
		}
		put(moved)
		same("of other messages")
	}
}

func damaged(list []store.Summary, f func(octets []byte) []byte) (out []store.Summary) {
	for _, s := range list {
		s.Octets = f(bytes.Clone(s.Octets))
		out = append(out, s)
	}
	return out
}

func firstDifference(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	from := max(0, i-100)
	return fmt.Sprintf(" got %.300q\nwant %.300q", b[from:], a[from:])
}

// A structure that is sent to every client alike is kept as it is sent, and no other:
// it does not depend on who has asked first.
func TestKeptStructures(t *testing.T) {
	part := func(header string) string { return header + "\r\n\r\nSubject: \u00e9\r\n\r\nx\r\n" }
	messages := []struct {
		raw  string
		kept bool
	}{
		{part("Subject: plain"), true},
		{part("Content-Type: multipart/mixed; boundary=none"), true},
		{part("Content-Type: application/pdf; name=\"a \\\" b\""), true},
		{part("Content-Type: message/rfc822"), false}, // its subject is not ASCII
		{part("Content-Type: message/global"), false},
		{"Content-Type: message/global\r\n\r\nSubject: x\r\n\r\nx\r\n", false},
		{"Content-Type: message/rfc822\r\n\r\nContent-Type: message/global\r\n\r\n\r\n", false},
		{part("Content-Type: image/png; name=\"\u00e9\""), false},
		{part("Content-Type: text/plain; name=\"" + strings.Repeat("x", mimetree.MaxStructure-200) + "\""), true},
		{part("Content-Type: text/plain; name=\"" + strings.Repeat("x", mimetree.MaxStructure) + "\""), false},
	}
	s := newSite(t)
	for _, m := range messages {
		s.deliver("INBOX", m.raw, store.Meta{})
		s.sync("INBOX")
	}
	ask := func(enable string) string {
		c := s.login("")
		if enable != "" {
			c.do("ENABLE " + enable)
		}
		c.do("EXAMINE INBOX")
		c.send("q FETCH 1:* (BODYSTRUCTURE ENVELOPE)\r\n")
		var answer strings.Builder
		for line := ""; !strings.HasPrefix(line, "q "); {
			line = c.line()
			answer.WriteString(line)
		}
		c.do("LOGOUT")
		return answer.String()
	}
	forget := func() {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(s.dir, ".rtls", "summaries")); err != nil {
			t.Fatal(err)
		}
	}
	clients := []string{"", "UTF8=ACCEPT", "IMAP4rev2"}
	cold := make(map[string]string)
	for _, enable := range clients {
		forget()
		cold[enable] = ask(enable)
	}
	if cold[""] == cold["UTF8=ACCEPT"] {
		t.Fatal("there is nothing that depends on the client")
	}
	for _, first := range clients {
		forget()
		ask(first)
		for _, enable := range clients {
			if warm := ask(enable); warm != cold[enable] {
				t.Errorf("%q asks after %q: %s", enable, first, firstDifference(cold[enable], warm))
			}
		}
		for i, kept := range s.kept() {
			sum, err := new(mimetree.SummaryReader).Read(kept.Octets, 0)
			if err != nil {
				t.Fatal(err)
			}
			if (sum.Structure != "") != messages[i].kept {
				t.Errorf("%.60q: kept is %.100q", messages[i].raw, sum.Structure)
			}
		}
	}
}

// What summaries say does not come from the messages any more.
func TestSummariesAreUsed(t *testing.T) {
	s := newSite(t)
	s.deliverN(300)
	c := s.login("INBOX")
	c.do("FETCH 1:* ENVELOPE")
	c.do("SELECT INBOX") // waits until they are kept
	var list []store.Summary
	for _, kept := range s.kept() {
		raw := strings.Replace(message(int(kept.UID)), "Bob", "Eve", 1)
		sum, err := new(mimetree.Summarizer).Summarize(strings.NewReader(raw), int64(len(raw)), true)
		if err != nil {
			t.Fatal(err)
		}
		octets, err := sum.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, store.Summary{UID: kept.UID, Stamp: kept.Stamp, Octets: octets})
	}
	if err := s.box("INBOX").PutSummaries(context.Background(), list); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"FETCH 1:* ENVELOPE", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (From Date)]", "FETCH 2:* (FLAGS BODY.PEEK[HEADER.FIELDS (FROM)])"} {
		if got := strings.Join(c.do(q), "\n"); strings.Contains(got, "Bob") || !strings.Contains(got, "Eve") {
			t.Errorf("%s reads the messages: %.500s", q, got)
		}
	}
	if got := c.do("SEARCH 290:* FROM Eve"); len(got) != 1 || got[0] != "* SEARCH 290 291 292 293 294 295 296 297 298 299 300" {
		t.Errorf("SEARCH reads the messages: %q", got)
	}
}
