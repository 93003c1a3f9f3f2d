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
		{"type", "hostname = 3\n", "rtls.toml:1: hostname: write a string, not a whole number"},
		{"a string for an array", "[imapd]\nlisten = \":993\"\n", `rtls.toml:2: imapd.listen: write an array, as in ["a", "b"], not a string`},
		{"an array of numbers", "[imapd]\nlisten = [993]\n", `rtls.toml:2: imapd.listen: write a string, not a whole number`},
		{"a string for a number", "[imapd]\nmax_per_user = \"5\"\n", `rtls.toml:2: imapd.max_per_user: write a whole number, not a string`},
		{"a string for a boolean", "[imapd]\ncompress = \"yes\"\n", `rtls.toml:2: imapd.compress: write true or false, not a string`},
		{"a table for an array of tables", "[imapd.domain]\nnames = [\"a\"]\n", `rtls.toml:1: imapd.domain: write two brackets around the name of the table`},
		{"a hostname that is none", "\nhostname = \"my host\"\n", `rtls.toml:2: hostname = "my host" is no host's name`},
		{"no host", "# x\n[send.account.\"a.b\"]\nfrom = \"x\"\n", `rtls.toml:2: account "a.b" has no submission server; write host = `},
		{"tls", "[send.account.a]\nhost=\"h\"\ntls=\"maybe\"\n", `rtls.toml:3: tls is "implicit" or "starttls"`},
		{"no TLS", "[send.account.a]\nhost=\"h\"\ntls=\"none\"\n", `rtls.toml:3: tls = "none" is for a Unix socket only`},
		{"a host with a path", "[send.account.a]\nhost=\"h/x\"\n", `rtls.toml:2: "h/x" is no host's name`},
		{"a relative socket", "[send.account.a]\nhost=\"unix:x\"\ntls=\"none\"\n", `rtls.toml:2: a Unix socket is written as unix:/path`},
		{"a socket of nobody", "[send.account.a]\nhost=\"unix:/x\"\n", `rtls.toml:2: who is at the other end`},
		{"a socket and a port", "[send.account.a]\nhost=\"unix:/x\"\ntls=\"none\"\nport=24\n", `rtls.toml:2: port, dane, source, proxy`},
		{"a login without TLS", "[send.account.a]\nhost=\"unix:/x\"\ntls=\"none\"\nuser=\"u\"\npassword_file=\"p\"\n", `rtls.toml:3: tls = "none" goes with no login`},
		{"LMTP without a port", "[send.account.a]\nhost=\"h\"\nlmtp=true\n", `rtls.toml:3: LMTP has no port`},
		{"LMTP by SRV", "[send.account.a]\nsrv=\"d\"\nlmtp=true\n", `rtls.toml:3: srv names submission servers`},
		{"a name by SRV", "[send.account.a]\nsrv=\"d\"\ntls_name=\"n\"\n", `rtls.toml:3: tls_name belongs to host`},
		{"wish", "[send.account.a]\nhost=\"h\"\nrequiretls=\"maybe\"\n", `rtls.toml:3: requiretls is yes, no or auto`},
		{"spool", "[send]\nspool=\"queue\"\n", `rtls.toml:2: spool is an absolute path`},
		{"in doubt", "[send]\nspool=\"~/q\"\nin_doubt=\"lose\"\n", `rtls.toml:3: in_doubt is "resend" or "hold"`},
		{"log", "[send]\nlog=\"mail.log\"\n", `rtls.toml:2: log is "syslog", "journal", "none" or a file`},
		{"log format", "[send]\nlog=\"/l\"\nlog_format=\"xml\"\n", `rtls.toml:3: log_format is "text" or "json"`},
		{"no host in the second target", "[send.account.a]\nfrom=\"x\"\n[[send.account.a.target]]\nhost=\"h\"\n[[send.account.a.target]]\nport=1\n", `rtls.toml:5: account "a" has no submission server`},
		{"unknown key of a target", "[send.account.a]\n[[send.account.a.target]]\nhost=\"h\"\n[[send.account.a.target]]\nhost=\"i\"\nhots=\"x\"\n", `rtls.toml:6: unknown key "send.account.a.target.hots"`},
		{"keys without a host", "# x\n[send.account.a]\nuser=\"u\"\n[[send.account.a.target]]\nhost=\"h\"\n", `rtls.toml:2: account "a" has keys of a server and no host`},
		{"host and srv", "[send.account.a]\nhost=\"h\"\nsrv=\"d\"\n", `rtls.toml:3: write host or srv`},
		{"srv and port", "[send.account.a]\nsrv=\"d\"\nport=465\n", `rtls.toml:2: srv says what port and tls are`},
		{"min_tls", "[send.account.a]\nhost=\"h\"\nmin_tls=\"1.1\"\n", `rtls.toml:3: min_tls is "1.2" or "1.3"`},
		{"two secrets", "[send.account.a]\nhost=\"h\"\nuser=\"u\"\nnetrc=\"n\"\npassword_file=\"p\"\n", `rtls.toml:4: account "a": write password_file or netrc, not both`},
		{"unknown auth", "[send.account.a]\nhost=\"h\"\nuser=\"u\"\npassword_file=\"p\"\nauth=\"plain\"\n", `rtls.toml:5: auth is one of EXTERNAL, LOGIN, `},
		{"auth without a token", "[send.account.a]\nhost=\"h\"\nuser=\"u\"\npassword_file=\"p\"\nauth=\"OAUTHBEARER\"\n", `rtls.toml:5: auth = "OAUTHBEARER" needs a token`},
		{"auth without anything", "[send.account.a]\nhost=\"h\"\nauth=\"PLAIN\"\n", `rtls.toml:3: auth = "PLAIN" needs a password`},
		{"half a client certificate", "[send.account.a]\nhost=\"h\"\nclient_cert=\"c\"\n", `rtls.toml:3: client_cert and client_key go together`},
		{"two proxies", "[send.account.a]\nhost=\"h\"\nproxy=\"socks5://p\"\nproxy_command=[\"p\"]\n", `rtls.toml:3: write proxy or proxy_command`},
		{"source", "[send.account.a]\nhost=\"h\"\nsource=\"eth0\"\n", `rtls.toml:3: source is an IP address`},
		{"resolver", "[send]\nresolver=\"dns.example.org\"\n", `rtls.toml:2: resolver is an IP address`},
		{"no unit", "[imapd]\nsearch_time = 5\n", `rtls.toml:2: a time is a string like "90s" or "10m", not 5`},
		{"no time", "[imapd]\nlogin_time = \"0s\"\n", `a time is a string like "90s" or "10m", not "0s"`},
		{"negative time", "[imapd]\nstall_time = \"-1m\"\n", `rtls.toml:2: `},
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

func TestServers(t *testing.T) {
	for text, want := range map[string]string{
		"host=\"h\"\n": "h",
		"srv=\"d\"\n":  "d",
		"host=\"h\"\n[[send.account.a.target]]\nhost=\"i\"\n[[send.account.a.target]]\nsrv=\"d\"\n": "h i d",
		"from=\"x\"\n[[send.account.a.target]]\nhost=\"i\"\nuser=\"u\"\nnetrc=\"~/.netrc\"\n":       "i",
	} {
		f, err := parse("rtls.toml", "[send.account.a]\n"+text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var names []string
		for _, s := range f.Send.Accounts["a"].Servers() {
			names = append(names, s.Host+s.SRV)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// What a server is asked to do has to be possible, and to say something.
func TestServerErrors(t *testing.T) {
	const store = "[store]\nroot = \"/mail\"\nusers = \"/passwd\"\n"
	imapd := func(f *File) error { return f.CheckIMAPD() }
	lda := func(f *File) error { return f.CheckLDA(false) }
	for _, tc := range []struct {
		check      func(*File) error
		text, want string
	}{
		{imapd, "[imapd]\nlisten = [\"993\"]\n", `rtls.toml:5: listen is a list of "host:port", not "993"`},
		{imapd, "[imapd]\nlisten = [\":65536\"]\n", `rtls.toml:5: listen is a list of "host:port", not ":65536"`},
		{imapd, "[imapd]\nlisten = [\"localhost:\"]\n", `rtls.toml:5: listen is a list of "host:port", not "localhost:"`},
		{imapd, "[imapd]\nlisten_starttls = [\":imapx\"]\n", `rtls.toml:5: listen_starttls is a list of "host:port"`},
		{imapd, "[imapd]\nlisten = []\n", `rtls.toml:5: listen has nothing in it; leave it out for the default`},
		{imapd, "[imapd]\nmechanisms = []\n", `rtls.toml:5: mechanisms has nothing in it`},
		{imapd, "[imapd]\ncheckpassword = []\n", `rtls.toml:5: checkpassword has nothing in it`},
		{imapd, "[imapd]\nmax_per_user = 0\n", `rtls.toml:5: max_per_user is a positive number, not 0`},
		{imapd, "[imapd]\nmax_message = \"0\"\n", `rtls.toml:5: `},
		{imapd, "[imapd]\nmax_message = 0\n", `rtls.toml:5: max_message is a positive number, not 0`},
		{lda, "[lda]\nmax_size = 0\n", `rtls.toml:5: max_size is a number of octets, not 0`},
		{lda, "[lda]\nmax_connections = 0\n", `rtls.toml:5: max_connections is a number of clients, not 0`},
	} {
		f, err := parse("rtls.toml", store+tc.text)
		if err == nil {
			err = tc.check(f)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s", tc.text, err, tc.want)
		}
	}
}
