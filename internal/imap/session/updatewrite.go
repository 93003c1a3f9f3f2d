package session

import (
	"slices"

	"rtls/internal/imap/wire"
	"rtls/store"
)

// A change of a result is told as positions and what stands there, or, unless it is
// sorted, as what comes and goes: position 0 stands for the order of the mailbox (RFC
// 5267 section 4.3.3).

// placed are messages next to each other in a result, from a position on.
type placed struct {
	position int
	uids     []uint32
}

// writeUpdate changes a result and tells the client.
func (s *Session) writeUpdate(u *update, come []store.Message, left []uint32) {
	if len(come) == 0 && len(left) == 0 {
		return
	}
	var added []uint32 // ascending, as both are
	for _, m := range come {
		added = append(added, m.UID)
	}
	u.found = wire.Subtract(u.found, wire.Ranges(left))
	u.found = append(wire.Set(u.found), wire.Ranges(added)...).Resolve(0)
	if u.multi {
		s.startESearchIn(u.tag)
	} else {
		s.startESearch(u.tag, u.uid)
	}
	s.writePlaced(u, " REMOVEFROM (", u.remove(left))
	s.writePlaced(u, " ADDTO (", u.add(added))
	s.w.CRLF()
}

func (s *Session) writePlaced(u *update, name string, all []placed) {
	if len(all) == 0 {
		return
	}
	s.w.Raw(name)
	for i, p := range all {
		if i > 0 {
			s.w.Raw(" ")
		}
		s.w.Num(uint64(p.position))
		s.w.Raw(" ")
		var numbers []wire.Range
		for _, uid := range p.uids {
			if !u.uid {
				uid = s.sel.view.numberOf(uid)
			}
			numbers = addNext(numbers, uid)
		}
		s.w.Set(numbers)
	}
	s.w.Raw(")")
}

// remove takes messages out of a sorted result. The last comes first: so positions
// hold whatever was removed before.
func (u *update) remove(uids []uint32) []placed {
	if u.order == nil || len(uids) == 0 {
		return unsorted(uids)
	}
	gone := func(uid uint32) bool {
		_, ok := slices.BinarySearch(uids, uid)
		return ok
	}
	all := runs(u.order.uids, gone)
	slices.Reverse(all)
	u.order.sorter.Drop(gone)
	u.order.uids = slices.DeleteFunc(u.order.uids, gone)
	return all
}

// add finds the places of messages that the sorter has already.
func (u *update) add(uids []uint32) []placed {
	if u.order == nil || len(uids) == 0 {
		return unsorted(uids)
	}
	u.order.uids = u.order.sorter.Order()
	return runs(u.order.uids, func(uid uint32) bool {
		_, ok := slices.BinarySearch(uids, uid)
		return ok
	})
}

func unsorted(uids []uint32) []placed {
	if len(uids) == 0 {
		return nil
	}
	return []placed{{0, uids}}
}

// runs finds the messages that are meant, with their positions.
func runs(order []uint32, meant func(uid uint32) bool) (all []placed) {
	next := 0 // the position behind the last run
	for i, uid := range order {
		if !meant(uid) {
			continue
		}
		if position := i + 1; position != next {
			all = append(all, placed{position: position})
		}
		last := &all[len(all)-1]
		last.uids = append(last.uids, uid)
		next = i + 2
	}
	return all
}

// numberOf is the sequence number of a message that the client counts, by its UID.
func (v *view) numberOf(uid uint32) uint32 {
	if at, ok := v.snap.Find(uid); ok {
		return v.seq(at)
	}
	i, _ := slices.BinarySearchFunc(v.gone, uid, func(g goneMessage, uid uint32) int { return int(int64(g.uid) - int64(uid)) })
	return v.goneSeq(i)
}
