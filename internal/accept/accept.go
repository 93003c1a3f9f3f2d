// Package accept takes connections from a listener until it is told to stop.
package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"
)

const (
	firstPause = time.Millisecond
	lastPause  = time.Minute
)

// Loop hands each connection to start, which must not block, until ctx ends or the
// listener is closed; then it returns nil. When accepting fails, most likely for
// want of descriptors, it tries again after a pause that grows; it gives up, with
// the error, when that has lasted for about two minutes.
func Loop(ctx context.Context, l net.Listener, log *slog.Logger, start func(net.Conn)) error {
	for pause := firstPause; ; {
		raw, err := l.Accept()
		switch {
		case err == nil:
			pause = firstPause
			start(raw)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case pause > lastPause:
			return err
		default:
			log.Warn("accept", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause *= 2
		}
	}
}
