package sqlite

import (
	"context"
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
