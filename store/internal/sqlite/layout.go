//go:build !plain

package sqlite

import (
	"rtls/store/internal/index"
)

// layout makes a version of the database, kept in user_version, from the one before:
// first the statements, then move, if there is one.
type layout struct {
	statements string
	move       func(tx) error
}

var layouts = [...]layout{{statements: `
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
`}, {statements: `
CREATE TABLE summary (
	mailbox INTEGER NOT NULL,
	uid     INTEGER NOT NULL,
	octets  BLOB NOT NULL,
	PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
`}, {statements: `
DROP TABLE summary;
`}, {statements: `
CREATE TABLE block (
	mailbox  INTEGER NOT NULL,
	uid      INTEGER NOT NULL,
	modseq   INTEGER NOT NULL, -- highest of its messages
	messages INTEGER NOT NULL, -- how many
	new      INTEGER NOT NULL, -- how many in new/
	octets   BLOB NOT NULL,    -- see block.go
	PRIMARY KEY (mailbox, uid)
) STRICT;
CREATE INDEX block_modseq ON block (mailbox, modseq);
CREATE INDEX block_new ON block (mailbox) WHERE new > 0;
`, move: rowsToBlocks}}

const version = len(layouts)

func (l *layout) make(t tx) error {
	if _, err := t.Exec(l.statements); err != nil || l.move == nil {
		return err
	}
	return l.move(t)
}

// rowsToBlocks takes over the table in which each message had a row.
func rowsToBlocks(t tx) error {
	mailboxes, err := t.numbers("SELECT DISTINCT mailbox FROM message")
	if err != nil {
		return err
	}
	for _, id := range mailboxes {
		for next := int64(0); ; {
			list, err := t.oldRows(id, next)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				break
			}
			next = int64(list[len(list)-1].UID) + 1
			if err := t.Put(id, list); err != nil {
				return err
			}
		}
	}
	_, err = t.Exec("DROP TABLE message")
	return err
}

func (t tx) numbers(query string) (list []int64, err error) {
	rows, err := t.Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := scan(rows, &n); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

// oldRows are some of a mailbox's messages, the first of those from a UID on.
func (t tx) oldRows(id, from int64) (list []index.Message, err error) {
	const some = 64 * blockLen
	rows, err := t.Query(`SELECT uid, modseq, name, new, size, date, keywords FROM message
		WHERE mailbox = ? AND uid >= ? ORDER BY uid LIMIT ?`, id, from, some)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m index.Message
		if err := scan(rows, &m.UID, &m.ModSeq, &m.Name, &m.New, &m.Size, &m.Date, &m.Keywords); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, rows.Err()
}
