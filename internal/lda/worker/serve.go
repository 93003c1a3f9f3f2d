package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"rtls/internal/lda"
)

// AgentOf makes an agent of settings, which were those of the Config, that knows the users that
// lookup finds and no others.
type AgentOf func(settings json.RawMessage, lookup func(string) (lda.User, bool, error)) (*lda.Agent, error)

// Serve is a worker's whole life: it does what comes over the socket. It returns nil when
// the other side has closed it.
func Serve(ctx context.Context, socket io.ReadWriter, agentOf AgentOf) error {
	r := bufio.NewReaderSize(socket, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		var req request
		if err := json.Unmarshal(line, &req); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if err := serveOne(ctx, socket, r, &req, agentOf); err != nil {
			return err
		}
	}
}

func serveOne(ctx context.Context, socket io.Writer, r *bufio.Reader, req *request, agentOf AgentOf) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	message := &body{r: r, next: make(chan struct{}), cancel: cancel}
	if !req.Admit {
		message.left = req.Size
	}
	results, err := do(ctx, req, message, agentOf)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, message); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	a := answer{Results: make([]*result, len(results))}
	for i, err := range results {
		if e := lda.Classify(err); e != nil {
			a.Results[i] = &result{e.Code, e.Status, e.Text}
		}
	}
	if err := json.NewEncoder(socket).Encode(a); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	<-message.next
	return nil
}

func do(ctx context.Context, req *request, message io.Reader, agentOf AgentOf) ([]error, error) {
	agent, err := agentOf(req.Settings, func(name string) (lda.User, bool, error) {
		for _, u := range req.Users {
			if u.Name == name {
				return u, true, nil
			}
		}
		return lda.User{}, false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if !req.Admit {
		return agent.Deliver(ctx, req.Envelope, req.Recipients, message), nil
	}
	if len(req.Recipients) != 1 {
		return nil, errors.New("admit: one recipient at a time")
	}
	return []error{agent.Admit(ctx, req.Recipients[0], req.Size)}, nil
}

// body reads a message. Once it is here it waits for what comes next: the server's next
// request, or its end, by which it cancels this one.
type body struct {
	r      *bufio.Reader
	left   int64
	cancel context.CancelFunc
	begun  bool
	next   chan struct{} // closed when something has come next
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.wait()
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// wait starts a goroutine, which serveOne waits for.
func (b *body) wait() {
	if b.begun {
		return
	}
	b.begun = true
	go func() {
		defer close(b.next)
		if _, err := b.r.Peek(1); err != nil {
			b.cancel()
		}
	}()
}
