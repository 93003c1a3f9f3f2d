package mimetree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"rtls/internal/testmail"
)

func readSummary(octets []byte, tree bool) (*Summary, error) {
	want := WantEnvelope
	if tree {
		want |= WantTree
	}
	return new(SummaryReader).Read(octets, want)
}

func summarize(t testing.TB, raw []byte, whole bool) *Summary {
	t.Helper()
	s, err := new(Summarizer).Summarize(bytes.NewReader(raw), int64(len(raw)), whole)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkSummary holds a summary to what a parse says, and its octets to it.
func checkSummary(t *testing.T, raw []byte) {
	t.Helper()
	root, err := Parse(bytes.NewReader(wireForm(raw)))
	if err != nil {
		t.Fatal(err)
	}
	whole, short := summarize(t, raw, true), summarize(t, raw, false)
	if short.Size = whole.Size; whole.Size != int64(len(wireForm(raw))) {
		t.Fatalf("%d octets in wire form: %q", whole.Size, raw)
	}
	if !reflect.DeepEqual(whole.Root, root) || !reflect.DeepEqual(short.Envelope, root.Envelope) || whole.Header != root.Header.End {
		t.Fatalf("summary says something else than the message: %q", raw)
	}
	whole.Structure = "structure"
	octets, err := whole.AppendBinary([]byte("before"))
	if errors.Is(err, ErrTooLarge) {
		return
	}
	octets = octets[len("before"):]
	got, err := readSummary(octets, true)
	if err != nil || !reflect.DeepEqual(got, whole) {
		t.Fatalf("round trip of %q: %v\n got %+v\nwant %+v", raw, err, got, whole)
	}
	if got, err = new(SummaryReader).Read(octets, WantStructure); err != nil || got.Structure != "structure" || got.Root != nil || got.Envelope != nil {
		t.Fatalf("structure of %q: %v\n got %+v", raw, err, got)
	}
	whole.Root = nil
	if got, err = readSummary(octets, false); err != nil || !reflect.DeepEqual(got, whole) {
		t.Fatalf("round trip of %q without tree: %v", raw, err)
	}
	whole.Structure = ""
	if !reflect.DeepEqual(short, whole) {
		t.Fatalf("what a header says depends on the body: %q", raw)
	}
}

// wireForm has CRLF where a message has LF.
func wireForm(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

func TestSummaryOfCorpus(t *testing.T) {
	all, err := testmail.All("../../testdata/mail")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		t.Run(m.Name, func(t *testing.T) {
			checkSummary(t, m.Raw)
			checkSummary(t, wireForm(m.Raw))
		})
	}
}

func TestSummaryLimits(t *testing.T) {
	field := func(name string, n int) string { return name + ": " + strings.Repeat("x", n) + "\r\n" }
	for _, c := range []struct {
		name, raw string
		fields    bool
		kept      bool
	}{
		{"small", "Subject: a\r\n\r\n", true, true},
		{"much of what is not kept", field("X-A", maxHead/2) + "Subject: a\r\n\r\n", true, true},
		{"header too large", field("X-A", maxHead) + "Subject: a\r\n\r\n", false, true},
		{"odd name", field("Subject"+strings.Repeat(" ", maxName), 1) + "\r\n", false, true},
		{"fields too large", field("References", maxKeptFields) + "\r\n", false, true},
		{"summary too large", field("Subject", MaxSummary) + "\r\n", false, false},
		{"many parts", crlf(mixed("x")) + strings.Repeat("--x\r\n\r\n", MaxParts), true, false},
		{"deep", strings.Repeat("Content-Type: message/rfc822\r\n\r\n", MaxDepth+5), true, true},
	} {
		s := summarize(t, []byte(c.raw), true)
		if s.hasFields != c.fields {
			t.Errorf("%s: has fields: %v", c.name, s.hasFields)
		}
		octets, err := s.AppendBinary(nil)
		if (err == nil) != c.kept || len(octets) > MaxSummary {
			t.Errorf("%s: %d octets, %v", c.name, len(octets), err)
		}
		if err == nil {
			checkSummary(t, []byte(c.raw))
		}
	}
}

// A structure that is too long is not kept, and the tree is there in its place.
func TestLongStructure(t *testing.T) {
	for _, n := range []int{0, 1, MaxStructure, MaxStructure + 1} {
		s := summarize(t, []byte(manyParts), true)
		s.Structure = strings.Repeat("x", n)
		octets, err := s.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := new(SummaryReader).Read(octets, WantStructure)
		if err != nil {
			t.Fatal(err)
		}
		switch kept := n > 0 && n <= MaxStructure; {
		case kept && (got.Structure != s.Structure || got.Root != nil):
			t.Errorf("%d octets: %+v", n, got)
		case !kept && (got.Structure != "" || !reflect.DeepEqual(got.Root, s.Root) || !reflect.DeepEqual(got.Envelope, s.Envelope)):
			t.Errorf("%d octets: %+v", n, got)
		}
	}
}

func TestCommonFields(t *testing.T) {
	raw := "Received: x\r\n\tfrom: y\r\nfrom : a\r\n b\r\nno field\r\n to: nobody\r\nX-Other: To: x\r\nTO:b\r\n\tc\r\nTo\t:\r\nTox: y\r\nsubject: end"
	want := "from : a\r\n b\r\nTO:b\r\n\tc\r\nTo\t:\r\nsubject: end"
	s := summarize(t, []byte(raw), false)
	if s.Fields != want {
		t.Errorf("got %q\nwant %q", s.Fields, want)
	}
	for name, has := range map[string]bool{"from": true, "list-id": true, "received": false, "dkim-signature": false} {
		if IsCommon(name) != has {
			t.Errorf("%s is common: %v", name, !has)
		}
	}
	for _, name := range commonNames {
		if !IsCommon(strings.ToUpper(name)) {
			t.Errorf("%s is too long, or not found", name)
		}
	}
	if len(commonNames) > 64 {
		t.Error("a FieldSet has not enough bits")
	}
	if got := slices.Collect(s.Lines(CommonFields("TO", "nobody"))); !slices.Equal(got, []string{"TO:b\r\n\tc\r\n", "To\t:\r\n"}) {
		t.Errorf("lines of To: %q", got)
	}
}

func TestThread(t *testing.T) {
	for header, want := range map[string]string{
		"References: <a@x>\r\n\t<b@x>\r\nIn-Reply-To: <c@x>\r\nMessage-ID: <d@x>\r\n":    "<a@x>",
		"References: \r\nIn-Reply-To: your message <c@x> <e@x>\r\nMessage-ID: <d@x>\r\n": "<c@x>",
		"References: <broken\r\nMessage-ID: (comment) <d@x>\r\n":                         "<d@x>",
		"Message-ID: no brackets\r\n":                                                    "no brackets",
		"Subject: Re: x\r\n":                                                             "",
		"Message-ID: <" + strings.Repeat("x", 2000) + ">\r\n":                            "<" + strings.Repeat("x", maxThread-1),
	} {
		for _, whole := range []bool{false, true} {
			// A message inside starts no other thread.
			raw := header + "Content-Type: message/rfc822\r\n\r\nReferences: <inner@x>\r\n\r\n"
			if s := summarize(t, []byte(raw), whole); s.Thread != want {
				t.Errorf("%q: %q, want %q", header, s.Thread, want)
			}
		}
	}
}

func TestSummaryReaderError(t *testing.T) {
	failed := errors.New("failed")
	for _, raw := range []string{"", "Subject: a", "Subject: a\r\n\r\nbody"} {
		r := io.MultiReader(strings.NewReader(raw), iotest.ErrReader(failed))
		if _, err := new(Summarizer).Summarize(r, 100, true); !errors.Is(err, failed) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

const manyParts = "From: a <a@x>, b: c@x, \"d\" <@r:d@x>;\r\nSubject: =?utf-8?q?x?=\r\nReferences: <a@x> <b@x>\r\n" +
	"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\nContent-Language: de, en\r\n\r\n" +
	"From: b@x\r\nSender: c@x\r\n\r\nhi\r\n--x\r\nContent-Disposition: attachment; filename=y\r\nContent-ID: <i@x>\r\n\r\n--x--\r\n"

// Whatever befalls the octets of a summary, it is noticed.
func TestDamagedSummary(t *testing.T) {
	octets, err := summarize(t, []byte(manyParts), true).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range octets {
		if _, err := readSummary(octets[:i], true); !errors.Is(err, ErrSummary) {
			t.Fatalf("cut off at %d: %v", i, err)
		}
		for bit := range 8 {
			damaged := bytes.Clone(octets)
			damaged[i] ^= 1 << bit
			if _, err := readSummary(damaged, true); !errors.Is(err, ErrSummary) {
				t.Fatalf("bit %d of octet %d: %v", bit, i, err)
			}
		}
	}
}

func FuzzSummary(f *testing.F) {
	f.Add([]byte(manyParts))
	f.Add([]byte("Content-Type: multipart/digest; boundary=x\n\n--x\n\nTo: a\n\n--x\n"))
	f.Fuzz(checkSummary)
}

// FuzzParseSummary reads octets with a right checksum. What is read can be written,
// and its parts can be looked for.
func FuzzParseSummary(f *testing.F) {
	for _, raw := range []string{"", manyParts, "Subject: x\r\n\r\n"} {
		octets, err := summarize(f, []byte(raw), true).AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(octets[:len(octets)-checksumLen])
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		octets = binary.LittleEndian.AppendUint32(bytes.Clone(octets), crc32.Checksum(octets, castagnoli()))
		s, err := readSummary(octets, true)
		if err != nil {
			return
		}
		if s.Root != nil {
			checkPaths(t, s.Root, s.Root, nil)
		}
		again, err := s.AppendBinary(nil)
		if err != nil {
			return
		}
		if got, err := readSummary(again, true); err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%+v becomes %+v, %v", s, got, err)
		}
	})
}

var sink *Summary

func BenchmarkSummarize(b *testing.B) {
	var z Summarizer
	b.ReportAllocs()
	for b.Loop() {
		sink, _ = z.Summarize(strings.NewReader(manyParts), int64(len(manyParts)), true)
	}
}

func BenchmarkReadSummary(b *testing.B) {
	octets, err := summarize(b, []byte(manyParts), true).AppendBinary(nil)
	if err != nil {
		b.Fatal(err)
	}
	for name, tree := range map[string]bool{"envelope": false, "tree": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink, _ = readSummary(octets, tree)
			}
		})
	}
}
