package lda

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Aliases is a file in the format of sendmail's aliases:
//
//	# a comment
//	postmaster: alice, "bob b"@example.org,
//	        carol+lists
//	alice: \alice, dave
//
// A line that starts with white space continues the one above. Names are local
// parts or whole addresses, in any case. Behind a backslash no alias is looked for.
// Programs, files and :include: are refused: this agent runs nothing and reads no
// lists; who needs one has the mail transfer agent do it.
//
// The file is read again when it has changed. Aliases is safe for concurrent use.
type Aliases struct {
	path string

	mu      sync.Mutex // guards what follows
	entries map[string]alias
	stamp   aliasStamp
}

type aliasStamp struct {
	size     int64
	modified time.Time
	ino      uint64
}

// alias is an entry.
type alias struct {
	name    string
	line    int
	targets []aliasTarget
	err     error // it cannot be used
}

type aliasTarget struct {
	address string
	final   bool // it had a backslash
}

// OpenAliases returns the aliases of a file. It reads nothing yet.
func OpenAliases(path string) *Aliases { return &Aliases{path: path} }

// Check reads the file and says what is wrong with it.
func (a *Aliases) Check() error {
	entries, err := a.current()
	if err != nil {
		return err
	}
	var wrong []alias
	for _, e := range entries {
		if e.err != nil {
			wrong = append(wrong, e)
		}
	}
	slices.SortFunc(wrong, func(x, y alias) int { return x.line - y.line })
	for _, e := range wrong {
		err = errors.Join(err, e.err)
	}
	return err
}

// maxAliases is where a file stops being one of aliases.
const maxAliases = 64 << 20

func (a *Aliases) current() (map[string]alias, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := os.OpenFile(a.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to wait for a FIFO's writer
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("aliases: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("aliases: %s is not a file", a.path)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("aliases: group or others can write to %s; run chmod go-w %[1]s", a.path)
	}
	stamp := aliasStamp{size: info.Size(), modified: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		stamp.ino = sys.Ino
	}
	if a.entries != nil && stamp == a.stamp {
		return a.entries, nil
	}
	text, err := io.ReadAll(io.LimitReader(f, maxAliases))
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	list, err := parseAliases(a.path, string(text))
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	entries := make(map[string]alias, len(list))
	for _, e := range list {
		key := strings.ToLower(e.name)
		if first, twice := entries[key]; twice {
			first.err = fmt.Errorf("%s:%d: alias %s stands in line %d already", a.path, e.line, e.name, first.line)
			e = first
		}
		entries[key] = e
	}
	a.entries, a.stamp = entries, stamp
	return entries, nil
}

// find returns the entry of a name.
func (a *Aliases) find(name string) (alias, bool, error) {
	entries, err := a.current()
	if err != nil {
		return alias{}, false, err
	}
	e, ok := entries[strings.ToLower(name)]
	return e, ok, nil
}

// parseAliases reads a file. The error is for what cannot be told to belong to one
// alias; the others' are in the entries.
func parseAliases(path, text string) ([]alias, error) {
	var list []alias
	logical, start, n := "", 0, 0
	flush := func() error {
		if strings.TrimSpace(logical) == "" {
			return nil
		}
		e, err := parseAlias(path, start, logical)
		list = append(list, e)
		logical = ""
		return err
	}
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
			continue
		case line[0] == ' ' || line[0] == '\t':
			if logical == "" {
				return nil, fmt.Errorf("%s:%d: continues nothing", path, n)
			}
			logical += line
			continue
		}
		if err := flush(); err != nil {
			return nil, err
		}
		logical, start = line, n
	}
	return list, flush()
}

func parseAlias(path string, line int, text string) (alias, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s", path, line, fmt.Sprintf(format, args...))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return alias{}, bad("control character")
	}
	parts, ok := splitOutside(text, ':', 2)
	if !ok {
		return alias{}, bad("open quote")
	}
	if len(parts) < 2 {
		return alias{}, bad("an alias is written as name: target, target")
	}
	name := strings.TrimSpace(parts[0])
	if err := CheckAddress(name); err != nil {
		return alias{}, bad("alias %s: %v", name, err)
	}
	local, domain := SplitAddress(name)
	if strings.ContainsAny(domain, `"\ @`) {
		return alias{}, bad("alias %s: %q is not a domain", name, domain)
	}
	e := alias{name: local, line: line}
	if domain != "" {
		e.name += "@" + domain
	}
	if e.name == "" {
		return alias{}, bad("an alias has a name")
	}
	words, _ := splitOutside(parts[1], ',', -1)
	for _, word := range words {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		t := aliasTarget{address: word}
		t.address, t.final = strings.CutPrefix(word, `\`)
		switch bare := strings.TrimLeft(word, `"`); {
		case bare == "" || t.address == "":
			e.err = bad("alias %s: empty target", e.name)
		case bare[0] == '|':
			e.err = bad("alias %s: %s is a program, which this agent does not run; have the mail transfer agent do it", e.name, word)
		case bare[0] == '/':
			e.err = bad("alias %s: %s is a file, and mail goes to accounts only", e.name, word)
		case strings.HasPrefix(strings.ToLower(bare), ":include:"):
			e.err = bad("alias %s: %s: lists are for the mail transfer agent", e.name, word)
		case CheckAddress(t.address) != nil:
			e.err = bad("alias %s: %s: %v", e.name, word, CheckAddress(t.address))
		}
		e.targets = append(e.targets, t)
	}
	if len(e.targets) == 0 {
		e.err = bad("alias %s has no target", e.name)
	}
	return e, nil
}

// splitOutside splits at a separator outside quotes, into at most so many parts. ok
// is false for a quote without an end.
func splitOutside(s string, sep byte, most int) (parts []string, ok bool) {
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted && (most < 0 || len(parts) < most-1):
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:]), !quoted
}
