package store

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unique"

	"rtls/store/internal/vfs"
)

// The journal of an import is a file in .rtls/imports/, one for each source and mailbox,
// named by a digest of both. It is text: a line that says what it is, then a line for
// each message.
//
//	rtls-import 1 "imap://alice@old.example:993/INBOX"
//	9d0a4c11 + 0123456789abcdef0123456789abcdef "1275660208" "25006" "FS work"
//
// They are a checksum (CRC-32C) of what follows it, + for a message that was added, = for
// one that had been in another epoch, or ~ for one whose flags have changed, half of the
// SHA-256 of its octets (zeros if it was not read), the epoch, the source's identifier,
// and, where they are known, the letters of the flags and the keywords that it has there.
// A line that is damaged or cut off is passed over.
type journal struct {
	fs     vfs.FS
	path   string
	source string
	ids    map[string]bool        // of this epoch
	flags  map[string]sourceFlags // of those, where they are known
	others map[digest]int         // messages of other epochs that have not come again in this one
	torn   bool                   // the last line has no end
	dirty  bool
}

// digest is half of a SHA-256.
type digest [16]byte

// entry is a line of a journal.
type entry struct {
	kind      byte // 0 is entryAdded
	sum       digest
	epoch, id string
	flags     sourceFlags
	hasFlags  bool
}

const (
	entryAdded = '+'
	entrySame  = '='
	entryFlags = '~'
)

const journalStart = "rtls-import 1 "

func journalName(source, object string) string {
	sum := sha256.Sum256([]byte(source + "\x00" + object))
	return hex.EncodeToString(sum[:16])
}

// journalOf says whether a file is the journal of an import into one of these mailboxes,
// if it is one that can be read.
func (a *Account) journalOf(name string, objects iter.Seq[string]) (known, readable bool) {
	f, err := a.fs.Open(filepath.Join(a.importDir(), name))
	if err != nil {
		return false, false
	}
	defer f.Close()
	line, err := bufio.NewReader(io.NewSectionReader(f, 0, 64<<10)).ReadString('\n')
	quoted, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), journalStart)
	source, unquoted := strconv.Unquote(quoted)
	if err != nil || !ok || unquoted != nil {
		return false, false
	}
	for object := range objects {
		if journalName(source, object) == name {
			return true, true
		}
	}
	return false, true
}

// removeJournals removes those of a mailbox that is gone: a new one of its name is
// another. What is left behind, Check finds.
func (a *Account) removeJournals(object string) {
	names, err := a.fs.Names(a.importDir())
	for _, name := range names {
		if known, _ := a.journalOf(name, slices.Values([]string{object})); known {
			err = errors.Join(err, a.fs.Remove(filepath.Join(a.importDir(), name)))
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("deleted mailbox leaves files behind", "dir", a.importDir(), "err", err)
	}
}

func (a *Account) openJournal(dir, source, object, epoch string) (*journal, error) {
	j := &journal{
		fs: a.fs, path: filepath.Join(dir, journalName(source, object)), source: source,
		ids: make(map[string]bool), flags: make(map[string]sourceFlags), others: make(map[digest]int),
	}
	f, err := a.fs.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, a.fs.WriteFile(j.path, []byte(journalStart+strconv.Quote(source)+"\n"))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bad, err := j.read(f, epoch)
	if err != nil {
		return nil, fmt.Errorf("read what was imported: %w", err)
	}
	if bad > 0 {
		a.log.Warn("journal of an import is damaged: the messages are looked for in the mailbox alone", "path", j.path, "lines", bad)
	}
	return j, nil
}

// read takes in the file, and returns how many lines make no sense.
func (j *journal) read(f vfs.File, epoch string) (bad int, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	in := bufio.NewReader(io.NewSectionReader(f, 0, info.Size))
	for first := true; ; first = false {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			j.torn = line != ""
			return bad, nil // a line that was cut off is no sign of damage
		}
		if err != nil {
			return bad, err
		}
		e, ok := parseEntry(strings.TrimSuffix(line, "\n"))
		switch {
		case first && strings.HasPrefix(line, journalStart):
		case !ok:
			bad++
		case e.epoch == epoch:
			j.learn(&e)
			if e.kind == entrySame {
				j.others[e.sum]--
			}
		case e.kind == entryAdded:
			j.others[e.sum]++
		}
	}
}

func parseEntry(line string) (e entry, ok bool) {
	check, rest, ok := strings.Cut(line, " ")
	if !ok || check != fmt.Sprintf("%08x", crc32.Checksum([]byte(rest), castagnoli())) {
		return e, false
	}
	kind, rest, _ := strings.Cut(rest, " ")
	sum, rest, _ := strings.Cut(rest, " ")
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) != len(e.sum) || len(kind) != 1 || !strings.Contains("+=~", kind) {
		return e, false
	}
	e.kind, e.sum = kind[0], digest(raw)
	var words []string
	for rest != "" {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return e, false
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return e, false
		}
		words = append(words, word)
		rest = strings.TrimPrefix(rest[len(quoted):], " ")
	}
	if len(words) < 2 {
		return e, false
	}
	e.epoch, e.id = words[0], words[1]
	if len(words) > 2 {
		if flags, ok := parseSourceFlags(words[2]); ok {
			e.flags, e.hasFlags = flags, true
		}
	}
	return e, true
}

func (e *entry) String() string {
	text := fmt.Sprintf("%c %x %q %q", cmp.Or(e.kind, entryAdded), e.sum, e.epoch, e.id)
	if e.hasFlags {
		text += " " + strconv.Quote(e.flags.String())
	}
	return fmt.Sprintf("%08x %s", crc32.Checksum([]byte(text), castagnoli()), text)
}

// learn takes in an entry of this epoch.
func (j *journal) learn(e *entry) {
	j.ids[e.id] = true
	if e.hasFlags {
		e.flags.keywords = unique.Make(e.flags.keywords).Value() // mostly the same few
		j.flags[e.id] = e.flags
	}
}

// note adds an entry. What a process has noted stays when it is killed.
func (j *journal) note(e entry) error {
	line := e.String() + "\n"
	if j.torn {
		line = "\n" + line
	}
	j.torn, j.dirty = true, true
	if err := j.fs.Append(j.path, []byte(line)); err != nil {
		return fmt.Errorf("note what was imported: %w", err)
	}
	j.torn = false
	j.learn(&e)
	return nil
}

// close makes durable what was noted.
func (j *journal) close() error {
	if !j.dirty {
		return nil
	}
	return j.fs.SyncFile(j.path)
}
