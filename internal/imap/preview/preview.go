// Package preview finds the first words of a message, which mail programs show in
// lists of messages (RFC 8970).
package preview

import (
	"io"
	"strings"
	"unicode"

	"github.com/emersion/go-message/charset"

	"rtls/internal/imap/transfer"
	"rtls/internal/mimetree"
)

const (
	maxRunes = 200      // RFC 8970 section 3.2
	maxRead  = 64 << 10 // octets of a part, decoded
	maxParts = 10       // that are looked at
)

// Of returns the first words of a message's text, in one line, or "" if it has none.
// Attachments and forwarded messages are passed over, and so is what is quoted. It
// fails only if the message cannot be read.
func Of(content io.ReaderAt, root *mimetree.Part) (string, error) {
	for _, p := range texts(root, nil) {
		raw := io.NewSectionReader(content, p.Body.Start, p.Body.Size())
		decoded, known := transfer.NewReader(p.Encoding, raw)
		if !known {
			continue
		}
		if r, err := charset.Reader(p.Param("charset"), decoded); err == nil {
			decoded = r // else it is as good as anything
		}
		b, err := io.ReadAll(io.LimitReader(decoded, maxRead))
		if err != nil {
			return "", err
		}
		text := string(b)
		if p.Is("text", "html") {
			text = htmlText(text)
		} else {
			text = unquoted(unarmored(text))
		}
		if text = oneLine(text); text != "" {
			return text, nil
		}
	}
	return "", nil
}

// texts appends the parts of a message that its reader would see first.
func texts(p *mimetree.Part, list []*mimetree.Part) []*mimetree.Part {
	if len(list) == maxParts || strings.EqualFold(p.Disposition, "attachment") {
		return list
	}
	if p.IsMultipart() {
		for _, child := range p.Children {
			list = texts(child, list)
		}
		return list
	}
	if p.Is("text", "plain") || p.Is("text", "html") {
		list = append(list, p)
	}
	return list
}

// Lines of OpenPGP inside a text (RFC 9580 sections 6.2 and 7).
const (
	encrypted = "-----BEGIN PGP MESSAGE-----"
	signed    = "-----BEGIN PGP SIGNED MESSAGE-----"
	signature = "-----BEGIN PGP SIGNATURE-----"
)

// unarmored leaves out what is encrypted, and of what is signed all but the text.
func unarmored(text string) string {
	text, _, _ = strings.Cut(text, encrypted)
	before, rest, found := strings.Cut(text, signed)
	if !found {
		return text
	}
	header := true // lines such as "Hash: SHA512", up to an empty one
	var b strings.Builder
	b.WriteString(before)
	rest, _, _ = strings.Cut(rest, signature)
	_, rest, _ = strings.Cut(rest, "\n")
	for line := range strings.Lines(rest) {
		if header {
			header = strings.TrimRight(line, "\r\n") != ""
			continue
		}
		b.WriteString(strings.TrimPrefix(line, "- "))
	}
	return b.String()
}

// unquoted leaves out quoted lines and the signature.
func unquoted(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.TrimRight(line, "\r\n") == "-- ":
			return b.String()
		case !strings.HasPrefix(line, ">"):
			b.WriteString(line)
		}
	}
	return b.String()
}

// oneLine joins words with single spaces, without what is not seen, and cuts them off
// where a preview ends.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Cf, r), r == '\u034f': // mails fill up their previews with these
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	n := 0
	for i := range text {
		if n++; n > maxRunes {
			return strings.TrimRight(text[:i], " ")
		}
	}
	return text
}
