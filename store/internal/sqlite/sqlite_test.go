package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
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
		for _, layout := range layouts[:min(found, version)] {
			if _, err := db.Exec(layout); err != nil {
				t.Fatal(err)
			}
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
			return tx.PutSummaries(1, []index.Summary{{UID: 1}})
		})
		if err != nil {
			t.Errorf("version %d: %v", found, err)
		}
		if err := ix.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Whatever connection UpdateSoon has used, the next commit on it is durable again.
func TestSoonIsNotForEver(t *testing.T) {
	d, err := Open(t.Context(), filepath.Join(t.TempDir(), "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 3 {
		if err := d.UpdateSoon(t.Context(), func(index.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // all connections there are, at the same time
		c, err := d.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		level := 0
		if err := c.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&level); err != nil || level != 2 {
			t.Errorf("synchronous is %d, %v; want 2, FULL", level, err)
		}
	}
}
