package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSets(t *testing.T) {
	for _, test := range []struct {
		in   string
		top  uint32
		want string
	}{
		{"1", 9, "1"},
		{"5,1:3,2:4", 9, "1:5"},
		{"*", 9, "9"},
		{"*:4", 9, "4:9"},
		{"12:*", 9, "9:12"},
		{"1:*", 0, ""},
		{"3:1", 9, "1:3"},
		{"4294967295,1:4294967295", 9, "1:4294967295"},
		{"4294967295,4294967294", 9, "4294967294:4294967295"},
	} {
		l, _ := lexerOf(test.in + "\r\n")
		if err := l.Next(); err != nil {
			t.Fatal(err)
		}
		set, err := l.Set()
		if err != nil || l.End() != nil {
			t.Fatalf("%s: %v", test.in, err)
		}
		if set.String() != test.in {
			t.Errorf("%s is printed %s", test.in, set)
		}
		if got := string(AppendSet(nil, set.Resolve(test.top))); got != test.want {
			t.Errorf("%s of %d: got %s, want %s", test.in, test.top, got, test.want)
		}
	}
	for _, bad := range []string{"", "0", "1:", ":1", "1,", "-1", "4294967296", "1:0", "x", "1::2"} {
		l, _ := lexerOf(bad + "\r\n")
		if err := l.Next(); err != nil {
			t.Fatal(err)
		}
		if set, err := l.Set(); err == nil && l.End() == nil {
			t.Errorf("%q is read as %s", bad, set)
		}
	}
}

func TestRanges(t *testing.T) {
	r := Ranges([]uint32{1, 2, 3, 5, 4294967294, 4294967295})
	if got := string(AppendSet(nil, r)); got != "1:3,5,4294967294:4294967295" {
		t.Error(got)
	}
	for n, want := range map[uint32]bool{0: false, 1: true, 3: true, 4: false, 5: true, 6: false, 4294967295: true} {
		if Contains(r, n) != want {
			t.Errorf("contains %d: %v", n, !want)
		}
	}
}

func TestUTF7(t *testing.T) {
	for name, want := range map[string]string{
		"INBOX":              "INBOX",
		"Tom & J":            "Tom &- J",
		"Entwürfe":           "Entw&APw-rfe",
		"~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		"é&é":                "&AOk-&-&AOk-",
		"😀":                  "&2D3eAA-",
		"a\tb":               "a&AAk-b",
	} {
		if got := EncodeUTF7(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
		if got, err := DecodeUTF7(want); err != nil || got != name {
			t.Errorf("%s: got %q, %v", want, got, err)
		}
	}
	for _, bad := range []string{
		"&", "&AO", "&AOk", "&AOl-", "&AOk=-", "&AGE-", "&AOk-&AOk-", "&2D0-", "&3gA-", "&2D3eA-", "\u00e9", "&!-", "a\x7f",
	} {
		if got, err := DecodeUTF7(bad); err == nil {
			t.Errorf("%s is read as %q", bad, got)
		}
	}
}

func FuzzUTF7(f *testing.F) {
	f.Add("&U,BTFw-/&ZeVnLIqe-", "Entwürfe & Papierkorb")
	f.Fuzz(func(t *testing.T, coded, name string) {
		if got, err := DecodeUTF7(coded); err == nil && EncodeUTF7(got) != coded {
			t.Errorf("%q is a second name of %q", coded, got)
		}
		if !utf8.ValidString(name) {
			return
		}
		if got, err := DecodeUTF7(EncodeUTF7(name)); err != nil || got != name {
			t.Errorf("%q became %q, %v", name, got, err)
		}
	})
}

func TestWriterStrings(t *testing.T) {
	for _, test := range []struct {
		utf8     bool
		in, want string
	}{
		{false, `a "b" \`, `"a \"b\" \\"`},
		{false, "", `""`},
		{false, "a\r\nb", "{4}\r\na\r\nb"},
		{false, "é", "{2}\r\né"},
		{true, "é", `"é"`},
		{true, "\xe9", "{1}\r\n\xe9"},
		{true, "a\x00b", "{3}\r\na\x80b"},
	} {
		var b bytes.Buffer
		w := NewWriter(&b)
		w.SetUTF8(test.utf8)
		w.String(test.in)
		if err := w.Flush(); err != nil || b.String() != test.want {
			t.Errorf("%q: got %q, want %q", test.in, b.String(), test.want)
		}
	}
}

func TestWriterText(t *testing.T) {
	for in, want := range map[string]string{
		"done":                   "done",
		"a\r\n* BYE injected":    "a??* BYE injected",
		"":                       "-",
		"[ALERT] pretend":        "(ALERT] pretend",
		"é\x00\x1b[2J":           "???[2J",
		strings.Repeat("x", 900): strings.Repeat("x", maxText),
	} {
		var b bytes.Buffer
		w := NewWriter(&b)
		w.Status("a", "NO", "CANNOT", in)
		_ = w.Flush()
		if got := b.String(); got != "a NO [CANNOT] "+want+"\r\n" {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// writes counts how often something is sent.
type writes struct {
	bytes.Buffer
	n int
}

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	return w.Buffer.Write(p)
}

func TestWriterBuffers(t *testing.T) {
	var out writes
	w := NewWriter(&out)
	want := ""
	for i := range 20000 {
		line := fmt.Sprintf("* %d FETCH (FLAGS ())", i)
		w.Line(line)
		want += line + "\r\n"
	}
	w.Literal(100000)
	fmt.Fprint(w, strings.Repeat("z", 100000))
	want += "{100000}\r\n" + strings.Repeat("z", 100000)
	if err := w.Flush(); err != nil || out.String() != want {
		t.Fatalf("what came out is not what went in: %v", err)
	}
	if most := len(want)/writeBuffer + 1; out.n > most {
		t.Errorf("%d writes for %d octets, %d are enough", out.n, len(want), most)
	}
	if w.Sent() != uint64(len(want)) {
		t.Errorf("counted %d octets of %d", w.Sent(), len(want))
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, fmt.Errorf("gone") }

func TestWriterError(t *testing.T) {
	w := NewWriter(broken{})
	w.Line("x")
	if w.Flush() == nil || w.Err() == nil {
		t.Error("no error")
	}
	if _, err := w.Write(make([]byte, 100)); err == nil {
		t.Error("goes on writing")
	}
}
