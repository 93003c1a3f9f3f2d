package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rtls/internal/imap/wire"
	"rtls/internal/testmail"
	"rtls/internal/testpki"
	"rtls/internal/testuser"
	"rtls/store"
)

// TestThunderbird has Mozilla Thunderbird do what people do with it, by the commands
// of its menus, and holds what comes of that against the store.
func TestThunderbird(t *testing.T) {
	wantThunderbird(t)
	p := newPKI(t)
	testuser.Become(t, t.TempDir(), p.dir)
	d := startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost"}})
	tb := makeThunderbird(t, d, p)
	corpus := deliverCorpus(t, d)
	tb.makeFolders(d, p)
	tb.start()
	tb.introduce(p)
	tb.finds(len(corpus))
	tb.reads(d, corpus)
	tb.call("press", "cmd_toggleMessagePane") // or what is selected next is read, too
	tb.marks(d)
	tb.sorts(d, p, corpus)
	tb.hears(d, p)
	tb.writes(d, p)
	tb.throwsAway(d)
	tb.quit()
	tb.comesBack(d, p, 10)
	tb.quit()
	tb.prefer("mail.server.server1.use_condstore", "true")
	tb.comesBack(d, p, 11)
	tb.quit() // with a change number (RFC 7162), which it asks by from now on
	tb.comesBack(d, p, 12)
	if tb.quit(); !regexp.MustCompile(`UID fetch 1:\* \(FLAGS\) \(CHANGEDSINCE \d+\)`).MatchString(tb.dialogue()) {
		t.Error("Thunderbird does not ask by change number")
	}
}

// TestThunderbirdFirst begins with an account that has an inbox and nothing else:
// Thunderbird makes the folders that it wants, and says of none what it is for. The
// next client must see it all the same (RFC 6154). There is a quota here, and compression.
func TestThunderbirdFirst(t *testing.T) {
	wantThunderbird(t)
	p := newPKI(t)
	d := makeIMAPD(t, p, testpki.Leaf{Names: []string{"localhost"}}, "compress = true")
	users, err := os.ReadFile(d.path("passwd"))
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, d.dir, "passwd", strings.TrimSpace(string(users))+" userdb_quota_rule=*:storage=1M:messages=1000\n")
	d.start(t)
	tb := makeThunderbird(t, d, p)
	for i := range 2 {
		d.deliver(t, "INBOX", fmt.Appendf(nil, "Date: Tue, 17 Nov 2026 09:12:44 +0100\nSubject: %d\n\nhello\n", i+1), store.TagNone, store.OriginESMTP)
	}
	tb.prefer("mail.identity.id1.draft_folder", `"imap://`+strings.ReplaceAll(imapUser, "@", "%40")+`@localhost/Drafts"`) // as its wizard does
	tb.start()
	tb.introduce(p)
	tb.call("press", "cmd_toggleMessagePane")
	tb.call("open", "INBOX")
	tb.until("a list of all messages", func() bool { return len(tb.messages("INBOX")) == 2 && tb.folder("Trash") })
	d.waitLog(t, regexp.MustCompile(`msg=compress .*user=alice`))
	var quota [][3]any // resource, use, limit
	tb.until("the quota", func() bool {
		quota = ask[[][3]any](tb, "quota", "INBOX")
		return slices.Equal(quota, [][3]any{{"STORAGE", 1., 1024.}, {"MESSAGE", 2., 1000.}})
	}, &quota)
	tb.press("INBOX", []int{1}, "cmd_deleteMessage")
	tb.call("compose", "bob@example.net", "later", "not yet")
	tb.until("a draft", func() bool { return ask[bool](tb, "saveDraft") })
	tb.until("its folders on the server", func() bool {
		return d.has(t, "Drafts") && len(d.stored(t, "Drafts")) == 1 && len(d.stored(t, "Trash")) == 1
	})
	tb.quit()
	got := d.login(t, p, "").ok(`LIST (SPECIAL-USE SUBSCRIBED) "" *`)
	want := []string{`* LIST (\HasNoChildren \Subscribed \Drafts) "/" Drafts`, `* LIST (\HasNoChildren \Subscribed \Trash) "/" Trash`}
	if !slices.Equal(got, want) {
		t.Errorf("the next client sees %q, want %q", got, want)
	}
}

// tbFolders are the folders that Thunderbird must find, with what they are for. None
// has the name that it would give them.
var tbFolders = map[string]string{"INBOX": "", "Verschickt": "Sent", "Entwürfe": "Drafts", "Papierkorb": "Trash", "Spam": "Junk", "Ablage": "Archive", "Work": "", "Work/Berth & boat": ""}

func (tb *thunderbird) makeFolders(d *imapd, p *pki) {
	tb.t.Helper()
	c := d.login(tb.t, p, "")
	c.ok("ENABLE UTF8=ACCEPT")
	for name, use := range tbFolders {
		if use != "" {
			c.ok(`CREATE %q (USE (\%s))`, name, use)
		} else if name != "INBOX" {
			_ = c.do("CREATE %q", name) // Work is there once its subfolder is
		}
		c.ok("SUBSCRIBE %q", name)
	}
	c.ok("CREATE Unsubscribed")
}

// finds: the folders by their special use (RFC 6154), and all messages of the inbox.
func (tb *thunderbird) finds(messages int) {
	tb.t.Helper()
	tb.call("open", "INBOX")
	var folders map[string]string
	tb.until("all folders", func() bool {
		folders = ask[map[string]string](tb, "folders")
		return maps.Equal(folders, tbFolders)
	}, &folders)
	tb.until("a list of all messages", func() bool { return len(tb.messages("INBOX")) == messages })
	for uid, m := range tb.messages("INBOX") {
		if m.Read || m.Starred || slices.Contains(m.Keywords, "$requiretls") != (uid%3 == 1) {
			tb.t.Errorf("UID %d is %+v", uid, m)
		}
	}
}

// reads: one on the screen, which makes it read, and all of them octet by octet.
func (tb *thunderbird) reads(d *imapd, corpus []testmail.Message) {
	tb.t.Helper()
	tb.shows("INBOX", 1, "the spare keys hang behind the second door.")
	tb.screenshot("window.png")
	for i, m := range corpus {
		exact := bytes.Equal(tb.source("INBOX", i+1), imapWire(m.Raw))
		if exact == slices.Contains(thunderbirdAlters, m.Name) {
			tb.t.Errorf("%s: as it is: %t", m.Name, exact)
		}
	}
	d.expectFlags(tb.t, map[uint32]store.Flags{1: store.Seen})
}

// thunderbirdAlters are messages that Thunderbird has otherwise than the server sent
// them: it ends the last line, and takes CR CR LF for the end of one.
var thunderbirdAlters = []string{"18-no-final-newline", "30-nul-bytes", "55-bare-cr"}

// marks: flags and keywords.
func (tb *thunderbird) marks(d *imapd) {
	tb.t.Helper()
	tb.press("INBOX", []int{1}, "cmd_markAsUnread")
	tb.press("INBOX", []int{2, 30, 40}, "cmd_markAsFlagged")
	tb.press("INBOX", []int{3}, "cmd_markAsRead")
	tb.press("INBOX", []int{2}, "cmd_tag1")
	tb.press("INBOX", []int{9}, "cmd_markAsJunk")
	tb.idles()
	tb.call("answer", "INBOX", 50)
	tb.until("flags on the server", func() bool {
		all := d.stored(tb.t, "INBOX")
		return all[49].Flags == store.Answered|store.Passed && all[0].Flags == 0 && all[1].Flags == store.Flagged && all[2].Flags == store.Seen && all[29].Flags == store.Flagged &&
			all[39].Flags == store.Flagged && slices.Equal(all[1].Keywords, []string{"$label1"}) && slices.Contains(all[8].Keywords, "Junk")
	})
	tb.press("INBOX", []int{30, 40}, "cmd_markAsFlagged")
	tb.press("INBOX", []int{2}, "cmd_tag1")
	tb.until("flags taken away", func() bool {
		all := d.stored(tb.t, "INBOX")
		return all[29].Flags == 0 && all[39].Flags == 0 && len(all[1].Keywords) == 0
	})
}

// sorts: messages go to other folders, and keep their octets, flags and tags there.
func (tb *thunderbird) sorts(d *imapd, p *pki, corpus []testmail.Message) {
	tb.t.Helper()
	sent := func(uids ...int) []string {
		var texts []string
		for _, uid := range uids {
			texts = append(texts, string(imapWire(corpus[uid-1].Raw)))
		}
		slices.Sort(texts)
		return texts
	}
	year := regexp.MustCompile(`(?m)^Date: .* (\d{4}) `).FindSubmatch(corpus[7].Raw)
	for _, step := range []struct {
		command string
		uids    []int
		to      string
		param   []any
	}{
		{"cmd_moveMessage", []int{2, 4, 21, 22, 23, 27}, "Work/Berth & boat", []any{"Work/Berth & boat"}},
		{"cmd_copyMessage", []int{7, 24}, "Work", []any{"Work"}},
		{"cmd_deleteMessage", []int{6, 60}, "Papierkorb", nil},
		{"cmd_archive", []int{8}, "Ablage/" + string(year[1]), nil},
	} {
		tb.press("INBOX", step.uids, step.command, step.param...)
		tb.until(step.command+" done", func() bool {
			return d.has(tb.t, step.to) && len(d.stored(tb.t, step.to)) == len(step.uids)
		})
		if got := d.texts(tb.t, p, wire.EncodeUTF7(step.to)); !slices.Equal(got, sent(step.uids...)) {
			tb.t.Errorf("%s: %s has %.500q", step.command, step.to, got)
		}
	}
	moved := d.stored(tb.t, "Work/Berth & boat")
	if moved[0].Flags != store.Flagged || moved[1].Tag != store.TagRequire {
		tb.t.Errorf("moved: %+v", moved[:2])
	}
	tb.until("an inbox without them", func() bool { return len(d.stored(tb.t, "INBOX")) == len(corpus)-9 })
}

// hears: what others do, without asking for it.
func (tb *thunderbird) hears(d *imapd, p *pki) {
	tb.t.Helper()
	before := len(tb.messages("INBOX"))
	tb.idles()
	r := run(tb.t, strings.NewReader("From: bob@example.org\nSubject: delivered meanwhile\n\nhello\n"), "rtls-lda", "--config", d.path("rtls.toml"), "-d", imapUser)
	did(tb.t, r, "rtls-lda")
	tb.until("what was delivered", func() bool { return len(tb.messages("INBOX")) == before+1 })
	stored := d.stored(tb.t, "INBOX")
	last := stored[len(stored)-1].UID
	if got := tb.messages("INBOX")[last]; got.Subject != "delivered meanwhile" {
		tb.t.Errorf("UID %d is %+v", last, got)
	}
	c := d.login(tb.t, p, "INBOX")
	tb.idles()
	c.ok(`UID STORE %d +FLAGS (\Flagged \Seen)`, last)
	tb.until("others' flags", func() bool { m := tb.messages("INBOX")[last]; return m.Starred && m.Read })
	tb.idles()
	c.ok(`UID STORE %d -FLAGS (\Flagged)`, last)
	tb.until("others' flags taken away", func() bool { return !tb.messages("INBOX")[last].Starred })
	tb.idles()
	c.ok(`UID STORE %d +FLAGS (\Deleted)`, last)
	c.ok(`UID EXPUNGE %d`, last)
	tb.until("what others expunged gone", func() bool { return len(tb.messages("INBOX")) == before })
}

// writes: folders and messages of its own.
func (tb *thunderbird) writes(d *imapd, p *pki) {
	tb.t.Helper()
	tb.call("createFolder", "Work", "Höhle & Co")
	tb.until("a new folder", func() bool { return d.has(tb.t, "Work/Höhle & Co") && tb.folder("Work/Höhle & Co") })
	tb.call("renameFolder", "Work/Höhle & Co", "Хата")
	tb.until("another name for it", func() bool { return d.has(tb.t, "Work/Хата") && tb.folder("Work/Хата") })
	tb.call("deleteFolder", "Work/Хата")
	tb.until("it in the trash", func() bool { return d.has(tb.t, "Papierkorb/Хата") && tb.folder("Papierkorb/Хата") })

	upload := []byte("From: alice@example.org\r\nSubject: sent\r\n\r\nh\xc3\xa9llo\r\n")
	putFile(tb.t, tb.dir, "upload", string(upload))
	tb.call("upload", tb.path("upload"), "Verschickt")
	tb.until("the upload", func() bool { return slices.Equal(d.texts(tb.t, p, "Verschickt"), []string{string(upload)}) })

	tb.call("compose", "bob@example.net", "Grüße", "noch nicht fertig")
	tb.until("a draft", func() bool { return ask[bool](tb, "saveDraft") })
	tb.until("the draft on the server", func() bool { return len(d.stored(tb.t, "Entwürfe")) == 1 })
	if got := d.texts(tb.t, p, wire.EncodeUTF7("Entwürfe"))[0]; !strings.Contains(got, "noch nicht fertig") {
		tb.t.Errorf("the draft: %q", got)
	}
	if got := ask[[]int](tb, "search", "INBOX", "the spare keys"); !slices.Equal(got, []int{1}) {
		tb.t.Errorf("the server finds %v", got)
	}
}

// throwsAway: for good, once without the trash and once from it.
func (tb *thunderbird) throwsAway(d *imapd) {
	tb.t.Helper()
	before := len(d.stored(tb.t, "INBOX"))
	tb.press("INBOX", []int{13}, "cmd_shiftDeleteMessage")
	tb.until("one message less", func() bool { return len(tb.messages("INBOX")) == before-1 })
	tb.idles()
	tb.call("compact", "INBOX")
	tb.until("an inbox without it", func() bool { return len(d.stored(tb.t, "INBOX")) == before-1 })
	tb.idles()
	tb.call("emptyTrash", "Papierkorb")
	tb.until("an empty trash", func() bool { return len(d.stored(tb.t, "Papierkorb")) == 0 && !d.has(tb.t, "Papierkorb/Хата") })
}

// comesBack: after a start anew it finds what has changed in the meantime.
func (tb *thunderbird) comesBack(d *imapd, p *pki, flagged uint32) {
	tb.t.Helper()
	c := d.login(tb.t, p, "INBOX")
	gone := flagged + 20
	c.ok(`UID STORE %d +FLAGS (\Flagged)`, flagged)
	c.ok(`UID STORE %d +FLAGS (\Deleted)`, gone)
	c.ok("UID EXPUNGE %d", gone)
	c.append("INBOX", "", []byte("Subject: meanwhile\r\n\r\nmeanwhile\r\n"))
	want := len(d.stored(tb.t, "INBOX"))
	tb.start()
	tb.call("open", "INBOX")
	tb.until("what changed", func() bool {
		all := tb.messages("INBOX")
		_, there := all[gone]
		return len(all) == want && !there && all[flagged].Starred
	})
}
