package hops

import "strings"

// field is a Received field taken apart.
type field struct {
	clause   map[string]string
	comments []string // without the parentheses
	date     string
	odd      string // what is wrong with it
}

// clauses are the words that begin one.
var clauses = map[string]bool{"from": true, "by": true, "via": true, "with": true, "id": true, "for": true, "tls": true}

const (
	maxWords = 200 // of a field; there are a dozen in a long one
	maxDepth = 20  // of comments
)

// parse never fails: what cannot be read is odd.
func parse(value string) field {
	f := field{clause: make(map[string]string)}
	words, date, comments, odd := split(value)
	f.comments, f.date, f.odd = comments, date, odd
	for i := 0; i < len(words); i++ {
		name := strings.ToLower(words[i])
		if !clauses[name] {
			continue // qmail's "(qmail 1 invoked ...)" and the like have words of their own
		}
		if i+1 == len(words) || clauses[strings.ToLower(words[i+1])] && name != "from" && name != "by" {
			f.say("the clause " + name + " is empty")
			continue
		}
		i++
		if _, twice := f.clause[name]; twice {
			f.say("it has two clauses " + name)
			continue
		}
		f.clause[name] = words[i]
	}
	if len(f.clause) == 0 {
		f.say("it is not in the form of RFC 5321")
	}
	return f
}

// say keeps the first thing that is wrong.
func (f *field) say(what string) {
	if f.odd == "" {
		f.odd = what
	}
}

// split finds the words, the comments and the date, which stands behind the last
// semicolon outside of comments.
func split(value string) (words []string, date string, comments []string, odd string) {
	var word, comment strings.Builder
	depth, quoted, escaped := 0, false, false
	end := func() {
		if word.Len() > 0 && len(words) < maxWords {
			words = append(words, word.String())
		}
		word.Reset()
	}
	for i, c := range []byte(value) {
		if depth > 0 {
			switch {
			case escaped:
				escaped = false
				comment.WriteByte(c)
				continue
			case c == '\\':
				escaped = true
				continue
			case c == '(' && depth < maxDepth:
				depth++
			case c == ')':
				depth--
			}
			if depth > 0 {
				comment.WriteByte(c)
			} else if len(comments) < maxWords {
				comments = append(comments, comment.String())
			}
			continue
		}
		switch {
		case escaped:
			escaped = false
			word.WriteByte(c)
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
			word.WriteByte(c)
		case c == '(':
			end()
			comment.Reset()
			depth = 1
		case c == ';':
			end()
			date = strings.TrimSpace(value[i+1:])
		case date != "":
			// Words of the date are no clauses.
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			end()
		default:
			word.WriteByte(c)
		}
	}
	end()
	switch {
	case depth > 0:
		odd = "a comment does not end"
	case quoted:
		odd = "a quoted string does not end"
	case len(words) == maxWords:
		odd = "it is too long"
	}
	return words, date, comments, odd
}
