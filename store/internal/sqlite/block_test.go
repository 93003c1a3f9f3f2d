//go:build !plain

package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/store/internal/index"
)

func openNew(t *testing.T) *DB {
	t.Helper()
	d, err := Open(t.Context(), filepath.Join(t.TempDir(), "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// numbered are messages with UIDs from first to last, each one apart from the others.
func numbered(first, last uint32, modSeq uint64) (list []index.Message) {
	for uid := first; uid <= last; uid++ {
		list = append(list, index.Message{UID: uid, ModSeq: modSeq, Name: fmt.Sprintf("%d.%d:2,", uid, modSeq), New: uid%7 == 0, Size: int64(uid), Date: -int64(uid)})
	}
	return list
}

func messagesOf(t *testing.T, d *DB, id int64, since uint64) (list []index.Message) {
	t.Helper()
	err := d.View(t.Context(), func(tx index.Tx) error {
		return tx.Messages(id, since, func(m index.Message) error { list = append(list, m); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Whatever is put and expunged, and in whatever order, the index has what a map has.
func TestBlocksLikeMap(t *testing.T) {
	d := openNew(t)
	r := rand.New(rand.NewPCG(3, 4))
	model := make(map[uint32]index.Message)
	for modSeq := uint64(1); modSeq < 150; modSeq++ {
		var put []index.Message
		var gone []uint32
		from, n := uint32(r.IntN(1000)), r.IntN(3*blockLen)
		for range n {
			uid := 1 + from + r.Uint32N(uint32(2*n))
			switch r.IntN(5) {
			case 0:
				gone = append(gone, uid)
				delete(model, uid)
			case 1, 2:
				// Close together, and some of them twice: the last one counts.
				put = append(put, numbered(uid, uid, modSeq)...)
			default:
				m := numbered(uid, uid, modSeq)[0]
				m.Keywords = strings.Repeat("k", r.IntN(100))
				put = append(put, m)
			}
		}
		slices.Sort(gone)
		gone = slices.Compact(gone)
		for _, m := range put {
			model[m.UID] = m
		}
		err := d.Update(t.Context(), func(tx index.Tx) error {
			return errors.Join(tx.Expunge(1, gone, modSeq), tx.Put(1, put))
		})
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Collect(maps.Values(model))
		slices.SortFunc(want, func(x, y index.Message) int { return int(x.UID) - int(y.UID) })
		if got := messagesOf(t, d, 1, 0); !slices.Equal(got, want) {
			t.Fatalf("after change %d: %d messages, want %d", modSeq, len(got), len(want))
		}
		since := r.Uint64N(modSeq)
		changed := slices.DeleteFunc(slices.Clone(want), func(m index.Message) bool { return m.ModSeq <= since })
		if got := messagesOf(t, d, 1, since); !slices.Equal(got, changed) {
			t.Fatalf("after change %d: %d messages changed since %d, want %d", modSeq, len(got), since, len(changed))
		}
		low := r.Uint32N(1200)
		var behind uint32
		var names []string
		for _, m := range want {
			if m.UID >= low {
				behind++
			}
			if m.New {
				names = append(names, m.Name)
			}
		}
		err = d.View(t.Context(), func(tx index.Tx) error {
			if n, err := tx.Count(1, low); err != nil || n != behind {
				t.Errorf("%d messages from UID %d on, %v; want %d", n, low, err, behind)
			}
			got, err := tx.NamesInNew(1)
			slices.Sort(got)
			slices.Sort(names)
			if !slices.Equal(got, names) {
				t.Errorf("%d names in new/, want %d", len(got), len(names))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A message more makes a block grow until it is full, and a full one is left alone.
func TestBlocksFill(t *testing.T) {
	d := openNew(t)
	for uid := uint32(1); uid <= 3*blockLen+1; uid++ {
		if err := d.Update(t.Context(), func(tx index.Tx) error { return tx.Put(1, numbered(uid, uid, uint64(uid))) }); err != nil {
			t.Fatal(err)
		}
	}
	var lens []int
	rows, err := d.db.Query("SELECT messages FROM block ORDER BY uid")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		lens = append(lens, n)
	}
	if want := []int{blockLen, blockLen, blockLen, 1}; !slices.Equal(lens, want) {
		t.Errorf("blocks of %v messages, want %v", lens, want)
	}
}

// A database in which each message had a row keeps all that it has.
func TestRowsToBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	want := append(numbered(1, 64*blockLen, 5), index.Message{UID: math.MaxUint32, ModSeq: math.MaxInt64, Name: "a'b", New: true, Size: 9, Date: -1, Keywords: "a b"})
	other := numbered(3, 5, 8)
	err = transactOn(t.Context(), db, func(t *sql.Tx) error {
		for _, layout := range layouts[:3] {
			if err := layout.make(tx{t}); err != nil {
				return err
			}
		}
		for id, list := range map[int64][]index.Message{4: want, 2: other} {
			for _, m := range list {
				_, err := t.Exec("INSERT INTO message (mailbox, uid, modseq, name, new, size, date, keywords) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
					id, m.UID, int64(m.ModSeq), m.Name, m.New, m.Size, m.Date, m.Keywords)
				if err != nil {
					return err
				}
			}
		}
		_, err := t.Exec("PRAGMA user_version = 3")
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := messagesOf(t, d, 4, 0); !slices.Equal(got, want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
	if got := messagesOf(t, d, 2, 0); !slices.Equal(got, other) {
		t.Errorf("%d messages of the other mailbox, want %d", len(got), len(other))
	}
}

// No octet of a block is altered unnoticed: neither by who reads it, nor by who looks
// for damage.
func TestDamagedBlock(t *testing.T) {
	d := openNew(t)
	if err := d.Update(t.Context(), func(tx index.Tx) error { return tx.Put(1, numbered(1, 3, 1)) }); err != nil {
		t.Fatal(err)
	}
	var whole []byte
	if err := d.db.QueryRow("SELECT octets FROM block").Scan(&whole); err != nil {
		t.Fatal(err)
	}
	damaged := [][]byte{{}, whole[:len(whole)-1], append(slices.Clone(whole), 0)}
	for i := range whole {
		raw := slices.Clone(whole)
		raw[i] ^= 1
		damaged = append(damaged, raw)
	}
	for i, raw := range damaged {
		if _, err := d.db.Exec("UPDATE block SET octets = ?", raw); err != nil {
			t.Fatal(err)
		}
		err := d.View(t.Context(), func(tx index.Tx) error {
			return tx.Messages(1, 0, func(index.Message) error { return nil })
		})
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("damage %d: %v", i, err)
		}
		found := 0
		if err := d.Damage(t.Context(), func(string) error { found++; return nil }); err != nil || found == 0 {
			t.Errorf("damage %d: %d found, %v", i, found, err)
		}
	}
}

// Whatever a block holds, it is read or refused, and what is read is written as it was.
func FuzzReadBlock(f *testing.F) {
	f.Add(makeBlock(nil, numbered(1, 3, 1))[4:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		raw := sealBlock(append(make([]byte, 4), body...))
		list, err := readBlock(nil, raw)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		again, err := readBlock(nil, makeBlock(nil, list))
		if err != nil || !slices.Equal(again, list) {
			t.Fatalf("%v, %v; was %v", again, err, list)
		}
	})
}
