package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// script is a listener that plays a list of outcomes, then says it is closed.
type script struct {
	net.Listener
	outcomes []error
}

func (s *script) Accept() (net.Conn, error) {
	if len(s.outcomes) == 0 {
		return nil, net.ErrClosed
	}
	err := s.outcomes[0]
	s.outcomes = s.outcomes[1:]
	if err != nil {
		return nil, err
	}
	a, b := net.Pipe()
	b.Close()
	return a, nil
}

func TestLoop(t *testing.T) {
	full := func(n int) (list []error) {
		for range n {
			list = append(list, syscall.EMFILE)
		}
		return list
	}
	for name, c := range map[string]struct {
		outcomes []error
		conns    int
		err      error
	}{
		"closed":             {nil, 0, nil},
		"connections":        {[]error{nil, nil}, 2, nil},
		"a shortage passes":  {append(append(full(10), nil), append(full(10), nil)...), 2, nil},
		"a shortage remains": {full(100), 0, syscall.EMFILE},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conns := 0
				err := Loop(t.Context(), &script{outcomes: c.outcomes}, slog.New(slog.DiscardHandler), func(raw net.Conn) {
					conns++
					raw.Close()
				})
				if conns != c.conns || !errors.Is(err, c.err) {
					t.Errorf("%d connections, %v", conns, err)
				}
			})
		})
	}
}

// The end of the context ends a pause.
func TestLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		outcomes := make([]error, 100)
		for i := range outcomes {
			outcomes[i] = syscall.EMFILE
		}
		if err := Loop(ctx, &script{outcomes: outcomes}, slog.New(slog.DiscardHandler), nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
