package session

import (
	"slices"
	"strings"

	"rtls/store"
)

// The tag of a message, as keywords. They are in FLAGS and not in
// PERMANENTFLAGS: delivery sets them, and nothing else does.
var tagKeywords = []string{store.TagRequire: "$RequireTLS", store.TagOptional: "$TLSOptional", store.TagUnknown: "$RequireTLSUnknown", store.TagNone: ""}

// tagKeyword is the keyword of a tag, empty for none.
func tagKeyword(t store.Tag) string {
	if int(t) < len(tagKeywords) {
		return tagKeywords[t]
	}
	return tagKeywords[store.TagUnknown]
}

func isTagKeyword(k string) bool {
	return slices.ContainsFunc(tagKeywords, func(t string) bool { return t != "" && strings.EqualFold(t, k) })
}

// systemFlags in the order of responses. $Forwarded is one to the store.
var systemFlags = []struct {
	bit  store.Flags
	name string
}{
	{store.Answered, `\Answered`},
	{store.Flagged, `\Flagged`},
	{store.Deleted, `\Deleted`},
	{store.Seen, `\Seen`},
	{store.Draft, `\Draft`},
	{store.Passed, "$Forwarded"},
}

// flagBit is the store's flag of that name, or 0 if it is a keyword.
func flagBit(name string) store.Flags {
	for _, f := range systemFlags {
		if strings.EqualFold(f.name, name) {
			return f.bit
		}
	}
	return 0
}

// split sorts what a client wrote into flags, keywords in the spelling that the
// mailbox has already, and keywords that are a tag's.
func (k *keywords) split(names []string) (flags store.Flags, plain, tags []string) {
	for _, name := range names {
		switch bit := flagBit(name); {
		case bit != 0:
			flags |= bit
		case isTagKeyword(name):
			tags = append(tags, name)
		default:
			plain = append(plain, k.spelling(name))
		}
	}
	slices.Sort(plain)
	return flags, slices.Compact(plain), tags
}

// keywords are the keywords of a mailbox that the client has been told.
type keywords struct{ names []string }

// spelling returns the name as the mailbox has it: keywords are compared without
// regard to case.
func (k *keywords) spelling(name string) string {
	if k == nil {
		return name
	}
	if i := slices.IndexFunc(k.names, func(known string) bool { return strings.EqualFold(known, name) }); i >= 0 {
		return k.names[i]
	}
	return name
}

// add notes keywords and reports whether one of them is new.
func (k *keywords) add(names []string) bool {
	fresh := false
	for _, name := range names {
		if !slices.Contains(k.names, name) {
			k.names = append(k.names, name)
			fresh = true
		}
	}
	return fresh
}

// keywordsOf collects the keywords of all messages.
func keywordsOf(snap *store.Snapshot) keywords {
	var k keywords
	k.add(snap.Keywords())
	slices.Sort(k.names)
	return k
}

// writeFlags writes a message's flags in parentheses.
func (s *Session) writeFlags(m store.Message) {
	sep := ""
	add := func(name string) {
		s.w.Raw(sep, name)
		sep = " "
	}
	s.w.Raw("(")
	for _, f := range systemFlags {
		if m.Flags&f.bit != 0 {
			add(f.name)
		}
	}
	if s.sel.isRecent(m.UID) && !s.enabled.rev2 {
		add(`\Recent`)
	}
	for _, k := range m.Keywords {
		if !isTagKeyword(k) { // another program may have stored one
			add(k)
		}
	}
	if k := tagKeyword(m.Tag); k != "" {
		add(k)
	}
	s.w.Raw(")")
}

// writeKnownFlags writes the FLAGS and PERMANENTFLAGS responses.
func (s *Session) writeKnownFlags() {
	s.w.Raw("* FLAGS (")
	s.writeFlagNames()
	for _, k := range tagKeywords {
		if k != "" {
			s.w.Raw(" ", k)
		}
	}
	s.w.Line(")")
	if s.sel.readOnly {
		s.w.Line("* OK [PERMANENTFLAGS ()] read-only mailbox")
		return
	}
	s.w.Raw("* OK [PERMANENTFLAGS (")
	s.writeFlagNames()
	s.w.Line(` \*)] flags permitted`)
}

func (s *Session) writeFlagNames() {
	for i, f := range systemFlags {
		if i > 0 {
			s.w.Raw(" ")
		}
		s.w.Raw(f.name)
	}
	for _, k := range s.sel.keywords.names {
		if !isTagKeyword(k) {
			s.w.Raw(" ", k)
		}
	}
}

// announceKeywords tells of keywords before they are first used in a response.
func (s *Session) announceKeywords(names []string) {
	if s.sel.keywords.add(names) {
		s.writeKnownFlags()
	}
}
