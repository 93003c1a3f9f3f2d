package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/testpki"
)

// Options mean the same before, between and behind recipients, in either spelling,
// in one word or in two.
func TestFlagOrder(t *testing.T) {
	options := [][]string{{"-i"}, {"-f", "a@example.org"}, {"-oem"}, {"-B8BITMIME"}, {"-FCron Daemon"}, {"-Orequiretls=no"}, {"-O", "Timeout.command=2m"}, {"--account", "x"}, {"-n"}}
	want, err := parseArgs("sendmail", append(slices.Concat(options...), "b@example.net", "c@example.net"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(options) + 1 {
		for _, last := range []string{"", "--"} {
			args := slices.Concat(slices.Concat(options[:i]...), []string{"b@example.net"}, slices.Concat(options[i:]...))
			if last != "" {
				args = append(args, last)
			}
			got, err := parseArgs("sendmail", append(args, "c@example.net"))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %+v, %v", args, got, err)
			}
		}
	}
	gnu, err := parseArgs("rtls-send", []string{"c@example.net", "--from=a@example.org", "--full-name", "Cron Daemon", "--requiretls=no", "--option", "Timeout.command=2m", "--account=x", "--no-aliases", "--error-mode=m", "b@example.net"})
	slices.Reverse(gnu.recipients)
	if err != nil || !reflect.DeepEqual(gnu, want) {
		t.Errorf("%+v, %v", gnu, err)
	}
}

// What the letters of sendmail come to.
func TestFlagLetters(t *testing.T) {
	for _, tc := range []struct {
		args  []string
		check func(*options) bool
	}{
		{[]string{"-ti"}, func(o *options) bool { return o.fromHeader }},
		{[]string{"-it", "-Xlog"}, func(o *options) bool { return o.fromHeader && o.transcript == "log" }},
		{[]string{"-tfa@b"}, func(o *options) bool { return o.fromHeader && *o.sender == "a@b" }},
		{[]string{"-r", "", "x@y"}, func(o *options) bool { return *o.sender == "" }},
		{[]string{"-bs"}, func(o *options) bool { return o.mode == modeSMTP }},
		{[]string{"-bv", "x@y"}, func(o *options) bool { return o.mode == modeVerify }},
		{[]string{"-bm", "x@y"}, func(o *options) bool { return o.mode == modeSend }},
		{[]string{"-bP"}, func(o *options) bool { return o.mode == modeCount }},
		{[]string{"-bH"}, func(o *options) bool { return o.mode == modeNothing }},
		{[]string{"-I"}, func(o *options) bool { return o.mode == modeAliases }},
		{[]string{"-B", "7bit", "x@y"}, func(o *options) bool { return o.sevenBit }},
		{[]string{"-U", "x@y"}, func(o *options) bool { return o.smtputf8 == "yes" }},
		{[]string{"-U", "-OSMTPUTF8=no", "x@y"}, func(o *options) bool { return o.smtputf8 == "no" }},
		{[]string{"-oeq", "x@y"}, func(o *options) bool { return o.quiet }},
		{[]string{"-oem", "-oeq", "x@y"}, func(o *options) bool { return o.quiet && !o.errors.mailed() }},
		{[]string{"-oeq", "-oem", "x@y"}, func(o *options) bool { return !o.quiet && o.errors == errorsMailed }},
		{[]string{"-e", "w", "x@y"}, func(o *options) bool { return o.errors == errorsWritten }},
		{[]string{"-oez", "x@y"}, func(o *options) bool { return o.errors == errorsPrinted }},
		{[]string{"-a", "work", "--read-envelope-from", "--timeout=7", "x@y"}, func(o *options) bool {
			return o.account == "work" && o.senderFromHeader && o.timeouts.Connect == 7*time.Second && o.timeouts.Command == 7*time.Second
		}},
		{[]string{"--file=f", "--serverinfo"}, func(o *options) bool { return o.config == "f" && o.mode == modeCheck }},
		{[]string{"-h25", "x@y"}, func(o *options) bool { return o.hops == 25 }},
		{[]string{"-T5d", "-M", "id", "x@y"}, func(o *options) bool { return slices.Equal(o.ineffective, []string{"-M", "-T"}) }},
		{[]string{"-d", "x@y"}, func(o *options) bool { return o.verbose && len(o.recipients) == 1 }},
		{[]string{"-d0.1", "x@y"}, func(o *options) bool { return o.verbose }},
		{[]string{"-O", "Timeout.datafinal=1h30m", "x@y"}, func(o *options) bool { return o.timeouts.Final == 90*time.Minute }},
		{[]string{"-m", "-o", "i", "-om", "-o7", "-h", "9", "-Ltag", "-A", "c", "-G", "-p", "ESMTP", "-x", "-E", "-s", "-c", "-T5d", "x@y"}, func(o *options) bool { return len(o.recipients) == 1 }},
	} {
		o, err := parseArgs("sendmail", tc.args)
		if err != nil || !tc.check(o) {
			t.Errorf("%q: %+v, %v", tc.args, o, err)
		}
	}
	for _, args := range [][]string{{"-z", "x@y"}, {"-tz"}, {"-bq"}, {"-bd"}, {"-f"}, {"-bs", "x@y"}, {"-bs", "-t"}, {"-bv"}, {}, {"--no-such", "x@y"}, {"-B9BIT", "x@y"}, {"-hmany", "x@y"}} {
		_, err := parseArgs("sendmail", args)
		if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.Usage || e.Hint == "" {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// Every keyword of msmtp, and what becomes of it.
func TestImportMsmtprc(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"tls on\ntls_starttls off", "tls = \"implicit\"\nhost = \"h\"\nport = 465\n"},
		{"tls on", "tls = \"starttls\"\nhost = \"h\"\nport = 25\n"},
		{"tls off", "# tls off is not possible"},
		{"port 2525", "port = 2525\n"},
		{"from \"a@example.org\"", "from = \"a@example.org\"\n"},
		{"from %U@example.org", "# from %U@example.org: write one address"},
		{"user u\nauth on\npassword secret", "user = \"u\"\npassword_file = \"~/.config/rtls/a.password\"\n# put the password"},
		{"user u\npasswordeval pass show \"mail\"", "user = \"u\"\npassword_command = [\"sh\", \"-c\", \"pass show \\\"mail\\\"\"]\n"},
		{"user u\nauth xoauth2\npasswordeval gettoken", "auth = \"XOAUTH2\"\ntoken_command = [\"sh\", \"-c\", \"gettoken\"]\n"},
		{"user u\nauth scram-sha-256", "auth = \"SCRAM-SHA-256\"\n"},
		{"user u\nauth cram-md5", "# auth cram-md5 is not there"},
		{"auth off", ""},
		{"tls_trust_file /ca.pem", "ca_file = \"/ca.pem\"\n"},
		{"tls_trust_file system", ""},
		{"tls_certcheck off", "# tls_certcheck off is not possible"},
		{"tls_certcheck on", ""},
		{"tls_fingerprint 00:11", "# tls_fingerprint 00:11: a certificate's"},
		{"tls_cert_file c\ntls_key_file k", "client_cert = \"c\"\nclient_key = \"k\"\n"},
		{"proxy_host p\nproxy_port 9050", "proxy = \"socks5://p:9050\"\n"},
		{"proxy_host p", "proxy = \"socks5://p:1080\"\n"},
		{"source_ip 127.0.0.1", "source = \"127.0.0.1\"\n"},
		{"domain client.example.org", "hostname = \"client.example.org\"\n"},
		{"aliases /etc/aliases", "aliases = \"/etc/aliases\"\n"},
		{"from a@b\nallow_from_override off", "identity = \"account\"\n"},
		{"from a@b\nset_from_header on", "identity = \"account\"\n"},
		{"from a@b\nset_from_header auto", ""},
		{"remove_bcc_headers off", "# remove_bcc_headers off: Bcc never leaves"},
		{"remove_bcc_headers on", ""},
		{"timeout 10", "# timeout 10: times are bounded"},
		{"protocol lmtp\nport 24", "port = 24\nlmtp = true\n"},
		{"socket /run/x", "host = \"unix:/run/x\"\ntls = \"none\"\n"},
		{"socket /run/x\nuser u\nauth on\ntls_trust_file /ca", "# user u: there is no login without TLS\n"},
		{"socket /run/x\ntls on", "host = \"unix:/run/x\"\ntls_name = \"h\"\n"},
		{"socket /run/x\ntls on\ntls_starttls off\ntls_host_override n", "host = \"unix:/run/x\"\ntls = \"implicit\"\n"},
		{"tls_host_override n", "tls_name = \"n\"\n"},
		{"tls_priorities NORMAL", "# tls_priorities NORMAL: Go's TLS"},
		{"tls_min_dh_prime_bits 512", "# tls_min_dh_prime_bits 512: Go's TLS"},
		{"tls_crl_file f", "# tls_crl_file f: there are no"},
		{"logfile /x", "# logfile /x: write log = \"PATH\" under [send]"},
		{"logfile_time_format %c", "# logfile_time_format %c: times are in"},
		{"syslog on", "# syslog on: that is the default"},
		{"maildomain x", "# maildomain x: write hostname"},
		{"auto_from on", "# auto_from on: write from"},
		{"from_full_name X", "# from_full_name X: use -F"},
		{"undisclosed_recipients on", "undisclosed = true\n"},
		{"undisclosed_recipients off", ""},
		{"dsn_notify failure", "# dsn_notify failure: use -N"},
		{"dsn_return full", "# dsn_return full: use -R"},
		{"eval echo x", "# eval echo x: no shell"},
		{"add_missing_from_header on\nadd_missing_date_header on\nset_date_header auto\nset_msgid_header auto", ""},
		{"whatever x", "# whatever x: unknown"},
	} {
		if strings.Contains(tc.in, "tls_cert_file") {
			tc.in += "\nauth external"
		}
		got := importText(t, "account a\nhost h\n"+tc.in+"\n")
		if !strings.Contains(got, tc.want) || strings.Contains(got, "secret") {
			t.Errorf("%q: %s", tc.in, got)
		}
		if tc.want == "" && strings.Count(got, "#") != strings.Count(importText(t, "account a\nhost h\n"), "#") {
			t.Errorf("%q has a comment: %s", tc.in, got)
		}
	}
	got := importText(t, "# x\ndefaults\ntls on\ntls_starttls off\naccount one\nhost one.example.org\nfrom a@example.org\n\naccount two : one\nhost two.example.org\naccount default : two\n")
	for _, want := range []string{"default = \"two\"\n", "[send.account.\"one\"]\ntls = \"implicit\"\nhost = \"one.example.org\"\nport = 465\nfrom = \"a@example.org\"\n", "[send.account.\"two\"]\ntls = \"implicit\"\nhost = \"two.example.org\"\nport = 465\nfrom = \"a@example.org\"\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if strings.Contains(got, "send.rule") {
		t.Errorf("an account of two with one address: %s", got)
	}
	got = importText(t, "account one\nhost h\nfrom a@example.org\naccount two\nhost i\nfrom *@example.net\naccount three\nhost j\n")
	for _, want := range []string{"[[send.rule]]\nsender = \"a@example.org\"\naccount = \"one\"\n", "[[send.rule]]\nsender = \"*@example.net\"\naccount = \"two\"\n"} {
		if !strings.Contains(got, want) || strings.Count(got, "send.rule") != 2 {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if got := importText(t, "account default\nhost h\naccount b\nhost i\n"); !strings.Contains(got, "default = \"default\"\n") {
		t.Error(got)
	}
}

// importText imports a configuration, and makes sure that what comes out is one.
func importText(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "msmtprc"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := importMsmtprc(cli.Env{Stdout: &out}, filepath.Join(dir, "msmtprc")); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rtls.toml"), []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(filepath.Join(dir, "rtls.toml")); err != nil {
		t.Errorf("%q: %v in\n%s", text, err, out.String())
	}
	return out.String()
}

// submission is a server for --configure to find.
func submission(t *testing.T, ca *testpki.CA, implicit, requireTLS bool) int {
	t.Helper()
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"smtp.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailbox{}, nil }))
	server.Domain = "smtp.example.org"
	server.EnableREQUIRETLS = requireTLS
	server.ErrorLog = quiet{}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	inner := l
	if implicit {
		inner = tls.NewListener(l, server.TLSConfig)
	}
	done := make(chan struct{})
	go func() { // ended by the Close below
		defer close(done)
		_ = server.Serve(inner)
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

func TestConfigure(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	other, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	implicit, starttls, stranger := submission(t, ca, true, true), submission(t, ca, false, false), submission(t, other, true, true)
	record := func(host string, port int) []net.SRV { return []net.SRV{{Target: host, Port: uint16(port)}} }
	for name, tc := range map[string]struct {
		srv    map[string][]net.SRV
		known  map[string]int // host:port by well-known name
		want   []string
		absent string
		code   int
		quiet  bool // the first candidate is the right one
	}{
		"SRV":                 {srv: map[string][]net.SRV{"submissions": record("smtp.example.org.", implicit), "submission": record("smtp.example.org.", starttls)}, want: []string{"host = \"smtp.example.org\"\nport = " + strconv.Itoa(implicit) + "\ntls = \"implicit\"\nuser = \"me@example.org\"\npassword_file = "}, absent: "requiretls"},
		"STARTTLS":            {srv: map[string][]net.SRV{"submission": record("smtp.example.org.", starttls)}, want: []string{"tls = \"starttls\"\n", "# The server does not offer REQUIRETLS.", "# requiretls = \"auto\"\n"}},
		"not trusted":         {srv: map[string][]net.SRV{"submissions": record("smtp.example.org.", stranger), "submission": record("smtp.example.org.", starttls)}, want: []string{"tls = \"starttls\"\n"}},
		"not offered":         {srv: map[string][]net.SRV{"submissions": record(".", 0)}, code: cli.NoHost},
		"well-known":          {known: map[string]int{"smtp.example.org:465": implicit}, want: []string{"host = \"smtp.example.org\"\nport = 465\ntls = \"implicit\"\n"}},
		"well-known, 587":     {known: map[string]int{"smtp.example.org:587": starttls}, want: []string{"port = 587\ntls = \"starttls\"\n"}},
		"of another name":     {known: map[string]int{"mail.example.org:465": implicit}, code: cli.NoHost},
		"outside, not signed": {srv: map[string][]net.SRV{"submissions": record("smtp.example.org.", implicit)}, want: []string{"# DNS named this server for example.net, without DNSSEC"}},
		"priority":            {srv: map[string][]net.SRV{"submissions": {{Target: "smtp.example.org.", Port: uint16(stranger), Priority: 2}, {Target: "smtp.example.org.", Port: uint16(implicit), Priority: 1}}}, want: []string{"port = " + strconv.Itoa(implicit)}, quiet: true},
		"none":                {code: cli.NoHost},
	} {
		t.Run(name, func(t *testing.T) {
			address := "me@example.org"
			if strings.HasPrefix(name, "outside") {
				address = "me@example.net"
			}
			find := &finder{
				srv: func(_ context.Context, service, _ string) ([]net.SRV, bool, error) {
					return tc.srv[service], false, nil
				},
				connect: func(ctx context.Context, addr string) (net.Conn, error) {
					host, port, _ := net.SplitHostPort(addr)
					if p, ok := tc.known[addr]; ok {
						port = strconv.Itoa(p)
					} else if port == "465" || port == "587" {
						return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
					}
					return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+port)
				},
				trust: func(host string) (*tls.Config, error) {
					return &tls.Config{ServerName: host, RootCAs: ca.Pool()}, nil
				},
			}
			path := filepath.Join(t.TempDir(), "below", "rtls.toml")
			var out, trouble strings.Builder
			env := cli.Env{Stdout: &out, Stderr: &trouble, Getenv: func(string) string { return "" }}
			o := &options{config: path, front: front{configure: address}}
			err := configure(t.Context(), env, o, find)
			if cli.ExitCode(err) != tc.code {
				t.Fatalf("%v, %s", err, trouble.String())
			}
			if tc.quiet && trouble.Len() > 0 || strings.Contains(trouble.String(), ":0,") {
				t.Errorf("in vain: %s", trouble.String())
			}
			text, readErr := os.ReadFile(path)
			if tc.code != 0 {
				if readErr == nil {
					t.Errorf("written: %s", text)
				}
				return
			}
			for _, want := range tc.want {
				if !strings.Contains(string(text), want) {
					t.Errorf("%q lacks %q", text, want)
				}
			}
			if tc.absent != "" && strings.Contains(string(text), tc.absent) {
				t.Errorf("%q holds %q", text, tc.absent)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			if err := configure(t.Context(), env, o, find); cli.ExitCode(err) != cli.CantCreate {
				t.Errorf("over another file: %v", err)
			}
			out.Reset()
			o.pretend = true
			if err := configure(t.Context(), env, o, find); err != nil || out.String() != string(text) {
				t.Errorf("--pretend: %q, %v", out.String(), err)
			}
		})
	}
}

// A server that DNS names without proof is shown a password only if a person says so.
func TestConfigureOutside(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	port := submission(t, ca, true, true)
	c := candidate{host: "smtp.example.org", port: port, outside: true}
	var asked []string
	answers := []string{}
	find := &finder{
		connect: func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		},
		trust: func(host string) (*tls.Config, error) {
			return &tls.Config{ServerName: host, RootCAs: ca.Pool()}, nil
		},
		ask: func(_ context.Context, prompt string, hidden bool) (string, error) {
			asked = append(asked, prompt)
			answer := answers[0]
			answers = answers[1:]
			if hidden != (answer == "secret") {
				t.Errorf("%q hidden: %v", prompt, hidden)
			}
			return answer, nil
		},
	}
	env := cli.Env{Stderr: io.Discard}
	answers = []string{"y"}
	if _, err := find.login(t.Context(), env, "me@example.net", c, &offer{auth: true}); !errors.Is(err, errNotTheirs) || len(asked) != 1 {
		t.Errorf("%v, %q", err, asked)
	}
	answers = []string{"yes", "secret"}
	l, err := find.login(t.Context(), env, "me@example.net", c, &offer{auth: true})
	if err != nil || l != (login{"me", "secret"}) || !strings.Contains(asked[1], "smtp.example.org for example.net") {
		t.Errorf("%+v, %v, %q", l, err, asked)
	}
}
