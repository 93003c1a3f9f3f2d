package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"rtls/internal/testpki"
	"rtls/store"
)

// What rtls-imapd(8) promises of mail from another server: octets, flags, keywords,
// dates, subscriptions and special uses come along, and nothing comes twice.

// otherServer is where mail comes from.
type otherServer struct {
	addr, user, password string
	special              bool // its "Post out" has that use
	*imapclient.Client
}

func (o *otherServer) connect(t *testing.T, p *pki) {
	t.Helper()
	c, err := imapclient.DialTLS(o.addr, &imapclient.Options{TLSConfig: &tls.Config{RootCAs: p.Pool(), ServerName: "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(o.user, o.password).Wait(); err != nil {
		t.Fatal(err)
	}
	o.Client = c
}

// carried is what has to be the same on both sides.
type carried struct {
	body  string
	flags string
	date  int64
}

// oddNames are mailboxes that are hard to name, with UTF-8 as names here have it.
var oddNames = []string{"Entwürfe/2024", "a,b/c;d", "日本語", "with space & more", `quote " back\slash`, "Post out", "100%"}

// fill puts the messages of testdata into INBOX and the mailboxes with odd names.
func (o *otherServer) fill(t *testing.T) {
	t.Helper()
	for i, name := range oddNames {
		if err := o.Create(name, nil).Wait(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if i%2 == 0 {
			if err := o.Subscribe(name).Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, m := range corpus(t) {
		name := "INBOX"
		if i%3 > 0 {
			name = oddNames[i%len(oddNames)]
		}
		flags := [][]imap.Flag{nil, {imap.FlagSeen}, {imap.FlagAnswered, imap.FlagFlagged}, {imap.FlagDraft, "work"}, {imap.FlagDeleted, imap.FlagForwarded, imap.FlagJunk}}[i%5]
		o.append(t, name, m.Raw, flags, time.Unix(1_000_000_000+int64(i)*86_399, 0))
	}
}

func (o *otherServer) append(t *testing.T, mailbox string, raw []byte, flags []imap.Flag, date time.Time) {
	t.Helper()
	wire := bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	wire = bytes.ReplaceAll(wire, []byte{0}, []byte("0"))
	cmd := o.Append(mailbox, int64(len(wire)), &imap.AppendOptions{Flags: flags, Time: date})
	_, err := cmd.Write(wire)
	if cerr := cmd.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		_, err = cmd.Wait()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// all is what the server has, by mailbox.
func (o *otherServer) all(t *testing.T) map[string][]carried {
	t.Helper()
	found := make(map[string][]carried)
	for _, name := range append([]string{"INBOX"}, oddNames...) {
		s, err := o.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if s.NumMessages == 0 {
			continue
		}
		var set imap.SeqSet
		set.AddRange(1, 0)
		messages, err := o.Fetch(set, &imap.FetchOptions{Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			var flags []string
			for _, f := range m.Flags {
				if f != `\Recent` && !strings.HasPrefix(strings.ToLower(string(f)), "$requiretls") {
					flags = append(flags, strings.ToLower(string(f)))
				}
			}
			slices.Sort(flags)
			found[name] = append(found[name], carried{string(m.BodySection[0].Bytes), strings.Join(flags, " "), m.InternalDate.Unix()})
		}
	}
	return found
}

// imported is what the store has.
func (d *imapd) imported(t *testing.T) map[string][]carried {
	t.Helper()
	found := make(map[string][]carried)
	inAccount(t, d, func(a *store.Account) error {
		infos, err := a.Mailboxes(t.Context())
		if err != nil {
			return err
		}
		for _, info := range infos {
			m, err := a.Mailbox(t.Context(), info.Name)
			if err != nil {
				return err
			}
			for i, s := 0, m.Snapshot(); i < s.Len(); i++ {
				found[info.Name] = append(found[info.Name], carriedBy(t, m, s.At(i)))
			}
			if err := m.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	return found
}

func carriedBy(t *testing.T, m *store.Mailbox, msg store.Message) carried {
	t.Helper()
	c, err := m.Open(t.Context(), msg.UID)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for bit, name := range map[store.Flags]string{
		store.Seen: `\seen`, store.Answered: `\answered`, store.Flagged: `\flagged`, store.Deleted: `\deleted`, store.Draft: `\draft`, store.Passed: "$forwarded",
	} {
		if msg.Flags&bit != 0 {
			flags = append(flags, name)
		}
	}
	for _, k := range msg.Keywords {
		flags = append(flags, strings.ToLower(k))
	}
	slices.Sort(flags)
	if msg.Tag != store.TagUnknown || msg.Origin != store.OriginUnknown {
		t.Errorf("%s UID %d has the tag %s %s from nowhere", m.Name(), msg.UID, msg.Tag, msg.Origin)
	}
	return carried{string(body), strings.Join(flags, " "), msg.InternalDate().Unix()}
}

// importing is the command line of an import into an account.
func (d *imapd) importing(p *pki, from *otherServer, flags ...string) []string {
	return append([]string{
		"--config", d.path("rtls.toml"), "import", "--json", imapUser, "--imap", strings.Replace(from.addr, "127.0.0.1", "localhost", 1),
		"--login", from.user, "--password-file", d.path("password"), "--ca", p.caFile,
	}, flags...)
}

// target makes an account to import into.
func importTarget(t *testing.T, p *pki, from *otherServer) *imapd {
	t.Helper()
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}})
	if err := os.WriteFile(d.path("password"), []byte(from.password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *imapd) importFrom(t *testing.T, p *pki, from *otherServer, flags ...string) (s importSummary) {
	t.Helper()
	r := run(t, nil, "rtls-imapd", d.importing(p, from, flags...)...)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// importSummary is what import --json prints.
type importSummary struct {
	Mailboxes, Added, Known, Gone, Changed, Failed, Resized int
	Octets                                                  int64
}

// compareImported holds the store against the other server.
func compareImported(t *testing.T, want, got map[string][]carried) {
	t.Helper()
	for name, messages := range want {
		if len(got[name]) != len(messages) {
			t.Errorf("%s: %d messages, want %d", name, len(got[name]), len(messages))
			continue
		}
		for i := range messages {
			if got[name][i] != messages[i] {
				t.Errorf("%s, message %d: %.300s, want %.300s", name, i, fmt.Sprintf("%+v", got[name][i]), fmt.Sprintf("%+v", messages[i]))
			}
		}
	}
}

func count(all map[string][]carried) (n int) {
	for _, messages := range all {
		n += len(messages)
	}
	return n
}

func testImportFrom(t *testing.T, p *pki, from *otherServer, want map[string][]carried, more func(raw []byte)) {
	total := count(want)
	if total < 59 {
		t.Fatalf("only %d messages to import", total)
	}
	d := importTarget(t, p, from)
	if s := d.importFrom(t, p, from); s.Added != total || s.Failed != 0 || s.Mailboxes < len(oddNames)+1 {
		t.Errorf("the first import: %+v, want %d", s, total)
	}
	compareImported(t, want, d.imported(t))
	if s := d.importFrom(t, p, from); s.Added != 0 || s.Known != total {
		t.Errorf("the second import: %+v", s)
	}
	more([]byte("Subject: new\r\n\r\nx\r\n"))
	if s := d.importFrom(t, p, from, "--mailbox", "INBOX"); s.Added != 1 || s.Mailboxes != 1 {
		t.Errorf("the third import: %+v", s)
	}
	if r := run(t, nil, "rtls-imapd", d.importing(p, from, "--mailbox", "Entwürfe 2")...); r.code != 66 || !strings.Contains(r.stderr, "no such mailbox on the other server") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if s := d.importFrom(t, p, from, "--mailbox", "Entwürfe/*"); s.Mailboxes != 1 {
		t.Errorf("an import of what a pattern names: %+v", s)
	}
	if got := count(d.imported(t)); got != total+1 {
		t.Errorf("%d messages, want %d", got, total+1)
	}
	inAccount(t, d, func(a *store.Account) error {
		infos, err := a.Mailboxes(t.Context())
		for _, info := range infos {
			at := slices.Index(oddNames, info.Name)
			if at >= 0 && info.Subscribed != (at%2 == 0) {
				t.Errorf("%s: subscribed is %v", info.Name, info.Subscribed)
			}
			if want := map[bool]string{true: "Sent"}[from.special && info.Name == "Post out"]; info.SpecialUse != want {
				t.Errorf("%s: special use %q, want %q", info.Name, info.SpecialUse, want)
			}
		}
		return err
	})
	if r := run(t, nil, "rtls-imapd", "--config", d.path("rtls.toml"), "store", "check", imapUser); r.code != 0 {
		t.Errorf("store check: %s%s", r.stdout, r.stderr)
	}
	if r := run(t, nil, "rtls-imapd", "--config", d.path("rtls.toml"), "audit", imapUser); r.code != 0 || strings.Contains(r.stdout, "rtls-lda has seen it") {
		t.Errorf("audit takes imported mail for evidence: %s%s", r.stdout, r.stderr)
	}
}

func TestImportFromDovecot(t *testing.T) {
	p := newPKI(t)
	dovecot := startDovecot(t, p)
	from := &otherServer{addr: dovecot.addr, user: "old@example.net", password: strings.ReplaceAll(imapPassword, " ", "")}
	from.connect(t, p)
	from.fill(t)
	testImportFrom(t, p, from, from.all(t), func(raw []byte) { from.append(t, "INBOX", raw, nil, time.Unix(1e9, 0)) })
	testImportOfFlags(t, p, from)
}

// testImportOfFlags changes flags in INBOX there, and some here.
func testImportOfFlags(t *testing.T, p *pki, from *otherServer) {
	d := importTarget(t, p, from)
	d.importFrom(t, p, from)
	inAccount(t, d, func(a *store.Account) error {
		m, err := a.Mailbox(t.Context(), "INBOX")
		if err != nil {
			return err
		}
		last := m.Snapshot().At(m.Snapshot().Len() - 1)
		_, err = m.SetFlags(t.Context(), store.FlagChange{UIDs: []uint32{last.UID}, Op: store.FlagsAdd, Flags: store.Answered, Keywords: []string{"mine"}})
		return errors.Join(err, m.Close())
	})
	want := d.imported(t)["INBOX"]
	if _, err := from.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for _, change := range []imap.StoreFlags{
		{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen, "later"}}, {Op: imap.StoreFlagsDel, Flags: []imap.Flag{imap.FlagFlagged}},
	} {
		var set imap.SeqSet
		set.AddRange(1, uint32(len(want)))
		if err := from.Store(set, &change, nil).Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		flags := slices.DeleteFunc(append(strings.Fields(want[i].flags), `\seen`, "later"), func(f string) bool { return f == `\flagged` })
		slices.Sort(flags)
		want[i].flags = strings.Join(slices.Compact(flags), " ")
	}
	if s := d.importFrom(t, p, from); s.Changed != len(want) || s.Added != 0 {
		t.Errorf("%d messages have other flags: %+v", len(want), s)
	}
	compareImported(t, map[string][]carried{"INBOX": want}, d.imported(t))
}

func TestImportFromOurselves(t *testing.T) {
	p := newPKI(t)
	other := startIMAPD(t, p)
	fillOurs(t, other)
	from := &otherServer{addr: other.addr, user: imapUser, password: imapPassword, special: true}
	testImportFrom(t, p, from, other.imported(t), func(raw []byte) { other.deliver(t, "INBOX", raw, store.TagRequire, store.OriginESMTP) })
}

// fillOurs is fill for a store.
func fillOurs(t *testing.T, other *imapd) {
	t.Helper()
	inAccount(t, other, func(a *store.Account) error {
		for i, name := range oddNames {
			use := map[string]string{"Post out": "Sent"}[name]
			if err := a.CreateMailbox(t.Context(), name, use); err != nil {
				return err
			}
			if err := a.Subscribe(t.Context(), name, i%2 == 0); err != nil {
				return err
			}
		}
		for i, m := range corpus(t) {
			name := "INBOX"
			if i%3 > 0 {
				name = oddNames[i%len(oddNames)]
			}
			box, err := a.Mailbox(t.Context(), name)
			if err != nil {
				return err
			}
			d, err := a.Deliver(t.Context(), name)
			if err != nil {
				return err
			}
			if _, err := d.Write(m.Raw); err != nil {
				return err
			}
			meta := store.Meta{Flags: store.Flags(i*5) & 63, Date: time.Unix(1_000_000_000+int64(i)*86_399, 0)}
			if i%2 == 0 {
				meta.Keywords = []string{"$Junk", "work"}
			}
			if _, err := box.Append(t.Context(), d, meta); err != nil {
				return err
			}
			if err := box.Close(); err != nil {
				return err
			}
		}
		return nil
	})
}

// A server that is not the one that was named gets no password.
func TestImportVerifies(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	from := startIMAPD(t, other)
	d := importTarget(t, p, &otherServer{password: imapPassword})
	source := &otherServer{addr: from.addr, user: imapUser}
	if r := run(t, nil, "rtls-imapd", d.importing(p, source)...); r.code != 69 || !strings.Contains(r.stderr, "certificate") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	if err := os.WriteFile(d.path("password"), []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, nil, "rtls-imapd", d.importing(other, source)...); r.code != 77 || !strings.Contains(r.stderr, "refuses the login") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}

// cutter is what is between us and another server: it ends connections after so many
// octets of what the server says.
type cutter struct {
	net.Listener
	conns atomic.Int32
}

func cutAfter(t *testing.T, addr string, octets int64) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.conns.Add(1)
			server, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				conn.Close()
				return
			}
			all.Go(func() { _, _ = io.Copy(server, conn); server.Close() })
			all.Go(func() { _, _ = io.CopyN(conn, server, octets); conn.Close() })
		}
	})
	return c
}

// An import over connections that break comes to its end in one run, and says that they
// did.
func TestImportOverBreaks(t *testing.T) {
	p := newPKI(t)
	other := startIMAPD(t, p)
	const messages = 30
	for i := range messages {
		other.deliver(t, "INBOX", fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("text ", 2000)), store.TagNone, store.OriginESMTP)
	}
	cut := cutAfter(t, other.addr, 160_000) // about half of it
	from := &otherServer{addr: cut.Addr().String(), user: imapUser, password: imapPassword}
	d := importTarget(t, p, from)
	r := run(t, nil, "rtls-imapd", d.importing(p, from)...)
	var s importSummary
	if err := json.Unmarshal([]byte(r.stdout), &s); r.code != 0 || err != nil || s.Added != messages || s.Known != 0 {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	breaks := int(cut.conns.Load()) - 1
	if breaks < 1 || strings.Count(r.stderr, "; again in ") != breaks || strings.Count(r.stderr, "\n") != breaks {
		t.Errorf("%d breaks: %s", breaks, r.stderr)
	}
	found := make(map[string]bool)
	for _, c := range d.imported(t)["INBOX"] {
		found[c.body] = true
	}
	if n := count(d.imported(t)); n != messages || len(found) != messages {
		t.Errorf("%d messages, %d different ones", n, len(found))
	}
	if s := d.importFrom(t, p, &otherServer{addr: other.addr, user: imapUser, password: imapPassword}); s.Known+s.Added != messages {
		t.Errorf("the next import: %+v", s)
	}
}

// An import that is killed, again and again, and then left to end, has added each
// message once.
func TestImportKilled(t *testing.T) {
	p := newPKI(t)
	other := startIMAPD(t, p)
	from := &otherServer{addr: other.addr, user: imapUser, password: imapPassword}
	const messages = 300
	inAccount(t, other, func(a *store.Account) error {
		for i := range messages {
			d, err := a.Deliver(t.Context(), "INBOX")
			if err != nil {
				return err
			}
			fmt.Fprintf(d, "Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("text ", i))
			if _, err := d.Commit(store.Meta{}); err != nil {
				return err
			}
		}
		return nil
	})
	d := importTarget(t, p, from)
	journals := filepath.Join(d.path("mail"), imapUser, ".rtls", "imports", "*")
	killed := 0
	for want := int64(1); ; want += 1500 { // octets in the journal: 20 messages or so more each time
		cmd := exec.Command(bin("rtls-imapd"), d.importing(p, from)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		done, err := killWhen(cmd, ended, func() bool { return sizeOf(journals) >= want })
		if done {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		killed++
	}
	if s := d.importFrom(t, p, from); s.Added != 0 || s.Known != messages {
		t.Errorf("the last import: %+v", s)
	}
	found := make(map[string]int)
	for _, c := range d.imported(t)["INBOX"] {
		subject, _, _ := strings.Cut(c.body, "\r\n")
		found[subject]++
	}
	for i := range messages {
		if n := found[fmt.Sprintf("Subject: %d", i)]; n != 1 {
			t.Errorf("message %d is there %d times", i, n)
		}
	}
	if killed < 5 {
		t.Errorf("killed only %d times", killed)
	}
	t.Logf("killed %d times", killed)
}

// killWhen kills a process when a condition holds. It says whether it ended before.
func killWhen(cmd *exec.Cmd, ended <-chan error, holds func() bool) (done bool, err error) {
	for !holds() {
		select {
		case err := <-ended:
			return true, err
		default:
			time.Sleep(time.Millisecond) // a look at a file has nothing to wait for
		}
	}
	_ = cmd.Process.Kill()
	return <-ended == nil, nil
}

func sizeOf(pattern string) (n int64) {
	paths, _ := filepath.Glob(pattern)
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			n += info.Size()
		}
	}
	return n
}

// A message of 100 MB takes no more memory than a small one.
func TestImportMemory(t *testing.T) {
	p := newPKI(t)
	other := startIMAPD(t, p)
	from := &otherServer{addr: other.addr, user: imapUser, password: imapPassword}
	measure := func() int64 {
		d := importTarget(t, p, from)
		cmd := exec.Command(bin("rtls-imapd"), d.importing(p, from)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss // in KiB
	}
	other.deliver(t, "INBOX", []byte("Subject: small\r\n\r\nx\r\n"), store.TagNone, store.OriginESMTP)
	small := measure()
	// In pieces: a process starts with the peak of the one that starts it.
	inAccount(t, other, func(a *store.Account) error {
		d, err := a.Deliver(t.Context(), "INBOX")
		if err != nil {
			return err
		}
		piece := []byte(strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 1000))
		fmt.Fprint(d, "Subject: large\r\n\r\n")
		for d.Size() < 100_000_000 {
			if _, err := d.Write(piece); err != nil {
				return err
			}
		}
		_, err = d.Commit(store.Meta{})
		return err
	})
	large := measure()
	t.Logf("%d KiB for a small message, %d KiB with one of 100 MB", small, large)
	if raceFlag == nil && large > small+16<<10 {
		t.Errorf("%d KiB for a small message, %d KiB with one of 100 MB", small, large)
	}
}
