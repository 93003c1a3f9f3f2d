package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/store"
)

// elsewhere is a mail server that somebody has mail on, with some in it: from a null
// sender, and from one that starts with a dash.
func elsewhere(t *testing.T) (*imapd, *pki) {
	t.Helper()
	p := newPKI(t)
	d := startIMAPD(t, p)
	account, err := store.Open(d.path(filepath.Join("mail", imapUser)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	for _, sender := range []string{"sender@example.com", "", "-oops@example.com", "jürgen@exämple.com"} {
		delivery, err := account.Deliver(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := delivery.Write([]byte("Return-Path: <" + sender + ">\r\nSubject: hi\r\nFrom: x@example.com\r\n\r\nhello\r\n.\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := delivery.Commit(store.Meta{Tag: store.TagRequire, Origin: store.OriginESMTP}); err != nil {
			t.Fatal(err)
		}
	}
	return d, p
}

// fetch runs a program that fetches mail for alice, as mailUser: getmail starts
// nothing as root.
func fetch(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0"}
	uid, gid := ids(t, mailUser)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// checkFetched makes sure that mail stays over there until it is here, and comes here
// once. The last sender is what the program makes of one in UTF-8.
func checkFetched(t *testing.T, h *mailHost, lastSender string, again func() (string, error)) {
	t.Helper()
	mend := h.broken(t)
	if said, err := again(); h.delivered("alice") != 0 {
		t.Errorf("with a wrong configuration: %v\n%s", err, said)
	}
	mend()
	check := func(said string, err error) {
		t.Helper()
		if h.delivered("alice") == 0 {
			t.Fatalf("nothing has come; %v\n%s", err, said)
		}
		got := h.mail(t, "alice", "INBOX")
		if len(got) != 4 {
			t.Fatalf("%d messages; %v\n%s", len(got), err, said)
		}
		for i, sender := range []string{"sender@example.com", "", "-oops@example.com", lastSender} {
			head, body, _ := strings.Cut(got[i].raw, "\r\n\r\n")
			if !strings.HasPrefix(head, "Return-Path: <"+sender+">\r\n") || strings.Count(head, "Return-Path:") != 1 ||
				body != "hello\r\n.\r\n" || got[i].tag != "none/mda" {
				t.Errorf("tag %s\n%s", got[i].tag, got[i].raw)
			}
		}
	}
	check(again())
	check(again())
}

// broken makes the host's configuration wrong until the function that it returns is
// called.
func (h *mailHost) broken(t *testing.T) (mend func()) {
	t.Helper()
	right, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) {
		if err := os.WriteFile(h.config, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(append([]byte("nonsense = 1\n"), right...))
	return func() { write(right) }
}

// home makes a directory of mailUser, with files.
func (h *mailHost) home(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(h.dir, "home")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	uid, gid := ids(t, mailUser)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
}

func testGetmail(t *testing.T) {
	d, p := elsewhere(t)
	h := newMTAHost(t)
	// The snippet names a command without arguments.
	command := filepath.Join(h.dir, "command")
	if err := os.WriteFile(command, []byte("#!/bin/sh\nexec "+h.command()+` "$@"`+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	rc := h.snippet(t, "getmailrc", "imap.example.com", "localhost", "port = 993", "port = "+d.port(),
		"username = alice", "username = "+imapUser, "/home/alice/.config/getmail/", "",
		"/etc/ssl/certs/ca-certificates.crt", "ca.pem", "/usr/bin/rtls-lda", command)
	dir := h.home(t, map[string]string{"ca.pem": string(p.PEM()), "getmailrc": rc, "password": imapPassword + "\n"})
	getmail := func() (string, error) { return fetch(t, dir, "getmail", "--getmaildir", dir, "--rcfile", "getmailrc") }
	checkFetched(t, h, "j??rgen@ex??mple.com", getmail) // it has ASCII for header fields
}

func testFetchmail(t *testing.T) {
	d, p := elsewhere(t)
	h := newMTAHost(t)
	rc := h.snippet(t, "fetchmailrc", "imap.example.com", "localhost", "port 993", "port "+d.port(),
		`user "alice"`, `user "`+imapUser+`"`, `"secret"`, `"`+imapPassword+`"`,
		"/etc/ssl/certs/ca-certificates.crt", "ca.pem", "/usr/bin/rtls-lda", h.command())
	dir := h.home(t, map[string]string{"ca.pem": string(p.PEM()), "fetchmailrc": rc})
	fetchmail := func() (string, error) {
		return fetch(t, dir, "fetchmail", "-f", "fetchmailrc", "--pidfile", filepath.Join(dir, "pid"), "--idfile", filepath.Join(dir, "ids"))
	}
	checkFetched(t, h, "jürgen@exämple.com", fetchmail)
}
