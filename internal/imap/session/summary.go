package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"rtls/internal/mimetree"
	"rtls/store"
)

// summaries are those of the messages that a command looks at. The store has most of
// them; the others are worked out and handed to it.
type summaries struct {
	box  *store.Mailbox
	log  *slog.Logger
	want mimetree.Want

	writing *sync.WaitGroup // one that writes, for whom unselect waits

	reader mimetree.SummaryReader
	buf    []byte // of what was read last
	uids   []uint32
	found  []outcome
	makers [2]maker
	fresh  []store.Summary // to be handed to the store
	octets []byte          // of fresh

	flushed bool // there was so much that there will be more
}

func (s *Session) summaries(want mimetree.Want) *summaries {
	return &summaries{box: s.sel.box, log: s.log, want: want, writing: &s.sel.writing}
}

// tree says whether it takes the parts of a message to make its summary.
func (z *summaries) tree() bool { return z.want&(mimetree.WantTree|mimetree.WantStructure) != 0 }

// suffices says whether a summary holds what is wanted.
func (z *summaries) suffices(s *mimetree.Summary) bool {
	return s.Root != nil || z.want&mimetree.WantTree == 0 && s.Structure != "" || !z.tree()
}

// maker makes summaries. It belongs to one goroutine.
type maker struct {
	mimetree.Summarizer
	structures structureMaker
}

// outcome is a message's summary, or why there is none.
type outcome struct {
	*mimetree.Summary
	stamp store.Stamp // of what it was worked out of
	err   error
	loose bool // it was worked out, and is not to be kept
}

const (
	// Summaries of so many messages, or of so many octets, are in memory at once.
	summaryBatch = 128
	summaryRoom  = 4 << 20
	// wholeSize is how large a message may be that is read whole when only its
	// header was wanted: it comes with the same system call.
	wholeSize = 4 << 10
	// headRead is how much is read at once where only the header is wanted.
	headRead = 8 << 10
	// What is worked out is written this many messages or octets at a time.
	freshMessages = 1000
	freshOctets   = 1 << 20
)

// each calls f for the summaries of messages, in their order, which is that of UIDs.
// They, and whatever is part of them, must not be used after that call.
func (z *summaries) each(ctx context.Context, messages []store.Message, f func(i int, found outcome) error) error {
	for from := 0; from < len(messages); {
		some := z.first(ctx, messages[from:])
		for i := range some {
			if err := f(from+i, some[i]); err != nil {
				return err
			}
		}
		from += len(some)
	}
	return nil
}

// first returns the summaries of the first messages: of one at least, of all if they do
// not take much memory, as those of many parts or addresses do.
func (z *summaries) first(ctx context.Context, messages []store.Message) []outcome {
	clear(z.found)
	z.found = slices.Grow(z.found[:0], len(messages))[:len(messages)]
	found := z.found[:z.read(ctx, messages, z.found)]
	var missing []int
	for i := range found {
		if found[i].Summary == nil {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return found
	}
	if made := z.workOut(ctx, messages, found, missing); made < len(missing) {
		found = found[:missing[made]]
	}
	return found
}

// read finds what the store has. What is of another version, damaged or of another
// message is as good as absent. It returns of how many of the messages it knows.
func (z *summaries) read(ctx context.Context, messages []store.Message, found []outcome) int {
	z.uids = z.uids[:0]
	for i := range messages {
		z.uids = append(z.uids, messages[i].UID)
	}
	z.reader.Reset()
	at, room := 0, 0
	err := z.box.Summaries(ctx, z.uids, &z.buf, func(kept store.Summary) error {
		for messages[at].UID < kept.UID {
			at++
		}
		if room > summaryRoom {
			return errRoom
		}
		s, err := z.reader.Read(kept.Octets, z.want)
		if err != nil {
			return nil
		}
		room += s.Room()
		if s.Size == messages[at].Size && z.suffices(s) {
			found[at].Summary, found[at].stamp = s, kept.Stamp
		}
		return nil
	})
	if errors.Is(err, errRoom) {
		return at
	}
	if err != nil && ctx.Err() == nil {
		z.log.Warn("read summaries", "mailbox", z.box.Name(), "err", err)
	}
	return len(messages)
}

var errRoom = errors.New("summaries take too much memory")

// workOut makes summaries out of the messages themselves, and returns how many.
func (z *summaries) workOut(ctx context.Context, messages []store.Message, found []outcome, missing []int) int {
	var next, room atomic.Int64
	work := func(maker *maker) {
		for room.Load() <= summaryRoom {
			n := int(next.Add(1)) - 1
			if n >= len(missing) {
				return
			}
			i := missing[n]
			found[i] = z.make(ctx, maker, messages[i])
			if found[i].Summary != nil {
				room.Add(int64(found[i].Room()))
			}
		}
	}
	var wg sync.WaitGroup
	for i := range min(len(z.makers), len(missing), runtime.GOMAXPROCS(0)) - 1 {
		wg.Go(func() { work(&z.makers[i+1]) }) // waited for below
	}
	work(&z.makers[0])
	wg.Wait()
	made := min(int(next.Load()), len(missing))
	for _, i := range missing[:made] {
		if !found[i].loose {
			z.keep(messages[i].UID, found[i])
		}
	}
	if len(z.fresh) >= freshMessages || len(z.octets) >= freshOctets {
		z.flush(ctx)
	}
	return made
}

// make sums up a message. A summary that must not be kept, since the file was altered
// meanwhile, is said to be loose.
func (z *summaries) make(ctx context.Context, maker *maker, m store.Message) (found outcome) {
	f, err := z.box.OpenFile(ctx, m.UID)
	if err != nil {
		return outcome{err: err, loose: true}
	}
	defer f.Close()
	found.stamp = f.Stamp()
	whole := z.tree() || f.Size() <= wholeSize
	var r io.Reader = io.NewSectionReader(f, 0, f.Size())
	if !whole {
		r = shortReader{r}
	}
	found.Summary, found.err = maker.Summarize(r, m.Size, whole)
	if found.err == nil && found.Root != nil {
		found.Structure = maker.structures.make(found.Root)
	}
	found.loose = found.err != nil || found.Size != m.Size || !f.Unchanged()
	return found
}

// shortReader reads a little at once.
type shortReader struct{ r io.Reader }

func (s shortReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), headRead)]) }

func (z *summaries) keep(uid uint32, s outcome) {
	if z.octets == nil && z.flushed {
		z.octets = make([]byte, 0, freshOctets*5/4)
	}
	before := len(z.octets)
	all, err := s.AppendBinary(z.octets)
	if err != nil {
		return // too large
	}
	z.octets = all
	z.fresh = append(z.fresh, store.Summary{UID: uid, Stamp: s.stamp, Octets: all[before:len(all):len(all)]})
}

// flush hands the store what was worked out. The client need not wait for that, nor does
// the command, whose context may end with it; trouble with it costs nothing but time.
func (z *summaries) flush(ctx context.Context) {
	if len(z.fresh) == 0 {
		return
	}
	list := z.fresh
	z.fresh, z.octets, z.flushed = nil, nil, true
	z.writing.Wait()
	z.writing.Go(func() {
		if err := z.box.PutSummaries(context.WithoutCancel(ctx), list); err != nil {
			z.log.Warn("keep summaries", "mailbox", z.box.Name(), "err", err)
		}
	})
}
