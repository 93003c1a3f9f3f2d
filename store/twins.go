package store

import (
	"errors"
	"io/fs"
)

// A message can have two names in cur/. Some programs, and this one on file systems
// that know nothing better, change flags by giving the file another name and then taking
// the first one away, and they can be ended in between. Nobody can tell whether that has
// happened or is about to go on: so no name is ever removed for being the second one,
// but all are when the message is. The one that is not in the index is passed over.
// Account.Repair, which somebody asks for, leaves one.

// twins are the files that were seen under several names in cur/, by the key in all of
// them. Each use looks again: a name may have become another file.
type twins map[Key]uint64 // inode

// twin says whether f is another name of the message with index i, and known as such.
func (v *view) twin(s *Snapshot, i int, key Key, f file) bool {
	inode, known := v.twins[key]
	row := v.at(s, i)
	if !known || f.inNew || row.inNew {
		return false
	}
	for _, name := range []string{f.name, row.name} {
		if info, err := v.a.fs.Stat(v.path(false, name)); err != nil || info.Inode != inode {
			return false
		}
	}
	return true
}

// noteTwin notes that the file of a key has several names in cur/.
func (v *view) noteTwin(key Key, inode uint64) {
	if v.twins == nil {
		v.twins = make(twins)
	}
	v.twins[key] = inode
}

// removeTwins removes all names but its own of each of the messages that has others.
func (v *view) removeTwins(s *Snapshot, rows []int) error {
	own := make(map[Key]file)
	for _, at := range rows {
		key := s.At(at).Key
		if _, ok := v.twins[key]; ok {
			own[key] = v.at(s, at)
		}
	}
	if len(own) == 0 {
		return nil
	}
	listed, err := v.list(false, nil)
	if err != nil {
		return err
	}
	for _, f := range listed {
		key := keyOf(f.name)
		named, ok := own[key]
		if !ok || f == named {
			continue
		}
		path := v.path(false, f.name)
		info, err := v.a.fs.Stat(path)
		if err == nil && info.Inode == v.twins[key] {
			err = v.a.fs.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// renameFile is Rename of a message's file. A name that the file has already is as
// good; then both stay.
func (v *view) renameFile(from, to file) error {
	a, b := v.path(from.inNew, from.name), v.path(to.inNew, to.name)
	err := v.a.fs.Rename(a, b)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	mine, merr := v.a.fs.Stat(a)
	if merr != nil {
		return merr
	}
	theirs, terr := v.a.fs.Stat(b)
	if terr != nil || mine.Inode != theirs.Inode {
		return errors.Join(err, terr)
	}
	if from != to && !from.inNew && !to.inNew {
		v.noteTwin(keyOf(from.name), mine.Inode)
	}
	return nil
}
