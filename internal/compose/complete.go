package compose

import (
	"crypto/rand"
	"mime"
	"slices"
	"strings"
	"time"
	"unicode"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

// dateLayout is that of RFC 5322 section 3.3.
const dateLayout = time.RFC1123Z

// complete returns the fields that the message lacks, and notes its Message-ID.
func (m *Message) complete(fields []field, o Options) ([]byte, error) {
	has := func(name string) bool {
		return slices.ContainsFunc(fields, func(f field) bool { return f.is(name) })
	}
	var added []byte
	add := func(name, body string) { added = append(added, name+": "+body+"\r\n"...) }
	if !has("From") {
		from, err := fromField(m.From, o)
		if err != nil {
			return nil, err
		}
		add("From", from)
	}
	if !has("Date") {
		add("Date", o.Now.Format(dateLayout))
	}
	if i := slices.IndexFunc(fields, func(f field) bool { return f.is("Message-ID") }); i >= 0 {
		m.MessageID = strings.Trim(fields[i].body(), " \t")
	} else {
		m.MessageID = newMessageID(m.From, o)
		add("Message-ID", m.MessageID)
	}
	if o.Wish == requiretls.No && !has(requiretls.HeaderName) {
		add(requiretls.HeaderName, requiretls.HeaderNo)
	}
	return added, nil
}

// fromField is the body of a From field for a message that has none.
func fromField(sender string, o Options) (string, error) {
	addr := sender
	if addr == "" { // a report: its author is not its reverse-path
		addr = o.Identity
	}
	if addr == "" {
		addr = o.User + "@" + o.Hostname
	}
	addr, err := ParseAddress(addr)
	if err != nil || addr == "" {
		return "", cli.Errorf(cli.DataErr, "the message has no From field and there is no address for one").
			WithHint(`write a From field, or from = "user@example.org" in the account`)
	}
	name, err := displayName(o.FullName)
	if err != nil || name == "" {
		return addr, err
	}
	return name + " <" + addr + ">", nil
}

// displayName writes a name as atoms, a quoted string or encoded words.
func displayName(name string) (string, error) {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if strings.ContainsFunc(name, unicode.IsControl) {
		return "", cli.Errorf(cli.DataErr, "the full name %q holds a control character", excerpt(name))
	}
	if hasEightBit([]byte(name)) {
		return mime.QEncoding.Encode("utf-8", name), nil
	}
	plain := !strings.ContainsFunc(name, func(r rune) bool { return r != ' ' && !isAtext(byte(r)) })
	if plain && !strings.Contains(name, "=?") && name == strings.Join(strings.Fields(name), " ") {
		return name, nil
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`, nil
}

// newMessageID makes an identifier that says nothing about this host if the sender
// has a domain.
func newMessageID(sender string, o Options) string {
	domain := Domain(sender)
	if domain == "" || hasEightBit([]byte(domain)) {
		domain = o.Hostname
	}
	if checkDomain(domain) != nil && !strings.HasPrefix(domain, "[") || hasEightBit([]byte(domain)) {
		domain = "localhost"
	}
	return "<" + o.Now.UTC().Format("20060102150405") + "." + rand.Text() + "@" + domain + ">"
}
