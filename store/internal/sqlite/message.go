//go:build !plain

package sqlite

import (
	"database/sql"
	"errors"
	"slices"
	"strings"

	"rtls/store/internal/index"
)

func (t tx) Messages(id int64, since uint64, f func(index.Message) error) error {
	// All of a mailbox is read in the order of the primary key; what changed
	// lately is found by its number and is little enough to sort.
	query := "SELECT uid, modseq, name, new, size, date, keywords FROM message WHERE mailbox = ? AND modseq > ? ORDER BY uid"
	if since == 0 {
		query = "SELECT uid, modseq, name, new, size, date, keywords FROM message WHERE mailbox = ? AND +modseq > ? ORDER BY uid"
	}
	rows, err := t.Query(query, id, int64(since))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var m index.Message
		if err := scan(rows, &m.UID, &m.ModSeq, &m.Name, &m.New, &m.Size, &m.Date, &m.Keywords); err != nil {
			return err
		}
		if err := f(m); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t tx) NamesInNew(id int64) (names []string, err error) {
	rows, err := t.Query("SELECT name FROM message WHERE mailbox = ? AND new = 1", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := scan(rows, &name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// putRows is how many messages a statement writes: with many at once each takes half
// the time.
const putRows = 64

func (t tx) Put(id int64, messages []index.Message) error {
	rest := len(messages) % putRows
	if err := t.put(id, messages[:rest], 1); err != nil {
		return err
	}
	return t.put(id, messages[rest:], putRows)
}

// put writes messages, each time as many as rows says.
func (t tx) put(id int64, messages []index.Message, rows int) error {
	if len(messages) == 0 {
		return nil
	}
	const row = "(?, ?, ?, ?, ?, ?, ?, ?)"
	s, err := t.Prepare("INSERT OR REPLACE INTO message (mailbox, uid, modseq, name, new, size, date, keywords) VALUES " +
		row + strings.Repeat(", "+row, rows-1))
	if err != nil {
		return err
	}
	defer s.Close()
	args := make([]any, 0, rows*strings.Count(row, "?"))
	for batch := range slices.Chunk(messages, rows) {
		args = args[:0]
		for i := range batch {
			m := &batch[i]
			args = append(args, id, m.UID, int64(m.ModSeq), m.Name, m.New, m.Size, m.Date, m.Keywords)
		}
		if _, err := s.Exec(args...); err != nil {
			return err
		}
	}
	return nil
}

func (t tx) Count(id int64, from uint32) (n uint32, err error) {
	err = scan(t.QueryRow("SELECT count(*) FROM message WHERE mailbox = ? AND uid >= ?", id, from), &n)
	return n, err
}

func (t tx) Expunge(id int64, uids []uint32, modseq uint64) error {
	forget, err := t.Prepare("DELETE FROM message WHERE mailbox = ? AND uid = ?")
	if err != nil {
		return err
	}
	defer forget.Close()
	note, err := t.Prepare("INSERT INTO expunged (mailbox, modseq, uid) VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	defer note.Close()
	for _, uid := range uids {
		if _, err := forget.Exec(id, uid); err != nil {
			return err
		}
		if _, err := note.Exec(id, int64(modseq), uid); err != nil {
			return err
		}
	}
	return nil
}

func (t tx) Expunged(id int64, since uint64, f func(uint32) error) error {
	rows, err := t.Query("SELECT uid FROM expunged WHERE mailbox = ? AND modseq > ? ORDER BY uid", id, int64(since))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var uid uint32
		if err := scan(rows, &uid); err != nil {
			return err
		}
		if err := f(uid); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t tx) TrimLog(id int64, keep int64) (floor uint64, err error) {
	// Entries of one change stay or go together.
	var last int64
	err = scan(t.QueryRow("SELECT modseq FROM expunged WHERE mailbox = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?", id, keep), &last)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, err = t.Exec("DELETE FROM expunged WHERE mailbox = ? AND modseq <= ?", id, last)
	return uint64(last), err
}

func (t tx) NextUIDValidity(low uint32) (next uint32, err error) {
	err = scan(t.QueryRow("UPDATE counter SET uidvalidity = max(uidvalidity + 1, ?) RETURNING uidvalidity", low), &next)
	return next, err
}
