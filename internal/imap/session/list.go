package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"rtls/internal/imap/command"
	"rtls/store"
)

const separator = "/"

// entry is a line of a listing.
type entry struct {
	store.MailboxInfo
	children   bool // has mailboxes below it
	meant      bool // it exists and is selected itself, not for what is below it
	childMatch []string
}

// list is LIST (RFC 9051 section 6.3.9, RFC 5258, RFC 5819, RFC 6154, RFC 9590) and
// LSUB.
func (s *Session) list(ctx context.Context, c command.List) error {
	if len(c.Patterns) == 0 {
		s.w.Line(listName(c), ` (\Noselect) "/" ""`)
		return nil
	}
	if slices.Contains(c.ReturnStatus, "HIGHESTMODSEQ") {
		s.enableCondStore()
	}
	infos, err := s.account.Mailboxes(ctx)
	if err != nil {
		return err
	}
	found, err := entries(ctx, infos, c)
	if err != nil {
		return err
	}
	for _, e := range found {
		if s.listOne(ctx, e, c); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// listOne tells of a mailbox, with what return options ask for besides: of one that is
// meant, and of its status first, since the line says whether there is any (RFC 5819
// section 2). What cannot be looked up is left out there, and all others are listed.
func (s *Session) listOne(ctx context.Context, e entry, c command.List) {
	var status store.Status
	counted, noted := e.meant && c.ReturnStatus != nil, e.meant && c.ReturnMetadata != nil
	if counted {
		var err error
		status, err = s.account.Status(ctx, e.Name)
		if errors.Is(err, store.ErrNoMailbox) { // it has just been deleted
			e.Exists, noted = false, false
		} else if err != nil {
			s.log.Error("status of a mailbox", "mailbox", e.Name, "err", err)
		}
		counted = err == nil
	}
	s.writeEntry(e, c)
	if noted {
		_, err := s.writeMetadata(ctx, e.Name, *c.ReturnMetadata) // RFC 9590 section 3
		if err != nil && !errors.Is(err, store.ErrNoMailbox) {
			s.log.Error("annotations of a mailbox", "mailbox", e.Name, "err", err)
		}
	}
	if counted {
		s.writeStatus(e.Name, status, c.ReturnStatus)
	}
}

func listName(c command.List) string {
	if c.LSub {
		return "* LSUB"
	}
	return "* LIST"
}

// entries finds the lines of a listing. Its time is that of matching each name once.
func entries(ctx context.Context, infos []store.MailboxInfo, c command.List) ([]entry, error) {
	tree := withParents(infos)
	matches, asLevel := make([]bool, len(tree)), make([]bool, len(tree))
	for i, e := range tree {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		matches[i], asLevel[i] = matchPatterns(c, e.Name)
	}
	under := below(tree, matches, c)
	var found []entry
	for i, e := range tree {
		if !matches[i] {
			continue
		}
		wanted := selects(c, e.MailboxInfo)
		e.meant = wanted && e.Exists
		if c.RecursiveMatch || asLevel[i] && c.LSub {
			e.childMatch = under[i].names()
		}
		switch {
		case wanted && (e.Exists || c.Subscribed):
		case len(e.childMatch) > 0:
		case asLevel[i] && !e.Exists && e.children && !c.Subscribed && !c.SpecialUse:
			// a level of the hierarchy that is no mailbox
		default:
			continue
		}
		found = append(found, e)
	}
	return found, nil
}

// withParents adds the levels of the hierarchy that are no mailboxes.
func withParents(infos []store.MailboxInfo) []entry {
	at := make(map[string]int, len(infos))
	tree := make([]entry, 0, len(infos))
	add := func(info store.MailboxInfo) int {
		at[info.Name] = len(tree)
		tree = append(tree, entry{MailboxInfo: info})
		return len(tree) - 1
	}
	for _, info := range infos {
		add(info)
	}
	for _, info := range infos {
		for i := range len(info.Name) {
			if info.Name[i:i+1] != separator {
				continue
			}
			j, ok := at[info.Name[:i]]
			if !ok {
				j = add(store.MailboxInfo{Name: info.Name[:i]})
			}
			tree[j].children = tree[j].children || info.Exists
		}
	}
	slices.SortStableFunc(tree, func(a, b entry) int {
		if (a.Name == "INBOX") != (b.Name == "INBOX") {
			if a.Name == "INBOX" {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return tree
}

// selects applies the selection options to a mailbox.
func selects(c command.List, info store.MailboxInfo) bool {
	return (!c.Subscribed || info.Subscribed) && (!c.SpecialUse || info.SpecialUse != "")
}

// chosen is a set of selection options.
type chosen struct{ subscribed, specialUse bool }

func (o chosen) or(p chosen) chosen {
	return chosen{o.subscribed || p.subscribed, o.specialUse || p.specialUse}
}

// names are the options as CHILDINFO has them (RFC 5258 section 3.5).
func (o chosen) names() (names []string) {
	if o.subscribed {
		names = append(names, "SUBSCRIBED")
	}
	if o.specialUse {
		names = append(names, "SPECIAL-USE")
	}
	return names
}

// below says, for each name, by which selection options mailboxes below it are
// selected that no pattern matches. In the tree, what is below a name comes behind it.
func below(tree []entry, matches []bool, c command.List) []chosen {
	at := make(map[string]int, len(tree))
	for i, e := range tree {
		at[e.Name] = i
	}
	under := make([]chosen, len(tree))
	for i, e := range slices.Backward(tree) {
		own := under[i]
		if selects(c, e.MailboxInfo) && (!matches[i] || c.LSub) {
			own = own.or(chosen{c.Subscribed && e.Subscribed, c.SpecialUse && e.SpecialUse != ""})
		}
		if cut := strings.LastIndex(e.Name, separator); cut >= 0 {
			parent := at[e.Name[:cut]] // each level has an entry
			under[parent] = under[parent].or(own)
		}
	}
	return under
}

// matchPatterns reports whether a pattern matches a name, and whether one that
// does ends in "%", which stands for levels of the hierarchy, too.
func matchPatterns(c command.List, name string) (matches, asLevel bool) {
	for _, p := range c.Patterns {
		if p = c.Reference + p; match(p, name) {
			matches = true
			asLevel = asLevel || strings.HasSuffix(p, "%")
		}
	}
	return matches, asLevel
}

// match reports whether a name matches a pattern with "*" and "%". It takes time
// in proportion to both lengths multiplied, whatever the pattern.
func match(pattern, name string) bool {
	inbox := 0 // octets of the name that are the same in any case
	if name == "INBOX" || strings.HasPrefix(name, "INBOX/") {
		inbox = len("INBOX")
	}
	// can[i] says that pattern[:i] matches the part of the name read so far.
	can := make([]bool, len(pattern)+1)
	next := make([]bool, len(pattern)+1)
	can[0] = true
	spread(can, pattern)
	for j := range len(name) {
		clear(next)
		for i := range len(pattern) {
			if !can[i] {
				continue
			}
			switch p := pattern[i]; {
			case p == '*', p == '%' && name[j:j+1] != separator:
				next[i] = true
			case p == name[j], j < inbox && p == name[j]+'a'-'A':
				next[i+1] = true
			}
		}
		spread(next, pattern)
		can, next = next, can
	}
	return can[len(pattern)]
}

// spread lets wildcards match nothing.
func spread(can []bool, pattern string) {
	for i := range len(pattern) {
		if can[i] && (pattern[i] == '*' || pattern[i] == '%') {
			can[i+1] = true
		}
	}
}

func (s *Session) writeEntry(e entry, c command.List) {
	s.w.Raw(listName(c), " (", strings.Join(attributes(e, c), " "), `) "/" `)
	s.w.Mailbox(e.Name)
	if len(e.childMatch) > 0 && !c.LSub {
		s.w.Raw(` ("CHILDINFO" ("`, strings.Join(e.childMatch, `" "`), `"))`)
	}
	s.w.CRLF()
}

func attributes(e entry, c command.List) []string {
	var attrs []string
	if !e.Exists || c.LSub && !e.Subscribed { // RFC 3501 section 6.3.9
		attrs = append(attrs, `\Noselect`)
	}
	if c.LSub {
		return attrs
	}
	if !e.Exists {
		attrs = append(attrs, `\NonExistent`)
	}
	if e.children {
		attrs = append(attrs, `\HasChildren`)
	} else {
		attrs = append(attrs, `\HasNoChildren`)
	}
	if e.Subscribed && (c.Subscribed || c.ReturnSubscribed) {
		attrs = append(attrs, `\Subscribed`)
	}
	if e.SpecialUse != "" {
		attrs = append(attrs, `\`+e.SpecialUse)
	}
	return attrs
}
