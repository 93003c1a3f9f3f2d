package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rtls/store/internal/faultfs"
	"rtls/store/internal/vfs"
)

// The walks break every call to the file system, one after the other, in each
// operation, and then look whether the guarantees of doc.go hold. Messages are
// known by their subject.

// operation is something that can be cut off at any point.
type operation struct {
	name string
	run  func(ctx context.Context, a *Account) error
	// done says what must be true when run has returned nil, undone when it has
	// not; before all that, every message of the start is there, G1, unless the
	// operation was to remove it.
	// A crash tells nobody anything, so there undone is not asked.
	done, undone func(w *world) error
	// always, unless it is nil, says what must be true after a crash, too.
	always func(w *world) error
	// again, unless it is nil, is run after a run that did not return nil. It must
	// succeed, and then done is true.
	again func(ctx context.Context, a *Account) error
	// crashed, unless it is nil, takes the place of done after a crash and again.
	crashed func(w *world) error
}

// world is what an account holds, seen afresh.
type world struct {
	t        *testing.T
	messages map[string][]found // by subject
	validity map[string]uint32  // UIDVALIDITY by mailbox
}

type found struct {
	mailbox string
	Message
}

func (w *world) in(subject, mailbox string) (n int) {
	for _, f := range w.messages[subject] {
		if f.mailbox == mailbox {
			n++
		}
	}
	return n
}

func want(w *world, subject, mailbox string, counts ...int) error {
	n := w.in(subject, mailbox)
	for _, c := range counts {
		if n == c {
			return nil
		}
	}
	return fmt.Errorf("%s is in %s %d times, not %v", subject, mailbox, n, counts)
}

func body(subject string) string {
	return "Subject: " + subject + "\r\n\r\n" + strings.Repeat(subject+"\r\n", 50)
}

func send(ctx context.Context, a *Account, mailbox, subject string) error {
	d, err := a.Deliver(ctx, mailbox)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.WriteString(d, body(subject)); err != nil {
		return err
	}
	_, err = d.Commit(Meta{Tag: TagRequire, Origin: OriginESMTP})
	return err
}

func sendOnce(ctx context.Context, a *Account) error {
	d, err := a.Deliver(ctx, inbox)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.WriteString(d, body("fresh")); err != nil {
		return err
	}
	_, err = d.Commit(Meta{Tag: TagRequire, Origin: OriginESMTP, Once: "queue id"})
	return err
}

// sendShared delivers one message to INBOX and to Dest, and returns the two errors.
func sendShared(ctx context.Context, a *Account, subject string) (first, second error) {
	d, err := a.Deliver(ctx, inbox)
	if err != nil {
		return err, err
	}
	defer d.Abort()
	other, err := d.Share(ctx, a, "Dest")
	if err != nil {
		return err, err
	}
	defer other.Abort()
	if _, err := io.WriteString(d, body(subject)); err != nil {
		return err, err
	}
	meta := Meta{Tag: TagRequire, Origin: OriginESMTP}
	_, first = d.Commit(meta)
	_, second = other.Commit(meta)
	return first, second
}

func within(ctx context.Context, a *Account, f func(*Mailbox) error) error {
	m, err := a.Mailbox(ctx, inbox)
	if err != nil {
		return err
	}
	return errors.Join(f(m), m.Close())
}

var operations = []operation{
	{
		name:   "deliver",
		run:    func(ctx context.Context, a *Account) error { return send(ctx, a, inbox, "fresh") },
		done:   func(w *world) error { return want(w, "fresh", inbox, 1) },
		undone: func(w *world) error { return want(w, "fresh", inbox, 0) },
	},
	{
		name: "share, first of two",
		run: func(ctx context.Context, a *Account) error {
			err, _ := sendShared(ctx, a, "fresh")
			return err
		},
		done:   func(w *world) error { return want(w, "fresh", inbox, 1) },
		undone: func(w *world) error { return want(w, "fresh", inbox, 0) },
	},
	{
		name: "share, second of two",
		run: func(ctx context.Context, a *Account) error {
			_, err := sendShared(ctx, a, "fresh")
			return err
		},
		done:   func(w *world) error { return want(w, "fresh", "Dest", 1) },
		undone: func(w *world) error { return want(w, "fresh", "Dest", 0) },
	},
	{
		name:    "once",
		run:     sendOnce,
		done:    func(w *world) error { return want(w, "fresh", inbox, 1) }, // G11
		again:   sendOnce,
		crashed: func(w *world) error { return want(w, "fresh", inbox, 1, 2) },
	},
	{
		name: "once, read before it comes again",
		run:  sendOnce,
		done: func(w *world) error { return want(w, "fresh", inbox, 1) }, // G11
		again: func(ctx context.Context, a *Account) error {
			err := within(ctx, a, func(m *Mailbox) error { return nil })
			return errors.Join(err, sendOnce(ctx, a))
		},
		crashed: func(w *world) error { return want(w, "fresh", inbox, 1, 2) },
	},
	{
		name: "deliver under a quota",
		run: func(ctx context.Context, a *Account) error {
			a.SetQuota(Quota{Bytes: 1 << 20})
			return send(ctx, a, inbox, "fresh")
		},
		done:   func(w *world) error { return want(w, "fresh", inbox, 1) },
		undone: func(w *world) error { return want(w, "fresh", inbox, 0) },
	},
	{
		name: "once under a quota",
		run: func(ctx context.Context, a *Account) error {
			a.SetQuota(Quota{Messages: 6}) // there are five
			return sendOnce(ctx, a)
		},
		done: func(w *world) error { return want(w, "fresh", inbox, 1) },
		again: func(ctx context.Context, a *Account) error {
			a.SetQuota(Quota{Messages: 6})
			return sendOnce(ctx, a)
		},
	},
	{
		name: "copy under a quota",
		run: func(ctx context.Context, a *Account) error {
			a.SetQuota(Quota{Bytes: 1 << 20})
			return within(ctx, a, func(m *Mailbox) error {
				_, _, err := m.Copy(ctx, []uint32{1, 2}, "Dest")
				return err
			})
		},
		done: func(w *world) error { // G9
			return errors.Join(want(w, "one", "Dest", 1), want(w, "two", "Dest", 1))
		},
	},
	{
		name: "append",
		run: func(ctx context.Context, a *Account) error {
			return within(ctx, a, func(m *Mailbox) error {
				d, err := a.Deliver(ctx, inbox)
				if err != nil {
					return err
				}
				defer d.Abort()
				if _, err := io.WriteString(d, body("fresh")); err != nil {
					return err
				}
				_, err = m.Append(ctx, d, Meta{Tag: TagRequire, Origin: OriginESMTP, Flags: Seen})
				return err
			})
		},
		done:   func(w *world) error { return want(w, "fresh", inbox, 1) },
		undone: func(w *world) error { return want(w, "fresh", inbox, 0, 1) }, // 1: only the closing failed
	},
	{
		name: "sync",
		run: func(ctx context.Context, a *Account) error {
			return within(ctx, a, func(m *Mailbox) error { _, err := m.Sync(ctx); return err })
		},
	},
	{
		name: "keywords",
		run: func(ctx context.Context, a *Account) error {
			return within(ctx, a, func(m *Mailbox) error {
				_, err := m.SetFlags(ctx, FlagChange{UIDs: []uint32{1, 2}, Keywords: []string{"walked"}})
				return err
			})
		},
		done: func(w *world) error { // G8, also by letters alone
			for _, subject := range []string{"one", "two"} {
				if !slices.Contains(w.messages[subject][0].Keywords, "walked") {
					return fmt.Errorf("the keyword of %s is lost", subject)
				}
			}
			return nil
		},
	},
	{
		name: "flags",
		run: func(ctx context.Context, a *Account) error {
			return within(ctx, a, func(m *Mailbox) error {
				_, err := m.SetFlags(ctx, FlagChange{UIDs: []uint32{1, 2}, Flags: Flagged})
				return err
			})
		},
		done: func(w *world) error { // G8
			for _, subject := range []string{"one", "two"} {
				if w.messages[subject][0].Flags&Flagged == 0 {
					return fmt.Errorf("the flag of %s is lost", subject)
				}
			}
			return nil
		},
	},
	{
		name: "copy",
		run: func(ctx context.Context, a *Account) error {
			return within(ctx, a, func(m *Mailbox) error {
				_, _, err := m.Copy(ctx, []uint32{1, 2}, "Dest")
				return err
			})
		},
		done: func(w *world) error {
			return errors.Join(want(w, "one", "Dest", 1), want(w, "two", "Dest", 1))
		},
		undone: func(w *world) error { // G9
			if w.in("one", "Dest") != w.in("two", "Dest") {
				return errors.New("one was copied and the other was not")
			}
			return want(w, "one", "Dest", 0, 1)
		},
	},
	{
		name: "move",
		run: func(ctx context.Context, a *Account) error {
			return within(ctx, a, func(m *Mailbox) error {
				_, _, err := m.Move(ctx, []uint32{1, 2}, "Dest")
				return err
			})
		},
		done: func(w *world) error {
			return errors.Join(want(w, "one", "Dest", 1), want(w, "two", "Dest", 1), want(w, "one", inbox, 0), want(w, "two", inbox, 0))
		},
		undone: func(w *world) error {
			return errors.Join(want(w, "one", "Dest", 0, 1), want(w, "one", inbox, 0, 1))
		},
	},
	{
		name: "expunge",
		run: func(ctx context.Context, a *Account) error {
			return within(ctx, a, func(m *Mailbox) error { return m.Expunge(ctx, []uint32{1}) })
		},
		done:   func(w *world) error { return want(w, "one", inbox, 0) },
		undone: func(w *world) error { return want(w, "one", inbox, 0, 1) },
	},
	{
		name: "expunge of two names",
		run: func(ctx context.Context, a *Account) error {
			err := secondNames(a)
			return errors.Join(err, within(ctx, a, func(m *Mailbox) error { return m.Expunge(ctx, []uint32{1}) }))
		},
		done:   func(w *world) error { return want(w, "one", inbox, 0) },
		undone: func(w *world) error { return want(w, "one", inbox, 0, 1) },
	},
	{
		name: "flags by a second name",
		run: func(ctx context.Context, a *Account) error {
			err := secondNames(a)
			return errors.Join(err, within(ctx, a, func(m *Mailbox) error {
				_, err := m.SetFlags(ctx, FlagChange{UIDs: []uint32{1, 2}, Flags: Flagged})
				return err
			}))
		},
		done: func(w *world) error { // G8
			for _, subject := range []string{"one", "two"} {
				if w.messages[subject][0].Flags&Flagged == 0 {
					return fmt.Errorf("the flag of %s is lost", subject)
				}
			}
			return nil
		},
	},
	replacing("replace", inbox),
	replacing("replace in another mailbox", "Dest"),
	{
		name: "annotate",
		run: func(ctx context.Context, a *Account) error {
			_, err := a.SetMetadata(ctx, "Dest", []Annotation{{"/private/comment", []byte("x")}})
			return err
		},
	},
	{
		name:   "rename mailbox",
		run:    func(ctx context.Context, a *Account) error { return a.RenameMailbox(ctx, "Dest", "New/Place") },
		done:   func(w *world) error { return want(w, "old", "New/Place", 1) },
		undone: func(w *world) error { return nil },
	},
	{
		name: "create mailbox",
		run:  func(ctx context.Context, a *Account) error { return a.CreateMailbox(ctx, "Made", "Junk") },
	},
	{
		name: "create mailbox below another",
		run:  func(ctx context.Context, a *Account) error { return a.CreateMailbox(ctx, "Dest/Below", "") },
	},
	{
		name: "delete mailbox",
		run:  func(ctx context.Context, a *Account) error { return a.DeleteMailbox(ctx, "Dest") },
		done: func(w *world) error { return want(w, "old", "Dest", 0) },
	},
}

// replacing puts fresh into a mailbox in the place of one in INBOX.
func replacing(name, mailbox string) operation {
	return operation{
		name: name,
		run: func(ctx context.Context, a *Account) error {
			return within(ctx, a, func(m *Mailbox) error {
				d, err := a.Deliver(ctx, mailbox)
				if err != nil {
					return err
				}
				defer d.Abort()
				if _, err := io.WriteString(d, body("fresh")); err != nil {
					return err
				}
				_, err = m.Replace(ctx, 1, Pending{d, Meta{Tag: TagRequire, Origin: OriginESMTP, Keywords: []string{"walked"}}})
				return err
			})
		},
		done: func(w *world) error {
			return errors.Join(want(w, "fresh", mailbox, 1), want(w, "one", inbox, 0))
		},
		undone: func(w *world) error {
			return errors.Join(want(w, "fresh", mailbox, 0, 1), want(w, "one", inbox, 0, 1))
		},
		always: func(w *world) error { // G9
			if w.in("fresh", mailbox)+w.in("one", inbox) == 0 {
				return errors.New("neither the new message nor the old one is there")
			}
			return nil
		},
	}
}

// secondNames gives each message in INBOX a second name in cur/, with one flag more.
func secondNames(a *Account) error {
	cur := filepath.Join(a.maildir(), "cur")
	entries, err := os.ReadDir(cur)
	for _, e := range entries {
		if err == nil {
			path := filepath.Join(cur, e.Name())
			err = os.Link(path, path+"F")
		}
	}
	return err
}

// mayLose are the messages that an operation is to remove.
var mayLose = map[string]string{"expunge": "one", "expunge of two names": "one", "replace": "one", "replace in another mailbox": "one", "delete mailbox": "old"}

// template makes the account that each walk starts from.
func template(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "alice")
	must(t, Create(dir, nil))
	a, err := Open(dir, nil)
	must(t, err)
	ctx := t.Context()
	must(t, a.CreateMailbox(ctx, "Dest", ""))
	must(t, send(ctx, a, "Dest", "old"))
	m, err := a.Mailbox(ctx, "Dest")
	must(t, err)
	must(t, m.Close())
	for _, subject := range []string{"one", "two", "three"} {
		must(t, send(ctx, a, inbox, subject))
		must(t, within(ctx, a, func(m *Mailbox) error { return nil }))
	}
	must(t, send(ctx, a, inbox, "waiting"))
	must(t, a.Close())
	return dir
}

func examine(t *testing.T, dir string) *world {
	t.Helper()
	a, err := Open(dir, nil)
	must(t, err)
	defer a.Close()
	w := &world{t: t, messages: make(map[string][]found), validity: make(map[string]uint32)}
	list, err := a.Mailboxes(t.Context())
	must(t, err)
	for _, info := range list {
		if !info.Exists {
			continue
		}
		m, err := a.Mailbox(t.Context(), info.Name)
		must(t, err)
		// A message whose file was removed when the operation was cut off is
		// listed until it is sure that it is gone.
		s := syncUntil(t, m, "all messages can be read", func(s *Snapshot) bool {
			for i := range s.Len() {
				c, err := m.Open(t.Context(), s.At(i).UID)
				if errors.Is(err, ErrNoMessage) {
					return false
				}
				must(t, err)
				must(t, c.Close())
			}
			return true
		})
		w.validity[info.Name] = s.UIDValidity()
		for i := range s.Len() {
			msg := s.At(i)
			text := content(t, m, msg.UID)
			subject, _, _ := strings.Cut(strings.TrimPrefix(text, "Subject: "), "\r\n")
			if text != body(subject) { // G1, G3, G6
				t.Errorf("message %d of %s is not whole: %.60q", msg.UID, info.Name, text)
			}
			tag, origin := TagRequire, OriginESMTP
			switch {
			case strings.HasPrefix(subject, "mbox "): // which has no tags
				tag, origin = TagUnknown, OriginUnknown
			case subject == "first" || subject == "second": // imported: no evidence
				origin = OriginUnknown
			}
			if msg.Tag != tag || msg.Origin != origin { // G7
				t.Errorf("%s has the tag %v %v", subject, msg.Tag, msg.Origin)
			}
			w.messages[subject] = append(w.messages[subject], found{info.Name, msg})
		}
		must(t, m.Close())
	}
	return w
}

// check asserts what holds however an operation ended.
func check(t *testing.T, op operation, dir string, err error, before *world) {
	t.Helper()
	crashed := errors.Is(err, faultfs.ErrCrash)
	if err != nil && op.again != nil {
		a, oerr := Open(dir, nil)
		must(t, oerr)
		must(t, errors.Join(op.again(t.Context(), a), a.Close()))
		err = nil
	}
	after := examine(t, dir)
	for subject, was := range before.messages {
		now := after.messages[subject]
		if len(now) == 0 && mayLose[op.name] != subject {
			t.Errorf("%s is lost", subject)
		}
		for _, f := range now { // G5
			for _, g := range was {
				if f.mailbox == g.mailbox && f.Key == g.Key && f.UID != g.UID {
					t.Errorf("%s had UID %d and has %d", subject, g.UID, f.UID)
				}
			}
		}
		counts := make(map[string]int)
		for _, f := range now {
			counts[f.mailbox]++
			if counts[f.mailbox] > 1 { // G3
				t.Errorf("%s is in %s more than once", subject, f.mailbox)
			}
		}
	}
	for mailbox, was := range before.validity {
		if now, ok := after.validity[mailbox]; ok && now != was { // G5
			t.Errorf("%s had UIDVALIDITY %d and has %d", mailbox, was, now)
		}
	}
	verdict := op.done
	switch {
	case errors.Is(err, faultfs.ErrCrash):
		verdict = nil
	case crashed && op.crashed != nil:
		verdict = op.crashed
	case err != nil:
		verdict = op.undone
	}
	if verdict != nil {
		if verr := verdict(after); verr != nil {
			t.Errorf("operation returned %v, but %v", err, verr)
		}
	}
	if op.always != nil {
		if aerr := op.always(after); aerr != nil {
			t.Errorf("operation returned %v, and %v", err, aerr)
		}
	}
	checkUIDs(t, dir, after)
	if left := tree(t, dir).in("tmp"); err == nil && len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// checkUIDs delivers one more message: its UID must be above all others (G5).
func checkUIDs(t *testing.T, dir string, after *world) {
	t.Helper()
	a, err := Open(dir, nil)
	must(t, err)
	defer a.Close()
	must(t, send(t.Context(), a, inbox, "last"))
	m, err := a.Mailbox(t.Context(), inbox)
	must(t, err)
	defer m.Close()
	s := m.Snapshot()
	last := s.At(s.Len() - 1)
	for subject, all := range after.messages {
		for _, f := range all {
			if f.mailbox == inbox && f.UID >= last.UID {
				t.Errorf("%s has UID %d, a later message %d", subject, f.UID, last.UID)
			}
		}
	}
	checkCounters(t, a, inbox)
}

// walk runs op on the account of template and checks it.
func walk(t *testing.T, op operation, broken breaker, after func(*faultfs.FS) error) {
	t.Helper()
	from := template(t)
	before := examine(t, duplicate(t, from))
	walkFrom(t, from, op.run, broken, after, func(dir string, err error) { check(t, op, dir, err, before) })
}

// breaker makes a file system on which call n is broken.
type breaker func(grave string, n int) *faultfs.FS

func failing(errno error) breaker {
	return func(grave string, n int) *faultfs.FS { return faultfs.New(vfs.OS{}, grave, n, errno) }
}

// walkFrom runs an operation on a fresh copy of an account with call n broken, until
// n is beyond its last call; verify looks at what each run has left.
func walkFrom(t *testing.T, from string, run func(context.Context, *Account) error, broken breaker, after func(*faultfs.FS) error, verify func(dir string, err error)) {
	t.Helper()
	first, stride := 1, 1
	if raceDetector {
		stride = 4 // it is slow; the walk without it stops at every call
		first += rand.IntN(stride)
	}
	for n := first; !t.Failed(); n += stride {
		dir := duplicate(t, from)
		ffs := broken(t.TempDir(), n)
		a, err := Open(dir, &Options{fs: ffs})
		if err == nil {
			err = errors.Join(run(t.Context(), a), a.Close())
		}
		hit := ffs.Hit()
		if hit == "" && err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		if after != nil { // without a fault, the power goes right after success
			if lerr := after(ffs); lerr != nil {
				t.Fatalf("fault at %s: %v", hit, lerr)
			}
		}
		if errors.Is(err, ErrNoMailbox) || errors.Is(err, ErrNoAccount) {
			t.Errorf("what cannot be looked at is taken for missing: %v", err)
		}
		verify(dir, err)
		if t.Failed() {
			t.Logf("fault at %s; operation returned %v", hit, err)
		}
		if hit != "" {
			continue
		}
		if n < 5 {
			t.Fatalf("only %d calls: nothing was tested", n)
		}
		t.Logf("%d calls", n-1)
		return
	}
}

// duplicate copies an account.
func duplicate(t *testing.T, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "alice")
	must(t, os.CopyFS(dir, os.DirFS(from)))
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.IsDir() {
			err = os.Chmod(path, 0o700) // CopyFS does not keep modes
		}
		return err
	}))
	return dir
}

// eachFault runs f for each error that a call can return.
func eachFault(t *testing.T, name string, f func(*testing.T, breaker)) {
	errnos := []syscall.Errno{syscall.EIO, syscall.EXDEV, syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EROFS, syscall.EMFILE, syscall.ESTALE}
	if raceDetector {
		errnos = errnos[:2] // it is slow; make soak walks with all of them
	}
	for _, errno := range errnos {
		t.Run(name+"/"+errno.Error(), func(t *testing.T) { f(t, failing(errno)) })
	}
}

// eachCrash runs f for each of some ways in which a disk can forget.
func eachCrash(t *testing.T, name string, f func(*testing.T, breaker, func(*faultfs.FS) error)) {
	r := rand.New(rand.NewPCG(8689, 2033))
	for how, keep := range map[string]func(string, int) int{
		"all that was not synced is lost": func(string, int) int { return 0 },
		"nothing is lost":                 func(_ string, n int) int { return n },
		"some is lost":                    func(_ string, n int) int { return r.IntN(n + 1) },
		"new/ survives, cur/ does not": func(dir string, n int) int {
			if filepath.Base(dir) == "cur" {
				return 0
			}
			return n
		},
	} {
		t.Run(name+"/"+how, func(t *testing.T) {
			f(t, failing(faultfs.ErrCrash), func(ffs *faultfs.FS) error { return ffs.Lose(keep) })
		})
	}
}

func TestFaultWalk(t *testing.T) {
	for _, op := range operations {
		eachFault(t, op.name, func(t *testing.T, broken breaker) { walk(t, op, broken, nil) })
		if op.name != "deliver" && op.name != "append" && op.again == nil && !strings.HasPrefix(op.name, "share") {
			continue
		}
		t.Run(op.name+"/short write", func(t *testing.T) {
			walk(t, op, func(grave string, n int) *faultfs.FS { return faultfs.ShortWrite(vfs.OS{}, grave, n) }, nil)
		})
	}
}

func TestCrashWalk(t *testing.T) {
	for _, op := range operations {
		eachCrash(t, op.name, func(t *testing.T, broken breaker, after func(*faultfs.FS) error) { walk(t, op, broken, after) })
	}
}
