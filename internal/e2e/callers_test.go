package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// caller is a program, or the exact line that one runs, that pipes a message into
// sendmail.
type caller struct {
	name    string
	program string // that has to be there; empty: a shell's line
	// script is for sh. $SENDMAIL is rtls-send under that name, $DIR a directory.
	script string
	stdin  string
	files  map[string]string // in $DIR; $SENDMAIL and $DIR in them are replaced

	mail   string   // what follows MAIL FROM:, up to REQUIRETLS
	rcpts  []string // addresses
	header []string // lines that arrive
	absent string   // a word that does not arrive
	body   string   // that arrives, with LF for line ends
	failed int      // exit code that the program has when the message is refused; 0: any but 0
}

const (
	senderMail = "<sender@example.org>"
	bodyText   = "line\n.\n.dot\nend\n"
)

// sendmailLine is what a program pipes into a sendmail, which nobody stands between.
func sendmailLine(name, args, header string) caller {
	return caller{
		name: name, script: "$SENDMAIL " + args, stdin: header + "\n" + bodyText, body: bodyText,
		mail: senderMail, rcpts: []string{"b@example.net"}, failed: 69,
	}
}

// from is c with another reverse-path.
func (c caller) from(mail string) caller { c.mail = mail; return c }

// withoutHome is c as a service runs it, in a directory that it cannot write to.
func (c caller) withoutHome() caller {
	c.script = "cd / && exec env -i SENDMAIL=$SENDMAIL " + c.script
	return c
}

func (c caller) shows(lines ...string) caller { c.header = lines; return c }

const lineHeader = "From: root@example.org\nTo: b@example.net\nSubject: report\n"

// lines are those callers whose line is all there is to them. The arguments are as
// the programs have them, with a whole address where they would pass a local user.
func lines() []caller {
	cronHeader := "From: root (Cron Daemon)\nTo: b@example.net\nSubject: Cron <root@host> date\nMIME-Version: 1.0\n" +
		"Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>\n"
	return []caller{
		sendmailLine("cron_line", "-FCronDaemon -i -B8BITMIME -oem b@example.net", cronHeader).
			shows("Subject: Cron <root@host> date", "X-Cron-Env: <SHELL=/bin/sh>"),
		sendmailLine("cron_vixie", "-FCronDaemon -odi -oem -oi -t", lineHeader),
		sendmailLine("cronie", "-FCronDaemon -i -odi -oem -oi -t -f root", cronHeader),
		sendmailLine("dcron", "-t -oem -i", lineHeader),
		sendmailLine("busybox_crond", "-ti", lineHeader),
		sendmailLine("anacron", "-FAnacron -odi b@example.net", "From: Anacron <root@example.org>\nTo: b@example.net\nSubject: Anacron job 'cron.daily' on host\nContent-Type: text/plain; charset=UTF-8\n"),
		sendmailLine("at", "-i b@example.net", "Subject: Output from your job        1\nTo: b@example.net\n"),
		sendmailLine("mdadm_line", "-t", lineHeader),
		sendmailLine("unattended_upgrades", "-oi -t", lineHeader+"Auto-Submitted: auto-generated\n"),
		sendmailLine("fail2ban", `-f "fail2ban@example.org" "b@example.net"`, "Subject: [Fail2Ban] sshd: banned\nDate: Wed, 25 Nov 2026 01:02:03 +0000\nFrom: Fail2Ban <fail2ban@example.org>\nTo: b@example.net\n").
			from("<fail2ban@example.org>"),
		sendmailLine("nodemailer", "-i -f me@example.org b@example.net", lineHeader).from("<me@example.org>"),
		sendmailLine("mime_lite", "-t -oi -oem", lineHeader),
		sendmailLine("phpmailer", "-oi -fme@example.org -t", lineHeader).from("<me@example.org>"),
		sendmailLine("email_sender", "-i -f me@example.org -- b@example.net", lineHeader).from("<me@example.org>"),
		sendmailLine("ruby_mail", "-i -f me@example.org -- b@example.net", lineHeader).from("<me@example.org>"),
		sendmailLine("apt_listchanges", "-oi -t", lineHeader),
		sendmailLine("python", "-t -oi", "From MAILER-DAEMON Wed Nov 25 01:02:03 2026\n"+lineHeader), // as_string(unixfrom=True)
		sendmailLine("systemd_on_failure", "-C $DIR/.config/rtls/rtls.toml -t", lineHeader).withoutHome(),
		sendmailLine("mailutils", "-oi -f me@example.org -t", lineHeader).from("<me@example.org>"),
	}
}

// programs are real, and told by their own settings which sendmail to run.
var programs = []caller{
	{
		name: "git_send_email", program: "/usr/lib/git-core/git-send-email",
		script: `git -c user.name=Me -c user.email=me@example.org -c sendemail.smtpServer=$SENDMAIL -c sendemail.envelopeSender=me@example.org send-email --confirm=never --suppress-cc=all --no-validate \
			--from="Me <me@example.org>" --to=b@example.net --cc=c@example.net --bcc=d@example.net $DIR/0001-a.patch`,
		files: map[string]string{"0001-a.patch": "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n" +
			"From: Me <me@example.org>\nDate: Wed, 25 Nov 2026 01:02:03 +0000\nSubject: [PATCH] a\n\n" + bodyText},
		mail: "<me@example.org>", rcpts: []string{"b@example.net", "c@example.net", "d@example.net"},
		header: []string{"Subject: [PATCH] a", "To: b@example.net"}, absent: "d@example.net", body: bodyText,
	},
	{
		name: "neomutt", program: "neomutt",
		script: `neomutt -n -F $DIR/muttrc -s report -b d@example.net b@example.net`, stdin: bodyText,
		files: map[string]string{"muttrc": "set from=me@example.org\nset use_envelope_from=yes\nset sendmail=\"$SENDMAIL -oem -oi\"\n" +
			"set copy=no\nset dsn_notify=failure,delay\nset dsn_return=hdrs\nset use_8bitmime=yes\n"},
		mail: "<me@example.org>", rcpts: []string{"b@example.net", "d@example.net"},
		header: []string{"Subject: report"}, absent: "d@example.net", body: bodyText,
	},
	{
		name: "s-nail", program: "s-nail",
		script: `s-nail -:/ -S v15-compat -S mta=file://$SENDMAIL -S mta-arguments="-C $DIR/.config/rtls/rtls.toml" -S sendwait -r me@example.org -s report b@example.net`, stdin: bodyText,
		mail: "<me@example.org>", rcpts: []string{"b@example.net"}, header: []string{"Subject: report"}, body: bodyText,
	},
	{
		name: "bsd-mailx", program: "bsd-mailx",
		script: `MAILRC=$DIR/mailrc bsd-mailx -s report -r me@example.org -c c@example.net -b d@example.net b@example.net`, stdin: "line\n..\nend\n",
		files: map[string]string{"mailrc": "set sendmail=$SENDMAIL\nset sendwait\nset nodot\n"},
		mail:  "<me@example.org>", rcpts: []string{"b@example.net", "c@example.net", "d@example.net"},
		header: []string{"Subject: report"}, absent: "d@example.net", body: "line\n..\nend\n",
	},
	{
		name: "nagios", program: "bsd-mailx", // and smartd, and whoever else runs mail(1)
		script: `printf "line\\nend\\n" | MAILRC=$DIR/mailrc bsd-mailx -s "** PROBLEM **" b@example.net`,
		files:  map[string]string{"mailrc": "set sendmail=$SENDMAIL\nset sendwait\n"},
		mail:   senderMail, rcpts: []string{"b@example.net"}, header: []string{"Subject: ** PROBLEM **"}, body: "line\nend\n",
	},
	{
		name: "php_mail", program: "php",
		script: `php -d sendmail_path="$SENDMAIL -t -i" -r 'exit(mail("b@example.net", "report", "line\n.\n.dot\nend", "From: me@example.org\r\nBcc: d@example.net", "-fbounce@example.org") ? 0 : 1);'`,
		mail:   "<bounce@example.org>", rcpts: []string{"b@example.net", "d@example.net"},
		header: []string{"Subject: report", "From: me@example.org"}, absent: "d@example.net", body: bodyText, failed: 1,
	},
	{
		name: "symfony_bs", program: "php", script: `php $DIR/symfony.php`, files: map[string]string{"symfony.php": symfonyPHP},
		mail: "<me@example.org>", rcpts: []string{"b@example.net", "d@example.net"},
		header: []string{"Subject: report", "Message-ID: <symfony@example.org>"}, absent: "d@example.net", body: bodyText, failed: 1,
	},
}

// symfonyPHP speaks to "sendmail -bs" as the transports of Symfony and Laravel do.
const symfonyPHP = `<?php
$sendmail = proc_open(getenv("SENDMAIL") . " -bs -i", [["pipe", "r"], ["pipe", "w"], STDERR], $pipes);
function say($line, $code) {
	global $pipes;
	if ($line !== null) fwrite($pipes[0], $line . "\r\n");
	do {
		$reply = fgets($pipes[1]);
		if ($reply === false) exit(2);
	} while (substr($reply, 3, 1) == "-");
	if (substr($reply, 0, 3) != $code) { fwrite(STDERR, $reply); exit(1); }
}
say(null, "220");
say("EHLO [127.0.0.1]", "250");
say("MAIL FROM:<me@example.org>", "250");
say("RCPT TO:<b@example.net>", "250");
say("RCPT TO:<d@example.net>", "250");
say("DATA", "354");
fwrite($pipes[0], "From: me@example.org\r\nTo: b@example.net\r\nSubject: report\r\nDate: Wed, 25 Nov 2026 01:02:03 +0000\r\nMessage-ID: <symfony@example.org>\r\n\r\n");
fwrite($pipes[0], "line\r\n..\r\n..dot\r\nend\r\n");
say(".", "250");
say("QUIT", "221");
exit(proc_close($sendmail));
`

// TestCallers has a subtest for each program that is known to run sendmail: what
// arrives of its mail, and that it learns when nothing could be sent.
func TestCallers(t *testing.T) {
	p := newPKI(t)
	for _, c := range append(lines(), programs...) {
		t.Run(c.name, func(t *testing.T) {
			if c.program != "" {
				if _, err := exec.LookPath(c.program); err != nil {
					t.Fatalf("%v: make setup installs it", err)
				}
			}
			f := (&fakesub{}).start(t, p)
			if r := c.run(t, p, f); r.code != 0 {
				t.Fatalf("exit %d: %s", r.code, r.stderr)
			}
			c.check(t, f.one(t))

			f = (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
			r := c.run(t, p, f)
			if r.code == 0 || c.failed != 0 && r.code != c.failed {
				t.Errorf("nothing was sent, and the caller's exit is %d", r.code)
			}
			if !strings.Contains(r.stdout+r.stderr, "5.7.30") {
				t.Errorf("nobody said why: %s", r.stdout+r.stderr)
			}
			f.nothingCrossed(t)
		})
	}
	t.Run("cron", func(t *testing.T) { callerCron(t, p) })
	t.Run("cron_keeps", func(t *testing.T) { callerCronKeeps(t, p) })
	t.Run("logwatch", func(t *testing.T) { callerLogwatch(t, p) })
	t.Run("mdadm", func(t *testing.T) { callerMdadm(t, p) })
	t.Run("sudo", func(t *testing.T) { callerSudo(t, p) })
}

// run runs a caller with a home of its own, whose configuration leads to f.
func (c *caller) run(t *testing.T, p *pki, f *fakesub) result {
	t.Helper()
	dir := t.TempDir()
	config, err := os.ReadFile(f.account(t, p))
	if err != nil {
		t.Fatal(err)
	}
	sendmail := filepath.Join(dir, "bin", "sendmail")
	files := map[string]string{filepath.Join(dir, ".config/rtls/rtls.toml"): string(config)}
	replace := strings.NewReplacer("$SENDMAIL", sendmail, "$DIR", dir)
	for name, text := range c.files {
		files[filepath.Join(dir, name)] = replace.Replace(text)
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Dir(sendmail), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bin("rtls-send"), sendmail); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", c.script)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "SENDMAIL=" + sendmail, "DIR=" + dir, "DEAD=" + filepath.Join(dir, "dead"), "LC_ALL=C.UTF-8"}, quickExit...)
	cmd.Stdin = strings.NewReader(c.stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		t.Fatalf("%s: %v\n%s", c.script, err, stderr.String())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// check looks at what arrived.
func (c *caller) check(t *testing.T, m submitted) {
	t.Helper()
	if !strings.HasPrefix(m.mail, "MAIL FROM:"+c.mail+" ") || !strings.HasSuffix(m.mail, " REQUIRETLS") {
		t.Errorf("%q", m.mail)
	}
	var rcpts []string
	for _, line := range m.rcpts {
		addr, _, _ := strings.Cut(strings.TrimPrefix(line, "RCPT TO:<"), ">")
		rcpts = append(rcpts, addr)
	}
	slices.Sort(rcpts)
	if !slices.Equal(rcpts, c.rcpts) {
		t.Errorf("recipients %q, want %q", rcpts, c.rcpts)
	}
	for _, line := range append(slices.Clone(c.header), "") {
		if !strings.Contains(m.header(), line+"\r\n") {
			t.Errorf("no %q in the header:\n%s", line, m.header())
		}
	}
	for _, name := range []string{"Date", "Message-I", "From"} {
		if n := strings.Count(strings.ToLower("\n"+m.header()), "\n"+strings.ToLower(name)); n != 1 {
			t.Errorf("%d fields %s:\n%s", n, name, m.header())
		}
	}
	if c.absent != "" && bytes.Contains(m.raw, []byte(c.absent)) {
		t.Errorf("%q arrived:\n%s", c.absent, m.raw)
	}
	if want := strings.ReplaceAll(c.body, "\n", "\r\n"); string(m.body()) != want {
		t.Errorf("body %q, want %q", m.body(), want)
	}
}

// machineSendmail makes rtls-send a machine's /usr/sbin/sendmail, before what follows.
const machineSendmail = `ln -sf %[1]s/rtls-send /usr/sbin/sendmail
mkdir -p /etc/rtls && cp %[1]s/rtls.toml /etc/rtls/rtls.toml && chmod 600 /etc/rtls/rtls.toml
`

// onMachine runs a script on a machine with a package and with rtls-send as its
// /usr/sbin/sendmail. It returns the command, which runs, and a file with what it says.
func onMachine(t *testing.T, p *pki, f *fakesub, pkg, script string) (cmd *exec.Cmd, output string) {
	t.Helper()
	h := newMTAHost(t)
	config, err := os.ReadFile(f.account(t, p))
	if err != nil {
		t.Fatal(err)
	}
	command, err := os.ReadFile(bin("rtls-send"))
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]struct {
		content []byte
		mode    os.FileMode
	}{"rtls.toml": {config, 0o600}, "rtls-send": {command, 0o755}} {
		if err := os.WriteFile(filepath.Join(h.dir, name), file.content, file.mode); err != nil {
			t.Fatal(err)
		}
	}
	output = filepath.Join(h.dir, "output")
	out, err := os.Create(output)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd = inMachine(t, h.dir, pkg, "", "sh", "-c", fmt.Sprintf(machineSendmail, h.dir)+script)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if said, err := os.ReadFile(output); t.Failed() {
			t.Logf("the machine said (%v):\n%s", err, said)
		}
	})
	return cmd, output
}
