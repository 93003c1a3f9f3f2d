package sieve

import (
	"maps"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
)

func decimal(n int) string { return strconv.Itoa(n) }

// dateParts are what can be compared of a date (RFC 5260 section 4.2).
var dateParts = map[string]func(t time.Time) string{
	"year":    layout("2006"),
	"month":   layout("01"),
	"day":     layout("02"),
	"date":    layout("2006-01-02"),
	"julian":  func(t time.Time) string { return decimal(julian(t)) },
	"hour":    layout("15"),
	"minute":  layout("04"),
	"second":  layout("05"),
	"time":    layout("15:04:05"),
	"iso8601": layout(time.RFC3339),
	"std11":   layout("Mon, 02 Jan 2006 15:04:05 -0700"),
	"zone":    layout("-0700"),
	"weekday": func(t time.Time) string { return decimal(int(t.Weekday())) },
}

func layout(l string) func(time.Time) string {
	return func(t time.Time) string { return t.Format(l) }
}

// julian is the modified Julian day of the date that t shows.
func julian(t time.Time) int {
	const epoch = 40587 // 1 January 1970
	year, month, day := t.Date()
	days := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
	return int(days) + epoch
}

// dateSource is the tests date and, without a field, currentdate.
type dateSource struct {
	field    *text
	part     text
	zone     *text
	original bool // the zone is that of the field
}

func (c *compiler) dateSource(call *call) (valueSource, error) {
	s := dateSource{original: call.has("originalzone")}
	pos := call.pos
	if call.name == "date" {
		field, err := c.one(pos[0])
		if err != nil {
			return nil, err
		}
		s.field, pos = &field, pos[1:]
	}
	var err error
	if s.part, err = c.one(pos[0]); err != nil {
		return nil, err
	}
	if s.part.constant() {
		if _, err := s.format(s.part.raw); err != nil {
			return nil, err
		}
	}
	arg, ok := call.tags["zone"]
	if !ok {
		return s, nil
	}
	zone, err := c.one(arg)
	if err != nil {
		return nil, err
	}
	s.zone = &zone
	if zone.constant() {
		if _, ok := readZone(zone.raw); !ok {
			return nil, badZone(zone.at, zone.raw)
		}
	}
	return s, nil
}

func badZone(at place, zone string) error {
	return at.errorf("%q is no time zone: write a sign and four digits, such as +0100", zone)
}

func (s *dateSource) format(name string) (func(time.Time) string, error) {
	format, ok := dateParts[lower(name)]
	if !ok {
		return nil, s.part.at.errorf("a date has no part %q: it can be %s", name, strings.Join(slices.Sorted(maps.Keys(dateParts)), ", "))
	}
	return format, nil
}

// readZone reads an offset from UTC.
func readZone(s string) (*time.Location, bool) {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' || strings.Trim(s[1:], "0123456789") != "" {
		return nil, false
	}
	hours, _ := strconv.Atoi(s[1:3])
	minutes, _ := strconv.Atoi(s[3:])
	if hours > 23 || minutes > 59 {
		return nil, false
	}
	seconds := (hours*60 + minutes) * 60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone("", seconds), true
}

func (s dateSource) values(r *run) (list []string, count int, err error) {
	format, err := s.format(r.expand(s.part))
	if err != nil {
		return nil, 0, err
	}
	t := r.env.Now
	if s.field != nil {
		raw, err := r.content.values(r.ctx, lower(r.expand(*s.field)))
		if err != nil || len(raw) == 0 {
			return nil, 0, err
		}
		r.work.spend(len(raw[0]))
		parsed, ok := readDate(raw[0])
		if !ok {
			return nil, 0, nil
		}
		t = parsed
	}
	switch {
	case s.original:
	case s.zone != nil:
		name := r.expand(*s.zone)
		zone, ok := readZone(name)
		if !ok {
			return nil, 0, badZone(s.zone.at, name)
		}
		t = t.In(zone)
	default:
		t = t.In(r.env.Now.Location())
	}
	return []string{format(t)}, 1, nil
}

// obsoleteZones are those that RFC 5322 section 4.3 gives an offset.
var obsoleteZones = map[string]string{
	"UT": "+0000", "GMT": "+0000", "Z": "+0000",
	"EST": "-0500", "EDT": "-0400", "CST": "-0600", "CDT": "-0500",
	"MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700",
}

// readDate reads the date that a field is, or that it has behind its last
// semicolon.
func readDate(value string) (time.Time, bool) {
	words := strings.Fields(withoutComments(value))
	if n := len(words) - 1; n > 0 {
		if zone, ok := obsoleteZones[strings.ToUpper(words[n])]; ok {
			words[n] = zone
		}
	}
	date := strings.Join(words, " ")
	date = date[strings.LastIndexByte(date, ';')+1:]
	date = strings.NewReplacer(" : ", ":", " :", ":", ": ", ":", " ,", ",").Replace(date)
	t, err := mail.ParseDate(strings.Trim(date, " "))
	return t, err == nil
}

// withoutComments puts a blank in the place of comments.
func withoutComments(s string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && depth > 0:
			i++
		case c == '(':
			depth++
			b.WriteByte(' ')
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}
