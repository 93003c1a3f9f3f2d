package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rtls/internal/testuser"
	"rtls/store"
)

// d04: what an editor, a filter or a broken disk has made of a message is served, but
// the tag is not its tag.
func d04(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	uids := allTags(t, d)
	c := d.login(t, p, "INBOX")
	if got := c.flags(uids[store.TagRequire]); !strings.Contains(strings.Join(got, " "), "$RequireTLS") {
		t.Fatalf("before: %q", got)
	}
	for _, name := range maildirFiles(t, d.path("mail/"+imapUser+"/Maildir")) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw = bytes.Replace(raw, []byte("hello"), []byte("jelly"), 1)
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Time{}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	bodies := c.bodies()
	for tag, uid := range uids {
		if want := fmt.Sprintf("Subject: %s\r\n\r\njelly\r\n", tag); bodies[uid] != want {
			t.Errorf("the %s message is %q", tag, bodies[uid])
		}
		if got := c.flags(uid); strings.Join(got, " ") != "$RequireTLSUnknown" {
			t.Errorf("altered, the %s message has %q", tag, got)
		}
	}
	d.waitLog(t, regexp.MustCompile(`level=ERROR msg="message has been altered[^\n]* tag=require`))
	for _, m := range d.stored(t, "INBOX") {
		if m.Tag != store.TagUnknown {
			t.Errorf("UID %d is %s", m.UID, m.Tag)
		}
	}
}

// d07: a delivering process that is killed leaves a message with its tag, or none.
func d07(t *testing.T, p *pki) {
	testuser.Become(t, t.TempDir(), p.dir)
	d := startIMAPD(t, p)
	config := d.path("rtls.toml")
	c := d.login(t, p, "INBOX")
	const rounds = 40
	killed, acknowledged := 0, 0
	for range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(60))*time.Millisecond)
		cmd := exec.CommandContext(ctx, bin("rtls-lda"), "--config", config, "--requiretls", "-d", imapUser)
		cmd.Env = []string{"HOME=" + d.dir, "GORACE=atexit_sleep_ms=0"}
		cmd.Stdin = strings.NewReader("Subject: x\n\n" + strings.Repeat("0123456789abcdef\n", 1<<12))
		if err := cmd.Run(); err == nil {
			acknowledged++
		} else if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() < 0 {
			killed++
		}
		cancel()
		c.ok("NOOP")
		if untagged := c.search("NOT KEYWORD $RequireTLS"); len(untagged) > 0 {
			t.Fatalf("messages %v have no tag", untagged)
		}
	}
	// The last ones took their time, or the test would see nothing but the start.
	for range 3 {
		r := run(t, strings.NewReader("Subject: x\n\nx\n"), "rtls-lda", "--config", config, "--requiretls", "-d", imapUser)
		if r.code != 0 {
			t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
		}
		acknowledged++
	}
	c.ok("NOOP")
	there := len(c.search("KEYWORD $RequireTLS"))
	t.Logf("%d acknowledged, %d killed, %d stored", acknowledged, killed, there)
	if killed == 0 || there < acknowledged || there > acknowledged+killed {
		t.Errorf("%d acknowledged, %d killed, %d stored", acknowledged, killed, there)
	}
}

// d10 carries a Maildir elsewhere, the ways that administrators do.
func d10(t *testing.T, p *pki) {
	from := startIMAPD(t, p)
	allTags(t, from)
	source := from.path("mail/" + imapUser + "/Maildir")
	for how, command := range map[string]string{
		"tar":        `mkdir "$2" && tar -C "$1" -c . | tar -C "$2" -x`,
		"cp":         `cp -r "$1" "$2"`,
		"cp, no ids": `cp -r "$1" "$2" && rm -f "$2/rtls-mailbox"`,
	} {
		t.Run(how, func(t *testing.T) {
			to := startIMAPD(t, p)
			target := to.path("mail/" + imapUser + "/Maildir")
			if err := os.RemoveAll(target); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("sh", "-c", command, "sh", source, target).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			expectTags(t, to, p, how, "INBOX", 4)
		})
	}
	t.Run("export and import", func(t *testing.T) {
		to := startIMAPD(t, p)
		between := filepath.Join(t.TempDir(), "between")
		inAccount(t, from, func(a *store.Account) error { return a.ExportMaildir(t.Context(), "INBOX", between, nil) })
		inAccount(t, to, func(a *store.Account) error {
			_, err := a.ImportMaildir(t.Context(), "INBOX", between, store.ImportReport{})
			return err
		})
		expectTagsFrom(t, to, p, "imported", "INBOX", 4, nil) // the file could be anybody's
	})
}

func inAccount(t *testing.T, d *imapd, f func(*store.Account) error) {
	t.Helper()
	a, err := store.Open(d.path("mail/"+imapUser), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := f(a); err != nil {
		t.Fatal(err)
	}
}
