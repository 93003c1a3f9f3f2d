package main

import (
	"testing"
	"time"

	"rtls/store"
)

func TestStepText(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		step  store.Step
		spent time.Duration
		want  string
	}{
		{store.Step{Messages: 1, Octets: mib / 2}, 0, "1 messages, 0.5 MiB"},
		{store.Step{Messages: 10, AllMessages: 40, Octets: mib, AllOctets: 4 * mib}, 10 * time.Second, "10 of 40 messages, 1.0 of 4.0 MiB, 0.1 MiB/s, 30s left"},
		{store.Step{Messages: 10, AllMessages: 20, Octets: mib}, time.Minute, "10 of 20 messages, 1.0 MiB, 0.0 MiB/s, 1m0s left"},
		{store.Step{Messages: 0, AllMessages: 20}, time.Minute, "0 of 20 messages, 0.0 MiB, 0.0 MiB/s"},
	} {
		if got := stepText(test.step, test.spent); got != test.want {
			t.Errorf("%+v: %q, want %q", test.step, got, test.want)
		}
	}
}
