package store

import "time"

// lookup finds files of a Maildir that have other names than when it was listed, since
// flags were changed, or that are gone. To list it anew for each of many would take as
// long as they are many times many. It belongs to one goroutine.
type lookup struct {
	v     *view
	names map[Key]file
	until time.Time // when they are too old
}

// find returns the name that a message has now, or had a moment ago; false if it is
// gone.
func (l *lookup) find(key Key) (f file, ok bool, err error) {
	if start := l.v.a.clock(); l.names == nil || !start.Before(l.until) {
		names := make(map[Key]file)
		const times = 5 // a listing can miss a name, see sync.go
		for range times {
			listed, err := l.v.listAll()
			if err != nil {
				return file{}, false, err
			}
			for _, f := range listed {
				names[parseName(f.name).key] = f
			}
		}
		const share = 10 // of the time, at most
		took := l.v.a.clock().Sub(start)
		l.names, l.until = names, start.Add(max(time.Second, share*took))
	}
	f, ok = l.names[key]
	return f, ok, nil
}
