package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Clients wait for mail for hours. What the server needed to let them in, and to answer
// them, would stay with it for minutes, or for good if nobody asked for anything any
// more: so it is given back to the system when there is little to do.
const (
	restEvery = 10 * time.Second
	restBelow = 4 << 20 // octets that are allocated in that time by a server with little to do
)

// rest gives memory back until ctx ends.
func rest(ctx context.Context) {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	var before, given uint64 // of all octets ever allocated: at the last tick, and when memory was given back
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := allocated()
		if now-before < restBelow && now-given >= restBelow {
			giveBack()
			now = allocated()
			given = now
		}
		before = now
	}
}

// giveBack collects several times: each halves a stack of which little is used, and
// those of clients that wait are as deep as what they last asked for.
func giveBack() {
	for range 4 {
		runtime.GC()
	}
	debug.FreeOSMemory()
}

// allocated is how many octets were allocated since the start.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
