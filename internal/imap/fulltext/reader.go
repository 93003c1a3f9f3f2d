package fulltext

import (
	"runtime"
	"sort"
	"sync"

	"rtls/internal/imap/search"
	"rtls/store"
)

// Reader answers for the messages of a mailbox, by what the index had when the Reader
// was made. It belongs to one goroutine, and to one search: it looks at a file once.
type Reader struct {
	box     *store.Mailbox
	snap    *store.Snapshot
	set     *set
	trouble func(*segment, error)

	seen []seen // of messages that are next to each other
	from int    // index of the first of them in the snapshot
}

// seen is the number of a message, or -1 if the index has not what its file is now.
type seen struct {
	uid uint32
	n   int
}

var _ search.TextIndex = (*Reader)(nil)

// Without is that of search.TextIndex. A message whose file is not as it was when it
// came into the index may have any text.
func (r *Reader) Without(text string, in search.Place) func(store.Message) bool {
	if len(text) < gram || r.set.docs == 0 {
		return nil
	}
	found := r.set.candidates(text, in, r.trouble)
	return func(m store.Message) bool {
		n := r.find(m)
		if n < 0 {
			return false
		}
		i := sort.Search(len(r.set.starts), func(i int) bool { return r.set.starts[i] > n }) - 1
		return found[i] != nil && !found[i].has(n-r.set.starts[i])
	}
}

// Looking at a file takes a system call, which most of the time of a search goes to.
// So files are looked at ahead, more and more of them as long as messages are asked
// of in order, by several goroutines.
const (
	mostAhead  = 512
	aheadAlone = 16 // for so many, one goroutine is enough
)

// find returns the number of a message, or -1.
func (r *Reader) find(m store.Message) int {
	if at := sort.Search(len(r.seen), func(i int) bool { return r.seen[i].uid >= m.UID }); at < len(r.seen) && r.seen[at].uid == m.UID {
		return r.seen[at].n
	}
	at, ok := r.snap.Find(m.UID)
	if !ok { // it came after the Reader was made
		return r.look(m)
	}
	ahead := 1
	if at == r.from+len(r.seen) {
		ahead = min(2*len(r.seen), mostAhead)
	}
	r.lookAhead(at, min(max(ahead, 1), r.snap.Len()-at))
	return r.seen[0].n
}

// lookAhead looks at the files of n messages.
func (r *Reader) lookAhead(from, n int) {
	r.from, r.seen = from, append(r.seen[:0], make([]seen, n)...)
	look := func(i, step int) {
		for ; i < n; i += step {
			m := r.snap.At(from + i)
			r.seen[i] = seen{m.UID, r.look(m)}
		}
	}
	step := 1
	if n > aheadAlone {
		step = min(runtime.GOMAXPROCS(0), 4)
	}
	var others sync.WaitGroup
	for i := 1; i < step; i++ {
		others.Go(func() { look(i, step) }) // waited for below
	}
	look(0, step)
	others.Wait()
}

// look looks at one file.
func (r *Reader) look(m store.Message) int {
	state, ok := r.box.FileState(m.UID)
	if !ok {
		return -1
	}
	n, ok := r.set.find(doc{m.Key.Identity(), state})
	if !ok {
		return -1
	}
	return n
}
