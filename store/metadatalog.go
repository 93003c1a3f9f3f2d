package store

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// MetadataChange is a change of annotations of a mailbox, or, with an empty name, of
// the account.
type MetadataChange struct {
	Seq     uint64 // rises by one with each change
	Mailbox string
	Names   []string // of the entries, as they were set
}

// metadataLog remembers the last changes that were made through an Account.
type metadataLog struct {
	mu      sync.Mutex // guards what follows
	seq     uint64
	changes []MetadataChange
	subs    map[chan struct{}]struct{}
}

// maxMetadataLog bounds the names that are remembered.
const maxMetadataLog = 1000

func (l *metadataLog) note(mailbox string, set []Annotation) uint64 {
	c := MetadataChange{Mailbox: mailbox}
	for _, e := range set {
		if !slices.ContainsFunc(c.Names, func(name string) bool { return strings.EqualFold(name, e.Name) }) {
			c.Names = append(c.Names, e.Name)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	c.Seq = l.seq
	l.changes = append(l.changes, c)
	names := 0
	for i := len(l.changes) - 1; i >= 0; i-- {
		if names += len(l.changes[i].Names); names > maxMetadataLog && i < len(l.changes)-1 {
			l.changes = slices.Clone(l.changes[i+1:])
			break
		}
	}
	for sub := range l.subs {
		notify(sub)
	}
	return c.Seq
}

// MetadataChanges returns the changes of annotations behind a number, and the number
// of the last one. It knows those that were made through this Account, and of
// changes of very many entries only the latest.
func (a *Account) MetadataChanges(since uint64) (changes []MetadataChange, last uint64) {
	l := &a.annotated
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.changes {
		if c.Seq > since {
			changes = append(changes, c)
		}
	}
	return changes, l.seq
}

// WatchMetadata returns a channel that receives a value some time after each change
// that MetadataChanges tells; changes may be merged. It ends with ctx and is not
// closed.
func (a *Account) WatchMetadata(ctx context.Context) <-chan struct{} {
	l := &a.annotated
	c := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs == nil {
		l.subs = make(map[chan struct{}]struct{})
	}
	l.subs[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, c)
	})
	return c
}
