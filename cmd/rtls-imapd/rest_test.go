package main

import (
	"runtime"
	"testing"
)

func TestGiveBack(t *testing.T) {
	var before, after runtime.MemStats
	garbage := make([]byte, 32<<20)
	garbage[0]++
	runtime.KeepAlive(garbage)
	start := allocated()
	garbage = make([]byte, 1<<20)
	runtime.KeepAlive(garbage)
	if n := allocated() - start; n < 1<<20 || n > 16<<20 {
		t.Errorf("%d octets were allocated", n)
	}
	garbage = nil
	runtime.ReadMemStats(&before)
	giveBack()
	runtime.ReadMemStats(&after)
	held := func(m runtime.MemStats) uint64 { return m.HeapSys - m.HeapReleased }
	if held(after)+16<<20 > held(before) {
		t.Errorf("%d octets before, %d after", held(before), held(after))
	}
}
