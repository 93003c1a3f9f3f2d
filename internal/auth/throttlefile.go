package auth

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"rtls/internal/users"
)

// throttleFile is where a throttle is kept, so that a restart does not give guessers a
// fresh start. It is text; times are in seconds:
//
//	rtls-throttle 1
//	address 192.0.2.1 TAB level TAB since TAB banned-until TAB bans
//	user alice TAB level TAB since TAB 0 TAB 0
//	trust 192.0.2.1 alice TAB until TAB wrong
//	lift address 192.0.2.1
//
// It is replaced as a whole, under the directory's lock, a few seconds after a change,
// and for a ban at once or in the same second. What a crash takes is those seconds. An administrator's command
// puts lift lines in; the server finds a file that is not its own last one, does what
// they say, and its next file has none.
//
// Its fields are guarded by the throttle's mutex.
type throttleFile struct {
	path   string // empty: nothing is kept
	logger *slog.Logger

	stamp  users.Stamp // of what was written or read last
	saved  time.Time   // when it was last written
	looked time.Time   // when the stamp was last compared
	timer  *time.Timer
	urgent bool
	closed bool
}

const (
	throttleVersion = "rtls-throttle 1"
	saveDelay       = 5 * time.Second
	urgentDelay     = time.Second // between bans: many at once are not to be many files
	lookEvery       = time.Second
	maxSaved        = 10_000 // of the worst records; and as many trusts
)

// Keep reads what the file at path has, and keeps it up to date until Close. Damage is
// logged, and what cannot be read is left out.
func (t *Throttle) Keep(path string, logger *slog.Logger) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.file.path, t.file.logger = path, logger
	return t.readLocked()
}

// Close writes what is not yet written.
func (t *Throttle) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file.path == "" || t.file.closed {
		return nil
	}
	t.file.closed = true
	if t.file.timer == nil { // nothing waits to be written
		return nil
	}
	return t.saveLocked(time.Now())
}

// changedLocked must be called with mu held. It has the file written before long.
func (t *Throttle) changedLocked(now time.Time) {
	f := &t.file
	if f.path == "" || f.closed {
		return
	}
	delay := saveDelay
	if f.urgent {
		f.urgent = false
		if delay = urgentDelay - now.Sub(f.saved); delay <= 0 {
			t.tryLocked(now)
			return
		}
		if f.timer != nil {
			f.timer.Reset(delay)
		}
	}
	if f.timer == nil {
		f.timer = time.AfterFunc(delay, func() { // does nothing once Close has come
			t.mu.Lock()
			defer t.mu.Unlock()
			if !f.closed && f.timer != nil {
				t.tryLocked(time.Now())
			}
		})
	}
}

// tryLocked must be called with mu held.
func (t *Throttle) tryLocked(now time.Time) {
	if err := t.saveLocked(now); err != nil {
		t.file.logger.Error("failed logins are not kept on disk", "err", err)
	}
}

// saveLocked must be called with mu held.
func (t *Throttle) saveLocked(now time.Time) error {
	if t.file.timer != nil {
		t.file.timer.Stop()
		t.file.timer = nil
	}
	t.file.saved = now
	return locked(t.file.path, func() error {
		if info, err := os.Stat(t.file.path); err == nil && users.StampOf(info) != t.file.stamp {
			if err := t.readLocked(); err != nil {
				return err
			}
		}
		if err := replace(t.file.path, t.textLocked(now), -1, -1); err != nil {
			return err
		}
		info, err := os.Stat(t.file.path)
		if err != nil {
			return err
		}
		t.file.stamp = users.StampOf(info)
		return nil
	})
}

// locked runs f under the lock of the file's directory.
func locked(path string, f func() error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close() // which gives the lock back
	if err := lock(dir); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	return f()
}

// lookLocked must be called with mu held. It does what others have written since.
func (t *Throttle) lookLocked(now time.Time) {
	f := &t.file
	if f.path == "" || now.Sub(f.looked) < lookEvery {
		return
	}
	f.looked = now
	if info, err := os.Stat(f.path); err != nil || users.StampOf(info) == f.stamp {
		return
	}
	if err := t.readLocked(); err != nil {
		f.logger.Error("failed logins cannot be read back", "err", err)
	}
}

// readLocked must be called with mu held.
func (t *Throttle) readLocked() error {
	text, info, err := users.Read(t.file.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t.file.stamp = users.StampOf(info)
	saved, bad := parseThrottle(text)
	if bad > 0 {
		t.file.logger.Error("lines about failed logins are damaged, and left out", "file", t.file.path, "lines", bad)
	}
	saved.clip(time.Now())
	t.mergeLocked(saved)
	return nil
}

// savedThrottle is what a file has.
type savedThrottle struct {
	records map[string]record
	trusted map[string]trust
	lifted  []string // keys
}

// clip cuts times that lie further ahead than they can when the clock is right: it was
// wrong when the file was written, and nobody is to be kept out for as long.
func (s *savedThrottle) clip(now time.Time) {
	for key, r := range s.records {
		r.since = earlier(r.since, now)
		r.banned = earlier(r.banned, now.Add(maxBan))
		s.records[key] = r
	}
	for key, tr := range s.trusted {
		tr.until = earlier(tr.until, now.Add(trustTime))
		s.trusted[key] = tr
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// mergeLocked must be called with mu held. Of what is known in two ways the worse
// counts.
func (t *Throttle) mergeLocked(saved savedThrottle) {
	if t.records == nil {
		t.records = make(map[string]record)
	}
	if t.trusted == nil {
		t.trusted = make(map[string]trust)
	}
	for key, r := range saved.records {
		if own, ok := t.records[key]; !ok && len(t.records) < maxRecords || ok && own.banned.Before(r.banned) {
			t.records[key] = r
		}
	}
	for key, r := range saved.trusted {
		if _, ok := t.trusted[key]; !ok && len(t.trusted) < maxRecords {
			t.trusted[key] = r
		}
	}
	for _, key := range saved.lifted {
		delete(t.records, key)
	}
}

// textLocked must be called with mu held.
func (t *Throttle) textLocked(now time.Time) []byte {
	keys := make([]string, 0, len(t.records))
	for key, r := range t.records {
		if r = r.at(now); r.level > 0 || now.Sub(r.banned) < banMemory {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, y := t.records[a], t.records[b]
		return cmp.Or(y.banned.Compare(x.banned), cmp.Compare(y.level, x.level), strings.Compare(a, b))
	})
	var b bytes.Buffer
	fmt.Fprintln(&b, throttleVersion)
	for _, key := range keys[:min(len(keys), maxSaved)] {
		r := t.records[key].at(now)
		fmt.Fprintf(&b, "%s\t%d\t%d\t%d\t%d\n", key, r.level, seconds(r.since), seconds(r.banned), r.bans)
	}
	left := maxSaved
	for key, trust := range t.trusted {
		if left > 0 && now.Before(trust.until) {
			fmt.Fprintf(&b, "trust %s\t%d\t%d\n", key, seconds(trust.until), trust.wrong)
			left--
		}
	}
	return b.Bytes()
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromSeconds(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// parseThrottle reads a file, and counts the lines that are damaged.
func parseThrottle(text []byte) (saved savedThrottle, bad int) {
	saved = savedThrottle{make(map[string]record), make(map[string]trust), nil}
	version, rest, _ := strings.Cut(string(text), "\n")
	if version != throttleVersion {
		return saved, 1
	}
	for line := range strings.Lines(rest) {
		if !saved.add(strings.TrimSuffix(line, "\n")) {
			bad++
		}
	}
	return saved, bad
}

func (s *savedThrottle) add(line string) bool {
	fields := strings.Split(line, "\t")
	kind, key, _ := strings.Cut(fields[0], " ")
	if kind == "lift" && key != "" {
		s.lifted = append(s.lifted, key)
		return len(fields) == 1
	}
	var n []int64
	for _, field := range fields[1:] {
		value, err := strconv.ParseInt(field, 10, 64)
		if err != nil || value < 0 {
			return false
		}
		n = append(n, value)
	}
	switch {
	case kind == "trust" && len(n) == 2 && strings.Contains(key, " "):
		s.trusted[key] = trust{fromSeconds(n[0]), int(n[1])}
	case (kind == "address" || kind == "user") && len(n) == 4:
		s.records[fields[0]] = record{level: int(min(n[0], maxLevel)), since: fromSeconds(n[1]), banned: fromSeconds(n[2]), bans: int(min(n[3], 32))}
	default:
		return false
	}
	return true
}
