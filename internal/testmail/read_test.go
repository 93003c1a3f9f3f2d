package testmail

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
)

// The readers below are for proofs only. They are small on purpose and share
// nothing with the code that the corpus tests.

var blankLine = regexp.MustCompile(`\n\r?\n`)

// head is the header section with its last line end, without the blank line.
func head(raw []byte) []byte {
	if at := blankLine.FindIndex(raw); at != nil {
		return raw[:at[0]+1]
	}
	return raw
}

func body(raw []byte) []byte {
	if at := blankLine.FindIndex(raw); at != nil {
		return raw[at[1]:]
	}
	return nil
}

// fields returns the bodies of all fields of that name, as written, folds included.
func fields(raw []byte, name string) []string {
	re := regexp.MustCompile(`(?im)^` + regexp.QuoteMeta(name) + `[ \t]*:((?:.*)(?:\n[ \t].*)*)`)
	var bodies []string
	for _, m := range re.FindAllSubmatch(head(raw), -1) {
		bodies = append(bodies, string(m[1]))
	}
	return bodies
}

// field is the unfolded body of the only field of that name.
func field(t *testing.T, raw []byte, name string) string {
	t.Helper()
	all := fields(raw, name)
	if len(all) != 1 {
		t.Fatalf("%d fields %s, want 1", len(all), name)
	}
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(all[0]))
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c > 127 {
			return false
		}
	}
	return true
}

// longestLine counts octets without the line end.
func longestLine(raw []byte) int {
	longest := 0
	for line := range bytes.Lines(raw) {
		longest = max(longest, len(bytes.TrimRight(line, "\r\n")))
	}
	return longest
}

// part is a part that is no multipart, and how deep in multiparts it lies.
type part struct {
	header    textproto.MIMEHeader
	mediaType string
	params    map[string]string
	depth     int
	body      []byte // as it stands, encoded
}

func (p part) decoded() io.Reader {
	r := bytes.NewReader(p.body)
	switch strings.ToLower(p.header.Get("Content-Transfer-Encoding")) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	}
	return r
}

func (p part) text(t *testing.T) string {
	t.Helper()
	b, err := io.ReadAll(p.decoded())
	if err != nil {
		t.Fatalf("decode %s: %v", p.mediaType, err)
	}
	return string(b)
}

// leaves returns the parts of a message that are no multiparts, in their order. It
// does not look into message/rfc822. A header it cannot read makes one part of
// everything.
func leaves(raw []byte) ([]part, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return []part{{mediaType: "text/plain", body: raw}}, nil
	}
	return walk(textproto.MIMEHeader(m.Header), m.Body, 0)
}

func walk(h textproto.MIMEHeader, r io.Reader, depth int) ([]part, error) {
	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		mediaType = "text/plain"
	}
	if !strings.HasPrefix(mediaType, "multipart/") {
		b, err := io.ReadAll(r)
		return []part{{h, mediaType, params, depth, b}}, err
	}
	var all []part
	for mr := multipart.NewReader(r, params["boundary"]); ; {
		p, err := mr.NextRawPart()
		if err == io.EOF && len(all) > 0 {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("depth %d: %w", depth, err)
		}
		inner, err := walk(p.Header, p, depth+1)
		all = append(all, inner...)
		if err != nil {
			return all, err
		}
	}
}

func mustLeaves(t *testing.T, raw []byte) []part {
	t.Helper()
	all, err := leaves(raw)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func mustLeaf(t *testing.T, raw []byte, i int) part {
	t.Helper()
	all := mustLeaves(t, raw)
	if i >= len(all) {
		t.Fatalf("%d parts, want part %d", len(all), i)
	}
	return all[i]
}
