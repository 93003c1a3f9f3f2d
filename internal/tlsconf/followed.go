package tlsconf

import (
	"os"
	"slices"
	"time"
)

// followed are files that are to be read again when they have changed. It belongs to
// one goroutine at a time.
type followed struct {
	names    []string
	stamps   []time.Time // their modification times
	examined time.Time
}

// follow notes how files are. It has to be called before they are read.
func follow(names ...string) (followed, error) {
	stamps, err := modified(names)
	return followed{names: names, stamps: stamps}, err
}

// changed looks whether they have changed, at most once a second. It goes on to say so
// until somebody follows what is there now.
func (f *followed) changed(now time.Time) bool {
	if now.Sub(f.examined) < time.Second && now.After(f.examined) {
		return false
	}
	f.examined = now
	stamps, err := modified(f.names)
	return err == nil && !slices.EqualFunc(stamps, f.stamps, time.Time.Equal)
}

func modified(names []string) ([]time.Time, error) {
	var stamps []time.Time
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, info.ModTime())
	}
	return stamps, nil
}
