package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var testLimits = Limits{Line: 256, Held: 512, Discard: 1000}

func lexerOf(input string) (*Lexer, *int) {
	prompts := new(int)
	return NewLexer(strings.NewReader(input), testLimits, func() error { *prompts++; return nil }), prompts
}

// tags runs a lexer over a whole input the way a server does whose parser fails
// right behind the tag, and returns the tags it found.
func tags(t *testing.T, l *Lexer) []string {
	t.Helper()
	var found []string
	for {
		err := l.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			return append(found, "error: "+err.Error())
		}
		tag, err := l.Tag()
		if err != nil && tag == "" {
			tag = "*"
		}
		found = append(found, tag)
		if err := l.Finish(); err != nil {
			return append(found, "error: "+err.Error())
		}
	}
}

// Whatever was wrong with a command, the literals it announced are no commands.
func TestRefusedLiteralsAreDrained(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, test := range []struct{ name, input, want string }{
		{"plain", "a NOOP\r\nb NOOP\r\n", "a b"},
		{"bare LF", "a NOOP\nb NOOP\n", "a b"},
		{"one literal", "a X {7+}\r\nz EVIL\n\r\nb NOOP\r\n", "a b"},
		{"literal8", "a X ~{7+}\r\nz EVIL\n\r\nb NOOP\r\n", "a b"},
		{"two literals", "a X {7+}\r\nz EVIL\n {8+}\r\nz EVIL\r\n\r\nb NOOP\r\n", "a b"},
		{"inside a quoted string that does not end", "a X \"{8+}\r\nz EVIL\r\n\r\nb NOOP\r\n", "a b"},
		{"no tag", "{8+}\r\nz EVIL\r\n\r\nb NOOP\r\n", "* b"},
		{"client waits", "a X {8}\r\nb NOOP\r\n", "a b"},
		{"too long a line", "a X " + long + " {8+}\r\nz EVIL\r\n\r\nb NOOP\r\n", "a b"},
		{"too long, brace cut", "a X " + strings.Repeat("x", testLimits.Line-7) + "{8+}\r\nz EVIL\r\n\r\nb NOOP\r\n", "a b"},
		{"too long, no literal", "a X " + strings.Repeat("x", testLimits.Line-8) + "{8+}y\r\nb NOOP\r\n", "a b"},
		{"too much", "a X {1001+}\r\nz EVIL\r\n", "a error: " + ErrFlood.Error()},
		{"too much in parts", "a X {600+}\r\n" + strings.Repeat("x", 600) + "{600+}\r\n", "a error: " + ErrFlood.Error()},
		{"more than 64 bits", "a X {99999999999999999999+}\r\nz EVIL\r\n", "a error: " + ErrFlood.Error()},
		{"cut off", "a X {10+}\r\nz EV", "a error: unexpected EOF"},
		{"not a literal", "a X {8+} \r\nb NOOP\r\n", "a b"},
		{"empty line", "\r\nb NOOP\r\n", "* b"},
		{"tag alone", "a\r\nb NOOP\r\n", "a b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, prompts := lexerOf(test.input)
			if got := strings.Join(tags(t, l), " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if *prompts > 0 {
				t.Error("asked for a literal that nobody wants")
			}
		})
	}
}

func TestStrings(t *testing.T) {
	for _, test := range []struct{ input, want, err string }{
		{`atom]`, `atom]`, ""},
		{`"a \"b\" \\ c"`, `a "b" \ c`, ""},
		{`""`, ``, ""},
		{"{5}\r\nab\r\nc", "ab\r\nc", ""},
		{"{0}\r\n", "", ""},
		{"{3+}\r\nabc", "abc", ""},
		{"~{3+}\r\na\x00c", "a\x00c", ""},
		{"\"gr\u00fc\u00df\"", "gr\u00fc\u00df", ""},
		{"\"\xff\"", "", "not UTF-8"},
		{"\"a\x00\"", "", "NUL"},
		{"{3}\r\na\x00c", "", "NUL"},
		{`"abc`, "", "does not end"},
		{`"a\`, "", "escapes"},
		{`"a\b"`, "", "escapes"},
		{`(`, "", "expected a string"},
		{`{x}`, "", "expected a literal"},
		{`{600}`, "", "too large"},
		{`{99999999999999999999}`, "", "too large"},
		{"{5}\r\nab", "", "unexpected EOF"},
	} {
		t.Run(test.input, func(t *testing.T) {
			l, _ := lexerOf(test.input + "\r\n")
			if err := l.Next(); err != nil {
				t.Fatal(err)
			}
			read := l.AString
			if test.input[0] == '~' { // "~" may begin an atom
				read = l.String
			}
			got, err := read()
			switch {
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got %q and error %v, want %q in it", got, err, test.err)
			case test.err == "" && (err != nil || got != test.want || l.End() != nil):
				t.Errorf("got %q, error %v, at end: %v", got, err, l.AtEnd())
			}
		})
	}
}

func TestLiteralStream(t *testing.T) {
	l, prompts := lexerOf("a APPEND x {10}\r\n0123456789 {3+}\r\nabc)\r\nb NOOP\r\n")
	if err := l.Next(); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"a", "APPEND", "x"} {
		if got, err := l.AString(); err != nil || got != word {
			t.Fatalf("got %q, %v", got, err)
		}
		if err := l.SP(); err != nil {
			t.Fatal(err)
		}
	}
	lit, err := l.Announced()
	if err != nil || lit != (Literal{Size: 10, Sync: true}) {
		t.Fatalf("got %+v, %v", lit, err)
	}
	r, err := l.OpenLiteral()
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(r, []byte("0123456789")); err != nil {
		t.Error(err)
	}
	if err := l.CloseLiteral(); err != nil || *prompts != 1 {
		t.Fatalf("%v after %d prompts", err, *prompts)
	}
	if err := l.SP(); err != nil {
		t.Fatal(err)
	}
	if s, err := l.String(); err != nil || s != "abc" {
		t.Fatalf("got %q, %v", s, err)
	}
	if err := l.Finish(); err != nil { // leaves ")" unread
		t.Fatal(err)
	}
	if err := l.Next(); err != nil {
		t.Fatal(err)
	}
	if tag, err := l.Tag(); tag != "b" || err != nil || *prompts != 1 {
		t.Errorf("got %q, %v", tag, err)
	}
}

// A literal of which a part was read is drained to its end.
func TestLiteralHalfRead(t *testing.T) {
	l, _ := lexerOf("x {10+}\r\n01z EVIL\r\n\r\nb NOOP\r\n")
	if err := l.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Atom(); err != nil {
		t.Fatal(err)
	}
	if err := l.SP(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Announced(); err != nil {
		t.Fatal(err)
	}
	r, err := l.OpenLiteral()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(tags(t, l), " "); got != "b" {
		t.Errorf("got %s", got)
	}
}

func TestListAndNumbers(t *testing.T) {
	l, _ := lexerOf("(12 \\Seen) 4294967296 9223372036854775808 NIL nix\r\n")
	if err := l.Next(); err != nil {
		t.Fatal(err)
	}
	var items []string
	if err := l.List(func() error {
		s, err := l.Flag()
		items = append(items, s)
		return err
	}); err != nil || strings.Join(items, ",") != `12,\Seen` {
		t.Errorf("got %q, %v", items, err)
	}
	_ = l.SP()
	if n, err := l.Number(); err == nil {
		t.Errorf("32 bits hold %d", n)
	}
	_ = l.SP()
	if n, err := l.Number64(); err == nil {
		t.Errorf("63 bits hold %d", n)
	}
	_ = l.SP()
	if _, isNil, err := l.NString(); !isNil || err != nil {
		t.Error("NIL is not nil")
	}
	_ = l.SP()
	if _, _, err := l.NString(); err == nil {
		t.Error("nix is nil")
	}
}

func FuzzLexer(f *testing.F) {
	f.Add("a LOGIN \"x\" {3}\r\nabc\r\nb NOOP\r\n")
	f.Add("a SEARCH 1:*,5 (\\Seen {3+}\r\n)\r\n \x00\r\n")
	f.Fuzz(func(t *testing.T, input string) {
		l, _ := lexerOf(input)
		for l.Next() == nil {
			_, _ = l.Tag()
			for !l.AtEnd() {
				at := l.pos
				if _, err := l.AString(); err != nil {
					if _, err := l.Set(); err != nil && l.SP() != nil {
						break
					}
				}
				if l.pos == at {
					break
				}
			}
			if l.Finish() != nil {
				return
			}
			if len(l.line) != 0 || l.lit.open {
				t.Fatal("a finished command left something behind")
			}
		}
	})
}
