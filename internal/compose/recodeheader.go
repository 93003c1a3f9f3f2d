package compose

import (
	"bytes"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"unicode/utf8"
)

// headerChange is what becomes of the header of a part.
type headerChange struct {
	encoding string // new Content-Transfer-Encoding; empty: as it is
	relabel  bool   // an encoding of 8bit or binary is 7bit now
	charset  string // to be added to Content-Type
	message  bool   // the header is a message's: it needs MIME-Version
	seven    bool   // octets above 127 have to go
}

// apply returns the header with its changes, and with the blank line it ends in.
func (h headerChange) apply(raw []byte) ([]byte, error) {
	lines := splitLines(bytes.TrimSuffix(raw, []byte("\r\n")))
	fields, err := section{lines: lines}.fields()
	if err != nil {
		return nil, err
	}
	var out []byte
	has := map[string]bool{}
	for _, f := range fields {
		name := strings.ToLower(f.name)
		switch {
		case name == "content-transfer-encoding" && h.encoding != "":
			f.raw = []byte(f.name + ": " + h.encoding + "\r\n")
		case name == "content-transfer-encoding" && h.relabel:
			f.raw = []byte(f.name + ": 7bit\r\n")
		case name == "content-type" && h.charset != "" && !has[name]:
			f.raw = append(bytes.TrimRight(f.raw, "; \t\r\n"), ";\r\n\tcharset="+h.charset+"\r\n"...)
		}
		if f.raw, err = h.plain(f); err != nil {
			return nil, err
		}
		has[name] = true
		out = append(out, f.raw...)
	}
	if h.encoding != "" {
		if h.message && !has["mime-version"] {
			out = append(out, "MIME-Version: 1.0\r\n"...)
		}
		if h.charset != "" && !has["content-type"] {
			out = append(out, "Content-Type: text/plain; charset="+h.charset+"\r\n"...)
		}
		if !has["content-transfer-encoding"] {
			out = append(out, "Content-Transfer-Encoding: "+h.encoding+"\r\n"...)
		}
	}
	return append(out, '\r', '\n'), nil
}

// plain makes a field conform: ASCII if that is asked for, and short lines.
func (h headerChange) plain(f field) ([]byte, error) {
	raw := f.raw
	if h.seven && hasEightBit(raw) {
		var err error
		if raw, err = encodeField(f); err != nil {
			return nil, err
		}
	}
	if !hasLongLine(raw) {
		return raw, nil
	}
	if raw = fold(raw); hasLongLine(raw) {
		return nil, refuse("the %s field has a line of more than %d octets without a blank", excerpt(f.name), maxLine)
	}
	return raw, nil
}

func hasLongLine(raw []byte) bool {
	for line := range bytes.Lines(raw) {
		if len(bytes.TrimRight(line, "\r\n")) > maxLine {
			return true
		}
	}
	return false
}

// fold breaks the lines of a field that are too long at blanks, where they reach 78
// octets (RFC 5322 section 2.2.3). No line gets to hold nothing but blanks.
func fold(raw []byte) []byte {
	var out []byte
	for line := range bytes.Lines(raw) {
		for len(bytes.TrimRight(line, "\r\n")) > maxLine {
			at := foldAt(line)
			if at < 0 {
				break
			}
			out = append(append(out, line[:at]...), '\r', '\n')
			line = line[at:]
		}
		out = append(out, line...)
	}
	return out
}

// foldAt finds a blank with text on both sides: the last before column 78, else the
// next.
func foldAt(line []byte) int {
	text := len(line) - len(bytes.TrimLeft(line, " \t"))
	end := len(bytes.TrimRight(line, " \t\r\n"))
	best := -1
	for i := text + 1; i < end; i++ {
		if line[i] != ' ' && line[i] != '\t' {
			continue
		}
		if i > 78 && best >= 0 {
			break
		}
		best = i
	}
	return best
}

// addressFields are those with addresses, parameterFields those with parameters.
var (
	addressFields   = []string{"from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-to", "resent-cc", "resent-bcc", "disposition-notification-to", "return-receipt-to"}
	parameterFields = []string{"content-type", "content-disposition"}
)

// encodeField writes a field in ASCII: RFC 2047 for text and names, RFC 2231 for
// parameters.
func encodeField(f field) ([]byte, error) {
	body := f.body()
	charset := "utf-8"
	if !utf8.ValidString(body) {
		charset = "unknown-8bit"
	}
	name := strings.ToLower(f.name)
	encoded := ""
	switch {
	case slices.Contains(addressFields, name):
		list, err := mail.ParseAddressList(body)
		if err != nil || strings.Contains(body, ":") {
			return nil, refuse("the %s field is not ASCII, and cannot be read well enough to be encoded", excerpt(f.name))
		}
		texts := make([]string, 0, len(list))
		for _, a := range list {
			if hasEightBit([]byte(a.Address)) {
				return nil, refuse("the %s field has an address that is not ASCII", excerpt(f.name))
			}
			texts = append(texts, a.String())
		}
		encoded = " " + strings.Join(texts, ",\r\n ")
	case slices.Contains(parameterFields, name):
		value, params, err := mime.ParseMediaType(body)
		if err == nil && charset == "utf-8" {
			encoded = mime.FormatMediaType(value, params)
		}
		if encoded == "" {
			return nil, refuse("the %s field is not ASCII, and cannot be read well enough to be encoded", excerpt(f.name))
		}
		encoded = " " + strings.ReplaceAll(encoded, "; ", ";\r\n ")
	default:
		encoded = " " + encodeWords(body, charset)
	}
	return []byte(f.name + ":" + encoded + "\r\n"), nil
}

// encodeWords writes unstructured text: the stretch from the first word that is not
// ASCII to the last becomes encoded words, since blanks between two of them count for
// nothing (RFC 2047 section 6.2).
func encodeWords(text, charset string) string {
	words := strings.Split(strings.Trim(text, " \t"), " ")
	first, last := -1, -1
	for i, w := range words {
		if hasEightBit([]byte(w)) {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return text
	}
	middle := mime.QEncoding.Encode(charset, strings.Join(words[first:last+1], " "))
	middle = strings.ReplaceAll(middle, "?= =?", "?=\r\n =?")
	all := append(slices.Clone(words[:first]), middle)
	return strings.Join(append(all, words[last+1:]...), " ")
}
