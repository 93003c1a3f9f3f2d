//go:build !plain

// Package sqlite keeps an account's index in an SQLite database.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"rtls/store/internal/index"
)

// DB is an index in a database file.
type DB struct {
	db      *sql.DB
	lock    *writeLock
	readers chan struct{} // a token for each reader
	users   *os.File      // shared with all who have the index open; nil for who is alone
}

// maxReaders is how many read at once. A search through a large mailbox takes a while,
// and neither another reader nor the writer, who has a connection left in any case, is
// to wait for it.
const maxReaders = 4

var _ index.Index = (*DB)(nil)

// ErrDamaged says that a file is no database, or a broken one.
var ErrDamaged = errors.New("index is damaged")

// Open opens the index at path and makes it if there is none. It fails with
// ErrDamaged where the file cannot be used.
func Open(ctx context.Context, path string) (*DB, error) {
	users, err := joinUsers(ctx, path)
	if err != nil {
		return nil, err
	}
	d, err := open(ctx, path)
	if err != nil {
		return nil, errors.Join(err, closeUsers(users))
	}
	d.users = users
	return d, nil
}

// open must be called with the lock of the users.
func open(ctx context.Context, path string) (*DB, error) {
	// The database holds names and addresses of mail: nobody else's business.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	query := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(60000)", // others hold the lock for one mailbox operation
			"journal_mode(WAL)",
			"synchronous(FULL)", // a commit is durable: a UID is, before it is shown
			"cache_size(-4096)",
			"temp_store(MEMORY)",
		},
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxReaders + 2) // one that writes, and one for checks
	lock, err := newWriteLock(path + "-lock")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	d := &DB{db: db, lock: lock, readers: make(chan struct{}, maxReaders)}
	if err := d.init(ctx); err != nil {
		return nil, errors.Join(classify(err), d.Close())
	}
	return d, nil
}

// init makes the tables of a new database and refuses one of another version.
func (d *DB) init(ctx context.Context) error {
	found := 0
	if err := d.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&found); err != nil {
		return err
	}
	if found == version {
		return nil
	}
	return d.transact(ctx, func(t *sql.Tx) error {
		if err := t.QueryRow("PRAGMA user_version").Scan(&found); err != nil {
			return err
		}
		if found < 0 || found > version {
			return fmt.Errorf("index has version %d, this program knows version %d", found, version)
		}
		for _, layout := range layouts[found:] { // none if somebody else was faster
			if err := layout.make(tx{t}); err != nil {
				return err
			}
		}
		_, err := t.Exec(fmt.Sprintf("PRAGMA user_version = %d", version))
		return err
	})
}

func classify(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_ERROR:
		// The file was opened for writing: that it is read-only, its header says.
		// All statements are ours and fit the layout: one that is wrong says that
		// the layout is.
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// Close closes the database.
func (d *DB) Close() error {
	return errors.Join(d.db.Close(), d.lock.close(), closeUsers(d.users))
}

// beginner is a database, or one connection of it.
type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

func (d *DB) transact(ctx context.Context, f func(*sql.Tx) error) error {
	if err := d.lock.acquire(ctx); err != nil {
		return err
	}
	defer d.lock.release()
	return transactOn(ctx, d.db, f)
}

// transactOn must be called with the lock.
func transactOn(ctx context.Context, db beginner, f func(*sql.Tx) error) error {
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback() // does nothing after a commit
	if err := f(t); err != nil {
		return err
	}
	return t.Commit()
}

func (d *DB) View(ctx context.Context, f func(index.Tx) error) error {
	select {
	case d.readers <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.readers }()
	t, err := d.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return ended(ctx, err)
	}
	defer t.Rollback()
	return ended(ctx, f(tx{t}))
}

func (d *DB) Update(ctx context.Context, f func(index.Tx) error) error {
	return ended(ctx, d.transact(ctx, func(t *sql.Tx) error { return f(tx{t}) }))
}

// ended tells a context that has ended, which makes all kinds of errors, from the
// others.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}
