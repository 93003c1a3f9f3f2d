package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func testState(t *testing.T) *State {
	t.Helper()
	s, err := MakeState(filepath.Join(t.TempDir(), "state"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keep(t *testing.T, s *State) *Throttle {
	t.Helper()
	th := new(Throttle)
	if err := s.Keep(th); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { th.Close() }) // what it has to write is of no more interest
	return th
}

func flush(t *testing.T, th *Throttle) {
	t.Helper()
	th.mu.Lock()
	defer th.mu.Unlock()
	if err := th.saveLocked(time.Now()); err != nil {
		t.Fatal(err)
	}
}

func banned(t *testing.T, th *Throttle, peer netip.Addr) bool {
	t.Helper()
	th.mu.Lock()
	defer th.mu.Unlock()
	now := time.Now()
	th.lookLocked(now)
	return now.Before(th.records[addressKey(peer)].banned)
}

func failAll(th *Throttle, peer netip.Addr) {
	for range maxLevel {
		th.Fail(peer, "victim")
	}
}

func TestBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for _, want := range []time.Duration{banTime, 2 * banTime, 4 * banTime} {
			failAll(&th, here)
			if err := th.Wait(t.Context(), here, "bob"); !errors.Is(err, ErrThrottled) {
				t.Errorf("a banned address: %v", err)
			}
			expect(t, waited(t, &th, there, "bob"), 0)
			time.Sleep(want - time.Second)
			if !banned(t, &th, here) {
				t.Errorf("the ban is over before %v", want)
			}
			time.Sleep(time.Second)
			if banned(t, &th, here) {
				t.Errorf("the ban lasts longer than %v", want)
			}
			time.Sleep(maxLevel * sinkTime)
		}
		time.Sleep(banMemory)
		failAll(&th, here)
		time.Sleep(banTime)
		if banned(t, &th, here) {
			t.Error("bans of long ago count")
		}
	})
}

// A guesser behind the same address does not keep out who has logged in from there, and
// gains little by it.
func TestBanSparesTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Gate{Users: testUsers(t)}
		add(t, g.Users, "alice", "secret")
		login := func(password string) error {
			_, err := g.Login(t.Context(), Peer{Addr: here}, "alice", password)
			return err
		}
		if err := login("secret"); err != nil {
			t.Fatal(err)
		}
		failAll(&g.Throttle, here)
		if err := login("secret"); err != nil {
			t.Errorf("%v", err)
		}
		for range trustWrong {
			if err := login("wrong"); !errors.Is(err, ErrCredentials) {
				t.Errorf("%v", err)
			}
		}
		if err := login("secret"); !errors.Is(err, ErrThrottled) {
			t.Errorf("after guesses: %v", err)
		}
	})
}

func TestThrottleSurvivesARestart(t *testing.T) {
	s := testState(t)
	th := keep(t, s)
	v6 := netip.MustParseAddr("2001:db8:1:2::3")
	failAll(th, v6)
	// A ban is written at once: the process may be killed now.
	if again := keep(t, s); !banned(t, again, netip.MustParseAddr("2001:db8:1:2:ffff::1")) || banned(t, again, here) {
		t.Errorf("%+v", again.records)
	}
	for range freeLevel + 2 {
		th.Fail(here, "bob")
	}
	th.OK(there, "alice")
	if err := th.Close(); err != nil {
		t.Fatal(err)
	}
	again := keep(t, s)
	if !again.trusts(there, "alice") || again.trusts(there, "bob") {
		t.Errorf("trusted: %+v", again.trusted)
	}
	if r := again.records["user bob"]; r.level != freeLevel+2 {
		t.Errorf("bob: %+v", r)
	}
	bans, err := s.Bans(time.Now())
	if err != nil || len(bans) != 4 || bans[0].Address != "2001:db8:1:2::/64" || bans[0].Banned == nil || bans[1].Banned != nil {
		t.Errorf("%+v, %v", bans, err)
	}
}

// What an administrator lifts is lifted in a server that runs, and in one that starts.
func TestLift(t *testing.T) {
	s := testState(t)
	if err := s.Lift("192.0.2.1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	th := keep(t, s)
	v6 := netip.MustParseAddr("2001:db8::1")
	failAll(th, here)
	failAll(th, there)
	failAll(th, v6)
	flush(t, th)
	for _, who := range []string{"192.0.2.1", "2001:db8::/64", "victim"} {
		if err := s.Lift(who); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Lift("192.0.2.99"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if starts := keep(t, s); banned(t, starts, here) || banned(t, starts, v6) || !banned(t, starts, there) {
		t.Errorf("%+v", starts.records)
	}
	th.Fail(there, "bob") // which is written without taking the lifts away
	flush(t, th)
	if banned(t, th, here) || banned(t, th, v6) || !banned(t, th, there) {
		t.Errorf("%+v", th.records)
	}
	if text, _ := os.ReadFile(s.path("throttle")); strings.Contains(string(text), "lift") {
		t.Errorf("the lifts are left:\n%s", text)
	}
	failAll(th, here) // and count once
	if !banned(t, th, here) {
		t.Error("a lift holds for ever")
	}
	flush(t, th)
	if err := s.Lift("192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	th.mu.Lock()
	th.file.looked = time.Time{}
	th.mu.Unlock()
	if banned(t, th, here) {
		t.Error("a server that runs does not look")
	}
}

func TestDamagedThrottleFile(t *testing.T) {
	s := testState(t)
	until := time.Now().Add(time.Hour).Unix()
	for text, bad := range map[string]int{
		"": 1,
		"rtls-throttle 2\naddress 192.0.2.1\t20\t0\t99999999999\t1\n":                                                      1,
		throttleVersion + "\nnonsense\naddress 192.0.2.2\t1\naddress 192.0.2.3\t-1\t0\t0\t0\ntrust x\t1\t1\nlift x\t1\n\n": 6,
	} {
		if saved, got := parseThrottle([]byte(text)); got != bad || len(saved.records) > 0 {
			t.Errorf("%q: %d bad, %+v", text, got, saved)
		}
	}
	text := throttleVersion + "\naddress 192.0.2.1\t20\t0\t" + strconv.FormatInt(until, 10) + "\t1\naddress 192.0"
	if err := os.WriteFile(s.path("throttle"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if th := keep(t, s); !banned(t, th, here) {
		t.Error("what is not damaged is lost")
	}
}

// Many bans at once are few files, and none is forgotten.
func TestBansAreWrittenTogether(t *testing.T) {
	s := testState(t)
	synctest.Test(t, func(t *testing.T) {
		th := keep(t, s)
		written := 0
		for i := range 20 {
			failAll(th, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
			if bans, err := s.Bans(time.Now()); err != nil || bans[0].Banned == nil {
				t.Fatalf("%v, %v", bans, err)
			}
			th.mu.Lock()
			if th.file.timer == nil {
				written++
			}
			th.mu.Unlock()
		}
		if written != 1 {
			t.Errorf("written %d times", written)
		}
		time.Sleep(urgentDelay)
		synctest.Wait()
		again := keep(t, s)
		for i := range 20 {
			if !banned(t, again, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})) {
				t.Errorf("ban %d is lost", i)
			}
		}
	})
}

// A file of the time when the clock was a year ahead keeps nobody out for a year.
func TestClockWasAhead(t *testing.T) {
	s := testState(t)
	ahead := time.Now().AddDate(1, 0, 0).Unix()
	text := fmt.Sprintf("%s\naddress 192.0.2.1\t20\t%d\t%d\t1\nuser alice\t20\t%d\t0\t0\ntrust 192.0.2.2 alice\t%d\t0\n", throttleVersion, ahead, ahead, ahead, ahead)
	if err := os.WriteFile(s.path("throttle"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	th := keep(t, s)
	now := time.Now()
	if _, err := th.reserve(now, netip.MustParseAddr("192.0.2.1"), "bob"); !errors.Is(err, ErrThrottled) {
		t.Errorf("the ban has not survived: %v", err)
	}
	if _, err := th.reserve(now.Add(maxBan+time.Minute), netip.MustParseAddr("192.0.2.1"), "bob"); err != nil {
		t.Errorf("banned for more than a day: %v", err)
	}
	peer := netip.MustParseAddr("192.0.2.3")
	if wait, err := th.reserve(now, peer, "alice"); err != nil || wait != maxDelay {
		t.Errorf("the user waits %v, %v", wait, err)
	}
	if wait, err := th.reserve(now.Add(maxLevel*sinkTime), peer, "alice"); err != nil || wait != 0 {
		t.Errorf("the user still waits %v, %v", wait, err)
	}
	if until := th.trusted[trustKey(netip.MustParseAddr("192.0.2.2"), "alice")].until; until.After(now.Add(trustTime + time.Minute)) {
		t.Errorf("trusted until %v", until)
	}
}
