package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/store/internal/vfs"
)

// processEnv makes the test binary one of the processes that a test runs beside
// itself: what it does and, behind a colon, what it is told.
const processEnv = "RTLS_TEST_PROCESS"

var processes = map[string]func(argument string) error{
	"deliver": deliverForEver,
	"operate": operate,
}

func TestMain(m *testing.M) {
	if what, argument, ok := strings.Cut(os.Getenv(processEnv), ":"); ok {
		if err := processes[what](argument); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// deliverForEver delivers until standard input ends, and prints the key of each
// message once it is delivered.
func deliverForEver(dir string) error {
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(done)
	}()
	a, err := Open(dir, nil)
	if err != nil {
		return err
	}
	defer a.Close()
	for {
		select {
		case <-done:
			return nil
		case <-time.After(time.Duration(rand.IntN(40)) * time.Millisecond):
		}
		d, err := a.Deliver(context.Background(), inbox)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(d, hello); err != nil {
			return err
		}
		key, err := d.Commit(Meta{Tag: TagRequire, Origin: OriginESMTP})
		if err != nil {
			return err
		}
		fmt.Println(key)
	}
}

// ledger is what the test knows to be true.
type ledger struct {
	mu       sync.Mutex
	acked    []Key
	expunged map[Key]bool // from before the order is given
	uids     map[Key]uint32
	owner    map[uint32]Key
}

func (l *ledger) ack(key Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, key)
}

func (l *ledger) known() []Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[:len(l.acked):len(l.acked)]
}

// judge compares a snapshot with the messages that had been acknowledged before it
// was taken.
func (l *ledger) judge(before []Key, s *Snapshot) error {
	seen := make(map[Key]bool, s.Len())
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range s.Len() {
		m := s.At(i)
		switch {
		case seen[m.Key]:
			return fmt.Errorf("%s is listed twice", m.Key)
		case m.Tag != TagRequire || m.Origin != OriginESMTP:
			return fmt.Errorf("%s has the tag %v %v", m.Key, m.Tag, m.Origin)
		case l.uids[m.Key] != 0 && l.uids[m.Key] != m.UID:
			return fmt.Errorf("%s had UID %d and has %d", m.Key, l.uids[m.Key], m.UID)
		case l.owner[m.UID] != "" && l.owner[m.UID] != m.Key:
			return fmt.Errorf("UID %d was %s and is %s", m.UID, l.owner[m.UID], m.Key)
		}
		seen[m.Key] = true
		l.uids[m.Key], l.owner[m.UID] = m.UID, m.Key
	}
	for _, key := range before {
		if !seen[key] && !l.expunged[key] {
			return fmt.Errorf("%s is not listed", key)
		}
	}
	return nil
}

// Many processes and foreign programs at once: no acknowledged message is ever
// absent from a listing, none is there twice, no UID is given twice and no tag
// changes. A reader that lists the directory once is there to show that the test
// can fail.
func TestConcurrentMailbox(t *testing.T) {
	duration := 8 * time.Second
	if d, err := time.ParseDuration(os.Getenv("RTLS_TEST_CONCURRENT")); err == nil {
		duration = d
	}
	seeded := 20_000
	if raceDetector {
		seeded = 4_000 // it is ten times slower
	}
	a := newTestAccount(t)
	l := &ledger{expunged: make(map[Key]bool), uids: make(map[Key]uint32), owner: make(map[uint32]Key)}
	cur := filepath.Join(a.maildir(), "cur")
	for range seeded {
		key := a.names.key()
		name := baseName(key, sumOfText(hello), TagRequire, OriginESMTP) + ":2,"
		must(t, os.WriteFile(filepath.Join(cur, name), []byte(hello), 0o600))
		l.ack(key)
	}
	see(t, openMailbox(t, a, inbox))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wait sync.WaitGroup
	start := func(n int, what string, f func(*Account, *Mailbox) error) {
		for range n {
			own, err := Open(a.dir, nil) // as another process would
			must(t, err)
			m, err := own.Mailbox(ctx, inbox)
			must(t, err)
			wait.Go(func() {
				defer own.Close()
				defer m.Close()
				for ctx.Err() == nil {
					if err := f(own, m); err != nil && ctx.Err() == nil {
						t.Errorf("%s: %v", what, err)
						cancel()
					}
				}
			})
		}
	}
	start(8, "reader", func(_ *Account, m *Mailbox) error {
		before := l.known()
		s, err := m.Sync(ctx)
		if err != nil {
			return err
		}
		if err := l.judge(before, s); err != nil {
			return err
		}
		at := s.At(rand.IntN(s.Len()))
		c, err := m.Open(ctx, at.UID)
		if errors.Is(err, ErrNoMessage) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.expunged[at.Key] {
				return nil
			}
		}
		if err != nil {
			return err
		}
		return c.Close()
	})
	start(4, "flag flipper", func(_ *Account, m *Mailbox) error {
		s := m.Snapshot()
		op := []FlagOp{FlagsAdd, FlagsRemove}[rand.IntN(2)]
		_, err := m.SetFlags(ctx, FlagChange{UIDs: []uint32{s.At(rand.IntN(s.Len())).UID, s.At(rand.IntN(s.Len())).UID}, Op: op, Flags: Flagged | Seen})
		return err
	})
	start(2, "expunger", func(_ *Account, m *Mailbox) error {
		s, err := m.Sync(ctx)
		if err != nil {
			return err
		}
		victim := s.At(rand.IntN(s.Len()))
		l.mu.Lock()
		l.expunged[victim.Key] = true
		l.mu.Unlock()
		return m.Expunge(ctx, []uint32{victim.UID})
	})
	renamed := 0
	start(1, "foreign renamer", func(_ *Account, m *Mailbox) error {
		names, err := os.ReadDir(cur)
		if err != nil {
			return err
		}
		for range 200 {
			name := names[rand.IntN(len(names))].Name()
			base, info, _ := strings.Cut(name, ":2,")
			to := base + ":2,T"
			if strings.Contains(info, "T") {
				to = base + ":2,"
			}
			// It loses races, as any mail reader does.
			err := vfs.OS{}.Rename(filepath.Join(cur, name), filepath.Join(cur, to))
			if rand.IntN(4) == 0 { // some readers link and unlink
				if err = os.Link(filepath.Join(cur, name), filepath.Join(cur, to)); err == nil {
					err = os.Remove(filepath.Join(cur, name))
				}
			}
			if err == nil {
				renamed++
			}
		}
		return nil
	})
	misses := 0
	start(1, "naive reader", func(_ *Account, _ *Mailbox) error {
		before := l.known()
		seen := make(map[Key]bool)
		for _, sub := range []string{"new", "cur"} {
			names, err := os.ReadDir(filepath.Join(a.maildir(), sub))
			if err != nil {
				return err
			}
			for _, e := range names {
				seen[parseName(e.Name()).key] = true
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, key := range before {
			if !seen[key] && !l.expunged[key] {
				misses++
				break
			}
		}
		return nil
	})
	startDeliverers(ctx, t, &wait, a.dir, l, 32)
	time.AfterFunc(duration, cancel) // the set-up is over
	<-ctx.Done()
	wait.Wait()

	before := l.known()
	s := syncUntil(t, openMailbox(t, openTestAccount(t, a.dir), inbox), "all is read", func(s *Snapshot) bool {
		return s.Len() >= len(before)-len(l.expunged)
	})
	if err := l.judge(before, s); err != nil {
		t.Error(err)
	}
	t.Logf("%d delivered, %d expunged, %d renamed by others, %d of the naive reader's listings missed a message", len(before)-seeded, len(l.expunged), renamed, misses)
	if len(before) < seeded+100 || len(l.expunged) == 0 || renamed == 0 || misses == 0 {
		t.Error("there was not enough going on")
	}
}

// startDeliverers starts processes that deliver until ctx ends.
func startDeliverers(ctx context.Context, t *testing.T, wait *sync.WaitGroup, dir string, l *ledger, n int) {
	for range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), processEnv+"=deliver:"+dir)
		stdin, err := cmd.StdinPipe()
		must(t, err)
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		must(t, cmd.Start())
		context.AfterFunc(ctx, func() { stdin.Close() })
		wait.Go(func() {
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				l.ack(Key(lines.Text()))
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("delivering process: %v\n%s", err, stderr.String())
			}
		})
	}
}
