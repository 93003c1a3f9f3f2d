package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"rtls/internal/auth"
	"rtls/internal/imap/session"
	"rtls/store"
)

// openDoor is a session.Backend that lets everybody in.
type openDoor struct{ account *store.Account }

func (openDoor) Mechanisms() []string { return []string{auth.Plain, auth.PlainTwo} }

func (openDoor) Password(_ context.Context, user, _ string) (auth.Login, error) {
	return auth.Login{User: user}, nil
}

func (b openDoor) Start(mechanism string) auth.Exchange { return auth.NewPlain(mechanism, b.Password) }

func (b openDoor) Open(context.Context, string, string) (session.Opened, error) {
	return session.Opened{Account: b.account, Release: func() {}}, nil
}

// Whatever a client says, in whatever state: each command gets one tagged reply,
// its own, or the connection ends with BYE; literals are never run as commands, and
// nothing panics. With TMPDIR in memory it runs several times as fast:
//
//	TMPDIR=/dev/shm go test ./internal/imap/server -run '^$' -fuzz FuzzSession
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"AUTHENTICATE LOGIN YQ==\nYg==", "AUTHENTICATE LOGIN\n*",
		"FETCH 1:* (FLAGS BODY[])\nFETCH 2 FULL", "UID FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[1.MIME]<0.5> BINARY[1])", "STORE 1 +FLAGS (\\Deleted x)\nEXPUNGE",
		"SEARCH RETURN (SAVE) OR TEXT a NOT 1\nCOPY $ INBOX\nMOVE $ INBOX", "APPEND INBOX (\\Seen) {3+}\nAPPEND INBOX {3}", "LIST (SUBSCRIBED) \"\" (a *) RETURN (STATUS (MESSAGES))",
		"CREATE a/b\nDELETE a\nRENAME a c\nSUBSCRIBE c\nLSUB \"\" %", "ENABLE QRESYNC IMAP4rev2\nSELECT INBOX (QRESYNC (1 1))\nUID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)",
		"ENABLE METADATA\nSETMETADATA INBOX (/private/comment {3+}\nGETMETADATA INBOX (DEPTH infinity MAXSIZE 1) (/private /shared)", "LIST \"\" * RETURN (METADATA (/shared/vendor/rtls/requiretls))",
		"FETCH 1:* SAVEDATE\nSEARCH SAVEDSINCE 1-Jan-2020",
		"APPEND INBOX CATENATE (URL /INBOX/;UID=1/;SECTION=HEADER TEXT {3+}\nREPLACE 1 INBOX CATENATE (URL /;UID=2/;SECTION=1)\nAPPEND INBOX CATENATE (URL x) CATENATE (TEXT {3}",
		"IDLE\nNOOP", "AUTHENTICATE PLAIN\nLOGIN a b", "STATUS INBOX (SIZE)\nUNAUTHENTICATE", "CLOSE\nLOGOUT", "x {5+}", "x {999999+}", "\"{99999999999+}", "ID NIL\nCAPABILITY", "SEARCH SUBJECT {5}", "UID STORE 1 (UNCHANGEDSINCE 1) FLAGS ()",
		"SORT RETURN (UPDATE (UID ENVELOPE) ALL) (SUBJECT) UTF-8 UNSEEN\nSEARCH RETURN (UPDATE COUNT) 2:*\nSTORE 1:2 +FLAGS (\\Seen \\Deleted)\nEXPUNGE\nAPPEND INBOX {3+}\nNOOP\nCANCELUPDATE \"t0\"", "NOTIFY SET STATUS (selected (MessageNew (UID ENVELOPE) MessageExpunge FlagChange)) (personal (MailboxName SubscriptionChange MessageNew MessageExpunge MailboxMetadataChange))\nAPPEND INBOX {3+}\nCREATE x\nRENAME x y\nSTORE 1 +FLAGS (\\Deleted)\nEXPUNGE\nUNSELECT\nCREATE z\nIDLE\nNOTIFY NONE", "NOTIFY SET (selected-delayed (MessageNew MessageExpunge)) (mailboxes (INBOX y) NONE)\nSELECT INBOX\nNOOP\nUNAUTHENTICATE\nNOTIFY SET (x",
		"ESEARCH IN (selected personal subtree-one x) RETURN (ALL SAVE) TEXT a\nESEARCH 1:* NOT RECENT\nESEARCH IN (mailboxes INBOX) $",
	} {
		for state := range fuzzStates {
			f.Add(uint8(state), []byte(seed))
		}
	}
	pool := fuzzAccounts{root: f.TempDir()}
	f.Fuzz(func(t *testing.T, state uint8, input []byte) {
		c := startFuzz(t, pool.take(t))
		for i, line := range fuzzStates[int(state)%len(fuzzStates)] {
			if !c.command(fmt.Sprintf("p%d", i), line) {
				t.Fatal("no login")
			}
		}
		for i, line := range strings.Split(string(input), "\n") {
			if i == 60 || !c.command(fmt.Sprintf("t%d", i), strings.ReplaceAll(line, "\r", "")) {
				return
			}
		}
		c.command("end", "NOOP")
	})
}

// fuzzStates are what leads to each state of a session, and to each that an extension
// makes of it.
var fuzzStates = [][]string{
	{},
	{"LOGIN a b"},
	{"LOGIN a b", "SELECT INBOX"},
	{"LOGIN a b", "EXAMINE INBOX"},
	{"LOGIN a b", "ENABLE IMAP4rev2", "SELECT INBOX"},
	{"LOGIN a b", "ENABLE QRESYNC", "SELECT INBOX"},
	{"LOGIN a b", "ENABLE UIDONLY UTF8=ACCEPT", "SELECT INBOX"},
	{"LOGIN a b", "SELECT INBOX", "SEARCH RETURN (SAVE) ALL", "UNSELECT"},
	{"LOGIN a b", "SELECT INBOX", "DELETE INBOX", "UNAUTHENTICATE"},
	{"LOGIN a b", "ENABLE METADATA QRESYNC", "NOTIFY SET STATUS (selected (MessageNew (UID) MessageExpunge FlagChange)) (personal (MailboxName SubscriptionChange MessageNew MessageExpunge FlagChange MailboxMetadataChange ServerMetadataChange))", "SELECT INBOX"},
	{"LOGIN a b", "SELECT INBOX", "SEARCH RETURN (UPDATE COUNT ALL) ALL", "SORT RETURN (UPDATE ALL PARTIAL 1:2) (REVERSE SUBJECT) UTF-8 ALL"},
}

// fuzzAccounts gives an account to one run after the other, and a new one only where a
// run has changed it: to make one takes longer than most runs.
type fuzzAccounts struct {
	root     string         // of a directory in which they are
	template string         // one that was made, and is copied; empty before the first run
	state    string         // of that
	account  *store.Account // nil: the next run takes a new one
}

// take returns an account that is as makeFuzzAccount makes it, and was opened before.
func (p *fuzzAccounts) take(t *testing.T) *store.Account {
	if p.template == "" {
		p.template = filepath.Join(p.root, "template")
		account := makeFuzzAccount(t, p.template)
		p.state = fuzzState(t, account)
		if err := account.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(p.root, "alice")
	if p.account == nil {
		copyAccount(t, dir, p.template)
		var err error
		if p.account, err = store.Open(dir, &store.Options{Keep: 1}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // runs behind the end of the session, which is registered later
		if !t.Failed() && fuzzState(t, p.account) == p.state {
			return
		}
		if err := p.account.Close(); err != nil {
			t.Error(err)
		}
		p.account = nil
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return p.account
}

// copyAccount copies an account that is not open. os.CopyFS would have others read it.
func copyAccount(t *testing.T, to, from string) {
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		target := to + strings.TrimPrefix(path, from)
		if err != nil || e.IsDir() {
			return errors.Join(err, os.Mkdir(target, 0o700))
		}
		content, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(target, content, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fuzzState tells an account that was changed from one that was not.
func fuzzState(t *testing.T, account *store.Account) string {
	ctx := context.Background() // that of t has ended
	infos, err := account.Mailboxes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, changes := account.MetadataChanges(0)
	state := fmt.Sprint(infos, changes)
	for _, info := range infos {
		if !info.Exists {
			continue
		}
		box, err := account.Mailbox(ctx, info.Name)
		if err != nil {
			t.Fatal(err)
		}
		snap := box.Snapshot()
		state += fmt.Sprint(" ", snap.UIDValidity(), snap.UIDNext(), snap.HighestModSeq())
		if err := box.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

func newFuzzAccount(t *testing.T) *store.Account {
	account := makeFuzzAccount(t, filepath.Join(t.TempDir(), "alice"))
	t.Cleanup(func() { account.Close() })
	return account
}

func makeFuzzAccount(t *testing.T, dir string) *store.Account {
	if err := store.Create(dir, nil); err != nil {
		t.Fatal(err)
	}
	account, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, account: account}
	for _, raw := range []string{message(1), structured, nasty["empty multipart"]} {
		s.deliver("INBOX", raw, store.Meta{})
	}
	return account
}

// fuzzClient speaks with a session over a pipe: TLS would only take time.
type fuzzClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

const (
	fuzzAppendLimit = 1 << 12
	fuzzMaxLiteral  = 2 << 20 // more than any that a server with this limit takes
)

func startFuzz(t *testing.T, account *store.Account) *fuzzClient {
	here, there := net.Pipe()
	log := &logBuffer{}
	s := session.New(&session.Config{
		Hostname: "localhost", Backend: openDoor{account}, Logger: slog.New(slog.NewTextHandler(log, nil)),
		AppendLimit: fuzzAppendLimit, MaxFailures: 3, MaxFollowed: 2,
		LoginTimeout: time.Minute, IdleTimeout: time.Minute, DataTimeout: time.Minute, WriteTimeout: time.Minute, KeepAlive: time.Minute, ProgressEvery: time.Minute, SearchTimeout: time.Minute,
	}, there)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer there.Close()
		_ = s.Run(t.Context())
	}()
	t.Cleanup(func() {
		here.Close()
		<-done
		if strings.Contains(log.String(), "msg=panic") {
			t.Errorf("panic:\n%s", log)
		}
	})
	_ = here.SetDeadline(time.Now().Add(time.Minute))
	c := &fuzzClient{t, here, bufio.NewReader(here)}
	if _, err := c.r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return c
}

// write does not wait: the server may answer before it has read everything.
func (c *fuzzClient) write(s string) {
	go io.WriteString(c.conn, s) // ends at the latest when the connection is closed
}

var announced = regexp.MustCompile(`\{(\d+)(\+?)\}$`)

// evil is what a literal holds: commands, if it is taken for them.
func evil(n int) string {
	return strings.Repeat("\r\nt0 NOOP\r\nend NOOP\r\n", n/21+1)[:n]
}

// command sends a command and reads up to its reply. It returns false when the
// connection has ended, which has to be announced.
func (c *fuzzClient) command(tag, line string) bool {
	size := 0
	sent := tag + " " + line + "\r\n"
	m := announced.FindStringSubmatch(line)
	if m != nil {
		var err error
		if size, err = strconv.Atoi(m[1]); err != nil || size > fuzzMaxLiteral {
			size = fuzzMaxLiteral // the server does not wait for the rest
		}
		if m[2] == "+" {
			sent += evil(size) + "\r\n"
			m = nil
		}
	}
	c.write(sent)
	for {
		got, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%q: the connection ends without BYE: %q, %v", line, got, err)
		}
		switch {
		case strings.HasPrefix(got, "+"):
			if m != nil {
				c.write(evil(size) + "\r\n")
				m = nil
			} else {
				c.write("DONE\r\n")
			}
		case strings.HasPrefix(got, "* BYE"):
			c.drained(tag)
			return false
		case strings.HasPrefix(got, tag+" "):
			return true
		case strings.HasPrefix(got, "* "):
			c.skipLiterals(got)
		default:
			c.t.Fatalf("%q: neither an untagged response nor the reply to %s: %q", line, tag, got)
		}
	}
}

// drained reads to the end: after BYE there is at most the reply to LOGOUT.
func (c *fuzzClient) drained(tag string) {
	rest, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatal(err)
	}
	if lines := bytes.Count(rest, []byte("\n")); lines > 1 || lines == 1 && !bytes.HasPrefix(rest, []byte(tag+" OK ")) {
		c.t.Fatalf("after BYE comes %q", rest)
	}
}

func (c *fuzzClient) skipLiterals(line string) {
	for {
		m := announced.FindStringSubmatch(strings.TrimSuffix(line, "\r\n"))
		if m == nil {
			return
		}
		n, err := strconv.ParseInt(m[1], 10, 32)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
			c.t.Fatal(err)
		}
		if line, err = c.r.ReadString('\n'); err != nil {
			c.t.Fatal(err)
		}
	}
}

// Whatever a client sends, in whatever state, it takes no memory beyond the limits,
// given back or not.
func TestMemoryIsBounded(t *testing.T) {
	const sent, most = 64 << 20, 24 << 20
	for name, piece := range map[string]string{
		"line": strings.Repeat("x", 1<<16), "list": strings.Repeat("(", 1<<16), "literals": "{60000+}\r\n" + strings.Repeat("x", 60000) + " ",
		"quoted": `"` + strings.Repeat(`\\`, 1<<15), "sets": strings.Repeat("1,3,", 1<<14),
	} {
		for state, prologue := range fuzzStates {
			c := startFuzz(t, newFuzzAccount(t))
			for i, line := range prologue {
				if !c.command(fmt.Sprintf("p%d", i), line) {
					t.Fatal("no login")
				}
			}
			runtime.GC()
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			go io.Copy(io.Discard, c.r) // ends when the connection is closed
			_, err := io.WriteString(c.conn, "t SEARCH ")
			octets := []byte(piece)
			for n := 0; n < sent && err == nil; n += len(octets) {
				_, err = c.conn.Write(octets)
			}
			runtime.ReadMemStats(&now)
			if used := now.TotalAlloc - before.TotalAlloc; used > most {
				t.Errorf("%s, state %d: takes %d octets of memory", name, state, used)
			}
			c.conn.Close()
		}
	}
}
