package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// journalEntry is what journalctl has of an entry.
type journalEntry struct {
	Message  string   `json:"MESSAGE"`
	Priority string   `json:"PRIORITY"`
	Tag      string   `json:"SYSLOG_IDENTIFIER"`
	Wish     string   `json:"RTLS_REQUIRETLS"`
	Target   string   `json:"RTLS_TARGET"`
	Rcpt     []string `json:"RTLS_RCPT"`
}

// With log = "journal" systemd's journal has each message with fields to search by.
func TestSendJournal(t *testing.T) {
	p := newPKI(t)
	f := (&fakesub{}).start(t, p)
	cmd, output := onMachine(t, p, f, "cron", `mount -t sysfs sysfs /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup && mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
printf '[Journal]\nStorage=volatile\n' >/etc/systemd/journald.conf
/lib/systemd/systemd-journald >/run/said 2>&1 &
n=0
until journalctl --sync || [ $n -gt 200 ]; do n=$((n + 1)); sleep 0.1; done 2>/dev/null
(cat /etc/rtls/rtls.toml; printf '[send]\nlog = "journal"\n') >/run/journal.toml
printf 'Subject: hi\n\nhello\n' | sendmail -C /run/journal.toml -L mailer b@example.net c@example.net
journalctl --sync || cat /run/said
journalctl -D /run/log/journal -o json RTLS_RCPT=c@example.net`)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	said, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	var e journalEntry
	_, line, _ := strings.Cut("\n"+string(said), "\n{")
	if err := json.Unmarshal([]byte("{"+strings.TrimSpace(line)), &e); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if e.Priority != "6" || e.Tag != "mailer" || e.Wish != "yes" || e.Target != "localhost:"+f.port() || !slices.Equal(e.Rcpt, []string{"b@example.net", "c@example.net"}) || !strings.HasPrefix(e.Message, "level=INFO msg=sent ") {
		t.Errorf("%+v", e)
	}
}
