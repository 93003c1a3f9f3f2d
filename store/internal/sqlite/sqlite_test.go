//go:build !plain

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rtls/store/internal/index"
	"rtls/store/internal/index/indextest"
)

func TestConformance(t *testing.T) {
	indextest.Run(t, func(t *testing.T) indextest.Opener {
		path := filepath.Join(t.TempDir(), "index.db")
		return func(ctx context.Context) (index.Index, error) { return Open(ctx, path) }
	})
}

// A database of an earlier version gets what it lacks and keeps what it has; one of
// a later version is left alone.
func TestVersions(t *testing.T) {
	for found := 1; found <= version+1; found++ {
		path := filepath.Join(t.TempDir(), "index.db")
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		err = transactOn(t.Context(), db, func(sqlTx *sql.Tx) error {
			for _, layout := range layouts[:min(found, version)] {
				if err := layout.make(tx{sqlTx}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(fmt.Sprintf("UPDATE counter SET uidvalidity = 7; PRAGMA user_version = %d", found)); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		ix, err := Open(t.Context(), path)
		if found > version {
			if err == nil {
				t.Errorf("version %d is opened", found)
			}
			continue
		}
		if err != nil {
			t.Fatalf("version %d: %v", found, err)
		}
		err = ix.Update(t.Context(), func(tx index.Tx) error {
			if next, err := tx.NextUIDValidity(0); err != nil || next != 8 {
				return fmt.Errorf("UIDVALIDITY %d, %v; want 8", next, err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("version %d: %v", found, err)
		}
		if err := ix.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Who is alone with an index keeps others out, and is not let in while they are there.
func TestAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	d, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); !errors.Is(err, ErrInUse) {
		t.Fatalf("alone with somebody: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	alone, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := Open(ctx, path); err == nil {
		d.Close()
		t.Fatal("somebody else was let in")
	}
	if d, err = alone.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := alone.Share(d); err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); !errors.Is(err, ErrInUse) {
		t.Errorf("the last has not left: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if alone, err = Lock(path); err != nil {
		t.Fatal(err)
	}
	if err := alone.Close(); err != nil {
		t.Error(err)
	}
}

func TestOrphans(t *testing.T) {
	d, err := Open(t.Context(), filepath.Join(t.TempDir(), "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Update(t.Context(), func(tx index.Tx) error {
		return errors.Join(tx.Put(7, []index.Message{{UID: 2, ModSeq: 1}}), tx.Expunge(7, []uint32{1}, 1))
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Orphans(t.Context(), false); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := d.Orphans(t.Context(), true); n != 2 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if n, err := d.Orphans(t.Context(), false); n != 0 || err != nil {
		t.Errorf("left %d, %v", n, err)
	}
}

// What SQLite knows of its own damage is told, also where it cannot go on.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	fill := func(d *DB) error {
		return d.Update(t.Context(), func(tx index.Tx) error {
			var list []index.Message
			for uid := uint32(1); uid < 2000; uid++ {
				list = append(list, index.Message{UID: uid, ModSeq: 1, Name: strings.Repeat("n", 80)})
			}
			return tx.Put(1, list)
		})
	}
	d, err := Open(t.Context(), path)
	if err == nil {
		err = errors.Join(fill(d), d.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		d, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if err := d.Damage(t.Context(), func(string) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 0 {
		t.Errorf("%d problems of a whole index", n)
	}
	for i := len(raw) / 2; i < len(raw)*3/4; i++ {
		raw[i] ^= 0x5a
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if count() == 0 {
		t.Error("damage is not seen")
	}
}
