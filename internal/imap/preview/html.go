package preview

import (
	"html"
	"strings"
)

// hidden are elements whose content nobody sees, inline those that are no reason for
// a space.
var (
	hidden = set("head style script title template noscript")
	inline = set("a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strike strong sub sup tt u var wbr")
)

func set(names string) map[string]bool {
	m := make(map[string]bool)
	for _, name := range strings.Fields(names) {
		m[name] = true
	}
	return m
}

// htmlText returns about what a browser would show of HTML. It takes time in
// proportion to the length.
func htmlText(s string) string {
	var b strings.Builder
	for {
		text, rest, found := strings.Cut(s, "<")
		b.WriteString(html.UnescapeString(text))
		if !found {
			return b.String()
		}
		if comment, ok := strings.CutPrefix(rest, "!--"); ok {
			_, s, _ = strings.Cut(comment, "-->")
			continue
		}
		tag, isTag := tagName(rest)
		if !isTag {
			b.WriteByte('<')
			s = rest
			continue
		}
		if _, s, found = strings.Cut(rest, ">"); !found {
			return b.String()
		}
		if hidden[tag] {
			s = behind(s, tag)
		}
		if !inline[strings.TrimPrefix(tag, "/")] {
			b.WriteByte(' ')
		}
	}
}

// tagName reads the name of a tag, in lower case and with the slash of an end tag. A
// declaration has the name "!".
func tagName(s string) (name string, ok bool) {
	if strings.HasPrefix(s, "!") || strings.HasPrefix(s, "?") {
		return "!", true
	}
	end := 0
	for end < len(s) && end < 20 && (isLetter(s[end]) || end > 0 && s[end] >= '0' && s[end] <= '9' || end == 0 && s[end] == '/') {
		end++
	}
	name = strings.ToLower(s[:end])
	return name, name != "" && name != "/"
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// behind returns what follows the end tag of an element.
func behind(s, tag string) string {
	for {
		_, rest, found := strings.Cut(s, "</")
		if !found {
			return ""
		}
		if name, _ := tagName(rest); name == tag {
			_, rest, _ = strings.Cut(rest, ">")
			return rest
		}
		s = rest
	}
}
