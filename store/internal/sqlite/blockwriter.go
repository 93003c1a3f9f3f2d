//go:build !plain

package sqlite

import (
	"bytes"
	"database/sql"

	"rtls/store/internal/index"
)

// blockWriter changes blocks of a mailbox.
type blockWriter struct {
	t                            tx
	id                           int64
	read, insert, update, forget *sql.Stmt
	list                         []index.Message
	raw                          []byte
}

// exec runs a statement, which it prepares when it is first wanted.
func (w *blockWriter) exec(s **sql.Stmt, query string, args ...any) (err error) {
	if err = w.prepare(s, query); err == nil {
		_, err = (*s).Exec(args...)
	}
	return err
}

func (w *blockWriter) prepare(s **sql.Stmt, query string) (err error) {
	if *s == nil {
		*s, err = w.t.Prepare(query)
	}
	return err
}

func (w *blockWriter) close() {
	for _, s := range []*sql.Stmt{w.read, w.insert, w.update, w.forget} {
		if s != nil {
			_ = s.Close() // the transaction tells what has failed
		}
	}
}

// change replaces the messages of the block at start, 0 for none, by what f makes of
// them. What one block has no room for goes into others.
func (w *blockWriter) change(start uint32, f func(old []index.Message) []index.Message) (err error) {
	var old []byte
	w.list = w.list[:0]
	if start > 0 {
		if err := w.prepare(&w.read, "SELECT octets FROM block WHERE mailbox = ? AND uid = ?"); err != nil {
			return err
		}
		if err := scan(w.read.QueryRow(w.id, start), &old); err != nil {
			return err
		}
		if w.list, err = readBlock(w.list, old); err != nil {
			return err
		}
	}
	rest := f(w.list)
	if start > 0 {
		n := min(len(rest), blockLen)
		if err := w.replace(start, old, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for len(rest) > 0 {
		n := min(len(rest), blockLen)
		modSeq, inNew := sums(rest[:n])
		w.raw = makeBlock(w.raw, rest[:n])
		err := w.exec(&w.insert, "INSERT INTO block (mailbox, uid, modseq, messages, new, octets) VALUES (?, ?, ?, ?, ?, ?)",
			w.id, rest[0].UID, int64(modSeq), n, inNew, w.raw)
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (w *blockWriter) replace(start uint32, old []byte, messages []index.Message) error {
	if len(messages) == 0 {
		return w.exec(&w.forget, "DELETE FROM block WHERE mailbox = ? AND uid = ?", w.id, start)
	}
	w.raw = makeBlock(w.raw, messages)
	if bytes.Equal(w.raw, old) {
		return nil
	}
	modSeq, inNew := sums(messages)
	return w.exec(&w.update, "UPDATE block SET modseq = ?, messages = ?, new = ?, octets = ? WHERE mailbox = ? AND uid = ?",
		int64(modSeq), len(messages), inNew, w.raw, w.id, start)
}
