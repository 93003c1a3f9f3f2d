package store

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"
)

// difference is what a listing and the view do not agree on.
type difference struct {
	added   []file // of keys that are not known
	moved   []file // known keys with other names
	twice   []file // keys that were listed before, by another name
	left    []file // names in new/ of messages that have one in cur/
	missing []int  // indexes of messages that were not listed
	unsure  bool   // cur/ has to be listed again
	twins   twins  // known ones, which were passed over
	sure    bool   // files in cur/ are regular ones, but for those in odd
	odd     map[string]struct{}
}

// surely notes which names in cur/ may be of something else than a regular file; all
// others were seen to be.
func (d *difference) surely(odd []string) {
	d.sure, d.odd = true, make(map[string]struct{}, len(odd))
	for _, name := range odd {
		d.odd[name] = struct{}{}
	}
}

// regular says whether a file was seen to be a regular one.
func (d *difference) regular(f file) bool {
	_, odd := d.odd[f.name]
	return d.sure && !f.inNew && !odd
}

func (d *difference) any() bool {
	return len(d.added) > 0 || len(d.moved) > 0 || len(d.twice) > 0 || len(d.missing) > 0
}

// compare finds the difference. whole says that all names were listed.
func (v *view) compare(listed []file, whole bool) *difference {
	d := &difference{}
	s := v.snap.Load()
	seen := make([]bool, s.Len())
	fresh := make(map[Key]struct{}, max(0, len(listed)-s.Len()))
	for _, f := range listed {
		key := keyOf(f.name)
		at, known := v.find(s, key)
		if !known {
			if _, again := fresh[key]; again {
				d.twice = append(d.twice, f)
				continue
			}
			fresh[key] = struct{}{}
			d.added = append(d.added, f)
			continue
		}
		switch {
		case s.is(at, f):
			seen[at] = true
		case seen[at]:
			d.again(v, s, at, f)
		default:
			// Its usual name may come later in the listing; update tells.
			d.moved = append(d.moved, f)
		}
	}
	moved := d.moved
	d.moved = nil
	for _, f := range moved {
		at, _ := v.find(s, keyOf(f.name))
		if seen[at] {
			d.again(v, s, at, f)
			continue
		}
		seen[at] = true
		d.moved = append(d.moved, f)
	}
	if !whole {
		return d
	}
	for i, ok := range seen {
		if !ok {
			d.missing = append(d.missing, i)
		}
	}
	d.unsure = d.any()
	return d
}

// again takes in a second name of the message with index i.
func (d *difference) again(v *view, s *Snapshot, i int, f file) {
	key := keyOf(f.name)
	if !v.twin(s, i, key, f) {
		d.twice = append(d.twice, f)
		return
	}
	if d.twins == nil {
		d.twins = make(twins)
	}
	d.twins[key] = v.twins[key]
}

// at is the file that the view has of a message.
func (v *view) at(s *Snapshot, i int) file {
	c, j := s.locate(i)
	return file{s.name(c, j), c.rows[j].inNew}
}

// confirm returns those of the messages that are gone, by the rule above.
func (v *view) confirm(missing []int) ([]int, error) {
	s := v.snap.Load()
	for range 2 {
		newBefore, curBefore, err := v.stamps()
		if err != nil {
			return nil, err
		}
		now := time.Now()
		if !settled(newBefore, now) || !settled(curBefore, now) {
			return nil, nil // too much is going on; another time
		}
		listed, err := v.list(true, nil)
		if err != nil {
			return nil, err
		}
		if listed, err = v.list(false, listed); err != nil {
			return nil, err
		}
		there := make(map[Key]bool, len(listed))
		for _, f := range listed {
			there[keyOf(f.name)] = true
		}
		missing = slices.DeleteFunc(missing, func(i int) bool {
			c, j := s.locate(i)
			return there[c.key(j)]
		})
		newAfter, curAfter, err := v.stamps()
		if err != nil {
			return nil, err
		}
		if newBefore != newAfter || curBefore != curAfter {
			return nil, nil
		}
	}
	gone := missing[:0]
	for _, i := range missing {
		f := v.at(s, i)
		_, err := v.a.fs.Stat(v.path(f.inNew, f.name))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // no file can have such a name
			gone = append(gone, i)
		}
	}
	return gone, nil
}
