package store

import (
	"slices"
	"strings"
)

// SpecialUses are those of RFC 6154 that a mailbox can be made for.
func SpecialUses() []string {
	return []string{"All", "Archive", "Drafts", "Flagged", "Junk", "Sent", "Trash"}
}

// SpecialUse finds the special use that a name in any case stands for, in the case
// that the store keeps. It has no backslash.
func SpecialUse(name string) (use string, ok bool) {
	all := SpecialUses()
	i := slices.IndexFunc(all, func(known string) bool { return strings.EqualFold(known, name) })
	if i < 0 {
		return "", false
	}
	return all[i], true
}

// usualNames are the names that clients and other servers give mailboxes with a
// special use, most usual first.
var usualNames = []struct {
	use   string
	names []string
}{
	{"Drafts", []string{"Drafts"}},
	{"Sent", []string{"Sent", "Sent Messages", "Sent Items"}},
	{"Trash", []string{"Trash", "Deleted Messages", "Deleted Items"}},
	{"Junk", []string{"Junk", "Spam", "Junk E-mail"}},
	{"Archive", []string{"Archive", "Archives"}},
}

// nameUses gives each special use that no mailbox was made for to the one that has its
// usual name. Clients create such mailboxes without a word of the use, and Dovecot keeps
// uses in its configuration, not in the Maildir. RFC 6154, section 2, leaves to the
// server how it knows of them.
func nameUses(list []MailboxInfo) {
	byName, taken := make(map[string]*MailboxInfo), make(map[string]bool)
	for i := range list {
		if m := &list[i]; m.Exists {
			byName[m.Name] = m
			taken[m.SpecialUse] = true
		}
	}
	for _, usual := range usualNames {
		for _, name := range usual.names {
			if m := byName[name]; m != nil && m.SpecialUse == "" && !taken[usual.use] {
				m.SpecialUse, taken[usual.use] = usual.use, true
			}
		}
	}
}
