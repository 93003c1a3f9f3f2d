package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// machineCaller is a program that knows only /usr/sbin/sendmail.
type machineCaller struct {
	pkg    string
	script string
	header []string // lines that arrive
	body   string   // a part of it
	stays  bool     // the program does not end by itself
	told   string   // what it says when nothing could be sent; empty: it does not look
}

func (c *machineCaller) test(t *testing.T, p *pki) {
	t.Helper()
	f := (&fakesub{}).start(t, p)
	cmd, output := onMachine(t, p, f, c.pkg, c.script)
	end := c.endOf(t, cmd)
	eventually(t, "a message arrives", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.messages) > 0
	})
	end()
	m := f.one(t)
	if !strings.HasPrefix(m.mail, "MAIL FROM:"+senderMail+" ") || !strings.HasSuffix(m.mail, " REQUIRETLS") ||
		len(m.rcpts) != 1 || !strings.HasPrefix(m.rcpts[0], "RCPT TO:<b@example.net>") {
		t.Errorf("%q %q", m.mail, m.rcpts)
	}
	for _, line := range c.header {
		if !strings.Contains("\r\n"+m.header(), "\r\n"+line) {
			t.Errorf("no %q in\n%s", line, m.header())
		}
	}
	if !strings.Contains(string(m.body()), c.body) {
		t.Errorf("no %q in\n%s", c.body, m.body())
	}

	f = (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	cmd, output = onMachine(t, p, f, c.pkg, c.script)
	end = c.endOf(t, cmd)
	eventually(t, "a session ends, and the refusal is noticed", func() bool {
		said, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		return len(f.commands("QUIT")) > 0 && strings.Contains(string(said), c.told)
	})
	end()
	f.nothingCrossed(t)
}

// endOf returns what waits for the program, and kills it first if it would stay.
func (c *machineCaller) endOf(t *testing.T, cmd *exec.Cmd) func() {
	t.Helper()
	ended := false
	end := func() {
		if ended {
			return
		}
		ended = true
		if c.stays || t.Failed() {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		_ = cmd.Wait() // its exit is its own business
	}
	t.Cleanup(end)
	return end
}

// callerCron runs Debian's cron, which starts what is due at boot at once.
func callerCron(t *testing.T, p *pki) {
	(&machineCaller{
		pkg: "cron", stays: true,
		script: `rm -f /etc/cron.d/* /var/run/crond.*
printf 'MAILTO=b@example.net\n@reboot root printf "hello from cron\\n.\\nend\\n"\n' >/etc/crontab
mkdir -p /var/spool/cron/crontabs
cron -f -L 15`,
		header: []string{"Subject: Cron <root@", "To: b@example.net\r\n", "X-Cron-Env: <MAILTO=b@example.net>\r\n"},
		body:   "hello from cron\r\n.\r\nend\r\n",
		told:   "5.7.30",
	}).test(t, p)
}

// callerCronKeeps: what cron reports and nobody can be sent is in root's dead.letter, also
// where systemd has started cron, without a HOME.
func callerCronKeeps(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	cmd, output := onMachine(t, p, f, "cron", `rm -f /etc/cron.d/* /var/run/crond.* /root/dead.letter
printf '@reboot root echo hello from cron\n' >/etc/crontab
mkdir -p /var/spool/cron/crontabs
env -u HOME cron -f -L 15 &
n=0
until [ -s /root/dead.letter ] || [ $n -gt 600 ]; do n=$((n + 1)); sleep 0.1; done
stat -c 'mode %a' /root/dead.letter
cat /root/dead.letter`)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	said, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`the recipient "root" has no domain`, "mode 600\n", "\nSubject: Cron <root@", "\n\nhello from cron\n"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	f.nothingCrossed(t)
}

func callerLogwatch(t *testing.T, p *pki) {
	(&machineCaller{
		pkg: "logwatch",
		script: `mkdir -p /var/cache/logwatch
perl /usr/sbin/logwatch --output mail --mailto b@example.net --service zz-sys --range today`,
		header: []string{"To: b@example.net\r\n", "Subject: Logwatch for "},
		body:   "Logwatch End",
		told:   "5.7.30",
	}).test(t, p)
}

// callerMdadm lets mdadm test its alarm, for an array that need not be there. It runs a
// program of the administrator's as well.
func callerMdadm(t *testing.T, p *pki) {
	(&machineCaller{
		pkg: "mdadm",
		script: `printf 'MAILADDR b@example.net\nMAILFROM root@example.org\nPROGRAM /bin/echo\n' >/etc/mdadm/mdadm.conf
mdadm --monitor --test --oneshot /dev/md0`,
		header: []string{"From: root@example.org\r\n", "To: b@example.net\r\n", "Subject: TestMessage event on /dev/md0:"},
		body:   "This is an automatically generated mail message from mdadm\r\n",
		told:   "5.7.30",
	}).test(t, p)
}

// callerSudo lets sudo report a command. It neither waits for its mailer nor lets it
// speak: what cannot be sent is lost on it, and only a queue would keep it.
func callerSudo(t *testing.T, p *pki) {
	(&machineCaller{
		pkg: "sudo",
		script: `printf 'Defaults mail_all_cmnds, mailto="b@example.net"\nroot ALL=(ALL:ALL) NOPASSWD: ALL\n' >/etc/sudoers
chmod 440 /etc/sudoers
exec sudo sleep 60`, // its end would be reported too
		stays:  true,
		header: []string{"To: b@example.net\r\n", "Auto-Submitted: auto-generated\r\n"},
		body:   "COMMAND=",
	}).test(t, p)
}
