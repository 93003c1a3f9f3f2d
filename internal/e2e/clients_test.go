package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rtls/internal/testmail"
	"rtls/store"
)

// TestClients has real mail clients read, search, flag, move, upload and delete over
// IMAPS, with a private authority. What they get is held against the store, octet
// by octet, for every message of the corpus.
func TestClients(t *testing.T) {
	p := newPKI(t)
	t.Run("curl", func(t *testing.T) { clientCurl(t, p) })
	t.Run("mbsync", func(t *testing.T) { clientMbsync(t, p) })
	t.Run("neomutt", func(t *testing.T) { clientNeomutt(t, p) })
	t.Run("offlineimap", func(t *testing.T) { clientOfflineIMAP(t, p) })
	t.Run("fetchmail", func(t *testing.T) { clientFetchmail(t, p) })
	t.Run("imapfilter", func(t *testing.T) { clientIMAPFilter(t, p) })
	t.Run("imaplib", func(t *testing.T) { clientIMAPLib(t, p) })
	t.Run("imapflow", func(t *testing.T) { clientIMAPFlow(t, p) })
	t.Run("node-imap", func(t *testing.T) { clientNodeIMAP(t, p) })
	t.Run("aerc", func(t *testing.T) { clientAerc(t, p) })
}

// deliverCorpus fills INBOX. The UIDs are 1 to the number of messages, in their
// order; every third message came with REQUIRETLS.
func deliverCorpus(t *testing.T, d *imapd) []testmail.Message {
	t.Helper()
	corpus, err := testmail.All("../../testdata/mail")
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]store.Key, len(corpus))
	for i, m := range corpus {
		tag := store.TagNone
		if i%3 == 0 {
			tag = store.TagRequire
		}
		keys[i] = d.deliver(t, "INBOX", m.Raw, tag, store.OriginESMTP)
		stored := d.stored(t, "INBOX") // which gives it its UID
		if last := stored[len(stored)-1]; last.Key != keys[i] || last.UID != uint32(i+1) {
			t.Fatalf("%s has UID %d", m.Name, last.UID)
		}
	}
	return corpus
}

// client runs a mail client to its end.
func client(t *testing.T, dir, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*imapTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, stdout.String(), stderr.String())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func clientCurl(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	dir := t.TempDir()
	curl := func(want int, args ...string) string {
		t.Helper()
		for i, arg := range args {
			if rest, ok := strings.CutPrefix(arg, "/"); ok && i == len(args)-1 {
				args[i] = "imaps://localhost:" + d.port() + "/" + rest
			}
		}
		r := client(t, dir, "curl", append([]string{"-sS", "--cacert", p.caFile, "-u", imapUser + ":" + imapPassword}, args...)...)
		if r.code != want {
			t.Errorf("curl %q: exit code %d, want %d\n%s", args, r.code, want, r.stderr)
		}
		return r.stdout
	}

	curl(0, "-o", "#1", fmt.Sprintf("/INBOX;UID=[1-%d]", len(corpus)))
	for i, m := range corpus {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i+1)))
		if err != nil || !bytes.Equal(got, imapWire(m.Raw)) {
			t.Errorf("%s: %v; %d octets, want %d", m.Name, err, len(got), len(imapWire(m.Raw)))
		}
	}
	if got := curl(0, "/INBOX;UID=4;SECTION=HEADER.FIELDS%20(SUBJECT)"); !strings.HasPrefix(got, "Subject: ") {
		t.Errorf("a section: %q", got)
	}

	if got := curl(0, "/INBOX?UID%201:9%20KEYWORD%20$RequireTLS"); got != "* SEARCH 1 4 7\r\n" {
		t.Errorf("search for the tag: %q", got)
	}
	if got := curl(0, "/INBOX?SUBJECT%20film"); got != fmt.Sprintf("* SEARCH %d\r\n", len(corpus)) {
		t.Errorf("search for a subject: %q", got)
	}

	curl(0, "-X", `STORE 2 +FLAGS.SILENT (\Flagged $RequireTLSx)`, "/INBOX")
	if got := curl(0, "/INBOX?FLAGGED"); got != "* SEARCH 2\r\n" {
		t.Errorf("search for what was flagged: %q", got)
	}
	curl(0, "-X", "CREATE moved", "/")
	curl(0, "-X", "MOVE 3 moved", "/INBOX")
	if got := curl(0, "/moved;MAILINDEX=1"); got != string(imapWire(corpus[2].Raw)) {
		t.Errorf("moved: %q", got)
	}

	upload := "Subject: from curl\r\n\r\nh\xc3\xa9llo\r\n"
	if err := os.WriteFile(filepath.Join(dir, "upload"), []byte(upload), 0o600); err != nil {
		t.Fatal(err)
	}
	curl(0, "-T", "upload", "/moved")
	if got := curl(0, "/moved;MAILINDEX=2"); got != upload {
		t.Errorf("uploaded: %q", got)
	}
	curl(0, "-X", `STORE 1:2 +FLAGS.SILENT (\Deleted)`, "/moved")
	curl(0, "-X", "EXPUNGE", "/moved")
	if got := curl(0, "/moved?ALL"); strings.TrimSpace(got) != "* SEARCH" {
		t.Errorf("expunged: %q", got)
	}

	// What has to fail.
	curl(67, "/nothere;UID=1") // which to curl is a kind of login
	curl(67, "-u", imapUser+":wrong", "/INBOX?ALL")
	curl(60, "--cacert", p.otherCA(t), "/INBOX?ALL")
	curl(60, "--resolve", "mail.example.org:"+d.port()+":127.0.0.1", "imaps://mail.example.org:"+d.port()+"/INBOX?ALL")
	curl(35, "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", "/INBOX?ALL")
}

// otherCA is an authority that signed nothing here.
func (p *pki) otherCA(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(path, newPKI(t).PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mbsyncDir is the near side of mbsync.
type mbsyncDir struct{ dir string }

func newMbsync(t *testing.T, d *imapd, caFile string) mbsyncDir {
	t.Helper()
	m := mbsyncDir{t.TempDir()}
	rc := fmt.Sprintf(`IMAPAccount a
Host localhost
Port %s
User %s
Pass "%s"
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account a

MaildirStore near
Path %[5]s/
Inbox %[5]s/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`, d.port(), imapUser, imapPassword, caFile, m.dir)
	if err := os.WriteFile(filepath.Join(m.dir, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// mbsyncSkips is the UID of the one message that mbsync does not take: the header
// that no empty line ends.
const mbsyncSkips = 23

func (m mbsyncDir) sync(t *testing.T) {
	t.Helper()
	r := client(t, m.dir, "mbsync", "-c", "rc", "-a")
	known := fmt.Sprintf("Warning: message %d from far side has incomplete header; skipping.\n", mbsyncSkips)
	if r.code != 0 || strings.Contains(strings.ReplaceAll(r.stderr, known, ""), "Warning") {
		t.Errorf("mbsync: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// mbsyncForm is how mbsync writes a message: without a single carriage return, and
// without the field by which it finds its own uploads.
func mbsyncForm(text string) string {
	return mbsyncTUID.ReplaceAllString(strings.ReplaceAll(text, "\r", ""), "")
}

var mbsyncTUID = regexp.MustCompile(`(?m)^X-TUID: .*\n`)

// messages reads a mailbox: the flags of each message by what it holds.
func (m mbsyncDir) messages(t *testing.T, mailbox string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, file := range maildirFiles(t, filepath.Join(m.dir, mailbox)) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, flags, _ := strings.Cut(filepath.Base(file), ":2,")
		found[mbsyncForm(string(text))] = flags
	}
	return found
}

// compare holds a mailbox on the near side against the store: the same messages with
// the same flags, no more and no less.
func (m mbsyncDir) compare(t *testing.T, d *imapd, p *pki, what, mailbox string) {
	t.Helper()
	near := m.messages(t, mailbox)
	bodies := d.login(t, p, mailbox).bodies()
	for _, msg := range d.stored(t, mailbox) {
		text := mbsyncForm(bodies[msg.UID])
		flags, ok := near[text]
		delete(near, text)
		switch want := maildirFlags(msg.Flags); {
		case mailbox == "INBOX" && msg.UID == mbsyncSkips:
			if ok {
				t.Errorf("%s: mbsync did not skip UID %d", what, msg.UID)
			}
		case !ok:
			t.Errorf("%s: UID %d of %s is not on the near side: %.100q", what, msg.UID, mailbox, text)
		case flags != want:
			t.Errorf("%s: UID %d of %s has flags %q on the near side, want %q", what, msg.UID, mailbox, flags, want)
		}
	}
	for text := range near {
		t.Errorf("%s: only the near side of %s has %.100q", what, mailbox, text)
	}
}

func maildirFlags(flags store.Flags) string {
	var letters strings.Builder
	for _, f := range []struct {
		flag   store.Flags
		letter string
	}{{store.Draft, "D"}, {store.Flagged, "F"}, {store.Answered, "R"}, {store.Seen, "S"}, {store.Deleted, "T"}} {
		if flags&f.flag != 0 {
			letters.WriteString(f.letter)
		}
	}
	return letters.String()
}

func clientMbsync(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	m := newMbsync(t, d, p.caFile)
	m.sync(t)
	d.waitLog(t, regexp.MustCompile(`msg=login .*mechanism=SCRAM-SHA-256\b`)) // by Cyrus SASL
	near := m.messages(t, "INBOX")
	for i, msg := range corpus {
		if _, ok := near[mbsyncForm(string(msg.Raw))]; ok != (i+1 != mbsyncSkips) {
			t.Errorf("%s: on the near side: %t", msg.Name, ok)
		}
	}
	m.compare(t, d, p, "first", "INBOX")

	// Changes on both sides.
	c := d.login(t, p, "INBOX")
	c.ok("CREATE far/box")
	c.ok(`STORE 1 +FLAGS (\Seen \Flagged)`)
	c.ok("COPY 2 far/box")
	c.ok("MOVE 3 far/box")
	c.ok(`STORE 3 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	c.append("INBOX", `(\Draft)`, []byte("Subject: far\r\n\r\nfar\r\n"))

	files := maildirFiles(t, filepath.Join(m.dir, "INBOX"))
	slices.SortFunc(files, func(a, b string) int { return mbsyncUID(t, a) - mbsyncUID(t, b) })
	reflag(t, files[9], "FS")
	reflag(t, files[10], "ST") // which mbsync expunges
	if err := os.Remove(files[11]); err != nil {
		t.Fatal(err)
	}
	upload := "Subject: near\n\nnear\nno end of line"
	if err := os.WriteFile(filepath.Join(m.dir, "INBOX", "new", "1.near.host"), []byte(upload), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(m.dir, "near", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(m.dir, "near", "cur", "2.near.host:2,R"), []byte(upload), 0o600); err != nil {
		t.Fatal(err)
	}
	m.sync(t)
	m.sync(t) // and nothing more to do

	bodies := d.login(t, p, "INBOX").bodies()
	if want := len(corpus) - 4 + 2; len(bodies) != want { // moved, expunged, 2 deleted near; appended, uploaded
		t.Errorf("INBOX has %d messages, want %d", len(bodies), want)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(bodies)), func(s string) bool { return mbsyncForm(s) == upload }) {
		t.Error("what was put into the near side did not arrive")
	}
	flagged := 0
	for _, msg := range d.stored(t, "INBOX") {
		if msg.Flags&store.Flagged != 0 {
			flagged++
		}
	}
	if flagged != 2 {
		t.Errorf("%d messages are flagged, want one flagged here and one there", flagged)
	}
	for _, name := range []string{"INBOX", "near", "far/box"} {
		m.compare(t, d, p, "second", name)
	}
}

var mbsyncName = regexp.MustCompile(`,U=(\d+)`)

// mbsyncUID is the UID that mbsync gave a message on the near side.
func mbsyncUID(t *testing.T, file string) int {
	t.Helper()
	var uid int
	if m := mbsyncName.FindStringSubmatch(filepath.Base(file)); m != nil {
		fmt.Sscan(m[1], &uid)
	}
	if uid == 0 {
		t.Fatalf("%s has no UID", file)
	}
	return uid
}

// reflag gives a message in a Maildir other flags.
func reflag(t *testing.T, file, flags string) {
	t.Helper()
	base, _, _ := strings.Cut(filepath.Base(file), ":2,")
	if err := os.Rename(file, filepath.Join(filepath.Dir(filepath.Dir(file)), "cur", base+":2,"+flags)); err != nil {
		t.Fatal(err)
	}
}

func clientNeomutt(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	dir := t.TempDir()
	rc := fmt.Sprintf(`set folder = "imaps://localhost:%s/"
set spoolfile = "+INBOX"
set imap_user = %q
set imap_pass = %q
set ssl_ca_certificates_file = %q
set sort = mailbox-order
set index_format = "%%3C [%%Z] %%s"
set mbox_type = Maildir
set confirmappend = no
set confirmcreate = no
set delete = yes
set quit = yes
set sleep_time = 0
set wait_key = no
`, d.port(), imapUser, imapPassword, p.caFile)
	if err := os.WriteFile(filepath.Join(dir, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	term := startTerminal(t, dir, "neomutt -n -F rc")
	term.wait(`\s1 \[N.*Keys to the boat house`)
	term.wait(fmt.Sprintf(`\s%d \[N.*the whole film`, len(corpus)))

	// Read one.
	term.keys("1", "Enter", "Enter")
	term.wait(`(?s)Subject: Keys to the boat house.*spare keys hang behind`)
	term.keys("i")
	term.wait(`\s2 \[N`)

	// Copy all of them into a Maildir.
	copies := filepath.Join(dir, "copies")
	term.keys("T", "~A", "Enter", `\;`, "C")
	term.wait(`Copy tagged`)
	term.keys("C-u", copies, "Enter")
	term.until(func() bool { return len(maildirFiles(t, copies)) == len(corpus) })
	checkNeomutt(t, corpus, copies)
	term.keys("C-t", "~A", "Enter") // no tags
	term.wait(fmt.Sprintf(`\+INBOX \[Msgs:%d [^T]*\]`, len(corpus)))

	// Search on the server, for a word of the body.
	term.keys("l", "=b ropes", "Enter")
	term.wait(fmt.Sprintf(`\[Msgs:1/%d `, len(corpus)))
	term.wait(`Order 5512`)
	term.keys("l", "~A", "Enter")
	term.wait(fmt.Sprintf(`\[Msgs:%d `, len(corpus)))

	// Flag, move, delete.
	term.keys("2", "Enter", "F")
	term.wait(`\s2 \[..!`)
	term.keys("3", "Enter", "s")
	term.wait(`Save to mailbox`)
	term.keys("C-u", "=moved", "Enter")
	term.wait(`\s3 \[.D`)
	term.keys("5", "Enter", "d")
	term.wait(`\s5 \[.D`)
	term.keys(`$`)
	term.wait(fmt.Sprintf(`\[Msgs:%d `, len(corpus)-2))
	term.keys("q")
	term.end()

	flags := make(map[string]store.Flags)
	c := d.login(t, p, "INBOX")
	bodies := c.bodies()
	for _, m := range d.stored(t, "INBOX") {
		flags[bodies[m.UID]] = m.Flags
	}
	for i, want := range []store.Flags{store.Seen, store.Flagged, 0, 0, 0} {
		got, ok := flags[string(imapWire(corpus[i].Raw))]
		if gone := i == 2 || i == 4; ok == gone || got != want {
			t.Errorf("%s: there %t with flags %b, want %t, %b", corpus[i].Name, ok, got, !gone, want)
		}
	}
	moved := slices.Collect(maps.Values(d.login(t, p, "moved").bodies()))
	if len(moved) != 1 || moved[0] != string(imapWire(corpus[2].Raw)) {
		t.Errorf("moved: %q", moved)
	}
}

// neomuttAlters names messages that neomutt writes in another way than it read them:
// it takes a line that is no field of RFC 5322 for the end of the header, and puts an
// empty line there; it drops the From_ line of an mbox.
var neomuttAlters = []string{"21-mbox-from-line", "23-header-only", "27-malformed-header-line", "28-leading-space-first-line", "59-obsolete-syntax"}

// neomuttFields are fields that neomutt adds to a copy.
var neomuttFields = regexp.MustCompile(`(?m)^(Content-Length|Lines|Tags): .*\n`)

// checkNeomutt holds the copies that neomutt made against the corpus.
func checkNeomutt(t *testing.T, corpus []testmail.Message, dir string) {
	t.Helper()
	dense := func(text string) string {
		if strings.HasPrefix(text, "From ") && !strings.HasPrefix(text, "From :") {
			_, text, _ = strings.Cut(text, "\n")
		}
		return strings.TrimPrefix(strings.ReplaceAll(text, "\n\n", "\n"), "\n")
	}
	exact, loose := make(map[string]bool), make(map[string]bool)
	tagged := 0
	for _, file := range maildirFiles(t, dir) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		header, _, _ := strings.Cut(string(text), "\n\n")
		if strings.Contains(header+"\n", "\nTags: $RequireTLS\n") {
			tagged++
		}
		plain := neomuttFields.ReplaceAllString(string(text), "")
		exact[plain] = true
		loose[dense(plain)] = true
	}
	for _, m := range corpus {
		text := strings.ReplaceAll(string(imapWire(m.Raw)), "\r\n", "\n")
		altered := slices.Contains(neomuttAlters, m.Name)
		if exact[text] == altered || !loose[dense(text)] {
			t.Errorf("%s: copied as it is %t, but for empty lines %t", m.Name, exact[text], loose[dense(text)])
		}
	}
	if want := (len(corpus) + 2) / 3; tagged != want {
		t.Errorf("neomutt knows of REQUIRETLS for %d messages, want %d", tagged, want)
	}
}
