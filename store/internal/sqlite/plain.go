//go:build plain

// Package sqlite keeps no index: built with the tag plain it saves a delivery that
// needs none the price of a database at each start of a process.
package sqlite

import (
	"context"
	"errors"

	"rtls/store/internal/index"
)

// Errors of the package with an index.
var (
	ErrDamaged = errors.New("index is damaged")
	ErrInUse   = errors.New("index is in use")
)

// ErrPlain says that this program has no index.
var ErrPlain = errors.New("this program is built without an index (tag plain)")

// DB is an index; there is none.
type DB struct {
	index.Index
	index.Checker
}

// Open fails with ErrPlain.
func Open(context.Context, string) (*DB, error) { return nil, ErrPlain }

// Alone keeps everybody else from opening an index; there is none.
type Alone struct{}

// Lock fails with ErrPlain.
func Lock(string) (*Alone, error) { return nil, ErrPlain }

// Open fails with ErrPlain.
func (*Alone) Open(context.Context) (*DB, error) { return nil, ErrPlain }

// Share fails with ErrPlain.
func (*Alone) Share(*DB) error { return ErrPlain }

// Close does nothing.
func (*Alone) Close() error { return nil }
