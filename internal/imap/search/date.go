package search

import (
	"net/mail"
	"strings"
	"time"
)

// parseDate reads the value of a Date field. It returns false if there is no day in
// it.
func parseDate(value string) (time.Time, bool) {
	if t, err := mail.ParseDate(value); err == nil {
		if name, offset := t.Zone(); offset == 0 { // the package does not know EST and the like
			t = inZone(t, name)
		}
		return t, true
	}
	return looseDate(value)
}

// looseDate reads the obsolete forms (RFC 5322 section 4.3), and what can be read of
// others: midnight stands for a time that is wrong, UTC for a wrong zone.
func looseDate(s string) (time.Time, bool) {
	s = withoutComments(s)
	if _, rest, ok := strings.Cut(s, ","); ok {
		s = rest
	}
	parts := strings.Split(s, ":")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	words := strings.Fields(strings.Join(parts, ":"))
	if len(words) < 3 {
		return time.Time{}, false
	}
	day, err := parseDay(words[0] + " " + words[1] + " " + words[2])
	if err != nil || len(words) == 3 {
		return day, err == nil
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if clock, err := time.Parse(layout, words[3]); err == nil {
			day = day.Add(clock.Sub(clock.Truncate(24 * time.Hour)))
			break
		}
	}
	if len(words) > 4 {
		return inZone(day, words[4]), true
	}
	return day, true
}

// parseDay reads a day; years may have two digits.
func parseDay(s string) (t time.Time, err error) {
	for _, layout := range []string{"2 Jan 2006", "2 Jan 06", "2 January 2006"} {
		if t, err = time.Parse(layout, s); err == nil {
			break
		}
	}
	if err == nil && t.Year() >= 2050 && !strings.HasSuffix(s, t.Format("2006")) {
		t = t.AddDate(-100, 0, 0) // 50 to 68, which package time takes for the future
	}
	return t, err
}

// obsoleteZones are hours east of Greenwich (RFC 5322 section 4.3).
var obsoleteZones = map[string]int{
	"EDT": -4, "EST": -5, "CDT": -5, "CST": -6, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8,
}

// inZone is a date of UTC read as one of the zone. An unknown one is UTC.
func inZone(t time.Time, zone string) time.Time {
	offset := obsoleteZones[strings.ToUpper(zone)] * int(time.Hour/time.Second)
	if z, err := time.Parse("-0700", zone); err == nil {
		_, offset = z.Zone()
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.FixedZone("", offset))
}

// withoutComments puts a space in the place of each comment.
func withoutComments(s string) string {
	var b strings.Builder
	depth := 0
	for _, c := range s {
		switch {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
			b.WriteByte(' ')
		case depth == 0:
			b.WriteRune(c)
		}
	}
	return b.String()
}
