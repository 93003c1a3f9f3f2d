package worker

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"rtls/internal/lda"
	"rtls/store"
)

// Resolve finds the accounts of an address, as lda.Agent does, and makes sure that each
// has an owner.
func (p *Pool) Resolve(ctx context.Context, address string) (lda.Recipient, error) {
	r, err := p.cfg.Agent.Resolve(ctx, address)
	if err != nil {
		return r, err
	}
	for _, t := range r.Targets() {
		if _, _, err := p.cfg.Owner(t.User); err != nil {
			return r, lda.Classify(err)
		}
	}
	return r, nil
}

// Admit says whether there is room, as lda.Agent does. It takes a worker only where there
// is a quota.
func (p *Pool) Admit(ctx context.Context, r lda.Recipient, size int64) error {
	var full error
	for _, t := range r.Targets() {
		err := p.admit(ctx, t, size)
		if err == nil {
			return nil
		}
		full = lda.Classify(err)
	}
	return full
}

func (p *Pool) admit(ctx context.Context, t lda.Target, size int64) error {
	u, o, err := p.cfg.Owner(t.User)
	if err != nil || u.Quota == (store.Quota{}) {
		return err
	}
	results, err := p.ask(ctx, o, &request{
		Users: []lda.User{u}, Admit: true, Size: size,
		Recipients: []lda.Recipient{{User: t.User, Folder: t.Folder}},
	}, nil)
	if err != nil {
		return err
	}
	return results[0]
}

// share is the part of a message's recipients whose mail has one owner.
type share struct {
	owner Owner
	users []lda.User
	rcpts []lda.Recipient
	index []int // of rcpts in the message's recipients
}

// together is how many workers deliver one message at once.
const together = 8

// Deliver stores a message for each recipient, as lda.Agent does: each owner's worker for
// those whose mail is that owner's. What a worker does not answer for is a doubt.
func (p *Pool) Deliver(ctx context.Context, env lda.Envelope, rcpts []lda.Recipient, msg io.Reader) []error {
	results := make([][]error, len(rcpts))
	shares := p.divide(rcpts, results)
	message := &lda.Spool{}
	defer message.Close()
	if _, err := io.Copy(message, msg); err != nil {
		err = fmt.Errorf("read message: %w", err)
		p.complain(env, err)
		return slices.Repeat([]error{lda.Classify(err)}, len(rcpts))
	}
	var mu sync.Mutex // guards results
	for batch := range slices.Chunk(shares, together) {
		var wg sync.WaitGroup
		for _, s := range batch {
			wg.Go(func() {
				got, err := p.ask(ctx, s.owner, &request{Users: s.users, Size: message.Size(), Envelope: env, Recipients: s.rcpts}, message)
				if err != nil {
					p.complain(env, err)
					got = slices.Repeat([]error{lda.Classify(err)}, len(s.rcpts))
				}
				mu.Lock()
				defer mu.Unlock()
				for i, at := range s.index {
					results[at] = append(results[at], got[i])
				}
			})
		}
		wg.Wait()
	}
	overall := make([]error, len(rcpts))
	for i, r := range results {
		overall[i] = lda.Overall(r)
	}
	return overall
}

func (p *Pool) complain(env lda.Envelope, err error) {
	p.cfg.Logger.Error("delivery is in doubt", "id", env.ID, "from", env.Sender, "err", err)
}

// divide makes the shares. Of a recipient with several targets each share has those that
// are its owner's; what has no owner has a result.
func (p *Pool) divide(rcpts []lda.Recipient, results [][]error) []*share {
	var shares []*share
	for i, r := range rcpts {
		parts := make(map[*share][]lda.Target)
		for _, t := range r.Targets() {
			u, o, err := p.cfg.Owner(t.User)
			if err != nil {
				p.cfg.Logger.Error("recipient has no owner", "rcpt", r.Address, "user", t.User, "err", err)
				results[i] = append(results[i], lda.Classify(err))
				continue
			}
			at := slices.IndexFunc(shares, func(s *share) bool { return s.owner == o })
			if at < 0 {
				at = len(shares)
				shares = append(shares, &share{owner: o})
			}
			s := shares[at]
			parts[s] = append(parts[s], t)
			if !slices.Contains(s.users, u) {
				s.users = append(s.users, u)
			}
		}
		for _, s := range shares {
			if targets := parts[s]; len(targets) > 0 {
				part := r
				part.User, part.Folder, part.Also = targets[0].User, targets[0].Folder, targets[1:]
				s.rcpts, s.index = append(s.rcpts, part), append(s.index, i)
			}
		}
	}
	return shares
}
