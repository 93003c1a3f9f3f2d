package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"rtls/internal/testdns"
	"rtls/internal/testpki"
	"rtls/internal/tlsconf"
)

// TestConformanceSTargets has a subtest for each row about submission that is about
// several servers, or about how one is chosen and shown.
func TestConformanceSTargets(t *testing.T) {
	p := newPKI(t)
	rows := []struct {
		name string
		test func(*testing.T, *pki)
	}{
		{"S13_pin_is_not_enough", s13},
		{"S20_second_host", s20},
		{"S21_no_host", s21},
		{"S22_precedence", s22},
		{"S34_same_host_has_both", s34},
		{"S41_check", s41},
		{"S41_check_mx", s41mx},
		{"S42_receipt", s42},
		{"S43_srv", s43},
		{"S44_relaxed_is_explicit", s44},
		{"S45_scram_plus", s45},
		{"S47_warning", s47},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.test(t, p) })
	}
}

// sends runs rtls-send with a configuration.
func sends(t *testing.T, config, message string, args ...string) result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rtls.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return runEnv(t, quickExit, strings.NewReader(message), "rtls-send", append([]string{"--config", path}, args...)...)
}

// account is a configuration with some servers, in their order. Extra keys go to each.
func account(t *testing.T, p *pki, extra string, servers ...*fakesub) string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("hostname = \"client.example.org\"\n[send.account.test]\nfrom = \"sender@example.org\"\n")
	for _, f := range servers {
		mode := "implicit"
		if f.starttls {
			mode = "starttls"
		}
		fmt.Fprintf(&b, "[[send.account.test.target]]\nhost = \"localhost\"\nport = %s\ntls = %q\nca_file = %q\nuser = \"sender\"\npassword_file = %q\n%s\n", f.port(), mode, p.caFile, secret, extra)
	}
	return b.String()
}

func s13(t *testing.T, p *pki) {
	other, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	stranger := leaf(t, other, testpki.Leaf{})
	f := (&fakesub{cert: stranger}).start(t, p)
	r := sends(t, account(t, p, fmt.Sprintf("pin_sha256 = [%q]", pinOf(t, stranger)), f), canary, yes, "b@example.net")
	if r.code != 69 || !strings.Contains(r.stderr, "5.7.10") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	f.nothingCrossed(t)

	// Nor is a valid certificate, if its key is not the pinned one.
	f = (&fakesub{}).start(t, p)
	r = sends(t, account(t, p, fmt.Sprintf("pin_sha256 = [%q]", pinOf(t, stranger)), f), canary, yes, "b@example.net")
	if r.code != 69 || !strings.Contains(r.stderr, "5.7.10") || !strings.Contains(r.stderr, "pinned") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	f.nothingCrossed(t)

	f = (&fakesub{}).start(t, p)
	r = sends(t, account(t, p, fmt.Sprintf("pin_sha256 = [%q, %q]", pinOf(t, stranger), pinOf(t, f.cert)), f), canary, yes, "b@example.net")
	if r.code != 0 {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	f.one(t)
}

func pinOf(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	own, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return tlsconf.KeyPin(own)
}

func s20(t *testing.T, p *pki) {
	for _, starttls := range []bool{false, true} {
		first := (&fakesub{starttls: starttls, clear: []string{"STARTTLS"}, ehlo: without("REQUIRETLS")}).start(t, p)
		second := (&fakesub{starttls: starttls, clear: []string{"STARTTLS"}}).start(t, p)
		third := (&fakesub{}).start(t, p)
		r := sends(t, account(t, p, "", first, second, third), canary, yes, "b@example.net")
		if r.code != 0 || r.stderr != "" {
			t.Errorf("exit %d: %s", r.code, r.stderr)
		}
		if m := second.one(t); !strings.HasSuffix(m.mail, " REQUIRETLS") {
			t.Errorf("%q", m.mail)
		}
		first.nothingCrossed(t)
		if got := first.lines(); got[len(got)-1] != "QUIT" {
			t.Errorf("the first heard %q", got)
		}
		if third.stop(); len(third.lines()) != 0 {
			t.Errorf("the third heard %q", third.lines())
		}
	}
}

func s21(t *testing.T, p *pki) {
	other, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	servers := []*fakesub{
		(&fakesub{ehlo: without("REQUIRETLS")}).start(t, p),
		(&fakesub{starttls: true, clear: everything}).start(t, p),
		(&fakesub{cert: leaf(t, other, testpki.Leaf{})}).start(t, p),
	}
	r := sends(t, account(t, p, "", servers...), canary, yes, "b@example.net")
	if r.code != 69 {
		t.Errorf("exit %d", r.code)
	}
	for _, f := range servers {
		f.nothingCrossed(t)
		if n := strings.Count(r.stderr, "localhost:"+f.port()+": "); n != 1 {
			t.Errorf("%d reasons of port %s in %q", n, f.port(), r.stderr)
		}
	}
	// One that may be there later makes all of it temporary, wherever it stands.
	gone := (&fakesub{}).start(t, p)
	gone.stop()
	unfit := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	for _, servers := range [][]*fakesub{{gone, unfit}, {unfit, gone}} {
		r = sends(t, account(t, p, "", servers...), canary, yes, "b@example.net")
		if r.code != 75 || !strings.Contains(r.stderr, "5.7.30 ") {
			t.Errorf("exit %d: %s", r.code, r.stderr)
		}
	}
	unfit.nothingCrossed(t)
}

func s22(t *testing.T, p *pki) {
	noTLS := func() *fakesub { return (&fakesub{starttls: true, clear: everything}).start(t, p) }
	noSupport := func() *fakesub { return (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p) }
	for _, servers := range [][]*fakesub{{noTLS(), noSupport()}, {noSupport(), noTLS()}} {
		receipt := filepath.Join(t.TempDir(), "receipt")
		r := sends(t, account(t, p, "", servers...), canary, yes, "--receipt", receipt, "b@example.net")
		if r.code != 69 || strings.Count(r.stderr, "5.7.10 ") != 1 || strings.Count(r.stderr, "5.7.30 ") != 1 {
			t.Errorf("exit %d: %s", r.code, r.stderr)
		}
		if !strings.Contains(r.stderr, "--requiretls=auto") { // the advice is about the one that was the closest
			t.Errorf("%s", r.stderr)
		}
		if files, err := os.ReadDir(filepath.Dir(receipt)); err != nil || len(files) != 0 {
			t.Errorf("%v, %v", files, err)
		}
	}
}

func s34(t *testing.T, p *pki) {
	utf8Only := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	requireOnly := (&fakesub{ehlo: without("SMTPUTF8")}).start(t, p)
	r := sends(t, account(t, p, "", utf8Only, requireOnly), canary, yes, "jörg@example.net")
	if r.code != 65 || !strings.Contains(r.stderr, "5.7.30 ") || !strings.Contains(r.stderr, "5.6.7 ") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	utf8Only.nothingCrossed(t)
	requireOnly.nothingCrossed(t)
}

func s41(t *testing.T, p *pki) {
	other, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	good := (&fakesub{}).start(t, p)
	unsupported := (&fakesub{starttls: true, clear: []string{"STARTTLS"}, ehlo: without("REQUIRETLS")}).start(t, p)
	untrusted := (&fakesub{cert: leaf(t, other, testpki.Leaf{})}).start(t, p)
	config := account(t, p, "", unsupported, untrusted, good)
	text, found := sends(t, config, "", "--check"), sends(t, config, "", "--check", "--json")
	if text.code != 0 || found.code != 0 {
		t.Errorf("exits %d and %d: %s%s", text.code, found.code, text.stderr, found.stderr)
	}
	if strings.Count(text.stdout, "requiretls  no") != 1 || strings.Count(text.stdout, "requiretls  yes") != 1 || strings.Count(text.stdout, "error ") != 1 {
		t.Errorf("%s", text.stdout)
	}
	type report struct {
		Target, Error, Status, TLS, Pin string
		Verified                        string `json:"verified_by"`
		RequireTLS                      bool
		Size                            int64
		Used                            string `json:"auth_used"`
	}
	var got []report
	for line := range strings.Lines(found.stdout) {
		var r report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	want := []report{
		{Target: "localhost:" + unsupported.port(), TLS: "TLS 1.3", Verified: "authority", Size: 67108864, Used: "PLAIN"},
		{Target: "localhost:" + untrusted.port(), Status: "5.7.10"},
		{Target: "localhost:" + good.port(), TLS: "TLS 1.3", Verified: "authority", RequireTLS: true, Size: 67108864, Used: "PLAIN"},
	}
	if len(got) == 3 {
		got[1].Error = ""
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if r := sends(t, config, "", "--check", "localhost:"+unsupported.port()); r.code != 69 {
		t.Errorf("exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
	for _, f := range []*fakesub{good, unsupported, untrusted} {
		f.nothingCrossed(t)
	}
}

// s41mx looks at mail exchangers whose records an own resolver proves.
func s41mx(t *testing.T, p *pki) {
	dns := testdns.New(t)
	f := (&fakesub{starttls: true, clear: []string{"STARTTLS"}}).start(t, p)
	own, err := x509.ParseCertificate(f.cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(own.RawSubjectPublicKeyInfo)
	for _, domain := range []string{"good.example", "unproven.example", "noreq.example"} {
		dns.Add(t, domain+". 60 IN MX 10 mx."+domain+".")
		dns.Add(t, "mx."+domain+". 60 IN A 127.0.0.1")
		dns.Add(t, fmt.Sprintf("_%s._tcp.mx.%s. 60 IN TLSA 3 1 1 %x", f.port(), domain, key))
	}
	dns.Add(t, "null.example. 60 IN MX 0 .")
	dns.Secure("good.example", "mx.unproven.example", "null.example")
	config := fmt.Sprintf("hostname = \"client.example.org\"\n[send]\nresolver = %q\n", dns.Addr)
	check := func(code int, takes bool, name string, texts ...string) {
		t.Helper()
		r := sends(t, config, "", "--check", "--mx", "--port", f.port(), name)
		if r.code != code || strings.Contains(r.stdout, "takes       yes") != takes {
			t.Errorf("%s: exit %d: %s%s", name, r.code, r.stdout, r.stderr)
		}
		for _, text := range texts {
			if !strings.Contains(r.stdout, text) {
				t.Errorf("%s: no %q in %s", name, text, r.stdout)
			}
		}
	}
	check(0, true, "someone@good.example", "proven by DNSSEC", "verified by dane", "requiretls  yes")
	check(69, false, "unproven.example", "not proven by DNSSEC", "verified by dane")
	check(69, false, "noreq.example", "not proven by DNSSEC", "5.7.10") // its TLSA record is not proven, its authority not known
	check(69, false, "null.example", "takes no mail")
	f.nothingCrossed(t)
}

func s42(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	path := filepath.Join(t.TempDir(), "receipt.json")
	if r := sends(t, account(t, p, "", f), canary, "--receipt", path, "b@example.net"); r.code != 0 || r.stderr != "" {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Target, TLS, Cipher, Reply, SHA256, From string
		Verified                                 string `json:"verified_by"`
		Pin                                      string `json:"pin_sha256"`
		Announced                                bool   `json:"requiretls_announced"`
		RequireTLS                               bool   `json:"requiretls"`
		Conforming                               bool   `json:"conforming"`
		Chain, To                                []string
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(f.one(t).raw)
	if got.Target != "localhost:"+f.port() || got.TLS != "TLS 1.3" || got.Cipher == "" || got.Verified != "authority" || got.Pin != pinOf(t, f.cert) ||
		!got.Announced || !got.RequireTLS || !got.Conforming || got.Reply != "250 2.0.0 taken" || got.SHA256 != hex.EncodeToString(sum[:]) ||
		len(got.Chain) != 2 || !slices.Equal(got.To, []string{"b@example.net"}) || got.From != "sender@example.org" {
		t.Errorf("%s", text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	// Where it cannot be written, nothing is sent in the first place.
	f = (&fakesub{}).start(t, p)
	r := sends(t, account(t, p, "", f), canary, "--receipt", filepath.Join(path, "x"), "b@example.net")
	if r.code != 73 {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	f.nothingCrossed(t)
}

func s43(t *testing.T, p *pki) {
	cert := leaf(t, p.CA, testpki.Leaf{Names: []string{"smtp.example.org", "old.example.org", "smtp.example.net"}})
	run := func(records []string, secure bool, extra string, servers ...*fakesub) (result, *testdns.Server) {
		dns := testdns.New(t)
		for _, name := range []string{"smtp.example.org", "old.example.org", "smtp.example.net"} {
			dns.Add(t, name+". 60 IN A 127.0.0.1")
		}
		for _, r := range records {
			dns.Add(t, r)
		}
		if secure {
			dns.Secure("example.org")
		}
		config := fmt.Sprintf("[send]\nresolver = %q\n[send.account.a]\nfrom = \"sender@example.org\"\nsrv = \"example.org\"\nca_file = %q\n%s\n", dns.Addr, p.caFile, extra)
		return sends(t, config, canary, yes, "b@example.net"), dns
	}
	record := func(service, host string, f *fakesub) string {
		return fmt.Sprintf("_%s._tcp.example.org. 60 IN SRV 0 0 %s %s.", service, f.port(), host)
	}
	implicit := (&fakesub{cert: cert}).start(t, p)
	clear := (&fakesub{cert: cert, starttls: true, clear: []string{"STARTTLS"}}).start(t, p)
	r, _ := run([]string{record("submission", "old.example.org", clear), record("submissions", "smtp.example.org", implicit)}, false, "")
	if r.code != 0 {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	implicit.one(t)
	if len(clear.lines()) != 0 {
		t.Errorf("_submission came first: %q", clear.lines())
	}
	r, _ = run([]string{"_submissions._tcp.example.org. 60 IN SRV 0 0 0 .", record("submission", "old.example.org", clear)}, false, "")
	if r.code != 0 {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	clear.one(t)

	outside := (&fakesub{cert: cert}).start(t, p)
	r, _ = run([]string{record("submissions", "smtp.example.net", outside)}, false, "")
	if r.code != 69 || !strings.Contains(r.stderr, "outside the domain") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	if outside.stop(); len(outside.lines()) != 0 || outside.wire.Len() != 0 {
		t.Errorf("the server outside heard %q", outside.lines())
	}
	for extra, secure := range map[string]bool{"": true, `srv_allow = ["smtp.example.net"]`: false} {
		allowed := (&fakesub{cert: cert}).start(t, p)
		r, _ = run([]string{record("submissions", "smtp.example.net", allowed)}, secure, extra)
		if r.code != 0 {
			t.Errorf("%q, proven %v: exit %d: %s", extra, secure, r.code, r.stderr)
		}
		allowed.one(t)
	}
	// The name that the certificate has to have is the host's.
	wrong := (&fakesub{cert: leaf(t, p.CA, testpki.Leaf{Names: []string{"example.org"}})}).start(t, p)
	r, _ = run([]string{record("submissions", "smtp.example.org", wrong)}, true, "")
	if r.code != 69 || !strings.Contains(r.stderr, "5.7.10") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	wrong.nothingCrossed(t)
	// Neither service is offered, which is not to say that the domain itself is the host.
	for _, records := range [][]string{nil, {"_submissions._tcp.example.org. 60 IN SRV 0 0 0 .", "_submission._tcp.example.org. 60 IN SRV 0 0 0 ."}} {
		if r, _ = run(records, false, ""); r.code != 68 || !strings.Contains(r.stderr, "no SRV records of a submission server") {
			t.Errorf("%q: exit %d: %s", records, r.code, r.stderr)
		}
	}
}

// s44: what is sent without REQUIRETLS was asked for, and is told from the rest.
func s44(t *testing.T, p *pki) {
	f := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	path := filepath.Join(t.TempDir(), "receipt.json")
	if r := sends(t, account(t, p, "", f), canary, "--receipt", path, "b@example.net"); r.code != 69 {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	r := sends(t, account(t, p, "", f), canary, auto, "-v", "--receipt", path, "b@example.net")
	if r.code != 0 || !strings.Contains(r.stderr, "requiretls=auto") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), `"requiretls_announced":false,"requiretls":false,"conforming":false`) {
		t.Errorf("%s, %v", text, err)
	}
	f.one(t)
}

func s45(t *testing.T, p *pki) {
	for _, tc := range []struct {
		name     string
		password string // that the server knows
		offers   string
		bind     bool
		code     int
	}{
		{"bound", "secret", "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS", true, 0},
		{"another password", "other", "PLAIN SCRAM-SHA-256-PLUS", true, 77},
		{"bound to something else", "secret", "PLAIN SCRAM-SHA-256-PLUS", false, 77},
		{"proves nothing", "", "PLAIN SCRAM-SHA-256-PLUS", true, 77},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fakesub{ehlo: append(without("AUTH"), "AUTH "+tc.offers), auth: func(t *talk, line string) bool {
				if tc.password == "" {
					return true // whoever it is, and whatever the password
				}
				binding := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: make([]byte, 32)}
				if tc.bind {
					state := t.conn.(*tls.Conn).ConnectionState()
					binding, _ = scram.NewTLSExporterBinding(&state)
				}
				return strings.HasPrefix(line, "AUTH SCRAM-SHA-256-PLUS ") && t.scram(line, tc.password, binding)
			}}
			f.start(t, p)
			r := sends(t, account(t, p, "", f), canary, yes, "b@example.net")
			if r.code != tc.code {
				t.Errorf("exit %d: %s", r.code, r.stderr)
			}
			f.stop()
			if n := len(f.commands("MAIL")); (n == 1) != (tc.code == 0) {
				t.Errorf("heard %q", f.lines())
			}
			for _, line := range f.lines() {
				if raw, err := base64.StdEncoding.DecodeString(line[strings.LastIndexByte(line, ' ')+1:]); err == nil && strings.Contains(string(raw), "secret") {
					t.Errorf("the password crossed in %q", line)
				}
			}
		})
	}
}

// scram is the server's side of an authentication.
func (t *talk) scram(line, password string, binding scram.ChannelBinding) bool {
	client, _ := scram.SHA256.NewClient("sender", password, "")
	server, _ := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
		return client.GetStoredCredentials(scram.KeyFactors{Salt: "0123456789", Iters: 4096}), nil
	})
	conversation := server.NewConversationWithChannelBinding(binding)
	message := line[strings.LastIndexByte(line, ' ')+1:]
	for {
		raw, err := base64.StdEncoding.DecodeString(message)
		if err != nil {
			return false
		}
		answer, err := conversation.Step(string(raw))
		if err != nil || !t.say("334 "+base64.StdEncoding.EncodeToString([]byte(answer))) {
			return false
		}
		if message, err = t.r.ReadString('\n'); err != nil {
			return false
		}
		if message = strings.TrimRight(message, "\r\n"); message == "" {
			return conversation.Valid()
		}
		t.f.hear(t.inTLS, message)
	}
}

func s47(t *testing.T, p *pki) {
	const sealed = "To: b@example.net\nSubject: s\nContent-Type: multipart/encrypted; boundary=x; protocol=\"application/pgp-encrypted\"\n\n--x\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--x--\n"
	for _, tc := range []struct {
		on      bool
		message string
		wish    string
		warned  bool
	}{
		{true, canary, yes, true},
		{true, sealed, yes, false},
		{true, canary, auto, false},
		{false, canary, yes, false},
	} {
		f := (&fakesub{}).start(t, p)
		config := fmt.Sprintf("[send]\nwarn_unencrypted = %v\n", tc.on) + strings.Replace(account(t, p, "", f), "hostname = \"client.example.org\"\n", "", 1)
		r := sends(t, config, tc.message, tc.wish, "b@example.net")
		if r.code != 0 || (r.stderr != "") != tc.warned || tc.warned && !strings.Contains(r.stderr, "not encrypted itself") {
			t.Errorf("%+v: exit %d, %q", tc, r.code, r.stderr)
		}
		f.one(t)
	}
}
