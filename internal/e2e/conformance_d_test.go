package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rtls/store"
)

// TestConformanceD has a subtest for each row about what is stored.
func TestConformanceD(t *testing.T) {
	p := newPKI(t)
	for _, row := range []struct {
		name string
		test func(*testing.T, *pki)
	}{
		{"D01_tag_survives_changes", d01},
		{"D02_tag_survives_foreign_tools", d02},
		{"D03_lost_metadata_is_unknown", d03},
		{"D04_altered_message_is_unknown", d04},
		{"D05_delivery_details", d05},
		{"D06_open_to_others", d06},
		{"D07_no_message_without_its_tag", d07},
		{"D08_append_forges_nothing", d08},
		{"D09_copy_and_move_keep_the_tag", d09},
		{"D10_tag_survives_export_and_import", d10},
	} {
		t.Run(row.name, func(t *testing.T) { row.test(t, p) })
	}
}

// expectTags holds the tag, origin and keyword of every message of a mailbox against
// its subject, which names its tag.
func expectTags(t *testing.T, d *imapd, p *pki, what, mailbox string, messages int) {
	t.Helper()
	expectTagsFrom(t, d, p, what, mailbox, messages, map[string]store.Origin{
		"require": store.OriginESMTP, "none": store.OriginESMTP, "optional": store.OriginHeader,
	})
}

// expectTagsFrom is expectTags with other origins.
func expectTagsFrom(t *testing.T, d *imapd, p *pki, what, mailbox string, messages int, origins map[string]store.Origin) {
	t.Helper()
	c := d.login(t, p, mailbox)
	bodies := c.bodies()
	stored := d.stored(t, mailbox)
	if len(stored) != messages || len(bodies) != messages {
		t.Errorf("%s: %d messages in %s, %d of them fetched; want %d", what, len(stored), mailbox, len(bodies), messages)
	}
	for _, m := range stored {
		subject, _, _ := strings.Cut(strings.TrimPrefix(bodies[m.UID], "Subject: "), "\r\n")
		if m.Tag.String() != subject {
			t.Errorf("%s: the %s message has tag %s", what, subject, m.Tag)
		}
		if want := origins[subject]; m.Origin != want {
			t.Errorf("%s: the %s message has origin %s, want %s", what, subject, m.Origin, want)
		}
		keywords := strings.Join(tagKeywords[m.Tag], " ")
		if got := c.flags(m.UID); !strings.Contains(strings.Join(got, " "), keywords) {
			t.Errorf("%s: the %s message has %q", what, subject, got)
		}
	}
}

func d01(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	allTags(t, d)
	c := d.login(t, p, "INBOX")
	expectTags(t, d, p, "delivered", "INBOX", 4)
	c.ok(`STORE 1:* +FLAGS (\Seen \Flagged)`) // from new to cur
	expectTags(t, d, p, "flags set", "INBOX", 4)
	c.ok(`STORE 1:* -FLAGS (\Seen \Flagged)`)
	expectTags(t, d, p, "flags cleared", "INBOX", 4)
	c.ok("STORE 1:* +FLAGS (work)")
	expectTags(t, d, p, "keyword set", "INBOX", 4)
	c.ok("CREATE a")
	c.ok("COPY 1:* a")
	expectTags(t, d, p, "copied", "a", 4)
	c.ok("RENAME a b/c")
	expectTags(t, d, p, "mailbox renamed", "b/c", 4)
	c.ok("MOVE 1:* b/c")
	expectTags(t, d, p, "moved", "b/c", 8)
	c.ok("UNSELECT")
	c.ok("RENAME INBOX d") // which leaves INBOX there
	c.ok("SELECT b/c")
	c.ok("MOVE 1:4 INBOX")
	c.ok("SELECT INBOX")
	expectTags(t, d, p, "moved back", "INBOX", 4)
}

// d02 renames as other Maildir programs do: they keep the base name.
func d02(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	allTags(t, d)
	inbox := d.path("mail/" + imapUser + "/Maildir")
	for i, name := range maildirFiles(t, inbox) {
		base, _, _ := strings.Cut(filepath.Base(name), ":2,")
		to := filepath.Join(inbox, "cur", base+":2,"+[]string{"S", "FS", "RST", ""}[i%4])
		if err := os.Rename(name, to); err != nil {
			t.Fatal(err)
		}
	}
	expectTags(t, d, p, "renamed", "INBOX", 4)

	// Into another Maildir++ folder, which another program makes.
	folder := filepath.Join(inbox, ".moved")
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(folder, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range maildirFiles(t, inbox) {
		if err := os.Rename(name, filepath.Join(folder, "cur", filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	expectTags(t, d, p, "moved", "moved", 4)
	c := d.login(t, p, "INBOX")
	for deadline := time.Now().Add(imapTimeout); len(c.search("ALL")) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what was moved away is still in INBOX")
		}
	}
}

func maildirFiles(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, sub := range []string{"new", "cur"} {
		names, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, names...)
	}
	return all
}

var tagInName = regexp.MustCompile(`,T=[a-z]+`)

// d03: the index holds no tag that the name does not hold, so to lose it loses none.
// A name without a tag that makes sense is unknown.

func d03(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	allTags(t, d)
	d.stored(t, "INBOX")
	d.stop(t)
	index, err := filepath.Glob(d.path("mail/" + imapUser + "/.rtls/index.db*"))
	if err != nil || len(index) == 0 {
		t.Fatalf("no index: %v", err)
	}
	for _, file := range index {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	d.start(t)
	expectTags(t, d, p, "index lost", "INBOX", 4) // the tag is in the name

	inbox := d.path("mail/" + imapUser + "/Maildir")
	files := maildirFiles(t, inbox)
	for i, damage := range []string{"", ",T=", ",T=zz", ",T=rex"} {
		damaged := tagInName.ReplaceAllString(files[i], damage)
		if err := os.Rename(files[i], damaged); err != nil {
			t.Fatal(err)
		}
	}
	stored := d.stored(t, "INBOX")
	c := d.login(t, p, "INBOX")
	for _, m := range stored {
		if m.Tag != store.TagUnknown || m.Origin != store.OriginUnknown {
			t.Errorf("damaged, it is %s, from %s", m.Tag, m.Origin)
		}
		if flags := c.flags(m.UID); strings.Join(flags, " ") != "$RequireTLSUnknown" {
			t.Errorf("damaged, it has %q", flags)
		}
	}
	if len(stored) != 4 {
		t.Errorf("%d messages, want 4", len(stored))
	}
}

// The block on top of a stored message says all that was known at its delivery.
func d05(t *testing.T, _ *pki) {
	h := newMailHost(t, t.TempDir())
	h.serve(t)
	before := time.Now().Truncate(time.Second)
	h.secure(t).Deliver("<s@example.com> REQUIRETLS RET=FULL ENVID=QQ314159", plainMail, "<alice@example.org> NOTIFY=DELAY ORCPT=rfc822;info@example.org")
	block := regexp.MustCompile(`\AReturn-Path: <s@example\.com>\r\n` +
		`Delivered-To: alice@example\.org\r\n` +
		`RTLS-Delivery: tag=require; origin=esmtp; ret=HDRS;\r\n` +
		`\tenvid=QQ314159; notify=DELAY;\r\n` +
		`\torcpt=rfc822;info@example\.org;\r\n` +
		`\ttls=TLSv1\.3; cipher=TLS_[A-Z0-9_]+;\r\n` +
		`\tpeer=unix; time=(\S+)\r\n` +
		`Received: from `).FindStringSubmatch(h.one(t, "alice").raw)
	if block == nil {
		t.Fatal(h.one(t, "alice").raw)
	}
	if at, err := time.Parse(time.RFC3339, block[1]); err != nil || at.Before(before) || at.After(time.Now()) {
		t.Errorf("%s: %v", block[1], err)
	}
}

func d06(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	d.deliver(t, "INBOX", []byte("Subject: x\n\nx\n"), store.TagRequire, store.OriginESMTP)
	account := d.path("mail/" + imapUser)
	for _, file := range maildirFiles(t, account+"/Maildir") {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	for _, mode := range []os.FileMode{0o750, 0o705, 0o711} {
		if err := os.Chmod(account, mode); err != nil {
			t.Fatal(err)
		}
		d.dial(t, p, nil).fails("NO", "", "LOGIN %s %q", imapUser, imapPassword)
	}
	d.waitLog(t, regexp.MustCompile(`(?m)^.*chmod 700.*$`))
	if err := os.Chmod(account, 0o700); err != nil {
		t.Fatal(err)
	}
	d.login(t, p, "INBOX")
}

func d08(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	c := d.login(t, p, "INBOX")
	message := []byte("Require-TLS-ESMTP: yes\r\nRTLS-Delivery: tag=require; origin=esmtp\r\nSubject: x\r\n\r\nx\r\n")
	for _, flags := range []string{"($RequireTLS)", "($TLSOptional)", "(T=re)", ""} {
		if r := c.append("INBOX", flags, message); r.status != "OK" {
			t.Errorf("APPEND %s: %s %s", flags, r.status, r.text)
		}
	}
	stored := d.stored(t, "INBOX")
	if len(stored) != 4 {
		t.Errorf("%d messages, want 4", len(stored))
	}
	for _, m := range stored {
		if m.Tag != store.TagNone || m.Origin != store.OriginUnknown {
			t.Errorf("UID %d is %s, from %s", m.UID, m.Tag, m.Origin)
		}
	}
}

func d09(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	allTags(t, d)
	c := d.login(t, p, "INBOX")
	c.ok("CREATE a")
	c.ok("CREATE b")
	c.ok("UID COPY 1:* a")
	expectTags(t, d, p, "copied", "a", 4)
	c.ok("UID MOVE 1:* b")
	expectTags(t, d, p, "moved", "b", 4)
	expectTags(t, d, p, "moved away", "INBOX", 0)
}
