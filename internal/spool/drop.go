package spool

import (
	"errors"
	"io/fs"
)

// takeOver moves what was dropped into the queue: Q3 to Q4.
func (p *pass) takeOver() {
	if !p.s.drop {
		return
	}
	ids, err := p.s.names("drop")
	if err != nil {
		p.trouble("drop", err)
		return
	}
	for _, id := range ids {
		e, err := p.s.claim("drop", id)
		if d, bad := errors.AsType[*Damage](err); bad {
			p.Log.Error("not a message", "id", id, "err", d) // a directory or a pipe: nothing of ours
			continue
		}
		if err == nil {
			err = e.move("queue")
			e.close()
		}
		if err != nil {
			p.trouble(id, err)
		}
	}
}

// closeDoor removes the name in drop/ of a message that is in the queue. Both can
// be there only behind a crash, on a file system that renames in two steps.
func (s *Spool) closeDoor(e *entry) error {
	if !s.drop || e.info.Links == 1 {
		return nil
	}
	door := s.path("drop", e.id)
	info, err := s.c.FS.Stat(door)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Inode != e.info.Inode {
		return nil
	}
	if err == nil {
		err = s.c.FS.Remove(door)
	}
	if err == nil {
		err = s.c.FS.SyncDir(s.path("drop", ""))
	}
	if err == nil {
		e.info, err = e.f.Info()
	}
	return err
}
