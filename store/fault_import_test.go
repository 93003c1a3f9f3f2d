package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rtls/store/internal/faultfs"
)

// The walks of fault_test.go, for what comes from elsewhere and what goes there.

// importOperation checks an import of one message of each subject into the mailbox
// that is named with it. What was not imported must not be there when the import
// returns an error, and nothing must ever be there twice.
func importOperation(into map[string]string, run func(context.Context, *Account) (Imported, error)) operation {
	n := 0
	total := func(w *world) (sum int) {
		for subject, mailbox := range into {
			sum += w.in(subject, mailbox)
		}
		return sum
	}
	return operation{
		run: func(ctx context.Context, a *Account) error {
			done, err := run(ctx, a)
			n = done.Added + done.Known
			return err
		},
		done: func(w *world) error {
			if n != len(into) || total(w) != n {
				return fmt.Errorf("%d imported, %d there, of %d", n, total(w), len(into))
			}
			return nil
		},
		undone: func(w *world) error {
			if got := total(w); got != n {
				return fmt.Errorf("%d imported, %d there", n, got)
			}
			return nil
		},
		always: func(w *world) error {
			for subject, mailbox := range into {
				if err := want(w, subject, mailbox, 0, 1); err != nil {
					return err
				}
			}
			if got := total(w); got < n { // G1: they had been counted
				return fmt.Errorf("%d imported, %d there", n, got)
			}
			return nil
		},
	}
}

// repeated is an import that is made once more after it failed or was cut off: then all
// is there once.
func repeated(op operation) operation {
	op.again = op.run
	return op
}

func importMbox() operation {
	var mbox strings.Builder
	into := make(map[string]string)
	for i := range 2 {
		subject := fmt.Sprintf("mbox %d", i)
		into[subject] = inbox
		mbox.WriteString("From bob@example.com Mon Jan  2 15:04:05 2006\nStatus: RO\nX-Keywords: work\n")
		mbox.WriteString(strings.ReplaceAll(body(subject), "\r\n", "\n") + "\n")
	}
	return importOperation(into, func(ctx context.Context, a *Account) (Imported, error) {
		return a.ImportMbox(ctx, inbox, Mbox{Reader: strings.NewReader(mbox.String())}, ImportReport{})
	})
}

// importMaildir imports the Maildir of another account, which has a folder.
func importMaildir(t *testing.T) operation {
	other := newTestAccount(t)
	for subject, mailbox := range map[string]*Mailbox{"first": openMailbox(t, other, inbox), "second": makeMailbox(t, other, "Sub")} {
		appendText(t, mailbox, body(subject), Meta{Tag: TagRequire, Origin: OriginESMTP, Flags: Seen, Keywords: []string{"work"}})
	}
	return importOperation(map[string]string{"first": inbox, "second": "Sub"}, func(ctx context.Context, a *Account) (Imported, error) {
		return a.ImportMaildir(ctx, inbox, other.maildir(), ImportReport{})
	})
}

// exportMaildir exports to a directory of its own each time. An export that was cut
// off can be made once more, and then everything is there once.
func exportMaildir(t *testing.T) operation {
	out := ""
	export := func(ctx context.Context, a *Account) error {
		out = cmp.Or(out, filepath.Join(t.TempDir(), "out"))
		return a.ExportMaildir(ctx, inbox, out, nil)
	}
	whole := func() (map[string]int, error) {
		count := make(map[string]int)
		for _, path := range tree(t, out) {
			if dir := filepath.Base(filepath.Dir(path)); dir != "cur" && dir != "new" {
				continue
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			subject, _, _ := strings.Cut(strings.TrimPrefix(string(raw), "Subject: "), "\r\n")
			if string(raw) != body(subject) {
				return nil, fmt.Errorf("%s is not whole", path)
			}
			if p := parseName(filepath.Base(path)); p.tag != TagRequire || p.origin != OriginESMTP { // G7
				return nil, fmt.Errorf("%s has lost its tag", path)
			}
			count[subject]++
		}
		return count, nil
	}
	return operation{
		run: func(ctx context.Context, a *Account) error {
			out = ""
			return export(ctx, a)
		},
		again: export,
		done: func(*world) error {
			count, err := whole()
			if err != nil {
				return err
			}
			for _, subject := range []string{"one", "two", "three", "waiting"} {
				if count[subject] != 1 {
					return fmt.Errorf("%s was exported %d times", subject, count[subject])
				}
			}
			return nil
		},
	}
}

// importOperations make the operations anew for each walk: they keep count.
var importOperations = map[string]func(*testing.T) operation{
	"import mbox":    func(*testing.T) operation { return importMbox() },
	"import Maildir": importMaildir,
	"export Maildir": exportMaildir,
}

func TestFaultWalkImport(t *testing.T) {
	for name, op := range importOperations {
		eachFault(t, name, func(t *testing.T, broken breaker) { walk(t, op(t), broken, nil) })
	}
}

func TestCrashWalkImport(t *testing.T) {
	operations := maps.Clone(importOperations)
	operations["import mbox, again"] = func(*testing.T) operation { return repeated(importMbox()) }
	operations["import Maildir, again"] = func(t *testing.T) operation { return repeated(importMaildir(t)) }
	for name, op := range operations {
		eachCrash(t, name, func(t *testing.T, broken breaker, after func(*faultfs.FS) error) { walk(t, op(t), broken, after) })
	}
}

// checkTakenOver opens an INBOX that was Dovecot's, whatever befell an earlier
// opening: all messages are there once, those in the list with Dovecot's UIDs, the
// others above them, and it stays like that.
func checkTakenOver(t *testing.T, dir string) {
	t.Helper()
	listed := map[Key]uint32{"100.a": 5, "30.c": 25006, "20.b": 25010, "40.new": 25012}
	before := ""
	for range 2 {
		a, err := Open(dir, nil)
		must(t, err)
		m, err := a.Mailbox(t.Context(), inbox)
		must(t, err)
		s := see(t, m)
		if s.Len() != 6 || s.UIDValidity() != 1275660208 || m.ObjectID() != dovecotGUID {
			t.Errorf("UIDVALIDITY %d, identifier %s: %s", s.UIDValidity(), m.ObjectID(), describe(s))
		}
		for i := range s.Len() {
			msg := s.At(i)
			if uid, ok := listed[msg.Key]; ok && msg.UID != uid || !ok && msg.UID < 25022 {
				t.Errorf("%s has UID %d", msg.Key, msg.UID)
			}
			if msg.Tag != TagUnknown {
				t.Errorf("%s has the tag %s", msg.Key, msg.Tag)
			}
			content(t, m, msg.UID)
		}
		now := uidsByKey(s)
		if before != "" && now != before {
			t.Errorf("UIDs were %s and are %s", before, now)
		}
		before = now
		must(t, errors.Join(m.Close(), a.Close()))
	}
}

func takeOver(ctx context.Context, a *Account) error {
	return within(ctx, a, func(*Mailbox) error { return nil })
}

func TestFaultWalkTakeOver(t *testing.T) {
	from := dovecotAccount(t, dovecotFiles)
	eachFault(t, "take over", func(t *testing.T, broken breaker) {
		walkFrom(t, from, takeOver, broken, nil, func(dir string, _ error) { checkTakenOver(t, dir) })
	})
}

func TestCrashWalkTakeOver(t *testing.T) {
	from := dovecotAccount(t, dovecotFiles)
	eachCrash(t, "take over", func(t *testing.T, broken breaker, after func(*faultfs.FS) error) {
		walkFrom(t, from, takeOver, broken, after, func(dir string, _ error) { checkTakenOver(t, dir) })
	})
}
