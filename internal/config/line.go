package config

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// lineOf finds the line (from 1) on which key is written in text; failing that,
// the line of the innermost table on its path; failing that, 1. It reads only
// table headers and the start of each line, which is enough for a message.
func lineOf(text string, key toml.Key) int {
	best, depth := 1, 0
	var table []string
	nth := map[string]int{} // how many tables of an array there have been
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			name := strings.Trim(strings.SplitN(line, "#", 2)[0], "[] \t\r\n")
			table = splitKey(name)
			if strings.HasPrefix(line, "[[") {
				nth[name]++
				table[len(table)-1] += fmt.Sprintf("#%d", nth[name])
			}
			if d := common(table, key); d == len(table) && d > depth {
				best, depth = n, d
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		path := append(append([]string{}, table...), splitKey(strings.TrimSpace(name))...)
		if len(path) <= len(key) && common(path, key) == len(path) && len(path) > depth {
			best, depth = n, len(path)
		}
	}
	return best
}

// common is the length of the path that a, from the text, and b share. In b, a table
// of an array is the first that fits, unless it has its number behind it: "target#2".
func common(a []string, b toml.Key) int {
	n := 0
	for n < len(a) && n < len(b) && (a[n] == b[n] || strings.HasPrefix(a[n], b[n]+"#")) {
		n++
	}
	return n
}

// splitKey splits a dotted key; a quoted part may hold dots.
func splitKey(s string) []string {
	var parts []string
	var part strings.Builder
	quote := rune(0)
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			part.WriteRune(r)
		case r == '"' || r == '\'':
			quote = r
		case r == '.':
			parts = append(parts, strings.TrimSpace(part.String()))
			part.Reset()
		default:
			part.WriteRune(r)
		}
	}
	return append(parts, strings.TrimSpace(part.String()))
}
