package systemd

import (
	"context"
	"log/slog"
	"sync"
)

// Report tells systemd that a service is ready, that it lives, for as long as check
// returns nil, and, when ctx has ended, that it is about to stop. The function that it
// returns ends that. Without check nothing is said of living.
func (e Env) Report(ctx context.Context, logger *slog.Logger, check func(context.Context) error) (end func()) {
	notify := func(state string) {
		if err := e.Notify(state); err != nil {
			logger.Warn("systemd", "err", err)
		}
	}
	notify(Ready)
	stopping := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopping)
		notify(Stopping)
	})
	alive, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if check == nil {
			return
		}
		if err := e.Watchdog(alive, check); err != nil {
			logger.Error("no answer from ourselves", "err", err)
		}
	})
	return func() {
		if !unhook() {
			<-stopping
		}
		cancel()
		wg.Wait()
	}
}
