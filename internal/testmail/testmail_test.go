package testmail

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var readCorpus = sync.OnceValues(func() ([]Message, error) {
	return All(filepath.Join("..", "..", "testdata", "mail"))
})

// corpus is the same for all tests, which only read it.
func corpus(t *testing.T) []Message {
	t.Helper()
	all, err := readCorpus()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAllDescribesEveryMessage(t *testing.T) {
	all := corpus(t)
	if len(all) < 40 {
		t.Errorf("%d messages, want at least 40", len(all))
	}
	if !slices.IsSortedFunc(all, func(a, b Message) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not ordered by name")
	}
	seen := make(map[string]bool)
	var refused []string
	for _, m := range all {
		if seen[m.Name] {
			t.Errorf("%s: twice", m.Name)
		}
		seen[m.Name] = true
		if m.Description == "" || strings.ContainsAny(m.Description, "\r\n") {
			t.Errorf("%s: description %q is not one line", m.Name, m.Description)
		}
		if m.Refused != (m.Reason != "") {
			t.Errorf("%s: refused is %v and the reason %q", m.Name, m.Refused, m.Reason)
		}
		if m.Refused {
			refused = append(refused, m.Name)
		}
	}
	if want := []string{"30-nul-bytes", "45-tls-required-twice"}; !slices.Equal(refused, want) {
		t.Errorf("refused are %q, want %q", refused, want)
	}
}

func TestAllFindsMissingAndUnlistedFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := All(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directory: %v, want a missing file", err)
	}
	for _, m := range corpus(t) {
		if err := os.WriteFile(filepath.Join(dir, m.Name+suffix), m.Raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The generated message is no file of the corpus, so as a file it has no row.
	if _, err := All(dir); err == nil || !strings.Contains(err.Error(), large.name) {
		t.Errorf("file without a row: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, large.name+suffix)); err != nil {
		t.Fatal(err)
	}
	if _, err := All(dir); err != nil {
		t.Errorf("complete copy: %v", err)
	}
}

// TestEveryMessageIsProved runs the check of each message, and fails for a message
// without a check and a check without a message.
func TestEveryMessageIsProved(t *testing.T) {
	checks := maps.Clone(formChecks)
	maps.Copy(checks, contentChecks)
	for _, m := range corpus(t) {
		t.Run(m.Name, func(t *testing.T) {
			check, ok := checks[m.Name]
			if !ok {
				t.Fatal("no check says what this message is for")
			}
			check(t, m.Raw)
		})
		delete(checks, m.Name)
	}
	for name := range checks {
		t.Errorf("%s: a check without a message", name)
	}
}

// TestOnlyTheIntendedOnesAre proves the properties that a careless editor, git or a
// new message would change: each holds for exactly the messages named.
func TestOnlyTheIntendedOnesAre(t *testing.T) {
	for _, tt := range []struct {
		property string
		has      func(raw []byte) bool
		want     []string
	}{
		{"without a final newline", func(raw []byte) bool { return !bytes.HasSuffix(raw, []byte("\n")) },
			[]string{"18", "30"}},
		{"with a NUL", func(raw []byte) bool { return bytes.IndexByte(raw, 0) >= 0 },
			[]string{"30"}},
		{"with CRLF", func(raw []byte) bool { return bytes.Contains(raw, []byte("\r\n")) },
			[]string{"19", "20", "55"}},
		{"with a bare CR", func(raw []byte) bool {
			return bytes.IndexByte(bytes.ReplaceAll(raw, []byte("\r\n"), nil), '\r') >= 0
		}, []string{"55"}},
		{"with 8-bit octets", func(raw []byte) bool { return !ascii(raw) },
			[]string{"06", "08", "09", "14", "20", "42", "58"}},
		{"with 8-bit octets in the header", func(raw []byte) bool { return !ascii(head(raw)) },
			[]string{"14"}},
		{"with a line over 998 octets", func(raw []byte) bool { return longestLine(raw) > 998 },
			[]string{"29"}},
		{"without the blank line after the header", func(raw []byte) bool { return len(head(raw)) == len(raw) },
			[]string{"23"}},
		{"without a body", func(raw []byte) bool { return len(body(raw)) == 0 },
			[]string{"22", "23"}},
		{"with a TLS-Required field", func(raw []byte) bool { return len(fields(raw, "TLS-Required")) > 0 },
			[]string{"44", "45"}},
		{"with a header net/mail cannot read", func(raw []byte) bool {
			_, err := mail.ReadMessage(bytes.NewReader(raw))
			return err != nil
		}, []string{"27", "28"}},
		{"with a multipart that mime/multipart cannot read", func(raw []byte) bool {
			_, err := leaves(raw)
			return err != nil
		}, []string{"24", "25", "26"}},
	} {
		t.Run(tt.property, func(t *testing.T) {
			var got []string
			for _, m := range corpus(t) {
				if tt.has(m.Raw) {
					number, _, _ := strings.Cut(m.Name, "-")
					got = append(got, number)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: %q, want %q", tt.property, got, tt.want)
			}
		})
	}
}

// TestNobodyReal: every host after an @ or in a URL is reserved by RFC 2606.
func TestNobodyReal(t *testing.T) {
	host := regexp.MustCompile(`(?:@|https?://)([A-Za-z0-9\x80-\xff][A-Za-z0-9.\x80-\xff-]*)`)
	reserved := regexp.MustCompile(`(?i)^(.*\.)?example\.(org|com|net)\.?$`)
	folding := regexp.MustCompile(`\r?\n[ \t]`)
	for _, m := range corpus(t) {
		switch m.Name {
		case "10-iso-2022-jp": // its text is full of @
			m.Raw = head(m.Raw)
		case large.name: // base64 has none
			m.Raw = m.Raw[:len(largeHead)]
		}
		text := folding.ReplaceAll(m.Raw, nil)
		for _, found := range host.FindAllSubmatch(text, -1) {
			if !reserved.Match(found[1]) {
				t.Errorf("%s: %q is not a reserved name", m.Name, found[1])
			}
		}
	}
}

func TestLargeIsDeterministic(t *testing.T) {
	a := largeMessage()
	const sum = "b24f7b8717bee82fd7bd3c102b806fb1f095ff6caa2145318d6ca25dba1bf2fc"
	if got := fmt.Sprintf("%x", sha256.Sum256(a)); got != sum {
		t.Errorf("sha256 is %s, want %s", got, sum)
	}
	a[0]++
	if b := largeMessage(); b[0] == a[0] {
		t.Error("a caller's change is seen by the next")
	}
	a[0]--
	if got, err := io.ReadAll(mustLeaf(t, a, 1).decoded()); err != nil || len(got) != largeAttachment {
		t.Errorf("the attachment has %d bytes, want %d: %v", len(got), largeAttachment, err)
	}
}
