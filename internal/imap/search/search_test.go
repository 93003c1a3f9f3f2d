package search

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// A text is found wherever the pieces that are read end.
func TestContains(t *testing.T) {
	for _, test := range []struct {
		text, needle string
		want         bool
	}{
		{"Hello World", "world", true},
		{"Hello World", "worlds", false},
		{"ÄÖÜ", "öü", true},
		{"", "x", false},
		{strings.Repeat("a", 32<<10-3) + "Needle" + strings.Repeat("b", 50<<10), "needle", true},
		{strings.Repeat("ä", 40<<10) + "МОСКВА", "москва", true},
		{strings.Repeat("ä", 40<<10) + "МОСКВ", "москва", false},
		{"broken \xff\xfe utf8 \xe4 end", "end", true},
		{strings.Repeat("na", 40<<10) + "nb", "nanb", true},
	} {
		got, err := (&finder{needle: test.needle}).text(strings.NewReader(test.text))
		if err != nil || got != test.want {
			t.Errorf("%.20q in %.20q: %v, %v", test.needle, test.text, got, err)
		}
		got, err = (&finder{needle: test.needle}).text(iotest.OneByteReader(strings.NewReader(test.text)))
		if len(test.text) < 1000 && (err != nil || got != test.want) {
			t.Errorf("%.20q in %.20q, by octets: %v, %v", test.needle, test.text, got, err)
		}
	}
	if _, err := (&finder{needle: "x"}).text(iotest.ErrReader(bytes.ErrTooLarge)); err == nil {
		t.Error("an error is lost")
	}
}

// A search that has to end does so inside a message.
func TestTimely(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stops := cut{strings.NewReader(strings.Repeat("x", 1<<20)), cancel}
	if _, err := (&finder{needle: "y"}).text(timely{ctx, stops}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := stops.r.Len(); n == 0 {
		t.Error("all of it was read")
	}
}

// cut calls end when it is read.
type cut struct {
	r   *strings.Reader
	end func()
}

func (c cut) Read(p []byte) (int, error) {
	c.end()
	return c.r.Read(p)
}

func TestFields(t *testing.T) {
	header := []byte("Subject: =?utf-8?q?h=C3=A9?=\r\n =?utf-8?q?llo?=\r\nTO : a\r\nbad line\r\nX:\r\nSubject: \xe9\r\nY: =?x-none?q?=E9?= =?\r\n\r\n")
	for name, want := range map[string]string{
		"subject": "héllo|é",
		"To":      "a",
		"X":       "",
		"Y":       "\xe9 =?",
		"bad":     "none",
	} {
		values := []string{}
		fields(header, name, func(raw string) bool {
			values = append(values, decodeHeader(raw))
			return false
		})
		got := strings.Join(values, "|")
		if len(values) == 0 {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestHeaderOf(t *testing.T) {
	big := "X: " + strings.Repeat("x", 20<<10) + "\r\n\r\n"
	for in, want := range map[string]string{
		"A: b\r\n\r\nbody\r\n\r\n": "A: b\r\n\r\n",
		"\r\nbody":                 "\r\n",
		"A: b":                     "A: b",
		"":                         "",
		big + "body":               big,
	} {
		for _, one := range []bool{false, true} {
			r := iotest.DataErrReader(strings.NewReader(in))
			if one {
				r = iotest.OneByteReader(strings.NewReader(in))
			}
			if got, err := headerOf(r); err != nil || string(got) != want {
				t.Errorf("%.20q: got %.20q, %v", in, got, err)
			}
		}
	}
}
