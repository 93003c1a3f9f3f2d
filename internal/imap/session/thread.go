package session

import (
	"context"

	"rtls/internal/imap/command"
	"rtls/internal/imap/search"
	"rtls/internal/mimetree"
	"rtls/store"
)

// thread is THREAD and UID THREAD (RFC 5256).
func (s *Session) thread(ctx context.Context, c command.Thread) error {
	threads := search.NewThreads(c.Algorithm)
	var numbers []uint32
	err := s.find(ctx, c.Search, true, func(at int, m store.Message, sum *mimetree.Summary) {
		n := m.UID
		if !c.UID {
			n = s.sel.view.seq(at)
		}
		numbers = append(numbers, n)
		threads.Add(m, sum)
	})
	if err != nil {
		return err
	}
	s.w.Raw("* THREAD")
	sep := " " // before the first list and behind a number, but not between lists
	threads.Walk(func() {
		s.w.Raw(sep, "(")
		sep = ""
	}, func(nth int) {
		s.w.Raw(sep)
		s.w.Num(uint64(numbers[nth]))
		sep = " "
	}, func() {
		s.w.Raw(")")
		sep = ""
	})
	s.w.CRLF()
	return nil
}
