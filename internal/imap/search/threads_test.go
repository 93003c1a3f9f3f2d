package search

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/imap/command"
	"rtls/internal/mimetree"
	"rtls/store"
)

// threadsOf adds messages, each the lines of a header with the day of the month as
// its date, and returns the answer to THREAD, with numbers from 1 on. "-" is a message
// without a summary.
func threadsOf(t *testing.T, a command.ThreadAlgorithm, headers ...string) string {
	t.Helper()
	threads := NewThreads(a)
	for i, header := range headers {
		raw := strings.ReplaceAll(strings.TrimSpace(header), "\n", "\r\n") + "\r\n\r\n"
		s, err := new(mimetree.Summarizer).Summarize(strings.NewReader(raw), int64(len(raw)), false)
		if err != nil {
			t.Fatal(err)
		}
		if header == "-" {
			s = nil
		}
		threads.Add(store.Message{UID: uint32(i + 1), Date: time.Unix(int64(i), 0)}, s)
	}
	return shown(threads)
}

func shown(threads *Threads) string {
	var b strings.Builder
	sep := ""
	threads.Walk(func() { b.WriteString(sep + "("); sep = "" },
		func(nth int) { fmt.Fprint(&b, sep, nth+1); sep = " " },
		func() { b.WriteByte(')'); sep = "" })
	return b.String()
}

func headerOn(day int, subject, id, refs string) string {
	h := fmt.Sprintf("Date: %d Mar 2026 10:00:00 +0000\nSubject: %s\n", day, subject)
	if id != "" {
		h += "Message-ID: <" + id + ">\n"
	}
	if refs != "" {
		h += "References: <" + strings.ReplaceAll(refs, " ", ">\n <") + ">\n"
	}
	return h
}

// RFC 5256 section 3, step by step.
func TestReferences(t *testing.T) {
	for name, test := range map[string]struct {
		want    string
		headers []string
	}{
		"nothing":         {"", nil},
		"a chain":         {"(1 2 3)", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "b", "2@x", "1@x"), headerOn(3, "c", "3@x", "1@x 2@x")}},
		"the other order": {"(3 2 1)", []string{headerOn(3, "c", "3@x", "1@x 2@x"), headerOn(2, "b", "2@x", "1@x"), headerOn(1, "a", "1@x", "")}},
		"branches by date": {"(1 (3)(2 4))", []string{headerOn(1, "a", "1@x", ""), headerOn(9, "b", "2@x", "1@x"),
			headerOn(3, "c", "3@x", "1@x"), headerOn(4, "d", "4@x", "1@x 2@x")}},
		"In-Reply-To":              {"(1 2)", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "b", "2@x", "") + "In-Reply-To: your mail <1@x> <3@x>\n"}},
		"References count first":   {"(1 3)(2)", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "b", "2@x", ""), headerOn(3, "c", "3@x", "1@x") + "In-Reply-To: <2@x>\n"}},
		"quoting (normalised)":     {"(1 2)", []string{headerOn(1, "a", `"1"@x`, ""), headerOn(2, "b", "2@x", "1@x")}},
		"identifiers mind case":    {"(1)(2)", []string{headerOn(1, "a", "A@x", ""), headerOn(2, "b", "2@x", "a@x")}},
		"one identifier twice":     {"(1 3)(2)", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "b", "1@x", ""), headerOn(3, "c", "3@x", "1@x")}},
		"no identifier":            {"(1)(2)", []string{headerOn(1, "a", "", ""), headerOn(2, "b", "", "")}},
		"missing in the middle":    {"(1 2)", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "b", "3@x", "1@x 2@x")}},
		"missing root":             {"((1)(2))", []string{headerOn(1, "a", "2@x", "1@x"), headerOn(2, "b", "3@x", "1@x")}},
		"missing root, one child":  {"(1 2)", []string{headerOn(1, "a", "2@x", "0@x 1@x"), headerOn(2, "b", "3@x", "2@x")}},
		"dummies below a dummy":    {"((1)(2)(3))", []string{headerOn(1, "a", "4@x", "0@x 1@x"), headerOn(2, "b", "5@x", "0@x 1@x 2@x"), headerOn(3, "c", "6@x", "0@x 3@x")}},
		"a loop":                   {"(2 1)", []string{headerOn(1, "a", "1@x", "2@x"), headerOn(2, "b", "2@x", "1@x")}},
		"itself":                   {"(1)", []string{headerOn(1, "a", "1@x", "1@x")}},
		"its own word counts":      {"(1)(3 2)", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "b", "2@x", "1@x 3@x"), headerOn(3, "c", "3@x", "")}},
		"roots by date":            {"(2)(3)(1)", []string{headerOn(3, "a", "1@x", ""), headerOn(1, "b", "2@x", ""), headerOn(2, "c", "3@x", "")}},
		"a dummy by its first":     {"(3)((2)(1))", []string{headerOn(9, "a", "2@x", "1@x"), headerOn(2, "b", "3@x", "1@x"), headerOn(1, "c", "4@x", "")}},
		"subjects: a reply":        {"(1 2)", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "Re: A", "2@x", "")}},
		"subjects: reply earlier":  {"(2 1)", []string{headerOn(1, "Re: a", "1@x", ""), headerOn(2, "a", "2@x", "")}},
		"subjects: both the same":  {"((1)(2)(3))", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "a", "2@x", ""), headerOn(3, "Re: a", "3@x", "")}},
		"subjects: replies alone":  {"((1)(2))", []string{headerOn(1, "Re: a", "1@x", ""), headerOn(2, "a (fwd)", "2@x", "")}},
		"subjects: none":           {"(1)(2)", []string{headerOn(1, "", "1@x", ""), headerOn(2, "Re:", "2@x", "")}},
		"subjects: into a dummy":   {"((1)(2)(3))", []string{headerOn(1, "Re: a", "2@x", "1@x"), headerOn(2, "Re: a", "3@x", "1@x"), headerOn(3, "a", "4@x", "")}},
		"subjects: two dummies":    {"((1)(2)(3)(4))", []string{headerOn(1, "a", "2@x", "1@x"), headerOn(2, "b", "3@x", "1@x"), headerOn(3, "a", "12@x", "11@x"), headerOn(4, "c", "13@x", "11@x")}},
		"subjects: not of members": {"(1 2)(3)", []string{headerOn(1, "a", "1@x", ""), headerOn(2, "b", "2@x", "1@x"), headerOn(3, "b", "3@x", "")}},
		"without summaries":        {"(1)(2)", []string{"-", "-"}},
	} {
		if got := threadsOf(t, command.References, test.headers...); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

// A header too large for its fields to be kept still says how its thread starts.
func TestReferencesOfLargeHeader(t *testing.T) {
	large := headerOn(2, "b", "2@x", "1@x 0@x") + "To: " + strings.Repeat("x", 70<<10) + "\n"
	if got := threadsOf(t, command.References, headerOn(1, "a", "1@x", ""), large); got != "(1 2)" {
		t.Error(got)
	}
}

func TestOrderedSubject(t *testing.T) {
	for want, headers := range map[string][]string{
		"":                   nil,
		"(2 (3)(1))(4)":      {headerOn(5, "a", "", ""), headerOn(1, "Re: A", "", ""), headerOn(3, "[x] a", "", ""), headerOn(2, "b", "", "")},
		"(2 3)(1)":           {headerOn(5, "a", "", ""), headerOn(1, "b", "", ""), headerOn(9, "b", "", "")},
		"(1 (2)(3)(4))":      {headerOn(1, "a", "1@x", ""), headerOn(1, "a", "2@x", "1@x"), headerOn(1, "a", "3@x", "2@x"), headerOn(1, "a", "", "")},
		"(1 2)(3)(4 (5)(6))": {"-", "-", headerOn(1, "a", "", ""), headerOn(2, "b", "", ""), headerOn(3, "b", "", ""), headerOn(4, "b", "", "")},
	} {
		if got := threadsOf(t, command.OrderedSubject, headers...); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// However messages refer to each other, each is shown once, in lists that are never
// empty and nested as deeply as allowed at most.
func FuzzReferences(f *testing.F) {
	f.Add([]byte("\x01\x00\x02\x01\x03\x02"))
	f.Add([]byte("\x01\x02\x02\x01\x00\x01\x09\x08\x08\x07"))
	f.Fuzz(func(t *testing.T, links []byte) {
		threads := NewThreads(command.References)
		n := 0
		for chunk := range slices.Chunk(links, 3) {
			id := fmt.Sprintf("<%d@x>", chunk[0]%16)
			subject := "Subject: " + strings.Repeat("Re: ", int(chunk[0])%3) + "abcd"[chunk[0]>>6:][:1]
			raw := "Message-ID: " + id + "\r\n" + subject + "\r\nReferences:"
			for _, ref := range chunk[1:] {
				raw += fmt.Sprintf(" <%d@x> <%d@x>", ref%16, ref/16)
			}
			raw += "\r\n\r\n"
			s, err := new(mimetree.Summarizer).Summarize(strings.NewReader(raw), int64(len(raw)), false)
			if err != nil {
				t.Fatal(err)
			}
			threads.Add(store.Message{Date: time.Unix(int64(chunk[0]), 0)}, s)
			n++
		}
		checkShown(t, shown(threads), n)
	})
}

func checkShown(t *testing.T, list string, n int) {
	t.Helper()
	depth, most := 0, 0
	for _, c := range list {
		switch c {
		case '(':
			depth++
			most = max(most, depth)
		case ')':
			depth--
		}
	}
	numbers := strings.FieldsFunc(list, func(r rune) bool { return r < '0' || r > '9' })
	slices.Sort(numbers)
	if depth != 0 || most > maxNesting || strings.Contains(list, "()") || len(numbers) != n || len(slices.Compact(numbers)) != n {
		t.Fatalf("%d messages: %.200s, depth %d", n, list, most)
	}
}

// A thread that is as deep as nobody writes takes neither a deep stack nor long.
func TestDeepThread(t *testing.T) {
	threads := NewThreads(command.References)
	const n = 20000
	for i := range n {
		parent := max(0, i-1-i%2) // each even message has two children
		raw := fmt.Sprintf("Message-ID: <%d@x>\r\nReferences: <%d@x>\r\n\r\n", i, parent)
		s, err := new(mimetree.Summarizer).Summarize(strings.NewReader(raw), int64(len(raw)), false)
		if err != nil {
			t.Fatal(err)
		}
		threads.Add(store.Message{Date: time.Unix(int64(i), 0)}, s)
	}
	checkShown(t, shown(threads), n)
}
