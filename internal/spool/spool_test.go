package spool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/internal/requiretls"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 24, 12, 0, 0, 12345, time.UTC)} }

const text = "Subject: hi\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n.\r\n"

func letter() Record {
	return Record{
		From: "me@example.org", To: []string{"bob@example.net", "carol@example.com"}, Wish: requiretls.Yes,
		Return: "HDRS", EnvelopeID: "x y", Notify: []string{"FAILURE", "DELAY"},
		Route: Route{Account: "work"}, Size: int64(len(text)), MessageID: "<1@example.org>",
	}
}

// taken is a message that the server has.
type taken struct {
	Record
	text string
}

// server is a Transport. What it answers is the last of outcomes, which are used
// up but for the last one.
type server struct {
	mu       sync.Mutex
	outcomes []*Failure // nil: taken
	got      []taken
	tries    int
	during   func() // while a message is being sent
}

func (s *server) Send(_ context.Context, m *Message) error {
	var text bytes.Buffer
	n, err := m.Content.WriteTo(&text)
	if s.during != nil {
		s.during()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if err == nil && n != m.Size {
		err = errors.New("a text of the wrong size")
	}
	if err != nil {
		return &Failure{Err: err}
	}
	var out *Failure
	if len(s.outcomes) > 0 {
		if out = s.outcomes[0]; len(s.outcomes) > 1 {
			s.outcomes = s.outcomes[1:]
		}
	}
	if out == nil || out.InDoubt { // the worse case of it
		s.got = append(s.got, taken{m.Record, text.String()})
	}
	if out == nil {
		return nil
	}
	return out
}

func newSpool(t *testing.T, c Config) *Spool {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "spool"), true, c)
	must(t, err)
	return s
}

func (s *Spool) put(t *testing.T, r Record) string {
	t.Helper()
	id, err := s.Add(r, strings.NewReader(text), nil)
	must(t, err)
	return id
}

func flush(t *testing.T, f *Flusher) Result {
	t.Helper()
	r, err := f.Flush(t.Context())
	must(t, err)
	return r
}

func statusOf(t *testing.T, s *Spool, id string) string {
	t.Helper()
	item, err := s.Show(id, io.Discard)
	if errors.Is(err, ErrNoID) {
		return "gone"
	}
	must(t, err)
	return item.Status()
}

// check compares what arrived with what was added.
func (g *taken) check(t *testing.T, want Record) {
	t.Helper()
	if g.text != text {
		t.Errorf("the text is %q", g.text)
	}
	got := g.Record
	got.ID, got.Time, got.UID = "", time.Time{}, 0
	want.ID, want.Time, want.UID = "", time.Time{}, 0
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it was sent as %+v, and added as %+v", got, want)
	}
}

// A message is sent once, with the envelope and the wish that it was added with.
func TestAddAndFlush(t *testing.T) {
	for _, wish := range []requiretls.Wish{requiretls.Yes, requiretls.No, requiretls.Auto} {
		s := newSpool(t, Config{})
		r := letter()
		r.Wish = wish
		id := s.put(t, r)
		if got := statusOf(t, s, id); got != "queued" || !s.Due() {
			t.Errorf("status %s, due %v", got, s.Due())
		}
		must(t, s.Hold(id))
		if s.Due() {
			t.Error("it is held and due")
		}
		must(t, s.Release(id))
		var shown bytes.Buffer
		if _, err := s.Show(id, &shown); err != nil || shown.String() != text {
			t.Errorf("shown %q, %v", shown.String(), err)
		}
		to := &server{}
		if r := flush(t, &Flusher{Spool: s, Transport: to}); r.Sent != 1 || r.Err != nil {
			t.Errorf("%+v", r)
		}
		if r := flush(t, &Flusher{Spool: s, Transport: to}); r != (Result{}) {
			t.Errorf("%+v", r)
		}
		if len(to.got) != 1 {
			t.Fatalf("%d copies", len(to.got))
		}
		to.got[0].check(t, r)
		if got := statusOf(t, s, id); got != "gone" || s.Due() {
			t.Errorf("status %s", got)
		}
		for _, place := range []string{"queue", "state", "failed"} {
			if names, err := os.ReadDir(s.path(place, "")); err != nil || len(names) > 0 {
				t.Errorf("%s holds %v, %v", place, names, err)
			}
		}
	}
}

// A directory in which others can put and replace files is no spool.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for mode, good := range map[os.FileMode]bool{0o700: true, 0o711: true, 0o755: true, 0o770: false, 0o702: false} {
		must(t, os.Chmod(dir, mode))
		if _, err := Open(dir, true, Config{}); (err == nil) != good {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "none"), false, Config{}); !errors.Is(err, ErrNone) {
		t.Errorf("a spool that is not there: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	if _, err := Open(filepath.Join(dir, "file"), true, Config{}); err == nil {
		t.Error("a file is a spool")
	}
}

// What cannot be said again as it was said is not accepted.
// A home, or what is in it, is a link for some; what is below the spool is none.
func TestOpenBehindLink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
	must(t, os.Symlink("real", filepath.Join(dir, "link")))
	sp, err := Open(filepath.Join(dir, "link/a/spool"), true, Config{})
	must(t, err)
	sp.put(t, letter())
	queue := filepath.Join(dir, "real/a/spool/queue")
	must(t, os.Rename(queue, filepath.Join(dir, "elsewhere")))
	must(t, os.Symlink(filepath.Join(dir, "elsewhere"), queue))
	if _, err := Open(filepath.Join(dir, "link/a/spool"), true, Config{}); err == nil {
		t.Error("the queue is a link, and that is taken")
	}
}

func TestAddRefuses(t *testing.T) {
	s := newSpool(t, Config{})
	for name, change := range map[string]func(*Record){
		"no recipient":      func(r *Record) { r.To = nil },
		"an empty one":      func(r *Record) { r.To = []string{""} },
		"an injection":      func(r *Record) { r.To = []string{"a@b> SIZE=1"} },
		"a line":            func(r *Record) { r.From = "a@b\r\nRSET" },
		"invalid UTF-8":     func(r *Record) { r.EnvelopeID = "\xff" },
		"a wish of its own": func(r *Record) { r.Wish = 3 },
		"another size":      func(r *Record) { r.Size++ },
		"RET":               func(r *Record) { r.Return = "ALL" },
		"NOTIFY":            func(r *Record) { r.Notify = []string{"NOW"} },
	} {
		r := letter()
		change(&r)
		if id, err := s.Add(r, strings.NewReader(text), nil); err == nil {
			t.Errorf("%s: added as %s", name, id)
		}
	}
	if s.Due() {
		t.Error("something is left")
	}
}

// Several flushers at once send each message once, and hold, release and rm keep
// off what is being sent.
func TestSeveralFlushers(t *testing.T) {
	s := newSpool(t, Config{})
	const n = 30
	var last string
	for range n {
		last = s.put(t, letter())
	}
	must(t, s.Hold(last))
	to := &server{}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			other, err := Open(s.dir, false, Config{})
			if err == nil {
				_, err = (&Flusher{Spool: other, Transport: to}).Flush(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	flush(t, &Flusher{Spool: s, Transport: to})
	seen := make(map[string]bool)
	for _, g := range to.got {
		seen[g.ID] = true
	}
	if len(to.got) != n-1 || len(seen) != n-1 {
		t.Errorf("%d copies of %d messages", len(to.got), len(seen))
	}
	must(t, s.Release(last))
	to.during = func() {
		for verb, do := range map[string]func(string) error{"hold": s.Hold, "rm": s.Remove} {
			if err := do(last); !errors.Is(err, ErrBusy) {
				t.Errorf("%s of what is being sent: %v", verb, err)
			}
		}
		if got := statusOf(t, s, last); got != "sending" {
			t.Errorf("status %s", got)
		}
	}
	if r := flush(t, &Flusher{Spool: s, Transport: to}); r.Sent != 1 {
		t.Errorf("%+v", r)
	}
}
