package search

import (
	"bytes"
	"strings"
	"testing"

	"rtls/internal/mimetree"
)

// Values that are not decoded, or not again, are found as others are.
func FuzzValueSearch(f *testing.F) {
	f.Add(" =?utf-8?q?H=C3=89LLO?=\r\n you", " Plain\r\n\tTEXT ", "hé", "n\tt")
	f.Add("\xe9 K\rx", "\r\n \u212a=", "k", "= ")
	f.Fuzz(func(t *testing.T, a, b, needle, other string) {
		for _, needle := range []string{strings.ToLower(needle), strings.ToLower(other)} {
			v := &valueSearch{needle: needle}
			for _, raw := range []string{a, b, a, b} {
				want := strings.Contains(strings.ToLower(decodeHeader(raw)), needle)
				if got := v.in(raw); got != want {
					t.Fatalf("%q in %q: %v", needle, raw, got)
				}
			}
		}
	})
}

func FuzzLower(f *testing.F) {
	f.Add([]byte("ABCXYZ@[`{ and so on"), []byte("\xff Ä"))
	f.Fuzz(func(t *testing.T, before, text []byte) {
		got := appendLower(bytes.Clone(before), text)
		if want := append(bytes.Clone(before), bytes.ToLower(text)...); !bytes.Equal(got, want) {
			t.Fatalf("%q is %q, want %q", text, got, want)
		}
	})
}

func TestSummaryFields(t *testing.T) {
	raw := "Subject: one\r\nX: y\r\nsubject : two\r\n three\r\n\r\n"
	s, err := new(mimetree.Summarizer).Summarize(strings.NewReader(raw), int64(len(raw)), false)
	if err != nil {
		t.Fatal(err)
	}
	var kept, read []string
	summaryFields(s, "SUBJECT", func(raw string) bool { kept = append(kept, raw); return false })
	fields([]byte(raw), "SUBJECT", func(raw string) bool { read = append(read, raw); return false })
	if len(kept) != 2 || strings.Join(kept, "|") != strings.Join(read, "|") {
		t.Errorf("%q, of the header %q", kept, read)
	}
}
