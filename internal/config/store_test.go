package config

import (
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	for _, tc := range []struct{ template, user, home, want string }{
		{"/var/mail/%u", "alice", "", "/var/mail/alice"},
		{"/var/mail/%d/%n", "alice@example.org", "", "/var/mail/example.org/alice"},
		{"%h/mail", "alice", "/home/alice", "/home/alice/mail"},
		{"/x/%%/%u/", "alice", "", "/x/%/alice"},
		{"%h/mail", "alice", "", ""},
		{"%h/mail", "alice", "relative", ""},
		{"/var/%d", "alice", "", ""},
		{"/var/%d", "alice@..", "", ""},
		{"mail/%u", "alice", "", ""},
		{"/var/%x", "alice", "", ""},
		{"/var/%", "alice", "", ""},
	} {
		got, err := Expand(tc.template, tc.user, tc.home)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("Expand(%q, %q, %q) = %q, %v", tc.template, tc.user, tc.home, got, err)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "10": 10, "1k": 1024, "500M": 500 << 20, "2g": 2 << 30, "1T": 1 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "M", "-1", "1.5G", "9999999T", "1 G", "99999999999999999999"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
}

const places = "[store]\nroot = \"/r\"\nusers = \"/u\"\n"

func TestCheckLDA(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{places, ""},
		{places + "quota = \"1G\"\nquota_messages = 5\naccount = \"/m/%d/%n\"\n", ""},
		{places + "quota = 100\n", ""},
		{"[store]\naccount = \"%h/mail\"\nfirst_system_uid = 1000\n", ""},
		{places + "[lda]\ndomains = [\"Example.ORG\"]\naliases = \"/etc/aliases\"\nquota_full = \"reject\"\nsieve = \"%h/.sieve\"\n", ""},
		{"[store]\nusers = \"/u\"\n", "x:1: [store] has no root"},
		{"[store]\nroot = \"/r\"\n", "x:1: [store] has no users"},
		{"[store]\nroot = \"r\"\nusers = \"/u\"\n", "x:2: root is an absolute path"},
		{places + "quota = \"much\"\n", `x:4: a size is a number of octets`},
		{places + "quota = -1\n", "x:4: quota is a number of octets, not -1"},
		{places + "account = \"/mail\"\n", "x:4: account \"/mail\" is the same for all"},
		{places + "account = \"/mail/%d\"\n", "x:4: account \"/mail/%d\" is the same for all"},
		{places + "account = \"%q\"\n", "x:4: account: \"%q\": there are %u"},
		{places + "first_system_uid = -1\n", "x:4: first_system_uid is a user id"},
		{places + "[lda]\nquota_full = \"bounce\"\n", `x:5: quota_full is "tempfail" or "reject", not "bounce"`},
		{places + "[lda]\naliases = \"aliases\"\n", "x:5: aliases is an absolute path"},
		{places + "[lda]\ndomains = [\"@x\"]\n", "x:5: domains is a list"},
		{places + "[lda]\nsieve = \"sieve\"\n", "x:5: sieve: "},
	} {
		f, err := parse("x", tc.text)
		if err == nil {
			err = f.CheckLDA(false)
		}
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", tc.text, err)
		}
	}
}

func TestOverride(t *testing.T) {
	f, err := parse("x", places+"[lda]\nquota_full = \"reject\"\nmax_size = 1\n")
	if err != nil {
		t.Fatal(err)
	}
	err = f.Override([]string{"lda.quota_full=tempfail", "store.quota = 1G", `lda.domains=["a", "b"]`, "hostname=mx.example.org", "lda.deliver_once=false", `lda.send=/a "b"`})
	if err != nil {
		t.Fatal(err)
	}
	if f.LDA.QuotaFull != "tempfail" || f.Store.Quota != 1<<30 || f.LDA.Domains[1] != "b" || f.Hostname != "mx.example.org" ||
		*f.LDA.DeliverOnce || f.LDA.MaxSize != 1 || f.LDA.Send != `/a "b"` || f.Store.Root != "/r" {
		t.Errorf("%+v", f)
	}
	for setting, want := range map[string]string{
		"lda.quotafull=x": "unknown key",
		"lda":             "is not a setting",
		"=x":              "is not a setting",
		"lda.max_size=x":  "lda.max_size=x",
		"a b=c":           "is not a setting",
	} {
		if err := f.Override([]string{setting}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
