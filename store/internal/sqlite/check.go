//go:build !plain

package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"rtls/store/internal/index"
)

var _ index.Checker = (*DB)(nil)

func (d *DB) Damage(ctx context.Context, f func(problem string) error) error {
	problems, err := d.integrity(ctx)
	if err = ended(ctx, err); errors.Is(err, ErrDamaged) {
		problems, err = append(problems, err.Error()), nil
	}
	if err != nil {
		return err
	}
	for _, problem := range problems {
		if err := f(problem); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) integrity(ctx context.Context) (problems []string, err error) {
	rows, err := d.db.QueryContext(ctx, "PRAGMA integrity_check(100)")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return problems, err
		}
		if line != "ok" {
			problems = append(problems, line)
		}
	}
	if err := rows.Err(); err != nil {
		return problems, err
	}
	// A layout that was overwritten can be sound as far as SQLite knows.
	for _, query := range [...]string{
		"SELECT " + columns + " FROM mailbox LIMIT 1",
		"SELECT mailbox, uid, modseq, messages, new, octets FROM block LIMIT 1",
		"SELECT mailbox, modseq, uid FROM expunged LIMIT 1",
		"SELECT uidvalidity FROM counter LIMIT 1",
	} {
		s, err := d.db.PrepareContext(ctx, query)
		if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_ERROR {
			problems = append(problems, err.Error())
			continue
		}
		if err != nil {
			return problems, err
		}
		if err := s.Close(); err != nil {
			return problems, err
		}
	}
	// Nor does SQLite know what is in a block.
	t, err := d.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return problems, err
	}
	defer t.Rollback()
	return problems, tx{t}.blocks("SELECT octets FROM block", nil, func(index.Message) error { return nil })
}

// orphans are conditions for rows that nothing leads to, by table.
var orphans = [...]struct{ table, where string }{
	{"block", "mailbox NOT IN (SELECT id FROM mailbox)"},
	{"expunged", "mailbox NOT IN (SELECT id FROM mailbox)"},
}

func (d *DB) Orphans(ctx context.Context, remove bool) (n int64, err error) {
	if remove {
		err = d.transact(ctx, func(t *sql.Tx) error {
			n = 0
			for _, o := range orphans {
				result, err := t.Exec("DELETE FROM " + o.table + " WHERE " + o.where)
				if err != nil {
					return err
				}
				gone, err := result.RowsAffected()
				if err != nil {
					return err
				}
				n += gone
			}
			return nil
		})
		return n, ended(ctx, err)
	}
	t, err := d.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, ended(ctx, err)
	}
	defer t.Rollback()
	for _, o := range orphans {
		var found int64
		if err := t.QueryRow("SELECT count(*) FROM " + o.table + " WHERE " + o.where).Scan(&found); err != nil {
			return 0, ended(ctx, err)
		}
		n += found
	}
	return n, nil
}
