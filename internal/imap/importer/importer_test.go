package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/store"
)

func newAccount(t *testing.T) *store.Account {
	t.Helper()
	dir := t.TempDir() + "/alice"
	if err := store.Create(dir, nil); err != nil {
		t.Fatal(err)
	}
	a, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// inbox is a mailbox of n messages, whose sizes differ.
func inbox(n int) map[string]*badMailbox {
	box := &badMailbox{validity: 7}
	for i := range n {
		box.messages = append(box.messages, badMessage{i + 1, `\Seen`, messageText(i)})
	}
	return map[string]*badMailbox{"INBOX": box}
}

func messageText(i int) string {
	return fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("some text. ", i*37%101))
}

// bodies are those in a mailbox, in its order.
func bodies(t *testing.T, a *store.Account, mailbox string) (list []string) {
	t.Helper()
	m, err := a.Mailbox(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i, s := 0, m.Snapshot(); i < s.Len(); i++ {
		c, err := m.Open(t.Context(), s.At(i).UID)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		list = append(list, string(text))
	}
	return list
}

// expectOnce wants the messages 0 to n-1, each once and in any order.
func expectOnce(t *testing.T, a *store.Account, n int) {
	t.Helper()
	got := bodies(t, a, "INBOX")
	slices.Sort(got)
	var want []string
	for i := range n {
		want = append(want, messageText(i))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d messages, or other ones, want %d", len(got), n)
	}
}

// The connection ends after so many octets, mostly in the middle of a message, and the
// server is gone then. The import is run again until it comes to its end.
func TestCutOffInLiteral(t *testing.T) {
	const messages = 40
	for _, step := range literalSteps(messages) {
		s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(messages), sinks: true, octets: step}
		cfg := s.serve(t)
		a := newAccount(t)
		runs := 0
		for {
			s.mu.Lock()
			s.down = false
			s.mu.Unlock()
			done, err := Run(t.Context(), a, *cfg)
			runs++
			if err == nil {
				if done.Added+done.Known != messages || done.Failed != 0 {
					t.Errorf("the last run: %+v", done)
				}
				break
			}
			if !errors.Is(err, ErrBroken) || runs > 100 {
				t.Fatalf("run %d: %+v, %v", runs, done, err)
			}
		}
		if runs < 3 {
			t.Errorf("only %d runs", runs)
		}
		expectOnce(t, a, messages)
	}
}

// literalSteps are numbers of octets that end somewhere in some of the messages.
func literalSteps(messages int) []int {
	total := 0
	for i := range messages {
		total += len(messageText(i))
	}
	return []int{total/19 + 1, 1217, total / 3}
}

// A message that the server does not give is named, and does not take others with it.
func TestRefusedMessage(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1 AUTH=PLAIN", delim: "/", boxes: inbox(10), refuses: map[int]bool{3: true, 4: true}}
	s.boxes["Other"] = &badMailbox{validity: 1, attrs: `\Refused`}
	cfg := s.serve(t)
	var left []string
	cfg.Report.Failed = func(message string, err error) { left = append(left, message) }
	a := newAccount(t)
	done, err := Run(t.Context(), a, *cfg)
	if !errors.Is(err, store.ErrLeftOut) || done.Added != 8 || done.Failed != 2 || done.MailboxesLeft != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if want := []string{"mailbox INBOX, UID 3", "mailbox INBOX, UID 4", "mailbox Other"}; !slices.Equal(left, want) {
		t.Errorf("left out: %q, want %q", left, want)
	}
	s.mu.Lock()
	s.refuses = nil
	delete(s.boxes, "Other")
	s.mu.Unlock()
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 2 || done.Known != 8 {
		t.Errorf("%+v, %v", done, err)
	}
	expectOnce(t, a, 10)
}

// What is expunged there meanwhile is no failure. Later it is said to be gone if it was
// imported.
func TestExpungedMeanwhile(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(9), expunges: map[int]bool{9: true}}
	cfg := s.serve(t)
	a := newAccount(t)
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 8 || done.Failed != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	expectOnce(t, a, 8)
	s.mu.Lock()
	s.boxes["INBOX"].messages = s.boxes["INBOX"].messages[2:]
	s.mu.Unlock()
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 0 || done.Known != 6 || done.Gone != 2 {
		t.Errorf("%+v, %v", done, err)
	}
}

// A size that is wrong changes nothing, and is told.
func TestWrongSizes(t *testing.T) {
	for _, size := range []int64{1, 1 << 40} {
		s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(5), reported: size}
		cfg := s.serve(t)
		a := newAccount(t)
		if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 5 || done.Resized != 5 {
			t.Errorf("%+v, %v", done, err)
		}
		expectOnce(t, a, 5)
	}
}

// With another UIDVALIDITY all UIDs are others, and messages are known by their octets.
func TestOtherUIDValidity(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(6)}
	s.boxes["INBOX"].messages = append(s.boxes["INBOX"].messages, badMessage{7, "", messageText(0)}) // twice the same
	cfg := s.serve(t)
	a := newAccount(t)
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 7 {
		t.Fatalf("%+v, %v", done, err)
	}
	for validity := 8; validity < 11; validity++ {
		s.mu.Lock()
		box := s.boxes["INBOX"]
		box.validity = validity
		for i := range box.messages {
			box.messages[i].uid += 3
		}
		s.mu.Unlock()
		for range 2 {
			if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 0 || done.Known != 7 {
				t.Errorf("UIDVALIDITY %d: %+v, %v", validity, done, err)
			}
		}
	}
	s.mu.Lock()
	s.boxes["INBOX"].messages = append(s.boxes["INBOX"].messages, badMessage{99, "", messageText(0)})
	s.mu.Unlock()
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 1 {
		t.Errorf("one more of the same: %+v, %v", done, err)
	}
}

// A server cannot say how a message came here.
func TestTagIsNotTaken(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(1)}
	s.boxes["INBOX"].messages[0].flags = `$RequireTLS $tlsoptional \Flagged \Recent \Strange work $Forwarded`
	cfg := s.serve(t)
	a := newAccount(t)
	if _, err := Run(t.Context(), a, *cfg); err != nil {
		t.Fatal(err)
	}
	m, err := a.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	date, _ := time.Parse("02-Jan-2006 15:04:05 -0700", badDate)
	msg := m.Snapshot().At(0)
	if msg.Tag != store.TagUnknown || msg.Origin != store.OriginUnknown || !slices.Equal(msg.Keywords, []string{"work"}) ||
		msg.Flags != store.Flagged|store.Passed || !msg.InternalDate().Equal(date) {
		t.Errorf("%+v", msg)
	}
}

// What was changed of flags there comes with the next run.
func TestFlagsChangedThere(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(3)}
	cfg := s.serve(t)
	a := newAccount(t)
	if _, err := Run(t.Context(), a, *cfg); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.boxes["INBOX"].messages[1].flags = `\Flagged \Recent $RequireTLS work $Forwarded`
	s.mu.Unlock()
	for _, want := range []int{1, 0} {
		if done, err := Run(t.Context(), a, *cfg); err != nil || done.Known != 3 || done.Changed != want {
			t.Errorf("%+v, %v", done, err)
		}
	}
	m, err := a.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i, want := range []store.Flags{store.Seen, store.Flagged | store.Passed, store.Seen} {
		msg := m.Snapshot().At(i)
		if msg.Flags != want || slices.Equal(msg.Keywords, []string{"work"}) != (i == 1) || msg.Tag != store.TagUnknown {
			t.Errorf("message %d: %+v", i, msg)
		}
	}
}

// What was moved or expunged here does not come again, nor what a quota has kept out.
func TestStaysAway(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(5)}
	cfg := s.serve(t)
	a := newAccount(t)
	a.SetQuota(store.Quota{Messages: 4})
	if done, err := Run(t.Context(), a, *cfg); !errors.Is(err, store.ErrLeftOut) || done.Added != 4 || done.Failed != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	a.SetQuota(store.Quota{})
	m, err := a.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Expunge(t.Context(), []uint32{1, 2}); err != nil {
		t.Fatal(err)
	}
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 1 || done.Known != 4 {
		t.Errorf("%+v, %v", done, err)
	}
}

// Names lose the prefix of their namespace, and get our separator.
func TestNamesOfMailboxes(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1 NAMESPACE", delim: ".", prefix: "INBOX.", boxes: inbox(1)}
	for name, attrs := range map[string]string{
		"INBOX.Sent": `\Sent`, "INBOX.a/b.c": "", "INBOX.a_b.c": "", "INBOX.&AOQ-.x": "", "INBOX.inbox": "", "INBOX.dir": `\Noselect`,
		"user.bob": "",
	} {
		s.boxes[name] = &badMailbox{validity: 1, attrs: attrs}
	}
	cfg := s.serve(t)
	a := newAccount(t)
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Mailboxes != 6 {
		t.Fatalf("%+v, %v", done, err)
	}
	infos, err := a.Mailboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, info := range infos {
		names = append(names, info.Name+" "+info.SpecialUse)
		if above := info.Name == "a_b" || info.Name == "ä"; info.Subscribed == above {
			t.Errorf("%s: subscribed is %v", info.Name, info.Subscribed)
		}
	}
	want := []string{"INBOX ", "INBOX_ ", "Sent Sent", "a_b ", "a_b/c ", "a_b/c_ ", "ä ", "ä/x "}
	if !slices.Equal(names, want) {
		t.Errorf("mailboxes are %q, want %q", names, want)
	}
}

// A name that no mailbox has is a mistake, and not an import of nothing.
func TestNoSuchMailbox(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: map[string]*badMailbox{}}
	cfg := s.serve(t)
	if _, err := Run(t.Context(), newAccount(t), *cfg); err != nil {
		t.Errorf("a server without mailboxes: %v", err)
	}
	cfg.Pattern = "Sentt"
	if _, err := Run(t.Context(), newAccount(t), *cfg); !errors.Is(err, store.ErrNoMailbox) || !strings.Contains(err.Error(), "Sentt") {
		t.Errorf("%v", err)
	}
}

// Before TLS nothing is said but STARTTLS, and nothing that is heard counts.
func TestStartTLS(t *testing.T) {
	for clear, works := range map[string]bool{"": true, "-": false, "* OK injected\r\n": false} {
		s := &badServer{caps: "IMAP4rev1 IMAP4rev2 LOGINDISABLED", delim: "/", boxes: inbox(3), useClear: true, clear: clear}
		cfg := s.serve(t)
		a := newAccount(t)
		done, err := Run(t.Context(), a, *cfg)
		if (err == nil) != works || works && done.Added != 3 {
			t.Errorf("%q: %+v, %v", clear, done, err)
		}
		s.mu.Lock()
		if !works && !slices.Equal(s.commands, []string{"a STARTTLS"}) {
			t.Errorf("%q: it was told %q", clear, s.commands)
		}
		s.mu.Unlock()
	}
}

// A server that does not answer is given up, and one that is not the one that was named
// hears no password.
func TestSilenceAndStrangers(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(3), silent: true}
	cfg := s.serve(t)
	cfg.Silence = 100 * time.Millisecond
	breaks := 0
	cfg.Again = func(err error, _ time.Duration) {
		if breaks++; !errors.Is(err, ErrBroken) || !errors.Is(err, os.ErrDeadlineExceeded) && !strings.Contains(err.Error(), "timeout") {
			t.Error(err)
		}
	}
	if done, err := Run(t.Context(), newAccount(t), *cfg); !errors.Is(err, store.ErrLeftOut) || done.MailboxesLeft != 1 || breaks != mostAtOne {
		t.Errorf("%+v, %v, %d breaks", done, err, breaks)
	}
	other := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(3)}
	stranger := other.serve(t)
	stranger.TLS = cfg.TLS
	_, err := Run(t.Context(), newAccount(t), *stranger)
	other.mu.Lock()
	defer other.mu.Unlock()
	if !errors.Is(err, ErrTLS) || len(other.commands) > 0 {
		t.Errorf("a stranger was told %q; %v", other.commands, err)
	}
}

// A large message takes no memory.
func TestLargeMessage(t *testing.T) {
	const length = 100 << 20
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(1), bigLength: length}
	cfg := s.serve(t)
	a := newAccount(t)
	most, end := watchHeap()
	done, err := Run(t.Context(), a, *cfg)
	end()
	if err != nil || done.Added != 1 || done.Octets != length {
		t.Fatalf("%+v, %v", done, err)
	}
	t.Logf("at most %d KiB of heap", most()>>10)
	if most() > 16<<20 {
		t.Errorf("%d octets of heap for a message of %d", most(), length)
	}
}

// watchHeap finds out how large the heap is at most.
func watchHeap() (most func() uint64, end func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	peak := uint64(0)
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 { return peak }, func() { close(stop); <-stopped }
}

// An import that is told to stop does so between messages, and goes on later.
func TestCancelled(t *testing.T) {
	s := &badServer{caps: "IMAP4rev1", delim: "/", boxes: inbox(20)}
	cfg := s.serve(t)
	a := newAccount(t)
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Report.Progress = func(step store.Step) {
		if step.Messages == 3 {
			cancel()
		}
	}
	if done, err := Run(ctx, a, *cfg); !errors.Is(err, context.Canceled) || done.Added != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := Run(t.Context(), a, *cfg); err != nil || done.Added != 17 || done.Known != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	expectOnce(t, a, 20)
}
