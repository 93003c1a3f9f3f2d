package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/testmail"
	"rtls/store"
)

// putFile writes a client's configuration.
func putFile(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// makeOut makes the directory that clients write messages to.
func makeOut(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// fill replaces %PORT and the like in a configuration or a script.
func (d *imapd) fill(p *pki, dir, text string) string {
	return strings.NewReplacer("%PORT", d.port(), "%USER", imapUser, "%PASS", imapPassword, "%CA", p.caFile, "%DIR", dir).Replace(text)
}

// did holds a client to success.
func did(t *testing.T, r result, name string) {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", name, r.code, r.stdout, r.stderr)
	}
}

// checkWire holds files DIR/UID, in wire form, against the corpus.
func checkWire(t *testing.T, corpus []testmail.Message, dir string) {
	t.Helper()
	for i, m := range corpus {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i+1)))
		if err != nil || !bytes.Equal(got, imapWire(m.Raw)) {
			t.Errorf("%s: %v; %d octets, want %d", m.Name, err, len(got), len(imapWire(m.Raw)))
		}
	}
}

// expectFlags holds the flags of INBOX, by UID, against the store: those that are
// not in want have none, and those of gone are not there.
func (d *imapd) expectFlags(t *testing.T, want map[uint32]store.Flags, gone ...uint32) {
	t.Helper()
	for _, m := range d.stored(t, "INBOX") {
		if m.Flags != want[m.UID] {
			t.Errorf("UID %d has flags %b, want %b", m.UID, m.Flags, want[m.UID])
		}
		if slices.Contains(gone, m.UID) {
			t.Errorf("UID %d is still there", m.UID)
		}
	}
}

// texts are the messages of a mailbox.
func (d *imapd) texts(t *testing.T, p *pki, mailbox string) []string {
	t.Helper()
	return slices.Sorted(maps.Values(d.login(t, p, mailbox).bodies()))
}

const clientUpload = "Subject: from here\r\n\r\nh\xc3\xa9llo\r\n"

// afterScript is what imapfilter, imaplib, imapflow and node-imap all do: they fetch
// each message into a file, flag 2, move 3 into moved, delete 4, and upload one.
func (d *imapd) afterScript(t *testing.T, p *pki, corpus []testmail.Message, dir string) {
	t.Helper()
	checkWire(t, corpus, filepath.Join(dir, "out"))
	d.expectFlags(t, map[uint32]store.Flags{2: store.Flagged}, 3, 4)
	if got := d.texts(t, p, "moved"); len(got) != 2 || !slices.Contains(got, string(imapWire(corpus[2].Raw))) || !slices.Contains(got, clientUpload) {
		t.Errorf("moved has %d messages: %.300q", len(got), got)
	}
}

func clientOfflineIMAP(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	dir := t.TempDir()
	putFile(t, dir, "rc", d.fill(p, dir, `[general]
accounts = a
metadata = %DIR/meta
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %DIR/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = %PORT
remoteuser = %USER
remotepass = %PASS
ssl = yes
sslcacertfile = %CA
`))
	sync := func() {
		t.Helper()
		r := client(t, dir, "offlineimap", "-o", "-1", "-c", "rc", "-u", "basic")
		if did(t, r, "offlineimap"); strings.Contains(r.stdout+r.stderr, "ERROR") {
			t.Errorf("offlineimap:\n%s%s", r.stdout, r.stderr)
		}
	}
	// It writes no carriage returns, and its own field on what it has uploaded.
	form := func(text string) string {
		return offlineField.ReplaceAllString(strings.ReplaceAll(text, "\r\n", "\n"), "")
	}
	// near are the files of a mailbox by UID, which is in their names.
	near := func(mailbox string) map[uint32]string {
		t.Helper()
		files := make(map[uint32]string)
		for _, file := range maildirFiles(t, filepath.Join(dir, "mail", mailbox)) {
			files[uint32(mbsyncUID(t, file))] = file
		}
		return files
	}
	compare := func(what, mailbox string) {
		t.Helper()
		files := near(mailbox)
		bodies := d.login(t, p, mailbox).bodies()
		for _, m := range d.stored(t, mailbox) {
			text, err := os.ReadFile(files[m.UID])
			if err != nil {
				t.Errorf("%s: UID %d of %s: %v", what, m.UID, mailbox, err)
				continue
			}
			_, flags, _ := strings.Cut(filepath.Base(files[m.UID]), ":2,")
			altered := mailbox == "INBOX" && slices.Contains(offlineAlters, m.UID)
			if same := form(string(text)) == form(bodies[m.UID]); same == altered || flags != maildirFlags(m.Flags) {
				t.Errorf("%s: UID %d of %s: as it is %t, flags %q, want %q", what, m.UID, mailbox, same, flags, maildirFlags(m.Flags))
			}
			delete(files, m.UID)
		}
		for uid := range files {
			t.Errorf("%s: only the near side of %s has UID %d", what, mailbox, uid)
		}
	}
	sync()
	compare("first", "INBOX")

	c := d.login(t, p, "INBOX")
	c.ok("CREATE far")
	c.ok(`STORE 1 +FLAGS (\Seen \Flagged)`)
	c.ok("MOVE 2 far")
	c.ok(`STORE 2 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	c.append("INBOX", `(\Draft)`, []byte("Subject: far\r\n\r\nfar\r\n"))
	files := near("INBOX")
	reflag(t, files[10], "FS")
	if err := os.Remove(files[11]); err != nil {
		t.Fatal(err)
	}
	putFile(t, dir, "mail/INBOX/new/1.near.host", "Subject: near\n\nnear\n")
	sync()
	sync()                                                    // and nothing more to do
	if n := len(d.stored(t, "INBOX")); n != len(corpus)-3+2 { // moved, 2 deleted; 2 new
		t.Errorf("INBOX has %d messages, want %d", n, len(corpus)-1)
	}
	for _, mailbox := range []string{"INBOX", "far"} {
		compare("second", mailbox)
	}
}

// offlineAlters are the UIDs of messages that offlineimap writes in another way than
// it read them: they have gone through Python's email package.
var offlineAlters = []uint32{21, 23, 24, 25, 27, 28, 38, 45, 55, 56, 57, 59}

var offlineField = regexp.MustCompile(`(?m)^X-OfflineIMAP: .*\n`)

func clientFetchmail(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	fetch := func(dir, keep string) {
		t.Helper()
		makeOut(t, dir)
		putFile(t, dir, "rc", d.fill(p, dir, `set invisible
poll localhost protocol imap port %PORT no dns
user "%USER" password "%PASS" options ssl sslcertck sslcertfile "%CA" sslproto "auto"
no rewrite fetchall `+keep+` mda "sh -c 'cat >$(mktemp %DIR/out/XXXXXXXX)'"
`))
		r := client(t, dir, "fetchmail", "-f", "rc", "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids"))
		if r.code != 0 && (keep != "keep" || !strings.Contains(r.stderr, "incorrect header line")) {
			t.Fatalf("%+v", r)
		}
	}
	dir := t.TempDir()
	fetch(dir, "keep")
	want := make(map[uint32]store.Flags)
	for i := range corpus {
		if i+1 != fetchmailSkips {
			want[uint32(i+1)] = store.Seen
		}
	}
	d.expectFlags(t, want)
	got := make(map[string]bool)
	files, _ := filepath.Glob(filepath.Join(dir, "out", "*"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got[string(text)] = true
	}
	for _, m := range corpus {
		text := strings.ReplaceAll(string(imapWire(m.Raw)), "\r\n", "\n")
		if exact := got[text]; exact == slices.Contains(fetchmailAlters, m.Name) {
			t.Errorf("%s: as it is: %t", m.Name, exact)
		}
	}
	if len(files) != len(corpus)-1 {
		t.Errorf("%d messages, want %d", len(files), len(corpus))
	}
	again := t.TempDir()
	fetch(again, "no keep")
	if files, _ := filepath.Glob(filepath.Join(again, "out", "*")); len(files) != len(corpus)-1 {
		t.Errorf("%d messages the second time, want %d", len(files), len(corpus))
	}
	if left := d.stored(t, "INBOX"); len(left) != 1 || left[0].UID != fetchmailSkips {
		t.Errorf("these are left: %+v", left)
	}
}

// fetchmailAlters are messages that fetchmail writes in another way than it read them.
var fetchmailAlters = []string{"18-no-final-newline", "21-mbox-from-line", "23-header-only", "27-malformed-header-line", "29-line-20k", "30-nul-bytes", "55-bare-cr", "59-obsolete-syntax"}

// fetchmailSkips is the UID of the message that fetchmail does not take, because of a
// line in its header without a colon.
const fetchmailSkips = 27

func clientIMAPFilter(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	dir := t.TempDir()
	makeOut(t, dir)
	putFile(t, dir, "rc.lua", d.fill(p, dir, `
options.timeout = 120
options.create = true
options.expunge = true
A = IMAP{server='localhost', port=%PORT, username='%USER', password='%PASS', ssl='auto'}
for _, m in ipairs(A.INBOX:select_all()) do
	local box, uid = table.unpack(m)
	local f = io.open('%DIR/out/' .. uid, 'wb')
	f:write(box[uid]:fetch_message())
	f:close()
end
print('film', #A.INBOX:contain_subject('the whole film'), 'tagged', #A.INBOX:has_keyword('$RequireTLS'))
function only(n)
	local set = Set {}
	for _, m in ipairs(A.INBOX:select_all()) do
		if m[2] == n then table.insert(set, m) end
	end
	return set
end
A.INBOX:unmark_seen(A.INBOX:select_all())
only(2):mark_flagged()
only(3):move_messages(A['moved'])
only(4):delete_messages()
A['moved']:append_message('Subject: from here\r\n\r\nh\xc3\xa9llo\r\n')
`))
	r := client(t, dir, "imapfilter", "-t", p.caFile, "-c", "rc.lua")
	did(t, r, "imapfilter")
	if want := fmt.Sprintf("film\t1\ttagged\t%d\n", (len(corpus)+2)/3); !strings.Contains(r.stdout, want) {
		t.Errorf("it found %q, want %q", r.stdout, want)
	}
	d.afterScript(t, p, corpus, dir)
}

func clientIMAPLib(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	dir := t.TempDir()
	makeOut(t, dir)
	putFile(t, dir, "client.py", d.fill(p, dir, `
import imaplib, re, ssl
m = imaplib.IMAP4_SSL('localhost', %PORT, ssl_context=ssl.create_default_context(cafile='%CA'))
def ok(answer):
    assert answer[0] == 'OK', answer
    return answer[1]
ok(m.login('%USER', '%PASS'))
count = int(ok(m.select())[0])
for uid in ok(m.uid('SEARCH', 'ALL'))[0].split():
    head, body = ok(m.uid('FETCH', uid, '(BODY.PEEK[] BODYSTRUCTURE ENVELOPE)'))[0]
    open('out/' + uid.decode(), 'wb').write(body)
print('film', len(ok(m.search(None, 'SUBJECT', '"the whole film"'))[0].split()), 'tagged', len(ok(m.search(None, 'KEYWORD', '$RequireTLS'))[0].split()))
assert len(ok(m.sort('(REVERSE DATE)', 'UTF-8', 'ALL'))[0].split()) == count
assert len(re.findall(rb'\d+', ok(m.thread('REFERENCES', 'UTF-8', 'ALL'))[0])) == count
ok(m.create('moved'))
ok(m.uid('STORE', '2', '+FLAGS', '(\\Flagged)'))
ok(m.uid('MOVE', '3', 'moved'))
ok(m.uid('STORE', '4', '+FLAGS.SILENT', '(\\Deleted)'))
ok(m.expunge())
ok(m.append('moved', '', imaplib.Time2Internaldate(1), b'Subject: from here\r\n\r\nh\xc3\xa9llo\r\n'))
ok(m.status('moved', '(MESSAGES UIDNEXT)'))
ok(m.list())
ok(m.namespace())
ok(m.close())
m.logout()
`))
	r := client(t, dir, "/usr/bin/python3", "client.py")
	did(t, r, "imaplib")
	if want := fmt.Sprintf("film 1 tagged %d\n", (len(corpus)+2)/3); r.stdout != want {
		t.Errorf("it found %q, want %q", r.stdout, want)
	}
	d.afterScript(t, p, corpus, dir)
}

// nodeClient runs a script with the packages that make setup has installed.
func nodeClient(t *testing.T, d *imapd, p *pki, script string) string {
	t.Helper()
	modules, err := filepath.Abs("../../.peers/imap-clients/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	_, missing := os.Stat(modules)
	if _, err := exec.LookPath("node"); err != nil || missing != nil {
		t.Skip("no Node.js, or no imapflow: make setup installs it where npm is there")
	}
	dir := t.TempDir()
	makeOut(t, dir)
	putFile(t, dir, "client.js", d.fill(p, dir, script))
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	r := client(t, dir, "node", "client.js")
	did(t, r, "node")
	return dir
}

func clientIMAPFlow(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	dir := nodeClient(t, d, p, `
const { ImapFlow } = require("imapflow"), fs = require("fs"), assert = require("assert");
(async () => {
	const c = new ImapFlow({ host: "localhost", port: %PORT, secure: true, auth: { user: "%USER", pass: "%PASS" }, tls: { ca: fs.readFileSync("%CA") }, logger: false });
	await c.connect();
	await c.mailboxOpen("INBOX");
	for await (const m of c.fetch("1:*", { uid: true, flags: true, envelope: true, bodyStructure: true, source: true, internalDate: true, size: true, threadId: true })) {
		assert.equal(m.source.length, m.size);
		fs.writeFileSync("out/" + m.uid, m.source);
	}
	assert.equal((await c.search({ subject: "the whole film" })).length, 1);
	assert.ok((await c.search({ keyword: "$RequireTLS" })).length > 1);
	await c.mailboxCreate("moved");
	assert.ok(await c.messageFlagsAdd("2", ["\\Flagged"], { uid: true }));
	assert.equal((await c.messageMove("3", "moved", { uid: true })).uidMap.get(3), 1);
	assert.ok(await c.messageDelete("4", { uid: true }));
	assert.equal((await c.append("moved", Buffer.from("Subject: from here\r\n\r\nh\u00e9llo\r\n"), [])).uid, 2);
	assert.equal((await c.status("moved", { messages: true })).messages, 2);
	assert.ok((await c.list()).some((box) => box.path === "moved"));
	const { content } = await c.download("1");
	for await (const _ of content);
	await c.logout();
})().catch((err) => { console.error(err); process.exit(1); });
`)
	d.afterScript(t, p, corpus, dir)
}

func clientNodeIMAP(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	corpus := deliverCorpus(t, d)
	dir := nodeClient(t, d, p, `
const Imap = require("imap"), fs = require("fs"), assert = require("assert");
const c = new Imap({ host: "localhost", port: %PORT, tls: true, user: "%USER", password: "%PASS", tlsOptions: { ca: fs.readFileSync("%CA"), servername: "localhost" } });
const call = (name, ...args) => new Promise((done, fail) => c[name](...args, (err, value) => (err ? fail(err) : done(value))));
c.once("error", (err) => { console.error(err); process.exit(1); });
c.once("ready", async () => {
	const box = await call("openBox", "INBOX", false);
	await new Promise((done, fail) => {
		let left = box.messages.total;
		const f = c.fetch("1:*", { bodies: "", struct: true, envelope: true, markSeen: false });
		f.on("message", (m) => {
			const parts = [];
			let uid;
			m.on("body", (stream) => stream.on("data", (d) => parts.push(d)));
			m.once("attributes", (a) => { uid = a.uid; });
			m.once("end", () => { fs.writeFileSync("out/" + uid, Buffer.concat(parts)); left--; });
		});
		f.once("error", fail);
		f.once("end", () => { assert.equal(left, 0); done(); });
	});
	assert.equal((await call("search", [["SUBJECT", "the whole film"]])).length, 1);
	await call("addBox", "moved");
	await call("addFlags", 2, "\\Flagged");
	await call("move", 3, "moved");
	await call("addFlags", 4, "\\Deleted");
	await call("expunge");
	await call("append", Buffer.from("Subject: from here\r\n\r\nh\u00e9llo\r\n"), { mailbox: "moved" });
	assert.ok("moved" in (await call("getBoxes")));
	await call("closeBox", true);
	c.end();
});
c.once("ready", () => setTimeout(() => {}, 0));
process.on("unhandledRejection", (err) => { console.error(err); process.exit(1); });
c.connect();
`)
	d.afterScript(t, p, corpus, dir)
}

func clientAerc(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	// Aerc stops at the first message whose header it cannot read.
	corpus := deliverCorpus(t, d)[:20]
	c := d.login(t, p, "INBOX")
	c.ok(`STORE 21:* +FLAGS.SILENT (\Deleted)`)
	c.ok("EXPUNGE")
	c.ok("CREATE moved")
	dir := t.TempDir()
	putFile(t, dir, ".config/aerc/accounts.conf", d.fill(p, dir, `[a]
source = imaps://`+strings.ReplaceAll(imapUser, "@", "%40")+`:`+strings.ReplaceAll(imapPassword, " ", "%20")+`@localhost:%PORT
default = INBOX
from = Alice <alice@example.org>
cache-headers = false
check-mail = 1s
`))
	putFile(t, dir, "save", "#!/bin/sh\ncd "+dir+" && cat >piped.new && mv piped.new piped\n")
	if err := os.Chmod(filepath.Join(dir, "save"), 0o700); err != nil {
		t.Fatal(err)
	}
	putFile(t, dir, ".config/aerc/binds.conf", `[messages]
<Enter> = :view<Enter>
F = :flag<Enter>
U = :unflag<Enter>
P = :pipe -b -m `+dir+`/save<Enter>
M = :mv moved<Enter>
D = :delete<Enter>
Q = :quit -f<Enter>
[view]
q = :close<Enter>
`)
	term := startTerminal(t, dir, "SSL_CERT_FILE="+p.caFile+" aerc")
	term.wait(`Keys to the boat house`)
	// The last message is on top. One is read, flagged, piped and moved, one deleted.
	// Aerc passes over keys while it is still busy with the list.
	pressed := time.Time{}
	term.until(func() bool {
		if time.Since(pressed) > 3*time.Second {
			term.keys("Enter")
			pressed = time.Now()
		}
		return d.stored(t, "INBOX")[19].Flags == store.Seen
	})
	term.keys("q")
	term.wait(`Keys to the boat house`)
	term.keys("F")
	term.until(func() bool { return d.stored(t, "INBOX")[19].Flags == store.Seen|store.Flagged })
	term.keys("P")
	term.until(func() bool {
		piped, err := os.ReadFile(filepath.Join(dir, "piped"))
		return err == nil && string(piped) == string(imapWire(corpus[19].Raw))
	})
	term.keys("U")
	term.until(func() bool { return d.stored(t, "INBOX")[19].Flags == store.Seen })
	term.keys("M")
	term.until(func() bool { return len(d.stored(t, "INBOX")) == len(corpus)-1 })
	term.keys("D")
	term.until(func() bool { return len(d.stored(t, "INBOX")) == len(corpus)-2 })
	term.keys("Q")
	term.end()
	if moved := d.texts(t, p, "moved"); len(moved) != 1 || moved[0] != string(imapWire(corpus[19].Raw)) {
		t.Errorf("moved: %.200q", moved)
	}
}
