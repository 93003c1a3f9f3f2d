package compose

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"

	"rtls/internal/cli"
)

// Aliases says which addresses stand behind local names. The zero value knows none.
type Aliases struct {
	path    string
	entries map[string]alias // by name, in lower case
}

type alias struct {
	line int
	to   string // the list as written
}

// maxAliases bounds how many names lead from one to the next.
const maxAliases = 20

// LoadAliases reads a file of the form of aliases(5): lines "name: address, ...", with
// continuation lines that begin with a blank, and comments. The name "*", or as in
// msmtp "default", stands for all names without a domain that are not in it. Targets
// that are files, programs or ":include:" belong to a delivery agent: they are an
// error when a message needs them, since such files are often shared.
func LoadAliases(path string) (*Aliases, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	defer f.Close()
	a := &Aliases{path: path, entries: map[string]alias{}}
	name, number := "", 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		number++
		line := strings.TrimRight(lines.Text(), " \t\r")
		switch trimmed := strings.TrimLeft(line, " \t"); {
		case trimmed == "" || trimmed[0] == '#':
		case trimmed != line:
			e, ok := a.entries[name]
			if !ok {
				return nil, fmt.Errorf("%s:%d: a line that continues nothing", path, number)
			}
			e.to += " " + trimmed
			a.entries[name] = e
		default:
			var ok bool
			if name, ok = a.add(line, number); !ok {
				return nil, fmt.Errorf("%s:%d: not a line like \"name: address\"", path, number)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("aliases: %s: %w", path, err)
	}
	return a, nil
}

// add takes the line that an entry begins on. Of two with one name the first counts.
func (a *Aliases) add(line string, number int) (name string, ok bool) {
	name, to, ok := strings.Cut(line, ":")
	name = strings.ToLower(strings.Trim(name, "\" \t"))
	if !ok || name == "" {
		return "", false
	}
	if _, twice := a.entries[name]; twice {
		name += "\x00" // where its continuation lines go, and nobody looks
	}
	a.entries[name] = alias{number, to}
	return name, true
}

// Check reads every entry the way a message would that needs it.
func (a *Aliases) Check() error {
	for name := range a.entries {
		if _, err := a.expand(name, 0); err != nil {
			return err
		}
	}
	return nil
}

// Len is the number of names.
func (a *Aliases) Len() int { return len(a.entries) }

// Expand returns the addresses behind a name without a domain, or nil if it has no
// alias.
func (a *Aliases) Expand(name string) ([]string, error) {
	if a == nil {
		return nil, nil
	}
	return a.expand(name, 0)
}

func (a *Aliases) expand(name string, depth int) ([]string, error) {
	e, ok := a.entries[strings.ToLower(name)]
	for _, fallback := range []string{"*", "default"} {
		if !ok && depth == 0 {
			e, ok = a.entries[fallback]
		}
	}
	if !ok {
		return nil, nil
	}
	if depth == maxAliases {
		return nil, a.errorf(e, "the alias %q leads to itself, or too far", name)
	}
	var all []string
	for part := range strings.SplitSeq(e.to, ",") {
		part = strings.Trim(part, " \t\"")
		if part != "" && (strings.ContainsRune("|/", rune(part[0])) || strings.HasPrefix(part, ":")) {
			return nil, a.errorf(e, "the alias %q leads to %q, and %s only knows addresses", name, excerpt(part), "rtls-send")
		}
	}
	found, err := ParseList(e.to)
	if err != nil {
		return nil, a.errorf(e, "the alias %q: %w", name, err)
	}
	for _, addr := range found {
		switch local, bare := strings.CutPrefix(addr, `\`); {
		case strings.Contains(addr, "@"):
			all = append(all, addr)
		case bare || strings.EqualFold(local, name): // "root: root, a@b" keeps a copy here
			all = append(all, local)
		default:
			more, err := a.expand(local, depth+1)
			if err != nil {
				return nil, err
			}
			if more == nil {
				more = []string{local}
			}
			all = append(all, more...)
		}
	}
	return all, nil
}

func (a *Aliases) errorf(e alias, format string, args ...any) error {
	return cli.Errorf(cli.Config, "%s:%d: %w", a.path, e.line, fmt.Errorf(format, args...))
}

// local returns the name that may have an alias: an address without a domain, or at
// this host.
func (o *Options) local(addr string) (string, bool) {
	domain := Domain(addr)
	switch {
	case domain == "":
		return addr, true
	case slices.ContainsFunc(o.LocalDomains, func(d string) bool { return strings.EqualFold(domain, d) }):
		return addr[:len(addr)-len(domain)-1], true
	case strings.EqualFold(domain, "localhost"), strings.EqualFold(domain, o.Hostname):
		name := addr[:len(addr)-len(domain)-1]
		_, known := o.aliasOf(name)
		return name, known
	}
	return "", false
}

// addressees makes To and Cc what the reader is to see.
func addressees(fields []field, o Options) ([]field, error) {
	if o.Undisclosed {
		fields = slices.DeleteFunc(fields, func(f field) bool { return f.is("To") || f.is("Cc") })
		return append(fields, field{"To", []byte("To: undisclosed-recipients:;\r\n")}), nil
	}
	if o.PlusWish {
		cutTags(fields)
	}
	if !o.AliasHeader {
		return fields, nil
	}
	for i, f := range fields {
		if !f.is("To") && !f.is("Cc") || strings.ContainsAny(f.body(), "<(\":;\\") {
			continue // names, comments and groups stay
		}
		found, err := ParseList(f.body())
		if err != nil {
			continue // whoever reads it has to see to that
		}
		var all []string
		for _, addr := range found {
			more, err := o.expand(addr)
			if err != nil {
				return nil, err
			}
			if all = append(all, more...); len(more) == 0 {
				all = nil
				break
			}
		}
		for j := range all {
			if o.PlusWish {
				all[j], _ = withoutTag(all[j])
			}
		}
		if len(all) > 0 {
			fields[i].raw = []byte(f.name + ": " + strings.Join(all, ",\r\n ") + "\r\n")
		}
	}
	return fields, nil
}

// expand returns the addresses behind the alias that an address is, or nothing.
func (o *Options) expand(addr string) ([]string, error) {
	name, ok := o.local(addr)
	if !ok {
		return nil, nil
	}
	return o.Aliases.Expand(name)
}

func (o *Options) aliasOf(name string) (alias, bool) {
	if o.Aliases == nil {
		return alias{}, false
	}
	e, ok := o.Aliases.entries[strings.ToLower(name)]
	return e, ok
}
