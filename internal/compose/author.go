package compose

import (
	"slices"
	"strings"
)

// authorship makes the From field one that servers take. A forced identity replaces
// the address in it; the original stays in X-Original-From and, where there was no
// Reply-To, answers go to it. Without force only an address without a domain is
// replaced, such as cron's "root (Cron Daemon)". Names are kept.
func (m *Message) authorship(fields []field, o Options) ([]field, error) {
	at := slices.IndexFunc(fields, func(f field) bool { return f.is("From") })
	if at < 0 {
		return fields, nil
	}
	original := strings.Trim(fields[at].body(), " \t")
	found, err := ParseList(original)
	bare := err == nil && len(found) == 1 && !strings.Contains(found[0], "@")
	address := o.Identity
	if address == "" {
		address = m.From
	}
	same := err == nil && len(found) == 1 && mailboxKey(found[0]) == mailboxKey(address)
	if address == "" || same || !bare && !o.Force {
		return fields, nil
	}
	name, err := nameOf(original)
	if err != nil {
		return nil, err
	}
	if address, err = ParseAddress(address); err != nil {
		return fields, nil // the sender's address is complained about elsewhere
	}
	value := address
	if name != "" {
		value = name + " <" + address + ">"
	}
	if again, err := ParseList(value); err != nil || len(again) != 1 || again[0] != address {
		value = address // it was no name, but the start of a group or worse
	}
	fields[at].raw = []byte(fields[at].name + ": " + value + "\r\n")
	if !o.Force || bare {
		return fields, nil
	}
	kept := field{"X-Original-From", []byte("X-Original-From: " + original + "\r\n")}
	if !slices.ContainsFunc(fields, func(f field) bool { return f.is("Reply-To") }) {
		kept = field{"Reply-To", []byte("Reply-To: " + original + "\r\n")}
	}
	fields = slices.DeleteFunc(fields, func(f field) bool { return f.is("Sender") })
	return append(fields, kept), nil
}

// nameOf is the name of the only author as it may stand before an address: the
// phrase as written, or the comment behind an address without one.
func nameOf(body string) (string, error) {
	phrase, _, angle := strings.Cut(body, "<")
	if angle {
		return strings.Trim(phrase, " \t"), nil
	}
	if _, rest, ok := strings.Cut(body, "("); ok && strings.HasSuffix(rest, ")") {
		return displayName(strings.TrimSuffix(rest, ")"))
	}
	return "", nil
}

// resent adds Resent-Date and Resent-Message-ID on top of a block that lacks them
// (RFC 5322 section 3.6.6).
func resent(fields []field, sender string, o Options) []field {
	at := slices.IndexFunc(fields, func(f field) bool { return hasResent(f) })
	if at < 0 {
		return fields
	}
	end := at
	for end < len(fields) && hasResent(fields[end]) {
		end++
	}
	block := fields[at:end]
	if !slices.ContainsFunc(block, func(f field) bool { return !f.is("Resent-Bcc") }) {
		return fields // nothing of it is sent
	}
	has := func(name string) bool {
		return slices.ContainsFunc(block, func(f field) bool { return f.is(name) })
	}
	var added []field
	if !has("Resent-Date") {
		added = append(added, field{"Resent-Date", []byte("Resent-Date: " + o.Now.Format(dateLayout) + "\r\n")})
	}
	if !has("Resent-Message-ID") {
		added = append(added, field{"Resent-Message-ID", []byte("Resent-Message-ID: " + newMessageID(sender, o) + "\r\n")})
	}
	return slices.Insert(fields, at, added...)
}

func hasResent(f field) bool { return strings.HasPrefix(strings.ToLower(f.name), "resent-") }
