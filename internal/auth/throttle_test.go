package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	here      = netip.MustParseAddr("192.0.2.1")
	there     = netip.MustParseAddr("192.0.2.2")
	elsewhere = netip.MustParseAddr("192.0.2.3")
)

// waited is how long Wait takes, on the bubble's clock.
func waited(t *testing.T, th *Throttle, peer netip.Addr, user string) time.Duration {
	t.Helper()
	start := time.Now()
	if err := th.Wait(t.Context(), peer, user); err != nil {
		t.Errorf("Wait: %v", err)
	}
	return time.Since(start)
}

func expect(t *testing.T, got, want time.Duration) {
	t.Helper()
	if got != want {
		t.Errorf("waited %v, want %v", got, want)
	}
}

func TestThrottleGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for i, want := range []time.Duration{0, 0, 0, 0, 1, 2, 4, 8, 15, 15, 15} {
			if got := waited(t, &th, here, "alice"); got != want*time.Second {
				t.Errorf("attempt %d waited %v, want %v", i+1, got, want*time.Second)
			}
			th.Fail(here, "alice")
		}
		expect(t, waited(t, &th, there, "bob"), 0)
		expect(t, waited(t, &th, there, "alice"), 15*time.Second)
		th.OK(here, "alice")
		expect(t, waited(t, &th, there, "alice"), 0)
		expect(t, waited(t, &th, here, "alice"), 0) // its time has passed with the above
		expect(t, waited(t, &th, here, "alice"), 15*time.Second)
	})
}

// Nobody can keep a user out: each attempt from elsewhere takes its time, and no
// more than that.
func TestThrottleKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for range 100 {
			th.Fail(there, "alice")
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _ = th.Wait(t.Context(), there, "alice") })
		}
		synctest.Wait()
		expect(t, waited(t, &th, here, "alice"), maxDelay)
		th.OK(here, "alice")
		expect(t, waited(t, &th, here, "alice"), 0)
		wg.Wait()
	})
}

// Connections that come at once do not get more attempts than one after another.
func TestThrottleSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for range 9 {
			th.Fail(here, "alice")
		}
		start := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[time.Duration]int{}
		refused := 0
		for range 10 {
			wg.Go(func() {
				err := th.Wait(t.Context(), here, "bob")
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrThrottled) {
					refused++
					return
				}
				seen[time.Since(start)]++
			})
		}
		wg.Wait()
		for i := range 4 {
			if at := time.Duration(i+1) * 15 * time.Second; seen[at] != 1 {
				t.Errorf("%d attempts after %v, want 1", seen[at], at)
			}
		}
		if refused != 6 || len(seen) != 4 {
			t.Errorf("%d were refused, want 6; the others after %v", refused, seen)
		}
	})
}

func TestThrottleForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for range 100 {
			th.Fail(here, "alice")
		}
		time.Sleep((maxLevel - freeLevel - 1) * sinkTime)
		expect(t, waited(t, &th, here, "bob"), 0) // long ago
		expect(t, waited(t, &th, here, "bob"), time.Second)
		time.Sleep(sinkTime)
		waited(t, &th, here, "bob")
		expect(t, waited(t, &th, here, "bob"), 0) // level three
		time.Sleep(freeLevel * sinkTime)
		th.Fail(here, "alice")
		th.Fail(here, "alice")
		th.Fail(here, "alice")
		expect(t, waited(t, &th, here, "bob"), 0)
		th.Fail(here, "alice")
		expect(t, waited(t, &th, here, "bob"), time.Second)
	})
}

// A client with an old password that comes by every few minutes does not slow down
// the others at its address.
func TestThrottleSparesRareFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for range 50 {
			th.Fail(here, "alice")
			expect(t, waited(t, &th, here, "bob"), 0)
			time.Sleep(2 * time.Minute)
		}
	})
}

func TestThrottleHeedsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for range 9 {
			th.Fail(here, "alice")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := th.Wait(ctx, here, "bob"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// The table is bounded, and the worst stay in it.
func TestThrottleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for range maxLevel {
			th.Fail(here, "worst")
		}
		for i := range 2 * maxRecords {
			th.Fail(elsewhere, fmt.Sprint(i))
		}
		if len(th.records) > maxRecords {
			t.Errorf("%d keys are kept", len(th.records))
		}
		if th.records["user worst"].level != maxLevel || th.records[addressKey(here)].level != maxLevel {
			t.Error("the worst is forgotten")
		}
	})
}

func TestKeys(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7":            "address 192.0.2.7",
		"::ffff:192.0.2.7":     "address 192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "address 2001:db8:1:2::/64",
		"fe80::1%eth0":         "address fe80::/64",
	} {
		if got := addressKey(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := userKey(strings.Repeat("x", 1<<20)); got != "user" {
		t.Errorf("a name that nobody can have gets a record of its own, of %d octets", len(got))
	}
	if got := addressKey(netip.Addr{}); got != "address invalid IP" {
		t.Errorf("no address: %s", got)
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Gate{Users: testUsers(t)}
		add(t, g.Users, "alice", "secret")
		home, away := here, there
		login := func(peer netip.Addr, user, password string, want bool) time.Duration {
			t.Helper()
			start := time.Now()
			_, err := g.Login(t.Context(), Peer{Addr: peer}, user, password)
			if want != (err == nil) || !want && !errors.Is(err, ErrCredentials) {
				t.Errorf("%v %s %s: %v", peer, user, password, err)
			}
			return time.Since(start)
		}
		for range freeLevel + 1 {
			expect(t, login(away, "alice", "wrong", false), 0)
		}
		expect(t, login(home, "alice", "secret", true), time.Second)      // the user is under attack
		expect(t, login(home, "alice", "secret", true), 0)                // remembered
		expect(t, login(home, "alice", "wrong", false), 0)                // the success has cleared the user
		expect(t, login(away, "nobody", "secret", false), 0)              // a second has passed
		expect(t, login(away, "another", "secret", false), 2*time.Second) // but the address is slow
		expect(t, login(away, "alice", "secret", true), 4*time.Second)    // even for what is remembered
		expect(t, login(away, "alice", "secret", true), 0)                // now it is trusted
		for range trustWrong {
			login(away, "alice", "wrong", false)
		}
		if login(away, "alice", "secret", true) == 0 {
			t.Error("an address is trusted that has guessed")
		}
	})
}

// Where an address is shut out, the table of what was right a short while ago cannot be
// asked for passwords as fast as the network goes.
func TestRefusedGuessesEndTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Gate{Users: testUsers(t)}
		add(t, g.Users, "alice", "secret")
		if _, err := g.Login(t.Context(), Peer{Addr: here}, "alice", "secret"); err != nil {
			t.Fatal(err)
		}
		failAll(&g.Throttle, here)
		guesses := 0
		for ; g.Throttle.trusts(here, "alice") && guesses < 100; guesses++ {
			if _, err := g.Login(t.Context(), Peer{Addr: here}, "alice", "guess"); err == nil {
				t.Fatal("a guess passes")
			}
		}
		if guesses != trustWrong {
			t.Errorf("%d guesses", guesses)
		}
		if _, err := g.Login(t.Context(), Peer{Addr: here}, "alice", "secret"); !errors.Is(err, ErrThrottled) {
			t.Errorf("%v", err)
		}
	})
}

func TestGateErrors(t *testing.T) {
	g := Gate{Users: testUsers(t)}
	if _, err := g.Login(t.Context(), Peer{}, "alice", "secret"); err == nil {
		t.Error("no file, and no error")
	}
	write(t, g.Users, "alice:plain\n")
	for range 2 * freeLevel { // an error is not a failure
		if _, err := g.Login(t.Context(), Peer{}, "alice", "plain"); err == nil || errors.Is(err, ErrThrottled) || errors.Is(err, ErrCredentials) {
			t.Errorf("%v", err)
		}
	}
}
