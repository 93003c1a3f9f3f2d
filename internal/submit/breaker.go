package submit

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Breaker remembers, over runs of the program, which targets could not be reached
// lately. These are tried last, not skipped: it saves the time of a connection that
// will fail, and never costs a message a chance. A nil Breaker remembers nothing.
//
// Its memory is an empty file per target, whose modification time is that of the
// failure. If it cannot be read or written, nothing is remembered.
type Breaker struct {
	Dir  string           // made when it is needed
	Rest time.Duration    // how long a failure counts; 0: five minutes
	Now  func() time.Time // nil: time.Now
}

func (b *Breaker) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

func (b *Breaker) file(t *Target) string {
	return filepath.Join(b.Dir, url.QueryEscape(t.addr())+".down")
}

// order puts the targets that failed lately behind the others.
func (b *Breaker) order(targets []*Target) []*Target {
	if b == nil || len(targets) < 2 {
		return targets
	}
	rest := b.Rest
	if rest <= 0 {
		rest = 5 * time.Minute
	}
	var well, tired []*Target
	for _, t := range targets {
		info, err := os.Stat(b.file(t))
		if err == nil {
			if age := b.now().Sub(info.ModTime()); age >= 0 && age < rest {
				tired = append(tired, t)
				continue
			}
		}
		well = append(well, t)
	}
	return append(well, tired...)
}

// down notes that a target could not be reached.
func (b *Breaker) down(t *Target) {
	if b == nil {
		return
	}
	path := b.file(t)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(b.Dir, 0o700) == nil {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	}
	if err != nil {
		return
	}
	f.Close()
	now := b.now()
	_ = os.Chtimes(path, now, now)
}

// well forgets the failures of a target.
func (b *Breaker) well(t *Target) {
	if b != nil {
		_ = os.Remove(b.file(t))
	}
}
