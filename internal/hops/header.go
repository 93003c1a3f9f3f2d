package hops

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

const maxHeader = 1 << 20 // octets that are read; a longer header is cut there

// Header reads the values of all fields of the given names, unfolded and in their
// order, by lower-case name. Lines that are no fields are passed over.
func Header(r io.Reader, names ...string) (map[string][]string, error) {
	found := make(map[string][]string)
	for _, name := range names {
		found[strings.ToLower(name)] = nil
	}
	lines := bufio.NewReader(io.LimitReader(r, maxHeader))
	current := ""    // the field that goes on, if it is one of them
	var value []byte // what it has so far
	end := func() {
		if current != "" {
			found[current] = append(found[current], string(value))
		}
	}
	defer end()
	for {
		line, err := lines.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return found, nil
		}
		if line[0] == ' ' || line[0] == '\t' {
			value = append(value, line...)
		} else {
			end()
			name, rest, ok := strings.Cut(line, ":")
			current, value = strings.ToLower(strings.TrimRight(name, " \t")), append(value[:0], strings.TrimSpace(rest)...)
			if _, wanted := found[current]; !ok || !wanted {
				current = ""
			}
		}
		if err != nil {
			return found, nil
		}
	}
}
