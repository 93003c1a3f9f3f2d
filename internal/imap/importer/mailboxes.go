package importer

import (
	"slices"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"
)

// mailbox is one that is to be copied.
type mailbox struct {
	source     string // its name there
	target     string // and here
	specialUse string // RFC 6154, without the backslash
	subscribed bool
}

// mailboxes lists what is to be copied: of all mailboxes those in the user's own
// namespaces, with a pattern those that it names.
func (c *client) mailboxes(pattern string) ([]mailbox, error) {
	c.busy(true)
	defer c.busy(false)
	own, foreign, err := c.prefixes()
	if err != nil {
		return nil, err
	}
	options := &imap.ListOptions{}
	extended := c.Caps().Has(imap.CapListExtended)
	if extended {
		options.ReturnSubscribed = true
		options.ReturnSpecialUse = c.Caps().Has(imap.CapSpecialUse)
	}
	all := pattern
	if all == "" {
		all = "*"
	}
	listed, err := c.List("", all, options).Collect()
	if err != nil {
		return nil, c.explain(err)
	}
	slices.SortFunc(listed, func(x, y *imap.ListData) int { return strings.Compare(x.Mailbox, y.Mailbox) })
	var list []mailbox
	taken := make(map[string]bool)
	for _, l := range listed {
		if hasAttr(l, imap.MailboxAttrNoSelect) || hasAttr(l, imap.MailboxAttrNonExistent) || pattern == "" && startsWith(l.Mailbox, foreign) {
			continue
		}
		m := mailbox{source: l.Mailbox, target: targetName(l.Mailbox, l.Delim, own)}
		for taken[m.target] { // two names have become one
			m.target += "_"
		}
		taken[m.target] = true
		// A server that cannot say is taken to have all subscribed: a client that
		// shows no others would show none.
		m.subscribed = !extended || hasAttr(l, imap.MailboxAttrSubscribed)
		m.specialUse = specialUse(l)
		list = append(list, m)
	}
	return list, nil
}

// prefixes are those of the user's own namespaces, and of others' (RFC 2342).
func (c *client) prefixes() (own, foreign []string, err error) {
	if !c.Caps().Has(imap.CapNamespace) {
		return nil, nil, nil
	}
	data, err := c.Namespace().Wait()
	if refused(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, c.explain(err)
	}
	for _, n := range data.Personal {
		own = append(own, n.Prefix)
	}
	for _, n := range slices.Concat(data.Other, data.Shared) {
		if n.Prefix != "" {
			foreign = append(foreign, n.Prefix)
		}
	}
	return own, foreign, nil
}

func startsWith(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func hasAttr(l *imap.ListData, attr imap.MailboxAttr) bool {
	return slices.ContainsFunc(l.Attrs, func(a imap.MailboxAttr) bool { return strings.EqualFold(string(a), string(attr)) })
}

// specialUses are those that mailboxes are made with here.
var specialUses = []imap.MailboxAttr{
	imap.MailboxAttrSent, imap.MailboxAttrDrafts, imap.MailboxAttrTrash, imap.MailboxAttrJunk, imap.MailboxAttrArchive,
}

func specialUse(l *imap.ListData) string {
	for _, use := range specialUses {
		if hasAttr(l, use) {
			return strings.TrimPrefix(string(use), `\`)
		}
	}
	return ""
}

// count asks how much there is in a mailbox: nothing, if the server does not say so.
func (c *client) count(mailbox string) (messages int, octets int64, err error) {
	c.busy(true)
	defer c.busy(false)
	sized := c.Caps().Has(imap.CapStatusSize)
	data, err := c.Status(mailbox, &imap.StatusOptions{NumMessages: true, Size: sized}).Wait()
	if refused(err) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, c.explain(err)
	}
	if data.NumMessages != nil {
		messages = int(*data.NumMessages)
	}
	if data.Size != nil {
		octets = *data.Size
	}
	return messages, octets, nil
}

// targetName is the name that a mailbox gets here: without the prefix of its namespace,
// with "/" between levels, and with "_" for what a name cannot have.
func targetName(name string, delim rune, own []string) string {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	for _, prefix := range own {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			name = rest
			break
		}
	}
	levels := []string{name}
	if delim != 0 {
		levels = strings.Split(name, string(delim))
	}
	var kept []string
	for _, level := range levels {
		level = strings.Map(func(r rune) rune {
			if r == '/' || unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || r == unicode.ReplacementChar {
				return '_'
			}
			return r
		}, level)
		if level != "" {
			kept = append(kept, level)
		}
	}
	if len(kept) == 0 {
		return "_"
	}
	if strings.EqualFold(kept[0], "INBOX") {
		kept[0] = "INBOX" // as the store has it, so that names can be compared
	}
	return strings.Join(kept, "/")
}
