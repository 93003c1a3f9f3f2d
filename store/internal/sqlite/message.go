//go:build !plain

package sqlite

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"rtls/store/internal/index"
)

func (t tx) Messages(id int64, since uint64, f func(index.Message) error) error {
	// All of a mailbox is read in the order of its UIDs; what changed lately is found by
	// its number and is little enough to sort.
	query := "SELECT octets FROM block WHERE mailbox = ? AND modseq > ? ORDER BY uid"
	if since == 0 {
		query = "SELECT octets FROM block WHERE mailbox = ? AND +modseq > ? ORDER BY uid"
	}
	return t.blocks(query, []any{id, int64(since)}, func(m index.Message) error {
		if m.ModSeq <= since {
			return nil
		}
		return f(m)
	})
}

// blocks calls f for the messages of each block that a query yields.
func (t tx) blocks(query string, args []any, f func(index.Message) error) error {
	rows, err := t.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	list := make([]index.Message, 0, blockLen)
	for rows.Next() {
		var raw sql.RawBytes
		if err := scan(rows, &raw); err != nil {
			return err
		}
		if list, err = readBlock(list[:0], raw); err != nil {
			return err
		}
		for i := range list {
			if err := f(list[i]); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

func (t tx) NamesInNew(id int64) (names []string, err error) {
	err = t.blocks("SELECT octets FROM block WHERE mailbox = ? AND new > 0", []any{id}, func(m index.Message) error {
		if m.New {
			names = append(names, strings.Clone(m.Name))
		}
		return nil
	})
	return names, err
}

func (t tx) Count(id int64, from uint32) (n uint32, err error) {
	if err := scan(t.QueryRow("SELECT coalesce(sum(messages), 0) FROM block WHERE mailbox = ? AND uid > ?", id, from), &n); err != nil {
		return 0, err
	}
	err = t.blocks("SELECT octets FROM block WHERE mailbox = ? AND uid <= ? ORDER BY uid DESC LIMIT 1", []any{id, from}, func(m index.Message) error {
		if m.UID >= from {
			n++
		}
		return nil
	})
	return n, err
}

func (t tx) Put(id int64, messages []index.Message) error {
	byUID := func(x, y index.Message) int { return cmp.Compare(x.UID, y.UID) }
	if !slices.IsSortedFunc(messages, byUID) {
		messages = slices.Clone(messages)
		slices.SortStableFunc(messages, byUID)
	}
	uids := make([]uint32, len(messages))
	for i := range messages {
		uids[i] = messages[i].UID
	}
	return t.rewrite(id, uids, func(old []index.Message, from, to int) []index.Message {
		return merge(old, messages[from:to])
	})
}

// merge puts messages into a block, in place of those with their UIDs.
func merge(old, put []index.Message) []index.Message {
	merged := make([]index.Message, 0, len(old)+len(put))
	for _, m := range put {
		for len(old) > 0 && old[0].UID < m.UID {
			merged, old = append(merged, old[0]), old[1:]
		}
		if len(old) > 0 && old[0].UID == m.UID {
			old = old[1:]
		}
		if last := len(merged) - 1; last >= 0 && merged[last].UID == m.UID {
			merged = merged[:last]
		}
		merged = append(merged, m)
	}
	return append(merged, old...)
}

func (t tx) Expunge(id int64, uids []uint32, modseq uint64) error {
	uids = slices.Clone(uids)
	slices.Sort(uids)
	err := t.rewrite(id, uids, func(old []index.Message, from, to int) []index.Message {
		return slices.DeleteFunc(old, func(m index.Message) bool {
			_, gone := slices.BinarySearch(uids[from:to], m.UID)
			return gone
		})
	})
	if err != nil {
		return err
	}
	note, err := t.Prepare("INSERT INTO expunged (mailbox, modseq, uid) VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	defer note.Close()
	for _, uid := range uids {
		if _, err := note.Exec(id, int64(modseq), uid); err != nil {
			return err
		}
	}
	return nil
}

// rewrite calls f for each block that UIDs, which are sorted, fall into, with its
// messages and a range of the UIDs, and writes what f makes of it.
func (t tx) rewrite(id int64, uids []uint32, f func(old []index.Message, from, to int) []index.Message) error {
	if len(uids) == 0 {
		return nil
	}
	starts, err := t.starts(id, uids[0], uids[len(uids)-1])
	if err != nil {
		return err
	}
	w := blockWriter{t: t, id: id}
	defer w.close()
	for from := 0; from < len(uids); {
		to := len(uids)
		next, starting := slices.BinarySearch(starts, uids[from])
		if starting {
			next++
		}
		if next < len(starts) {
			to, _ = slices.BinarySearch(uids, starts[next])
		}
		start := uint32(0) // there is no such block
		if next > 0 {
			start = starts[next-1]
		}
		if err := w.change(start, func(old []index.Message) []index.Message { return f(old, from, to) }); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// starts are the UIDs of the blocks that first, last and what is between them fall into.
func (t tx) starts(id int64, first, last uint32) (starts []uint32, err error) {
	rows, err := t.Query(`SELECT uid FROM block WHERE mailbox = ?1 AND uid <= ?3 AND
		uid >= coalesce((SELECT max(uid) FROM block WHERE mailbox = ?1 AND uid <= ?2), 0) ORDER BY uid`, id, first, last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var start uint32
		if err := scan(rows, &start); err != nil {
			return nil, err
		}
		starts = append(starts, start)
	}
	return starts, rows.Err()
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
