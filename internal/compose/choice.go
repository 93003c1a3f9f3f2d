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

// cutPlus takes the tag off an address. A quoted local part has none.
func (m *Message) cutPlus(addr string) string {
	domain := Domain(addr)
	local := addr[:len(addr)-len(domain)]
	at := len(local) - len(plusTag)
	if domain == "" || at < 1 || !strings.EqualFold(local[at:], plusTag) || strings.HasPrefix(addr, `"`) {
		return addr
	}
	m.plusWish = true
	return local[:at] + "@" + domain
}
