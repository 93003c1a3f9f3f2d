package config

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	f, err := parse("rtls.toml", `
hostname = "mx.example.org"
[send.account.work]
host = "smtp.example.org"
user = "alice"
password_command = ["pass", "show", "mail"]
[store]
root = "/var/lib/rtls"
users = "/etc/rtls/passwd"
[imapd]
listen = ["127.0.0.1:993"]
cert = "c"
key = "k"
`)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Account("")
	if err != nil || a.Name != "work" || a.Host != "smtp.example.org" {
		t.Errorf("Account = %+v, %v", a, err)
	}
	if err := f.CheckIMAPD(); err != nil {
		t.Error(err)
	}
	if err := f.CheckLDA(false); err != nil {
		t.Error(err)
	}
	if err := f.CheckLDA(true); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("LMTP without a certificate: %v", err)
	}
}

// Every complaint names file, line and remedy.
func TestErrors(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "[send.account.a]\nhost = \"h\"\nhots = \"x\"\n", `rtls.toml:3: unknown key "send.account.a.hots"`},
		{"unknown table", "\n[smtp]\nhost = \"h\"\n", `rtls.toml:2: unknown key "smtp"`},
		{"syntax", "a = \n", "rtls.toml:1:"},
		{"type", "hostname = 3\n", "rtls.toml:1:"},
		{"no host", "# x\n[send.account.\"a.b\"]\nfrom = \"x\"\n", `rtls.toml:2: account "a.b" has no submission server; write host = `},
		{"tls", "[send.account.a]\nhost=\"h\"\ntls=\"none\"\n", `rtls.toml:3: tls is "implicit" or "starttls"`},
		{"wish", "[send.account.a]\nhost=\"h\"\nrequiretls=\"maybe\"\n", `rtls.toml:3: requiretls is yes, no or auto`},
		{"spool", "[send]\nspool=\"queue\"\n", `rtls.toml:2: spool is an absolute path`},
		{"in doubt", "[send]\nspool=\"~/q\"\nin_doubt=\"lose\"\n", `rtls.toml:3: in_doubt is "resend" or "hold"`},
		{"no password", "[send.account.a]\nhost=\"h\"\nuser=\"u\"\n", `rtls.toml:3: account "a" has a user but no password; write password_file`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse("rtls.toml", tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestAccountChoice(t *testing.T) {
	two := "[send]\n[send.account.a]\nhost=\"h\"\n[send.account.b]\nhost=\"h\"\n"
	f, err := parse("rtls.toml", two)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Account(""); err == nil || !strings.Contains(err.Error(), `rtls.toml:1: several accounts (a, b)`) {
		t.Errorf("two accounts, none chosen: %v", err)
	}
	if a, err := f.Account("b"); err != nil || a.Name != "b" {
		t.Errorf("Account(b) = %v, %v", a, err)
	}
	if _, err := f.Account("c"); err == nil {
		t.Error("Account(c) succeeded")
	}
	if a, err := (&File{}).Account(""); a != nil || err != nil {
		t.Errorf("no file: %v, %v", a, err)
	}
}

func TestValidUser(t *testing.T) {
	for _, good := range []string{"alice", "alice@example.org", "jürgen@münchen.example", "a b"[:1]} {
		if err := ValidUser(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", ".", "..", ".x", "-x", "a/b", "../x", "a b", "a:b", "a\x00b", "a\nb", strings.Repeat("x", 256)} {
		if ValidUser(bad) == nil {
			t.Errorf("ValidUser(%q) passed", bad)
		}
	}
}
