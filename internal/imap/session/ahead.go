package session

import (
	"context"
	"sync"

	"rtls/store"
)

// ahead opens the messages of a FETCH that needs their octets before their turn comes:
// while one is encrypted and sent, the next one is read.
type ahead struct {
	next chan *store.Content // nil for one that could not be opened: it is tried again
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// maxAhead is how many messages are open before their turn.
const maxAhead = 2

// readAhead starts to open messages, in their order. stopped has to be called.
func readAhead(ctx context.Context, box *store.Mailbox, messages []store.Message) *ahead {
	ctx, stop := context.WithCancel(ctx)
	a := &ahead{next: make(chan *store.Content, maxAhead-1), stop: stop}
	a.wg.Go(func() { // stopped waits for it
		defer close(a.next)
		for _, m := range messages {
			content, err := box.Open(ctx, m.UID)
			if err != nil {
				content = nil
			}
			select {
			case a.next <- content:
			case <-ctx.Done():
				if content != nil {
					content.Close()
				}
				return
			}
		}
	})
	return a
}

// stopped ends it, and closes what nobody has asked for.
func (a *ahead) stopped() {
	a.stop()
	for content := range a.next {
		if content != nil {
			content.Close()
		}
	}
	a.wg.Wait()
}
