package search

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"rtls/internal/imap/command"
	"rtls/internal/mimetree"
	"rtls/store"
)

// A Sorter puts messages into the order that SORT asks for (RFC 5256 section 3). It
// holds what they are sorted by, but no messages.
type Sorter struct {
	criteria []command.Criterion
	rows     []sortRow
	octets   int
}

// sortRow is a message: a value for each criterion.
type sortRow struct {
	uid    uint32
	values []sortValue
}

// sortValue is a number or a text, whichever the criterion has; the other is zero.
type sortValue struct {
	number int64
	text   string
}

// NewSorter returns a Sorter without messages.
func NewSorter(criteria []command.Criterion) *Sorter { return &Sorter{criteria: criteria} }

// LooksAtHeader says whether the order depends on more than the index knows.
func (o *Sorter) LooksAtHeader() bool {
	return slices.ContainsFunc(o.criteria, func(c command.Criterion) bool {
		return c.By != command.ByArrival && c.By != command.BySize
	})
}

// Add adds a message. Without a summary it is sorted as one with an empty header.
func (o *Sorter) Add(m store.Message, s *mimetree.Summary) {
	values := make([]sortValue, len(o.criteria))
	e := &mimetree.Envelope{}
	if s != nil {
		e = s.Envelope
	}
	for i, c := range o.criteria {
		values[i] = valueOf(c.By, m, e)
		values[i].text = strings.Clone(values[i].text) // a part of it would hold all of the summaries
	}
	o.rows = append(o.rows, sortRow{m.UID, values})
	o.octets += sizeOf(values)
}

// Drop forgets messages.
func (o *Sorter) Drop(gone func(uid uint32) bool) {
	o.rows = slices.DeleteFunc(o.rows, func(r sortRow) bool {
		if !gone(r.uid) {
			return false
		}
		o.octets -= sizeOf(r.values)
		return true
	})
}

// Octets is about how much memory the Sorter takes.
func (o *Sorter) Octets() int { return o.octets }

func sizeOf(values []sortValue) int {
	const row, value = 32, 24 // without texts
	n := row + value*len(values)
	for _, v := range values {
		n += len(v.text)
	}
	return n
}

// Order returns the UIDs of the messages in their order. Those that nothing else
// tells apart are in the order of UIDs.
func (o *Sorter) Order() []uint32 {
	slices.SortFunc(o.rows, func(a, b sortRow) int {
		for i, c := range o.criteria {
			x, y := &a.values[i], &b.values[i]
			if c.Reverse {
				x, y = y, x
			}
			if d := cmp.Or(cmp.Compare(x.number, y.number), strings.Compare(x.text, y.text)); d != 0 {
				return d
			}
		}
		return cmp.Compare(a.uid, b.uid)
	})
	order := make([]uint32, len(o.rows))
	for i, row := range o.rows {
		order[i] = row.uid
	}
	return order
}

func valueOf(by command.SortBy, m store.Message, e *mimetree.Envelope) (v sortValue) {
	switch by {
	case command.ByArrival:
		v.number = m.InternalDate().Unix()
	case command.BySize:
		v.number = m.Size
	case command.ByDate:
		v.number = sentDate(m, e).Unix()
	case command.BySubject:
		base, _ := subjectOf(e)
		v.text = fold(base)
	case command.ByFrom:
		v.text = fold(mailboxOf(e.From))
	case command.ByTo:
		v.text = fold(mailboxOf(e.To))
	case command.ByCc:
		v.text = fold(mailboxOf(e.Cc))
	case command.ByDisplayFrom:
		v.text = fold(displayOf(e.From))
	case command.ByDisplayTo:
		v.text = fold(displayOf(e.To))
	}
	return v
}

func subjectOf(e *mimetree.Envelope) (base string, reply bool) {
	if e.Subject == nil {
		return "", false
	}
	return baseSubject(decodeHeader(*e.Subject))
}

// mailboxOf is the local part of the first address.
func mailboxOf(list []mimetree.Address) string {
	if len(list) == 0 {
		return ""
	}
	return list[0].Mailbox
}

// displayOf is how a mail program would show the first address (RFC 5957 section 3).
func displayOf(list []mimetree.Address) string {
	if len(list) == 0 {
		return ""
	}
	switch a := list[0]; {
	case a.Kind == mimetree.GroupStart:
		return decodeHeader(a.Mailbox)
	case a.Name != "":
		return decodeHeader(a.Name)
	case a.Host != "":
		return a.Mailbox + "@" + a.Host
	default:
		return a.Mailbox
	}
}

// fold makes texts comparable octet by octet, without regard to case (RFC 5051,
// "i;unicode-casemap").
func fold(s string) string {
	return norm.NFKD.String(strings.Map(unicode.ToTitle, cutText(s)))
}

// sentDate is when a message was sent, or else when it arrived (RFC 5256 section
// 2.2).
func sentDate(m store.Message, e *mimetree.Envelope) time.Time {
	if e.Date == nil {
		return m.InternalDate()
	}
	if t, ok := parseDate(*e.Date); ok {
		return t
	}
	return m.InternalDate()
}
