package store

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"rtls/store/internal/index"
)

// Up to 26 keywords of a mailbox are letters, a to z, in the names of its files, as
// Dovecot has them; the file dovecot-keywords says which. There they survive the loss
// of the index, other programs see them, and a letter that another program sets or
// clears is a change of keywords. All keywords are in the index, those that came too
// late for a letter nowhere else. A letter that the file does not know stays as it is.
const (
	keywordsFile = "dovecot-keywords"
	letterCount  = 26
)

// readOnlyKeywords is how readers are shown the tag. No file that anybody could have
// written may make a message bear one (D10).
var readOnlyKeywords = []string{"$RequireTLS", "$RequireTLSUnknown", "$TLSOptional"}

// validKeyword says whether a word that somebody's file has for a keyword can be
// one: an atom (RFC 9051 section 9), and not the tag.
func validKeyword(word string) bool {
	if word == "" || strings.ContainsFunc(word, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	}) {
		return false
	}
	for _, k := range readOnlyKeywords {
		if strings.EqualFold(word, k) {
			return false
		}
	}
	return true
}

// letterTable is the file of a mailbox: the names of the letters. One that cannot be
// a keyword keeps its letter, which then means nothing.
type letterTable [letterCount]string

// parseLetterTable reads lines "NUMBER NAME", where 0 is the letter a. What makes no
// sense is passed over.
func parseLetterTable(text string) (t letterTable) {
	for line := range strings.Lines(text) {
		number, name, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		n, err := strconv.ParseUint(number, 10, 8)
		if err != nil || n >= letterCount || name == "" || t[n] != "" || slices.Contains(t[:], name) {
			continue
		}
		t[n] = name
	}
	return t
}

func (t *letterTable) String() string {
	var b strings.Builder
	for n, name := range t {
		if name != "" {
			fmt.Fprintf(&b, "%d %s\n", n, name)
		}
	}
	return b.String()
}

// of is the keyword of a letter, empty where it has none.
func (t *letterTable) of(letter byte) string {
	if letter < 'a' || letter > 'z' || !validKeyword(t[letter-'a']) {
		return ""
	}
	return t[letter-'a']
}

// keywords are those that the letters in extra stand for, sorted.
func (t *letterTable) keywords(extra string) (list []string) {
	for i := range len(extra) {
		if k := t.of(extra[i]); k != "" {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// letters is extra with the letters that keywords have, and without those of other
// keywords.
func (t *letterTable) letters(extra string, keywords []string) string {
	next := make([]byte, 0, len(extra)+len(keywords))
	for i := range len(extra) {
		if t.of(extra[i]) == "" {
			next = append(next, extra[i])
		}
	}
	for n := range t {
		letter := byte('a' + n)
		if k := t.of(letter); k != "" && slices.Contains(keywords, k) {
			next = append(next, letter)
		}
	}
	slices.Sort(next) // as everywhere in a name
	if sameLetters(string(next), extra) {
		return extra
	}
	return string(next)
}

func sameLetters(sorted, extra string) bool {
	x := []byte(extra)
	slices.Sort(x)
	return sorted == string(x)
}

// letterTable reads the file of the mailbox. It is small, and others write it too.
func (v *view) letterTable() (t letterTable, err error) {
	path := v.sub(keywordsFile)
	info, err := v.a.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode.IsRegular()) {
		return t, nil
	}
	var raw []byte
	if err == nil {
		raw, err = v.a.fs.ReadFile(path)
	}
	if err != nil {
		return t, fmt.Errorf("read %s: %w", keywordsFile, err)
	}
	return parseLetterTable(string(raw)), nil
}

// lettersFor is the table in which keywords have got letters, as far as there are
// any, durably. It must be called while the index is locked. A letter that used says
// is in names, but that has no name, is not given one: it would be a keyword of those
// messages.
func (v *view) lettersFor(used func() letterSet, keywords []string) (t letterTable, err error) {
	if t, err = v.letterTable(); err != nil {
		return t, err
	}
	var missing []string
	for _, k := range keywords {
		if validKeyword(k) && !slices.Contains(t[:], k) {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 || !slices.Contains(t[:], "") {
		return t, nil
	}
	if info, err := v.a.fs.Stat(v.sub(keywordsFile)); err == nil && !info.Mode.IsRegular() {
		return t, nil
	}
	given, taken := false, used()
	for n := range t {
		if t[n] == "" && taken&(1<<n) == 0 && len(missing) > 0 {
			t[n], missing, given = missing[0], missing[1:], true
		}
	}
	if !given {
		return t, nil
	}
	if err := v.a.fs.WriteFile(v.sub(keywordsFile), []byte(t.String())); err != nil {
		return t, fmt.Errorf("write %s: %w", keywordsFile, err)
	}
	return t, nil
}

// letterSet has a bit for each letter.
type letterSet uint32

func (l *letterSet) add(name string) { l.addAll(parseName(name).extra) }

func (l *letterSet) addAll(extra string) {
	for i := range len(extra) {
		if extra[i] >= 'a' && extra[i] <= 'z' {
			*l |= 1 << (extra[i] - 'a')
		}
	}
}

// usedLetters says which letters are in names.
func (s *Snapshot) usedLetters() (used letterSet) {
	for _, c := range s.chunks {
		for _, at := range c.words {
			used.addAll(s.sets[at].letters)
		}
		for _, name := range c.names { // those that do not follow from the row
			used.add(name)
		}
	}
	return used
}

// prepareLetters gives letters to the keywords of messages that are to be copied.
func (d *destination) prepareLetters(tx index.Tx, from *Snapshot, uids []uint32) error {
	seen := make(map[string]bool)
	var keywords []string
	for _, uid := range uids {
		at, ok := from.Find(uid)
		if !ok {
			continue
		}
		for _, k := range from.At(at).Keywords {
			if !seen[k] {
				seen[k] = true
				keywords = append(keywords, k)
			}
		}
	}
	if len(keywords) == 0 {
		return nil
	}
	var failed, err error
	d.letters, err = d.v.lettersFor(d.usedLetters(tx, &failed), keywords)
	return errors.Join(err, failed)
}

// usedLetters finds, when it is asked, which letters are in names of the destination.
// When the index fails, so has failed, and all are.
func (d *destination) usedLetters(tx index.Tx, failed *error) func() letterSet {
	return func() (used letterSet) {
		*failed = tx.Messages(d.v.record.ID, 0, func(msg index.Message) error {
			used.add(msg.Name)
			return nil
		})
		if *failed != nil {
			used = ^letterSet(0)
		}
		return used
	}
}

// lettersOf are the letters of a copy of a message of v. They mean what they mean in
// one mailbox only.
func (d *destination) lettersOf(v *view, extra string, keywords string) string {
	if d.v == v {
		return extra
	}
	others := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return -1
		}
		return r
	}, extra)
	return d.letters.letters(others, strings.Fields(keywords))
}

// adoptLetters makes keywords of the letters that messages have got or lost by
// renaming; a message that is new has got all of its letters. It must be called
// while the index is locked.
func (v *view) adoptLetters(s *Snapshot, put []index.Message) error {
	var t letterTable
	read := false
	for i := range put {
		before := ""
		if at, ok := s.Find(put[i].UID); ok {
			before = parseName(v.at(s, at).name).extra
		}
		after := parseName(put[i].Name).extra
		if before == after {
			continue
		}
		if !read {
			var err error
			if t, err = v.letterTable(); err != nil {
				return err
			}
			read = true
		}
		was, is := t.keywords(before), t.keywords(after)
		keywords := strings.Fields(put[i].Keywords)
		keywords = slices.DeleteFunc(keywords, func(k string) bool { return slices.Contains(was, k) && !slices.Contains(is, k) })
		for _, k := range is {
			if !slices.Contains(was, k) {
				keywords = append(keywords, k)
			}
		}
		slices.Sort(keywords)
		put[i].Keywords = strings.Join(slices.Compact(keywords), " ")
	}
	return nil
}
