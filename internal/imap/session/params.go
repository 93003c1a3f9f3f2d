package session

import (
	"slices"
	"strconv"
	"strings"

	"rtls/internal/mimetree"
)

// joined puts together what is continued over several parameters: name*0, name*1 and
// so on become name, or name* if a piece of it is encoded. RFC 2231 section 6 wants
// that of IMAP servers; it leaves the encoding to the client.
func joined(params []mimetree.Param) []mimetree.Param {
	if !slices.ContainsFunc(params, func(p mimetree.Param) bool { return strings.Contains(p.Name, "*0") }) {
		return params
	}
	pieces := make(map[string]map[int]piece) // by lower-case name
	for _, p := range params {
		name, number, encoded, ok := continued(p.Name)
		if !ok {
			continue
		}
		name = strings.ToLower(name)
		if pieces[name] == nil {
			pieces[name] = make(map[int]piece)
		}
		if _, twice := pieces[name][number]; !twice {
			pieces[name][number] = piece{p.Value, encoded}
		}
	}
	var out []mimetree.Param
	done := make(map[string]bool)
	for _, p := range params {
		name, number, _, ok := continued(p.Name)
		lower := strings.ToLower(name)
		if _, started := pieces[lower][0]; !ok || !started {
			out = append(out, p)
		} else if number == 0 && !done[lower] {
			done[lower] = true
			out = append(out, join(name, pieces[lower]))
		}
	}
	return out
}

// piece is a part of a parameter's value.
type piece struct {
	text    string
	encoded bool
}

// continued takes a name like filename*12* apart.
func continued(s string) (name string, number int, encoded, ok bool) {
	s, encoded = strings.CutSuffix(s, "*")
	name, digits, ok := strings.Cut(s, "*")
	if !ok || name == "" || len(digits) > 4 || digits == "" || digits != "0" && digits[0] == '0' {
		return "", 0, false, false
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return name, int(n), encoded, err == nil
}

// join puts pieces in their order, which need not be that of the header. One that is
// missing ends it.
func join(name string, pieces map[int]piece) mimetree.Param {
	last, anyEncoded := 0, false
	for p, ok := pieces[last]; ok; p, ok = pieces[last] {
		anyEncoded = anyEncoded || p.encoded
		last++
	}
	var b strings.Builder
	for number := range last {
		p := pieces[number]
		if anyEncoded && !p.encoded {
			if number == 0 {
				b.WriteString("''") // no charset and no language
			}
			p.text = strings.ReplaceAll(p.text, "%", "%25")
		}
		b.WriteString(p.text)
	}
	if anyEncoded {
		name += "*"
	}
	return mimetree.Param{Name: name, Value: b.String()}
}
