//go:build !plain

package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"rtls/store/internal/index"
)

type tx struct{ *sql.Tx }

const columns = `id, object, dir, uidvalidity, uidnext, modseq, log_floor, log_len, recent_from,
	messages, unseen, deleted, size, deleted_size, cur_modified, cur_changed, cache`

// scanner is a row, or the current one of several.
type scanner interface{ Scan(into ...any) error }

// scan reads a row. The tables are strict, so a value that is of another type than
// its column is damage.
func scan(row scanner, into ...any) error {
	err := row.Scan(into...)
	if err != nil && strings.HasPrefix(err.Error(), "sql: Scan error") {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

func scanMailbox(row scanner) (m index.Mailbox, err error) {
	err = scan(row,
		&m.ID, &m.Object, &m.Dir, &m.UIDValidity, &m.UIDNext, &m.ModSeq, &m.LogFloor, &m.LogLen, &m.RecentFrom,
		&m.Messages, &m.Unseen, &m.Deleted, &m.Size, &m.DeletedSize, &m.CurModified, &m.CurChanged, &m.Cache)
	return m, err
}

func (t tx) mailbox(where string, arg any) (index.Mailbox, error) {
	m, err := scanMailbox(t.QueryRow("SELECT "+columns+" FROM mailbox WHERE "+where, arg))
	if errors.Is(err, sql.ErrNoRows) {
		err = index.ErrNoMailbox
	}
	return m, err
}

func (t tx) Mailbox(object string) (index.Mailbox, error) { return t.mailbox("object = ?", object) }

func (t tx) MailboxAt(dir string) (index.Mailbox, error) {
	return t.mailbox("dir = ? ORDER BY id DESC LIMIT 1", dir)
}

func (t tx) Mailboxes() (list []index.Mailbox, err error) {
	rows, err := t.Query("SELECT " + columns + " FROM mailbox")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		m, err := scanMailbox(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

func (t tx) PutMailbox(m index.Mailbox) (index.Mailbox, error) {
	id := sql.NullInt64{Int64: m.ID, Valid: m.ID != 0}
	result, err := t.Exec("INSERT OR REPLACE INTO mailbox ("+columns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		id, m.Object, m.Dir, m.UIDValidity, m.UIDNext, int64(m.ModSeq), int64(m.LogFloor), m.LogLen, m.RecentFrom,
		m.Messages, m.Unseen, m.Deleted, m.Size, m.DeletedSize, m.CurModified, m.CurChanged, m.Cache)
	if err != nil {
		return m, err
	}
	m.ID, err = result.LastInsertId()
	return m, err
}

func (t tx) DeleteMailbox(id int64) error {
	for _, statement := range []string{
		"DELETE FROM block WHERE mailbox = ?",
		"DELETE FROM expunged WHERE mailbox = ?",
		"DELETE FROM mailbox WHERE id = ?",
	} {
		if _, err := t.Exec(statement, id); err != nil {
			return err
		}
	}
	return nil
}
