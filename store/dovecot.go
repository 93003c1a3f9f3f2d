package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"rtls/store/internal/index"
)

// A Maildir that Dovecot has kept is taken over as it is: dovecot-uidlist, version 3,
// says which UIDs its messages have.
//
//	3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
//	25006 W3156 S3094 :1276528487.M364837P9451.kurkku,S=3094,W=3156
//
// V is UIDVALIDITY, N is UIDNEXT, G the mailbox's identifier; each line has a UID,
// fields that do not matter here, and a file name without flags. Later on the file
// is read only when the index is lost, and then only for the UIDs that were taken
// over: those that Dovecot has given since are not ours.
const dovecotUIDList = "dovecot-uidlist"

// uidList is what that file says.
type uidList struct {
	uidValidity uint32
	uidNext     uint32 // above every UID in it
	object      string // empty if there is none that fits
	uids        map[Key]uint32
}

var errUIDList = errors.New("dovecot-uidlist makes no sense")

// parseUIDList reads a list. Lines that make no sense, or do not go together with
// those before, are passed over: their messages get new UIDs.
func parseUIDList(text string) (*uidList, error) {
	header, text, _ := strings.Cut(text, "\n")
	fields := strings.Fields(header)
	if len(fields) == 0 || fields[0] != "3" {
		return nil, fmt.Errorf("%w: not version 3", errUIDList)
	}
	l := &uidList{uids: make(map[Key]uint32)}
	for _, field := range fields[1:] {
		switch value := field[1:]; field[0] {
		case 'V':
			l.uidValidity = parseUID(value)
		case 'N':
			l.uidNext = parseUID(value)
		case 'G':
			if isObject(value) {
				l.object = value
			}
		}
	}
	if l.uidValidity == 0 {
		return nil, fmt.Errorf("%w: no UIDVALIDITY", errUIDList)
	}
	last := uint32(0)
	for line := range strings.Lines(text) {
		uid, name, ok := parseUIDLine(line)
		if !ok || uid <= last {
			continue // UIDs only rise
		}
		// Once more the same file: Dovecot has found it again after it was
		// gone, and the last UID is the one that it has.
		l.uids[parseName(name).key] = uid
		last = uid
	}
	l.uidNext = max(l.uidNext, last+1)
	if l.uidNext > freed-uidReserve {
		return nil, fmt.Errorf("%w: UIDs are used up", errUIDList)
	}
	return l, nil
}

// parseUIDLine reads "UID FIELDS :NAME". A line without its end may be cut off.
func parseUIDLine(line string) (uid uint32, name string, ok bool) {
	line, ended := strings.CutSuffix(line, "\n")
	number, rest, _ := strings.Cut(line, " ")
	uid = parseUID(number)
	if !strings.HasPrefix(rest, ":") {
		_, rest, ok = strings.Cut(rest, " :")
	} else {
		rest, ok = rest[1:], true
	}
	return uid, rest, ok && ended && uid != 0 && uid < freed && rest != ""
}

// isObject says whether s can be a mailbox's identifier.
func isObject(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// uidListOf reads the list of the mailbox in dir; nil if there is none of use.
func (a *Account) uidListOf(dir string) (*uidList, error) {
	path := filepath.Join(dir, dovecotUIDList)
	info, err := a.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode.IsRegular()) {
		return nil, nil
	}
	var raw []byte
	if err == nil {
		raw, err = a.fs.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dovecotUIDList, err)
	}
	l, err := parseUIDList(string(raw))
	if err != nil {
		a.log.Warn("mailbox gets new UIDs", "dir", dir, "err", err)
		return nil, nil
	}
	return l, nil
}

// takeOver makes the identity and the record of a mailbox that Dovecot has kept. It
// returns false if it has not.
func (a *Account) takeOver(tx index.Tx, dir string) (id identity, m index.Mailbox, ok bool, err error) {
	l, err := a.uidListOf(dir)
	if err != nil || l == nil {
		return id, m, false, err
	}
	id, err = a.dovecotIdentity(tx, l)
	if err != nil {
		return id, m, false, err
	}
	if err := a.writeIdentity(dir, id); err != nil {
		return id, m, false, err
	}
	m, err = a.fillRecord(tx, dir, &id, l)
	return id, m, err == nil, err
}

func (a *Account) dovecotIdentity(tx index.Tx, l *uidList) (identity, error) {
	id := identity{object: l.object, uidValidity: l.uidValidity, uidNext: l.uidNext, dovecotNext: l.uidNext}
	switch _, err := tx.Mailbox(id.object); {
	case id.object == "" || err == nil: // somebody has copied the directory
		id.object = newObject()
	case !errors.Is(err, index.ErrNoMailbox):
		return id, err
	}
	// No mailbox that takes the place of this one may get its UIDVALIDITY.
	_, err := tx.NextUIDValidity(l.uidValidity)
	return id, err
}

// recover makes the record of a mailbox that the index does not know, although it
// has an identity.
func (a *Account) recover(tx index.Tx, dir string, id *identity) (index.Mailbox, error) {
	var l *uidList
	if id.dovecotNext > 0 {
		var err error
		if l, err = a.uidListOf(dir); err != nil {
			return index.Mailbox{}, err
		}
	}
	if l == nil || l.uidValidity != id.uidValidity {
		return tx.PutMailbox(a.newRecord(dir, *id))
	}
	for key, uid := range l.uids {
		if uid >= id.dovecotNext {
			delete(l.uids, key)
		}
	}
	return a.fillRecord(tx, dir, id, l)
}

// fillRecord makes a record with the messages of a list that are there. All others
// are found when the mailbox is looked at, and get UIDs above.
func (a *Account) fillRecord(tx index.Tx, dir string, id *identity, l *uidList) (index.Mailbox, error) {
	m, err := tx.PutMailbox(a.newRecord(dir, *id))
	if err != nil || len(l.uids) == 0 {
		return m, err
	}
	v := &view{a: a, dir: dir, id: *id, record: m}
	v.snap.Store(&Snapshot{})
	c := &change{m: m}
	c.m.ModSeq++
	if err := v.putListed(l, c); err != nil {
		return m, err
	}
	if err := v.adoptLetters(v.snap.Load(), c.put); err != nil {
		return m, err
	}
	err = v.write(tx, c)
	*id = v.id
	return c.m, err
}

// putListed puts the listed messages that are there into c, with their UIDs.
func (v *view) putListed(l *uidList, c *change) error {
	files, err := v.listTwice(l)
	if err != nil {
		return err
	}
	var moved []file
	for key, f := range files {
		msg, ok, err := v.examine(f)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		f.name = msg.Name
		if f.inNew {
			if name, ok := v.moveToCur(f.name); ok {
				moved = append(moved, f)
				msg.Name, msg.New = name, false
			}
		}
		msg.UID, msg.ModSeq = l.uids[key], c.m.ModSeq
		c.put = append(c.put, msg)
	}
	slices.SortFunc(c.put, func(x, y index.Message) int { return int(int64(x.UID) - int64(y.UID)) })
	return v.finishMove(moved)
}

// listTwice finds the files of the listed messages. Others may be renaming them, and
// a listing can miss a name then; one that two have missed gets a new UID.
func (v *view) listTwice(l *uidList) (map[Key]file, error) {
	files := make(map[Key]file)
	for range 2 {
		listed, err := v.list(true, nil)
		if err == nil {
			listed, err = v.list(false, listed)
		}
		if err != nil {
			return nil, err
		}
		for _, f := range listed {
			key := parseName(f.name).key
			if _, ok := l.uids[key]; ok {
				files[key] = f // where it is in both, cur/ comes last
			}
		}
		if len(files) == len(l.uids) {
			break
		}
	}
	return files, nil
}
