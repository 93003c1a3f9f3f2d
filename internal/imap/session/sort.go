package session

import (
	"context"

	"rtls/internal/imap/command"
	"rtls/internal/imap/search"
	"rtls/internal/mimetree"
	"rtls/store"
)

// sort is SORT and UID SORT (RFC 5256, RFC 5957). With RETURN it answers as SEARCH
// does, in the order of the messages: MIN is the first and MAX the last of them (RFC
// 5267 section 3.1).
func (s *Session) sort(ctx context.Context, tag string, c command.Sort) error {
	if err := s.freeTag(tag, c.Search); err != nil {
		return err
	}
	h := &hits{}
	sorter := search.NewSorter(c.Criteria)
	err := s.saving(c.Search, h, func() error { return s.findSorted(ctx, c, sorter, h) })
	if err != nil {
		return err
	}
	s.keepUpdated(c.Search, h, &update{tag: tag, order: &sortedResult{sorter: sorter}})
	switch {
	case c.Return != nil:
		s.writeESearch(tag, c.Search, h, *c.Return)
	default:
		s.writeSearch("* SORT", c.Search, h)
	}
	return nil
}

func (s *Session) findSorted(ctx context.Context, c command.Sort, sorter *search.Sorter, h *hits) error {
	v := &s.sel.view
	err := s.find(ctx, c.Search, sorter.LooksAtHeader(), func(_ int, m store.Message, sum *mimetree.Summary) {
		sorter.Add(m, sum)
	})
	if err != nil {
		return err
	}
	for _, uid := range sorter.Order() {
		at, _ := v.snap.Find(uid)
		h.add(v.snap.At(at), v.seq(at), c.UID)
	}
	return nil
}
