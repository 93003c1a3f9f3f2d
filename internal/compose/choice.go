package compose

import (
	"slices"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

// Choice is who sends a message, and with what wish.
type Choice struct {
	Identity string // see Options
	Force    bool   // see Options
	Wish     requiretls.Wish

	Undisclosed bool // see Options
}

// Facts is what a choice can depend on.
type Facts struct {
	Sender string           // the reverse-path that was asked for, else the only author; may be empty
	To     []string         // forward-paths, aliases expanded
	Asked  *requiretls.Wish // what the message itself wishes, by WishHeader or PlusWish; nil: nothing

	fields []field
}

// Header returns the bodies of all fields of a name, unfolded, without blanks around
// them.
func (f Facts) Header(name string) []string {
	var values []string
	for _, field := range f.fields {
		if field.is(name) {
			values = append(values, strings.Trim(field.body(), " \t"))
		}
	}
	return values
}

// choose finds out what the message wishes, takes that out of it, and has the choice
// made. It returns the remaining fields.
func (m *Message) choose(fields []field, o *Options) ([]field, error) {
	asked, err := m.asked(fields, *o)
	if err != nil {
		return nil, err
	}
	if o.WishHeader != "" {
		fields = slices.DeleteFunc(fields, func(f field) bool { return f.is(o.WishHeader) })
	}
	if asked != nil {
		o.Wish = *asked
	}
	if o.Choose == nil {
		m.Wish = o.Wish
		return fields, nil
	}
	facts := Facts{Sender: m.From, To: slices.Clone(m.To), Asked: asked, fields: fields}
	if o.Sender == nil {
		facts.Sender = author(fields)
	}
	c, err := o.Choose(facts)
	if err != nil {
		return nil, err
	}
	o.Identity, o.Force, o.Wish, o.Undisclosed = c.Identity, c.Force, c.Wish, c.Undisclosed
	m.Wish = c.Wish
	return fields, nil
}

// asked is the wish that stands in the message: in a field of the configured name,
// or behind a plus in an address. Those contradict each other only by mistake.
func (m *Message) asked(fields []field, o Options) (*requiretls.Wish, error) {
	var found []requiretls.Wish
	if o.WishHeader != "" {
		for _, value := range (Facts{fields: fields}).Header(o.WishHeader) {
			w, err := requiretls.ParseWish(value)
			if err != nil {
				return nil, cli.Errorf(cli.DataErr, "the %s field: %w", o.WishHeader, err).WithStatus("5.6.0")
			}
			found = append(found, w)
		}
	}
	if m.plusWish {
		found = append(found, requiretls.Yes)
	}
	if len(found) == 0 {
		return nil, nil
	}
	if i := slices.IndexFunc(found, func(w requiretls.Wish) bool { return w != found[0] }); i >= 0 {
		return nil, cli.Errorf(cli.DataErr, "the message wishes for requiretls=%s and for requiretls=%s", found[0], found[i]).WithStatus("5.6.0")
	}
	return &found[0], nil
}

// plusTag is what, between a plus and the "@", wishes for REQUIRETLS.
const plusTag = "+requiretls@"

// cutPlus takes the tag off an address of the envelope.
func (m *Message) cutPlus(addr string) string {
	addr, tagged := withoutTag(addr)
	m.plusWish = m.plusWish || tagged
	return addr
}

// withoutTag takes the tag off an address, and says whether it had one. A quoted local
// part has none.
func withoutTag(addr string) (string, bool) {
	domain := Domain(addr)
	local := addr[:len(addr)-len(domain)]
	at := len(local) - len(plusTag)
	if domain == "" || at < 1 || !strings.EqualFold(local[at:], plusTag) || strings.HasPrefix(addr, `"`) {
		return addr, false
	}
	return local[:at] + "@" + domain, true
}

// cutTags takes the tags out of the fields that say whom a message is for, and of the
// names in them, which are often the addresses once more.
func cutTags(fields []field) {
	for i, f := range fields {
		switch strings.ToLower(f.name) {
		case "to", "cc", "resent-to", "resent-cc":
		default:
			continue
		}
		cut := field{f.name, []byte(cutTagText(string(f.raw)))}
		if before, err := ParseList(f.body()); err == nil && len(cut.raw) < len(f.raw) {
			for j := range before {
				before[j], _ = withoutTag(before[j])
			}
			// What would change another address, such as a quoted one, is left alone.
			if after, err := ParseList(cut.body()); err == nil && slices.Equal(before, after) {
				fields[i] = cut
			}
		}
	}
}

func cutTagText(s string) string {
	var b strings.Builder
	for {
		at := strings.IndexByte(s, '+')
		if at < 0 || at+len(plusTag) > len(s) {
			return b.String() + s
		}
		b.WriteString(s[:at])
		if tag := s[at : at+len(plusTag)]; strings.EqualFold(tag, plusTag) {
			s = "@" + s[at+len(plusTag):]
		} else {
			b.WriteByte('+')
			s = s[at+1:]
		}
	}
}
