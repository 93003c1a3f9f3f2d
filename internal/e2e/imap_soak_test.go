package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	soakUsers   = 4
	soakClients = 16  // of each user
	soakMost    = 150 // messages in an INBOX, about
)

// TestIMAPSoak has 64 clients of all kinds use rtls-imapd, while other programs
// deliver, flag and delete behind its back: nobody is told what cannot be, all views
// agree with the store in the end, and nothing is left behind in the server.
// RTLS_TEST_IMAP_SOAK says for how long.
func TestIMAPSoak(t *testing.T) {
	length := 30 * time.Second
	if d, err := time.ParseDuration(os.Getenv("RTLS_TEST_IMAP_SOAK")); err == nil {
		length = d
	}
	p := newPKI(t)
	d := startIMAPD(t, p)
	d.login(t, p, "INBOX").ok("LOGOUT") // so that what is kept for good is there
	files := d.openFiles(t)

	s := &soak{t: t, d: d, p: p}
	var users []string
	for u := range soakUsers {
		user := fmt.Sprintf("user%d", u)
		d.sameUser(t, user)
		users = append(users, user)
		for range soakClients {
			n := len(s.clients)
			client := &soakClient{c: d.dial(t, p, nil), user: user, qresync: n%4 == 1}
			client.c.ok("LOGIN %s %q", user, imapPassword)
			if err := client.open(); err != nil {
				t.Fatal(err)
			}
			s.clients = append(s.clients, client)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var work sync.WaitGroup
	for _, user := range users {
		work.Go(func() { s.foreign(ctx, user) })
	}
	for n, client := range s.clients {
		work.Go(func() { s.report(client, s.use(ctx, client, n)) })
	}
	half := time.AfterFunc(length/2, func() { s.halfway.Store(d.memory(t)) })
	defer half.Stop()
	work.Wait()
	if t.Failed() {
		return
	}
	for _, client := range s.clients {
		s.settle(client)
	}
	full := d.memory(t)
	for _, client := range s.clients {
		client.c.conn.Close()
	}
	s.quiet(files)
	before, _ := s.halfway.Load().(int)
	t.Logf("%d commands of %d clients in %s; %d and %d KiB of memory", s.commands(), len(s.clients), length, before, full)
	if before > 0 && full > before*3/2+100<<10 {
		t.Errorf("memory grows from %d to %d KiB", before, full)
	}
	s.noSessions()
}

type soak struct {
	t       *testing.T
	d       *imapd
	p       *pki
	clients []*soakClient
	halfway atomic.Value // KiB of memory
}

func (s *soak) report(c *soakClient, err error) {
	if err != nil {
		s.t.Errorf("%s, QRESYNC %t: %v", c.user, c.qresync, err)
	}
}

func (s *soak) commands() (n int) {
	for _, c := range s.clients {
		n += c.tags
	}
	return n
}

// use is one client's day. What it does, and whether it deletes, depends on n.
func (s *soak) use(ctx context.Context, c *soakClient, n int) error {
	for ctx.Err() == nil {
		if err := c.learn(); err != nil {
			return err
		}
		var err error
		switch n % 8 {
		case 0:
			err = s.idle(c)
		case 1:
			err = c.again()
		case 2, 5:
			err = s.flag(c)
		case 3:
			err = s.read(c)
		case 4:
			err = s.upload(c)
		case 6:
			err = s.tidy(c)
		case 7:
			err = s.search(c)
		}
		if err == nil {
			_, err = c.do(true, "NOOP")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// any is a UID of the view, or 0.
func (c *soakClient) any() uint32 {
	if len(c.uids) == 0 {
		return 0
	}
	return c.uids[rand.IntN(len(c.uids))]
}

func (s *soak) idle(c *soakClient) error {
	c.tags++
	tag := fmt.Sprintf("s%d", c.tags)
	if _, err := io.WriteString(c.c.conn, tag+" IDLE\r\n"); err != nil {
		return err
	}
	// A sign of news, or none for a while, ends it.
	for range 2 {
		_ = c.c.conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.c.r.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		line, err := c.c.tryRead()
		if err != nil {
			return err
		}
		if err := c.take(line, true); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(c.c.conn, "DONE\r\n"); err != nil {
		return err
	}
	_, err := c.until(tag, true)
	return err
}

func (s *soak) flag(c *soakClient) error {
	op := []string{"+FLAGS", "-FLAGS"}[rand.IntN(2)]
	flag := []string{`\Seen`, `\Flagged`, `\Answered`}[rand.IntN(3)]
	if len(c.uids) > 0 && rand.IntN(2) == 0 {
		_, err := c.do(false, "STORE %d %s (%s)", 1+rand.IntN(len(c.uids)), op, flag)
		return err
	}
	if uid := c.any(); uid != 0 {
		_, err := c.do(true, "UID STORE %d %s (%s)", uid, op, flag)
		return err
	}
	return nil
}

// read fetches a message, which has to be whole.
func (s *soak) read(c *soakClient) error {
	uid := c.any()
	if uid == 0 {
		return nil
	}
	lines, err := c.do(true, "UID FETCH %d (UID FLAGS BODYSTRUCTURE BODY.PEEK[])", uid)
	for _, line := range lines {
		if strings.Contains(line, "BODY[]") && !strings.Contains(line, "the end.\r\n") {
			return fmt.Errorf("a message is not whole: %.300q", line)
		}
	}
	return err
}

func (s *soak) upload(c *soakClient) error {
	if len(c.uids) > soakMost {
		return nil
	}
	text := soakText("uploaded")
	_, err := c.do(true, "APPEND INBOX (\\Draft) {%d+}\r\n%s", len(text), text)
	return err
}

func (s *soak) tidy(c *soakClient) error {
	uid := c.any()
	if uid == 0 || len(c.uids) < soakMost/3 {
		return nil
	}
	switch rand.IntN(3) {
	case 0:
		if _, err := c.do(true, "UID COPY %d INBOX", uid); err != nil {
			return err
		}
	case 1:
		_, err := c.do(true, "UID MOVE %d INBOX", uid)
		return err
	}
	if _, err := c.do(true, `UID STORE %d +FLAGS.SILENT (\Deleted)`, uid); err != nil {
		return err
	}
	if c.flags[uid] != "" || slices.Contains(c.uids, uid) { // .SILENT says nothing of what it did
		c.flags[uid] = soakPlain(c.flags[uid] + ` \Deleted`)
	}
	_, err := c.do(true, "EXPUNGE")
	return err
}

func (s *soak) search(c *soakClient) error {
	for _, command := range []string{"SEARCH TEXT end", "SORT (REVERSE DATE SUBJECT) UTF-8 UNSEEN", "THREAD REFERENCES UTF-8 ALL", "SEARCH RETURN (SAVE COUNT) FLAGGED", "FETCH 1:* (FLAGS UID)"} {
		if strings.HasPrefix(command, "FETCH") && len(c.uids) == 0 {
			continue
		}
		if _, err := c.do(false, "%s", command); err != nil {
			return err
		}
	}
	return nil
}

var soakNumbers atomic.Int64

func soakText(what string) string {
	n := soakNumbers.Add(1)
	return fmt.Sprintf("From: soak@example.com\r\nSubject: %s %d\r\nMessage-ID: <%[2]d@soak>\r\nDate: Sat, 14 Mar 2026 15:09:26 +0000\r\n\r\n%s\r\nthe end.\r\n", what, n, strings.Repeat("wave ", int(n%500)))
}

// foreign delivers, flags and deletes as other programs on a Maildir do: by renaming
// and removing files.
func (s *soak) foreign(ctx context.Context, user string) {
	dir := s.d.path("mail/" + user + "/Maildir")
	for n := 0; ctx.Err() == nil; n++ {
		names, err := filepath.Glob(filepath.Join(dir, "cur", "*"))
		if err != nil {
			s.t.Error(err)
			return
		}
		if len(names) < soakMost {
			temp := filepath.Join(dir, "tmp", fmt.Sprintf("1.%d.foreign", n))
			if err := os.WriteFile(temp, []byte(soakText("delivered")), 0o600); err != nil {
				s.t.Error(err)
				return
			}
			if err := os.Rename(temp, filepath.Join(dir, "new", fmt.Sprintf("%d.M%dP1.foreign", time.Now().Unix(), n))); err != nil {
				s.t.Error(err)
				return
			}
		}
		if len(names) > 0 { // races are lost by anybody: no error counts
			name := names[rand.IntN(len(names))]
			base, flags, _ := strings.Cut(name, ":2,")
			switch {
			case n%7 == 0 && len(names) > soakMost/3:
				_ = os.Remove(name)
			case strings.Contains(flags, "F"):
				_ = os.Rename(name, base+":2,"+strings.ReplaceAll(flags, "F", ""))
			case !strings.ContainsAny(flags, "RST"):
				_ = os.Rename(name, base+":2,"+flags+"F")
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // the pace of the others
		}
	}
}

// settle waits until a client's view is the store's.
func (s *soak) settle(c *soakClient) {
	var err error
	for deadline := time.Now().Add(imapTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err = c.do(true, "NOOP"); err == nil {
			err = c.learn()
		}
		if err != nil {
			break
		}
		if err = c.agrees(s.d.storedOf(s.t, c.user, "INBOX")); err == nil {
			return
		}
	}
	s.t.Errorf("%s, QRESYNC %t: %v", c.user, c.qresync, err)
}

// openFiles is how many files and sockets the server has.
func (d *imapd) openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

var soakRSS = regexp.MustCompile(`VmRSS:\s*(\d+) kB`)

// memory is what the server has, in KiB, or 0.
func (d *imapd) memory(t *testing.T) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	m := soakRSS.FindSubmatch(text)
	if err != nil || m == nil {
		t.Errorf("memory: %v", err)
		return 0
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// quiet waits until all sessions have ended, and the server has no more files open
// than before. It keeps an account open for a minute after its last session.
func (s *soak) quiet(files int) {
	var now, ended int
	for deadline := time.Now().Add(2 * imapTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		log, _ := s.d.log.now()
		now, ended = s.d.openFiles(s.t), strings.Count(log, "msg=disconnect")
		if now <= files+2 && ended > len(s.clients) { // the poller's; the first client
			return
		}
	}
	s.t.Errorf("%d files are open, %d were before; %d sessions have ended", now, files, ended)
}

// noSessions has the server say what all its goroutines do, which ends it.
func (s *soak) noSessions() {
	s.d.checked = true
	if err := s.d.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		s.t.Fatal(err)
	}
	<-s.d.ended
	text, _ := s.d.log.now()
	log, dump, _ := strings.Cut(text, "SIGQUIT: quit")
	if imapTrouble.MatchString(log) {
		s.t.Errorf("%s", log)
	}
	for _, word := range []string{"imap/session.", "server.(*conn)"} {
		if strings.Contains(dump, word) {
			s.t.Errorf("goroutines of sessions are left:\n%s", dump)
		}
	}
	if n := strings.Count(dump, "\ngoroutine "); n == 0 || n > 40 {
		s.t.Errorf("%d goroutines:\n%s", n, dump)
	}
}
