// Package sqlite keeps an account's index in an SQLite database.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"rtls/store/internal/index"
)

// layouts are the statements that make each version of the database, kept in
// user_version, from the one before.
var layouts = [...]string{`
CREATE TABLE mailbox (
	id           INTEGER PRIMARY KEY,
	object       TEXT NOT NULL UNIQUE,
	dir          TEXT NOT NULL,
	uidvalidity  INTEGER NOT NULL,
	uidnext      INTEGER NOT NULL,
	modseq       INTEGER NOT NULL,
	log_floor    INTEGER NOT NULL,
	log_len      INTEGER NOT NULL,
	recent_from  INTEGER NOT NULL,
	messages     INTEGER NOT NULL,
	unseen       INTEGER NOT NULL,
	deleted      INTEGER NOT NULL,
	size         INTEGER NOT NULL,
	deleted_size INTEGER NOT NULL,
	cur_modified INTEGER NOT NULL,
	cur_changed  INTEGER NOT NULL,
	cache        TEXT NOT NULL
) STRICT;
CREATE INDEX mailbox_dir ON mailbox (dir);
CREATE TABLE message (
	mailbox  INTEGER NOT NULL,
	uid      INTEGER NOT NULL,
	modseq   INTEGER NOT NULL,
	name     TEXT NOT NULL,
	new      INTEGER NOT NULL,
	size     INTEGER NOT NULL,
	date     INTEGER NOT NULL,
	keywords TEXT NOT NULL,
	PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_modseq ON message (mailbox, modseq);
CREATE INDEX message_new ON message (mailbox) WHERE new = 1;
CREATE TABLE expunged (
	mailbox INTEGER NOT NULL,
	modseq  INTEGER NOT NULL,
	uid     INTEGER NOT NULL,
	PRIMARY KEY (mailbox, modseq, uid)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter (uidvalidity INTEGER NOT NULL) STRICT;
INSERT INTO counter VALUES (0);
`, `
CREATE TABLE summary (
	mailbox INTEGER NOT NULL,
	uid     INTEGER NOT NULL,
	octets  BLOB NOT NULL,
	PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
`}

const version = len(layouts)

// DB is an index in a database file.
type DB struct {
	db    *sql.DB
	lock  *writeLock
	users *os.File // shared with all who have the index open; nil for who is alone
}

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
	db.SetMaxOpenConns(2) // one that writes, one that reads
	lock, err := newWriteLock(path + "-lock")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	d := &DB{db: db, lock: lock}
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
	return d.transact(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRow("PRAGMA user_version").Scan(&found); err != nil {
			return err
		}
		if found < 0 || found > version {
			return fmt.Errorf("index has version %d, this program knows version %d", found, version)
		}
		for _, layout := range layouts[found:] { // none if somebody else was faster
			if _, err := tx.Exec(layout); err != nil {
				return err
			}
		}
		_, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", version))
		return err
	})
}

func classify(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR:
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

func (d *DB) UpdateSoon(ctx context.Context, f func(index.Tx) error) error {
	return ended(ctx, d.transactSoon(ctx, func(t *sql.Tx) error { return f(tx{t}) }))
}

// transactSoon commits without a flush of the log, which the next commit makes up for.
func (d *DB) transactSoon(ctx context.Context, f func(*sql.Tx) error) (err error) {
	if err := d.lock.acquire(ctx); err != nil {
		return err
	}
	defer d.lock.release()
	c, err := d.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return err
	}
	defer func() {
		// A connection that would go on like this must not be used again.
		if _, rerr := c.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous = FULL"); rerr != nil {
			_ = c.Raw(func(any) error { return driver.ErrBadConn })
			err = errors.Join(err, rerr)
		}
	}()
	return transactOn(ctx, c, f)
}

// ended tells a context that has ended, which makes all kinds of errors, from the
// others.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

type tx struct{ *sql.Tx }

const columns = `id, object, dir, uidvalidity, uidnext, modseq, log_floor, log_len, recent_from,
	messages, unseen, deleted, size, deleted_size, cur_modified, cur_changed, cache`

// scanner is a row, or the current one of several.
type scanner interface{ Scan(into ...any) error }

func scanMailbox(row scanner) (m index.Mailbox, err error) {
	err = row.Scan(
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
		"DELETE FROM message WHERE mailbox = ?",
		"DELETE FROM expunged WHERE mailbox = ?",
		"DELETE FROM summary WHERE mailbox = ?",
		"DELETE FROM mailbox WHERE id = ?",
	} {
		if _, err := t.Exec(statement, id); err != nil {
			return err
		}
	}
	return nil
}

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
		if err := rows.Scan(&m.UID, &m.ModSeq, &m.Name, &m.New, &m.Size, &m.Date, &m.Keywords); err != nil {
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
		if err := rows.Scan(&name); err != nil {
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
	err = t.QueryRow("SELECT count(*) FROM message WHERE mailbox = ? AND uid >= ?", id, from).Scan(&n)
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
	summary, err := t.Prepare("DELETE FROM summary WHERE mailbox = ? AND uid = ?")
	if err != nil {
		return err
	}
	defer summary.Close()
	for _, uid := range uids {
		if _, err := forget.Exec(id, uid); err != nil {
			return err
		}
		if _, err := summary.Exec(id, uid); err != nil {
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
		if err := rows.Scan(&uid); err != nil {
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
	err = t.QueryRow("SELECT modseq FROM expunged WHERE mailbox = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?", id, keep).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, err = t.Exec("DELETE FROM expunged WHERE mailbox = ? AND modseq <= ?", id, last)
	return uint64(last), err
}

func (t tx) Summaries(id int64, low, high uint32, f func(uint32, []byte) error) error {
	rows, err := t.Query("SELECT uid, octets FROM summary WHERE mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid", id, low, high)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var uid uint32
		var octets sql.RawBytes
		if err := rows.Scan(&uid, &octets); err != nil {
			return err
		}
		if err := f(uid, octets); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t tx) PutSummaries(id int64, summaries []index.Summary) error {
	s, err := t.Prepare("INSERT OR REPLACE INTO summary (mailbox, uid, octets) SELECT mailbox, uid, ? FROM message WHERE mailbox = ? AND uid = ?")
	if err != nil {
		return err
	}
	defer s.Close()
	for _, m := range summaries {
		if len(m.Octets) == 0 {
			_, err = t.Exec("DELETE FROM summary WHERE mailbox = ? AND uid = ?", id, m.UID)
		} else {
			_, err = s.Exec(m.Octets, id, m.UID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t tx) CopySummaries(from, to int64, copies []index.CopiedUID) error {
	s, err := t.Prepare("INSERT OR REPLACE INTO summary (mailbox, uid, octets) SELECT ?, ?, octets FROM summary WHERE mailbox = ? AND uid = ?")
	if err != nil {
		return err
	}
	defer s.Close()
	for _, c := range copies {
		if _, err := s.Exec(to, c.To, from, c.From); err != nil {
			return err
		}
	}
	return nil
}

func (t tx) NextUIDValidity(low uint32) (next uint32, err error) {
	err = t.QueryRow("UPDATE counter SET uidvalidity = max(uidvalidity + 1, ?) RETURNING uidvalidity", low).Scan(&next)
	return next, err
}
