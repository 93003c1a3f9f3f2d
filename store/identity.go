package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"rtls/store/internal/index"
)

// identityFile stands in each mailbox's directory and goes where it goes:
//
//	rtls-mailbox 1
//	id 5f1c0de5a1b2c3d4e5f60718293a4b5c
//	uidvalidity 1790000000
//	uidnext 2000
//	special-use Sent
//	dovecot-uidnext 1200
//
// Renaming a mailbox is renaming its directory, by whatever program. When the
// index is lost, UIDVALIDITY stays and UIDs go on above uidnext, so that none is
// ever given twice. Lines of a name that is not known are kept.
const (
	identityFile   = "rtls-mailbox"
	identityHeader = "rtls-mailbox 1\n"

	// uidReserve is how many UIDs are set aside at once.
	uidReserve = 1000
)

// identity is what that file says.
type identity struct {
	object      string
	uidValidity uint32
	uidNext     uint32 // every UID that was given is below it
	specialUse  string
	dovecotNext uint32 // UIDs below it came from dovecot-uidlist; 0 if none did
	unknown     string // lines that a later version may have written
}

var errIdentity = errors.New("identity file makes no sense")

func (a *Account) readIdentity(dir string) (identity, error) {
	raw, err := a.fs.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		return identity{}, err
	}
	text, ok := strings.CutPrefix(string(raw), identityHeader)
	if !ok {
		return identity{}, fmt.Errorf("%w: %s", errIdentity, dir)
	}
	var id identity
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch key {
		case "id":
			id.object = value
		case "uidvalidity":
			id.uidValidity = parseUID(value)
		case "uidnext":
			id.uidNext = parseUID(value)
		case "special-use":
			id.specialUse = value
		case "dovecot-uidnext":
			id.dovecotNext = parseUID(value)
		default:
			id.unknown += line
		}
	}
	if len(id.object) != 32 || id.uidValidity == 0 || id.uidNext == 0 {
		return identity{}, fmt.Errorf("%w: %s", errIdentity, dir)
	}
	return id, nil
}

// parseUID returns 0, which is no UID, for what is none.
func parseUID(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func (a *Account) writeIdentity(dir string, id identity) error {
	text := fmt.Sprintf("%sid %s\nuidvalidity %d\nuidnext %d\n", identityHeader, id.object, id.uidValidity, id.uidNext)
	if id.specialUse != "" {
		text += "special-use " + id.specialUse + "\n"
	}
	if id.dovecotNext != 0 {
		text += fmt.Sprintf("dovecot-uidnext %d\n", id.dovecotNext)
	}
	if err := a.fs.WriteFile(filepath.Join(dir, identityFile), []byte(text+id.unknown)); err != nil {
		return fmt.Errorf("write identity of mailbox: %w", err)
	}
	return nil
}

// identify finds the index's record of the mailbox in dir, or makes one.
func (a *Account) identify(tx index.Tx, dir string) (identity, index.Mailbox, error) {
	id, err := a.readIdentity(dir)
	switch {
	case err == nil:
		return a.identifyBy(tx, dir, id)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIdentity):
		a.log.Info("mailbox has no identity file yet", "dir", dir, "reason", err)
		return a.identifyAt(tx, dir, errors.Is(err, fs.ErrNotExist))
	}
	return id, index.Mailbox{}, err
}

// relative is how the index names a mailbox's directory: it stays true when the
// account is moved.
func (a *Account) relative(dir string) string {
	if dir == a.maildir() {
		return ""
	}
	return filepath.Base(dir)
}

// identifyBy is for a mailbox that says who it is.
func (a *Account) identifyBy(tx index.Tx, dir string, id identity) (identity, index.Mailbox, error) {
	m, err := tx.Mailbox(id.object)
	switch {
	case errors.Is(err, index.ErrNoMailbox): // the index was lost
		m, err = a.recover(tx, dir, &id)
		return id, m, err
	case err != nil:
		return id, m, err
	case m.Dir == a.relative(dir):
		return id, m, nil
	}
	if other, err := a.readIdentity(filepath.Join(a.maildir(), m.Dir)); err == nil && other.object == id.object {
		// Somebody has copied the directory. Two mailboxes cannot share UIDs.
		return a.newIdentity(tx, dir, id.specialUse)
	}
	m.Dir = a.relative(dir) // it was renamed
	m, err = tx.PutMailbox(m)
	return id, m, err
}

// identifyAt is for a mailbox whose file is lost, or never was. One that seems never
// to have had one may be Dovecot's.
func (a *Account) identifyAt(tx index.Tx, dir string, never bool) (identity, index.Mailbox, error) {
	m, err := tx.MailboxAt(a.relative(dir))
	if errors.Is(err, index.ErrNoMailbox) {
		if never {
			if id, m, ok, err := a.takeOver(tx, dir); ok || err != nil {
				return id, m, err
			}
		}
		return a.newIdentity(tx, dir, "")
	}
	if err != nil {
		return identity{}, m, err
	}
	id := identity{object: m.Object, uidValidity: m.UIDValidity, uidNext: m.UIDNext}
	return id, m, a.writeIdentity(dir, id)
}

func newObject() string {
	var object [16]byte
	rand.Read(object[:])
	return hex.EncodeToString(object[:])
}

func (a *Account) newIdentity(tx index.Tx, dir, specialUse string) (identity, index.Mailbox, error) {
	// The clock keeps UIDVALIDITY rising even when the index, and with it the
	// counter, is lost.
	validity, err := tx.NextUIDValidity(uint32(max(1, a.clock().Unix())))
	if err != nil {
		return identity{}, index.Mailbox{}, err
	}
	id := identity{object: newObject(), uidValidity: validity, uidNext: 1, specialUse: specialUse}
	if err := a.writeIdentity(dir, id); err != nil {
		return id, index.Mailbox{}, err
	}
	m, err := tx.PutMailbox(a.newRecord(dir, id))
	return id, m, err
}

func (a *Account) newRecord(dir string, id identity) index.Mailbox {
	m := index.Mailbox{
		Object:      id.object,
		Dir:         a.relative(dir),
		UIDValidity: id.uidValidity,
		UIDNext:     id.uidNext,
		ModSeq:      1,
		RecentFrom:  id.uidNext,
	}
	if id.uidNext > 1 {
		// An index was lost. Change numbers must go on above those that
		// clients know; there has been less than one a second since 1970.
		m.ModSeq = uint64(max(1, a.clock().Unix()))
		m.RecentFrom = 1
	}
	m.LogFloor = m.ModSeq
	return m
}

// reserve makes sure that the identity file covers UIDs below next. It is called
// before the transaction commits that gives them. Of id only the next UID changes: what
// else it says is read without a lock.
func (a *Account) reserve(dir string, id *identity, next uint32) error {
	if next <= id.uidNext {
		return nil
	}
	reserved := *id
	found, err := a.readIdentity(dir) // another process may have been here
	switch {
	case err == nil && found.object == id.object:
		reserved = found
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errIdentity):
		return err
	}
	if next > reserved.uidNext {
		reserved.uidNext = next + min(uidReserve, ^uint32(0)-next)
		if err := a.writeIdentity(dir, reserved); err != nil {
			return err
		}
	}
	id.uidNext = reserved.uidNext
	return nil
}
