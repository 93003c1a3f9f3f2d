package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rtls/store"
)

// mixedSite is an account into whose Maildir several programs deliver, as a user
// who may be another than that of the test: Dovecot does nothing for root.
type mixedSite struct {
	dir     string
	account string
	maildir string
	as      *syscall.Credential // nil: the test's own
}

func newMixedSite(t *testing.T) *mixedSite {
	t.Helper()
	// Not t.TempDir, which others cannot enter.
	dir, err := os.MkdirTemp("", "rtls-mixed-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := makeMailHost(t, dir)
	s := &mixedSite{dir: dir, account: filepath.Join(h.root, "alice")}
	s.maildir = filepath.Join(s.account, "Maildir")
	if err := store.Create(s.account, nil); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"dovecot.conf": "base_dir = " + dir + "/run\nlog_path = " + dir + "/dovecot.log\nmail_location = maildir:" + s.maildir +
			"\npostmaster_address = postmaster@example.org\nhostname = mx.example.org\nssl = no\n",
		"procmailrc": "MAILDIR=" + dir + "\nDEFAULT=" + s.maildir + "/\nLOGFILE=" + dir + "/procmail.log\n",
		"mailfilter": "to \"" + s.maildir + "\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	copyLDA(t, dir, 0o700)
	if os.Getuid() == 0 {
		s.handOver(t, "nobody")
	}
	return s
}

// handOver makes another user the owner of everything.
func (s *mixedSite) handOver(t *testing.T, name string) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	err = filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(path, uid, gid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// program makes a deliverer of a command that reads a message from standard input.
func (s *mixedSite) program(name string, args ...string) func(context.Context, string) error {
	return func(ctx context.Context, message string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = s.dir
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "USER=alice", "LOGNAME=alice"}, quickExit...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
		cmd.Stdin = strings.NewReader(message)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s, which make setup installs: %w\n%s", name, err, out)
		}
		return nil
	}
}

// library delivers without a program.
func (s *mixedSite) library(ctx context.Context, message string) error {
	a, err := store.Open(s.account, nil)
	if err != nil {
		return err
	}
	defer a.Close()
	d, err := a.Deliver(ctx, "INBOX")
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.WriteString(d, message); err != nil {
		return err
	}
	_, err = d.Commit(store.Meta{Tag: store.TagRequire, Origin: store.OriginESMTP})
	return err
}

// mixedLedger is what is known of the deliveries, by subject.
type mixedLedger struct {
	mu    sync.Mutex
	acked []string
	uids  map[string]uint32
	texts map[uint32]string // subject by UID
}

func (l *mixedLedger) known() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked)
}

// judge holds a snapshot against what had been acknowledged before it was made.
func (l *mixedLedger) judge(ctx context.Context, m *store.Mailbox, s *store.Snapshot, before []string) error {
	here := make(map[string]bool)
	for i := range s.Len() {
		msg := s.At(i)
		subject := l.texts[msg.UID]
		if subject == "" {
			var err error
			if subject, err = subjectOf(ctx, m, msg.UID); err != nil {
				return err
			}
			l.texts[msg.UID] = subject
		}
		if uid, ok := l.uids[subject]; ok && uid != msg.UID {
			return fmt.Errorf("%s has the UIDs %d and %d", subject, uid, msg.UID)
		}
		l.uids[subject] = msg.UID
		here[subject] = true
		who, _, _ := strings.Cut(subject, " ")
		if got := msg.Tag.String() + "/" + msg.Origin.String(); got != mixedTags[who] {
			return fmt.Errorf("%s has the tag %s", subject, got)
		}
	}
	for _, subject := range before {
		if !here[subject] {
			return fmt.Errorf("%s was acknowledged and is not listed", subject)
		}
	}
	return nil
}

func subjectOf(ctx context.Context, m *store.Mailbox, uid uint32) (string, error) {
	c, err := m.Open(ctx, uid)
	if err != nil {
		return "", err
	}
	defer c.Close()
	msg, err := mail.ReadMessage(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(msg.Body)
	if err == nil && strings.TrimSpace(string(text)) != "end of "+msg.Header.Get("Subject") {
		err = fmt.Errorf("message %d is not whole: %q", uid, text)
	}
	return msg.Header.Get("Subject"), err
}

// mixedTags are the tags of those that say one, and what is to be thought of others'.
var mixedTags = map[string]string{
	"library": "require/esmtp", "rtls-lda": "require/mda",
	"dovecot-lda": "unknown/unknown", "procmail": "unknown/unknown", "maildrop": "unknown/unknown",
}

// flip sets and clears flags, half of the time as another mail reader does it, until
// ctx ends.
func (s *mixedSite) flip(ctx context.Context, m *store.Mailbox) error {
	for ctx.Err() == nil {
		snapshot := m.Snapshot()
		if snapshot.Len() == 0 {
			if _, err := m.Sync(ctx); err != nil && ctx.Err() == nil {
				return err
			}
			continue
		}
		if rand.IntN(2) == 0 {
			uid := snapshot.At(rand.IntN(snapshot.Len())).UID
			op := []store.FlagOp{store.FlagsAdd, store.FlagsRemove}[rand.IntN(2)]
			if _, err := m.SetFlags(ctx, store.FlagChange{UIDs: []uint32{uid}, Op: op, Flags: store.Flagged}); err != nil && ctx.Err() == nil {
				return err
			}
			continue
		}
		names, err := filepath.Glob(filepath.Join(s.maildir, "cur", "*"))
		if err != nil {
			return err
		}
		if len(names) == 0 {
			continue
		}
		from := names[rand.IntN(len(names))]
		base, info, _ := strings.Cut(from, ":2,")
		to := base + ":2,T"
		if strings.Contains(info, "T") {
			to = base + ":2,"
		}
		_ = os.Rename(from, to) // it loses races, as any mail reader does
	}
	return nil
}

// open opens INBOX as another process would.
func (s *mixedSite) open(t *testing.T) *store.Mailbox {
	t.Helper()
	a, err := store.Open(s.account, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Dovecot, procmail, maildrop and two of ours deliver into one Maildir at once,
// while a mailbox is read and flags come and go: what was acknowledged is there from
// then on, whole, once, under one UID, and nobody's message has somebody else's tag.
func TestMixedDelivery(t *testing.T) {
	s := newMixedSite(t)
	const workers, each = 2, 30
	deliverers := map[string]func(context.Context, string) error{
		"library":     s.library,
		"rtls-lda":    s.program("./rtls-lda", "--config", filepath.Join(s.dir, "rtls.toml"), "-d", "alice", "-f", "bob@example.org", "--requiretls"),
		"dovecot-lda": s.program("/usr/lib/dovecot/dovecot-lda", "-c", filepath.Join(s.dir, "dovecot.conf"), "-f", "bob@example.org"),
		"procmail":    s.program("procmail", "-m", filepath.Join(s.dir, "procmailrc")),
		"maildrop":    s.program("maildrop", filepath.Join(s.dir, "mailfilter")),
	}
	l := &mixedLedger{uids: make(map[string]uint32), texts: make(map[uint32]string)}
	reading, flipping := s.open(t), s.open(t)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var others, delivering sync.WaitGroup
	others.Go(func() {
		if err := s.flip(ctx, flipping); err != nil {
			t.Errorf("flag flipper: %v", err)
		}
	})
	looks := 0
	others.Go(func() {
		for ; ctx.Err() == nil; looks++ {
			before := l.known()
			snapshot, err := reading.Sync(ctx)
			if err == nil {
				err = l.judge(ctx, reading, snapshot, before)
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("reader: %v", err)
				cancel()
			}
		}
	})
	for name, deliver := range deliverers {
		for w := range workers {
			delivering.Go(func() {
				for n := 0; n < each && ctx.Err() == nil; n++ {
					subject := fmt.Sprintf("%s %d.%d", name, w, n)
					err := deliver(ctx, "From: bob@example.org\nSubject: "+subject+"\n\nend of "+subject+"\n")
					if err != nil {
						if ctx.Err() == nil {
							t.Errorf("%s: %v", subject, err)
							cancel()
						}
						return
					}
					l.mu.Lock()
					l.acked = append(l.acked, subject)
					l.mu.Unlock()
				}
			})
		}
	}
	delivering.Wait()
	cancel()
	others.Wait()
	if t.Failed() {
		return
	}

	m := s.open(t)
	snapshot, err := m.Sync(t.Context())
	if err == nil {
		err = l.judge(t.Context(), m, snapshot, l.acked)
	}
	if err != nil {
		t.Error(err)
	}
	files, _ := filepath.Glob(filepath.Join(s.maildir, "[cn][ue][rw]", "*")) // cur and new
	if all := len(deliverers) * workers * each; len(l.acked) != all || snapshot.Len() != all || len(files) != all {
		t.Errorf("%d delivered, %d acknowledged, %d listed, %d files", all, len(l.acked), snapshot.Len(), len(files))
	}
	t.Logf("%d messages, looked at %d times meanwhile", len(l.acked), looks)
	if looks < 10 {
		t.Error("there was not enough going on")
	}
}
