package e2e

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// TestConformanceS has a subtest for each row about submission.
func TestConformanceS(t *testing.T) {
	p := newPKI(t)
	rows := []struct {
		name string
		test func(*testing.T, *pki)
	}{
		{"S01_parameter", s01},
		{"S02_not_asked_not_sent", s02},
		{"S03_no_starttls", s03},
		{"S04_starttls_refused", s04},
		{"S05_offered_before_tls_only", s05},
		{"S06_offered_inside_tls_only", s06},
		{"S07_any_case", s07},
		{"S08_look_alikes", s08},
		{"S09_unknown_authority", s09},
		{"S10_wrong_name", s10},
		{"S11_not_valid_now", s11},
		{"S12_no_way_around", s12},
		{"S14_old_tls", s14},
		{"S15_tls13", s15},
		{"S16_no_helo", s16},
		{"S17_nothing_before_verified_tls", s17},
		{"S18_implicit_tls", s18},
		{"S19_injected_reply", s19},
		{"S23_nothing_to_a_failed_host", s23},
		{"S24_header", s24},
		{"S25_neither", s25},
		{"S26_two_fields", s26},
		{"S27_parameter_and_header", s27},
		{"S28_contradiction", s28},
		{"S29_ret_full", s29},
		{"S30_ret_and_envid", s30},
		{"S31_no_dsn", s31},
		{"S32_xtext_and_never", s32},
		{"S33_smtputf8", s33},
		{"S35_8bitmime", s35},
		{"S36_postfix_spelling", s36},
		{"S37_sendmail_spelling", s37},
		{"S38_exit_codes", s38},
		{"S40_lost_connection", s40},
		{"S46_close_notify", s46},
		{"S48_injection", s48},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.test(t, p) })
	}
}

const (
	yes  = "--requiretls=yes"
	no   = "--requiretls=no"
	auto = "--requiretls=auto"
)

func s01(t *testing.T, p *pki) {
	for _, starttls := range []bool{false, true} {
		f := (&fakesub{starttls: starttls, clear: []string{"STARTTLS"}}).start(t, p)
		m := f.sent(t, p, canary, yes, "b@example.net")
		if !strings.HasSuffix(m.mail, " REQUIRETLS") {
			t.Errorf("starttls %v: %q does not end with REQUIRETLS", starttls, m.mail)
		}
		if got := f.commands("MAIL"); len(got) != 1 || !strings.HasPrefix(got[0], "MAIL FROM:<sender@example.org> ") {
			t.Errorf("starttls %v: %q", starttls, got)
		}
	}
}

func s02(t *testing.T, p *pki) {
	for _, wish := range []string{no, auto} {
		f := (&fakesub{}).start(t, p)
		if m := f.sent(t, p, canary, wish, "b@example.net"); strings.Contains(strings.ToUpper(m.mail), "REQUIRETLS") {
			t.Errorf("%s: %q", wish, m.mail)
		}
	}
}

func s03(t *testing.T, p *pki) {
	for _, wish := range []string{yes, no, auto} {
		f := (&fakesub{starttls: true, clear: everything}).start(t, p)
		f.refused(t, p, 69, "5.7.10", wish)
		if got := f.lines(); !slices.Equal(got, []string{"EHLO client.example.org", "QUIT"}) {
			t.Errorf("%s: the server heard %q", wish, got)
		}
	}
}

func s04(t *testing.T, p *pki) {
	for _, tc := range []struct {
		reply  string
		code   int
		reason string
	}{
		{"454 4.7.0 not now", 75, "4.7.0 "},
		{"500 5.5.2 what", 69, "5.7.10 "},
		{"501 no", 69, "5.7.10 "},
		{"250 sure", 76, ""},
	} {
		f := &fakesub{starttls: true, clear: []string{"STARTTLS"}, script: func(line string, _ bool) string {
			if line == "STARTTLS" {
				return tc.reply
			}
			return ""
		}}
		f.start(t, p).refused(t, p, tc.code, tc.reason, yes)
	}
	f := (&fakesub{starttls: true, clear: []string{"XXXXXXXX", "REQUIRETLS"}}).start(t, p)
	f.refused(t, p, 69, "5.7.10", yes)
}

func s05(t *testing.T, p *pki) {
	f := (&fakesub{starttls: true, clear: []string{"STARTTLS", "REQUIRETLS"}, ehlo: without("REQUIRETLS")}).start(t, p)
	f.refused(t, p, 69, "5.7.30", yes)
}

func s06(t *testing.T, p *pki) {
	f := (&fakesub{starttls: true, clear: []string{"STARTTLS"}}).start(t, p)
	if m := f.sent(t, p, canary, yes, "b@example.net"); !strings.HasSuffix(m.mail, " REQUIRETLS") {
		t.Errorf("%q", m.mail)
	}
}

func s07(t *testing.T, p *pki) {
	for _, keyword := range []string{"RequireTLS", "requiretls"} {
		f := (&fakesub{ehlo: append(without("REQUIRETLS"), keyword)}).start(t, p)
		if m := f.sent(t, p, canary, yes, "b@example.net"); !strings.HasSuffix(m.mail, " REQUIRETLS") {
			t.Errorf("%s: %q", keyword, m.mail)
		}
	}
}

func s08(t *testing.T, p *pki) {
	for _, keyword := range []string{"XREQUIRETLS", "REQUIRETLSX", "REQUIRETLS=yes", "X REQUIRETLS", "REQUIRETLS-no", "STARTTLS REQUIRETLS"} {
		f := (&fakesub{ehlo: append(without("REQUIRETLS"), keyword)}).start(t, p)
		f.refused(t, p, 69, "5.7.30", yes)
	}
}

func s09(t *testing.T, p *pki) {
	other, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, starttls := range []bool{false, true} {
		for _, wish := range []string{yes, no, auto} {
			f := (&fakesub{starttls: starttls, clear: []string{"STARTTLS"}, cert: leaf(t, other, testpki.Leaf{})}).start(t, p)
			f.refused(t, p, 69, "5.7.10", wish)
		}
	}
}

func s10(t *testing.T, p *pki) {
	for _, starttls := range []bool{false, true} {
		f := &fakesub{starttls: starttls, clear: []string{"STARTTLS"}, cert: leaf(t, p.CA, testpki.Leaf{Names: []string{"mail.example.net"}})}
		f.start(t, p).refused(t, p, 69, "5.7.10", yes)
	}
	// An address is a name too: this certificate has the one and not the other.
	f := &fakesub{cert: leaf(t, p.CA, testpki.Leaf{Names: []string{"localhost"}})}
	f.start(t, p).refused(t, p, 69, "5.7.10", yes, "--host", "127.0.0.1")
}

func s11(t *testing.T, p *pki) {
	now := time.Now()
	for _, l := range []testpki.Leaf{
		{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)},
		{NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)},
	} {
		(&fakesub{cert: leaf(t, p.CA, l)}).start(t, p).refused(t, p, 69, "5.7.10", yes)
	}
}

func s12(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	for _, flag := range []string{"--insecure", "--tls-certcheck=off", "--tls=off", "--tls=none", "--tls=opportunistic", "--no-verify", "--insecure-skip-verify", "--tls-fingerprint=00"} {
		f.refused(t, p, 64, "", yes, flag)
	}
	if got := f.lines(); len(got) != 0 {
		t.Errorf("the server heard %q", got)
	}
}

func s14(t *testing.T, p *pki) {
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		(&fakesub{maxVersion: version}).start(t, p).refused(t, p, 69, "5.7.10", auto)
	}
}

func s15(t *testing.T, p *pki) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f := (&fakesub{maxVersion: version}).start(t, p)
		f.sent(t, p, canary, yes, "b@example.net")
		if !slices.Equal(f.versions, []uint16{version}) {
			t.Errorf("spoke %v where the server can do up to %s", f.versions, tls.VersionName(version))
		}
	}
}

func s16(t *testing.T, p *pki) {
	old := func(line string, _ bool) string {
		if strings.HasPrefix(line, "EHLO") {
			return "500 5.5.2 what is EHLO"
		}
		return ""
	}
	f := (&fakesub{starttls: true, script: old}).start(t, p)
	f.refused(t, p, 69, "5.7.10", yes)
	if got := f.lines(); !slices.Equal(got, []string{"EHLO client.example.org", "QUIT"}) {
		t.Errorf("the server heard %q", got)
	}
	f = (&fakesub{script: old}).start(t, p)
	f.refused(t, p, 69, "", yes)
}

func s17(t *testing.T, p *pki) {
	f := (&fakesub{starttls: true, clear: without("REQUIRETLS")}).start(t, p)
	f.refused(t, p, 69, "5.7.10", auto)
	f = (&fakesub{starttls: true, clear: append(slices.Clone(everything), "STARTTLS"), cert: leaf(t, p.CA, testpki.Leaf{Names: []string{"mail.example.net"}})}).start(t, p)
	f.refused(t, p, 69, "5.7.10", auto)
	f = (&fakesub{starttls: true, clear: append(slices.Clone(everything), "STARTTLS")}).start(t, p)
	f.sent(t, p, canary, auto, "b@example.net")
	for _, h := range f.heard {
		if !h.inTLS && !strings.HasPrefix(h.line, "EHLO ") && h.line != "STARTTLS" {
			t.Errorf("the server heard %q in clear", h.line)
		}
	}
	if len(f.commands("AUTH PLAIN ")) != 1 {
		t.Errorf("no AUTH PLAIN in %q", f.lines())
	}
}

func s18(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	m := f.sent(t, p, canary, yes, "b@example.net")
	if !strings.HasSuffix(m.mail, " REQUIRETLS") || slices.ContainsFunc(f.heard, func(h heard) bool { return !h.inTLS }) {
		t.Errorf("%q in %v", m.mail, f.heard)
	}
}

func s19(t *testing.T, p *pki) {
	f := &fakesub{starttls: true, clear: []string{"STARTTLS"}, ehlo: without("REQUIRETLS"), script: func(line string, inTLS bool) string {
		if line == "STARTTLS" {
			return "220 go ahead\n250-localhost\n250 REQUIRETLS"
		}
		return ""
	}}
	f.start(t, p).refused(t, p, 76, "5.7.10", yes)
}

func s23(t *testing.T, p *pki) {
	f := (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	f.refused(t, p, 69, "5.7.30", yes)
	if got := f.lines(); !slices.Equal(got, []string{"EHLO client.example.org", "QUIT"}) {
		t.Errorf("the server heard %q", got)
	}
}

// required counts the TLS-Required fields in a header.
func required(header string) int {
	return strings.Count("\r\n"+strings.ToLower(header), "\r\ntls-required: no\r\n")
}

func s24(t *testing.T, p *pki) {
	for _, message := range []string{canary, "TLS-Required: No\n" + canary, "tls-required:\n no\n" + canary} {
		for _, flag := range []string{no, "--tls-required=no", "--tls-required=No"} {
			f := (&fakesub{}).start(t, p)
			m := f.sent(t, p, message, flag, "b@example.net")
			unfolded := strings.ReplaceAll(m.header(), ":\r\n ", ": ")
			if required(unfolded) != 1 {
				t.Errorf("%s of %q: header %q", flag, message, m.header())
			}
			if strings.Contains(m.mail, "REQUIRETLS") {
				t.Errorf("%s: %q", flag, m.mail)
			}
		}
	}
}

func s25(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	m := f.sent(t, p, canary, auto, "b@example.net")
	if required(m.header()) != 0 || strings.Contains(m.mail, "REQUIRETLS") {
		t.Errorf("%q, header %q", m.mail, m.header())
	}
}

func s26(t *testing.T, p *pki) {
	for _, fields := range []string{"TLS-Required: No\nTLS-Required: No\n", "TLS-Required: maybe\n", "TLS-Required: No\ntls-required:\n no\n", "TLS-Required:\n"} {
		for _, wish := range []string{yes, no, auto} {
			f := (&fakesub{}).start(t, p)
			if r := f.send(t, p, fields+canary, wish, "b@example.net"); r.code != 65 {
				t.Errorf("%q with %s: exit %d: %s", fields, wish, r.code, r.stderr)
			}
			f.nothingCrossed(t)
			if got := f.lines(); len(got) != 0 {
				t.Errorf("the server heard %q", got)
			}
		}
	}
}

func s27(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	m := f.sent(t, p, "TLS-Required: No\n"+canary, yes, "b@example.net")
	if !strings.HasSuffix(m.mail, " REQUIRETLS") || required(m.header()) != 1 {
		t.Errorf("%q, header %q", m.mail, m.header())
	}
	f = (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	if r := f.send(t, p, "TLS-Required: No\n"+canary, yes, "b@example.net"); r.code != 69 || !strings.Contains(r.stderr, "5.7.30") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	f.nothingCrossed(t)
}

func s28(t *testing.T, p *pki) {
	for _, flags := range [][]string{
		{yes, "--tls-required=no"},
		{"--tls-required=no", yes},
		{yes, no},
		{auto, yes},
		{"-O", "requiretls=no", yes},
		{"-Orequiretls=yes", "--tls-required=no"},
		{"--tls-required=yes"},
		{"--requiretls=maybe"},
	} {
		f := (&fakesub{}).start(t, p)
		f.refused(t, p, 64, "requiretls", flags...)
		if got := f.lines(); len(got) != 0 {
			t.Errorf("%q: the server heard %q", flags, got)
		}
	}
	f := (&fakesub{}).start(t, p)
	f.sent(t, p, canary, no, "--tls-required=no", "-O", "RequireTLS=NO", "b@example.net") // agreement is none
}

func s29(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	r := f.send(t, p, canary, yes, "-R", "full", "b@example.net")
	m := f.one(t)
	if r.code != 0 || !strings.Contains(r.stderr, "-R full") || !strings.Contains(m.mail, " RET=HDRS ") || strings.Contains(m.mail, "FULL") {
		t.Errorf("exit %d, %q, stderr %q", r.code, m.mail, r.stderr)
	}
	f = (&fakesub{}).start(t, p)
	if m := f.sent(t, p, canary, auto, "-Rfull", "b@example.net"); !strings.Contains(m.mail, " RET=FULL") {
		t.Errorf("without REQUIRETLS: %q", m.mail)
	}
}

func s30(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	m := f.sent(t, p, "Message-ID: <id+1@example.org>\n"+canary, yes, "b@example.net")
	if !strings.Contains(m.mail, " RET=HDRS ENVID=id+2B1@example.org REQUIRETLS") {
		t.Errorf("%q", m.mail)
	}
}

func s31(t *testing.T, p *pki) {
	f := (&fakesub{ehlo: without("DSN")}).start(t, p)
	m := f.sent(t, p, canary, yes, "-R", "hdrs", "-V", "x", "-N", "failure,delay", "b@example.net")
	for _, line := range append(m.rcpts, m.mail) {
		for _, word := range []string{"RET=", "ENVID=", "NOTIFY=", "ORCPT="} {
			if strings.Contains(line, word) {
				t.Errorf("%q", line)
			}
		}
	}
}

func s32(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	m := f.sent(t, p, canary, auto, "-V", "a b+c=d", "-N", "success,failure", `"x y"@example.net`)
	if !strings.HasSuffix(m.mail, " ENVID=a+20b+2Bc+3Dd") {
		t.Errorf("%q", m.mail)
	}
	if want := `RCPT TO:<"x y"@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;"x+20y"@example.net`; m.rcpts[0] != want {
		t.Errorf("%q, want %q", m.rcpts[0], want)
	}
	for _, args := range [][]string{{"-N", "never,failure"}, {"-N", "failure,failure"}, {"-N", ""}, {"-N", "sometimes"}, {"-R", "all"}, {"-V", "a\nb"}, {"-V", ""}, {"-V", strings.Repeat("x", 101)}} {
		f := (&fakesub{}).start(t, p)
		f.refused(t, p, 64, "", args...)
	}
	f = (&fakesub{}).start(t, p)
	m = f.sent(t, p, canary, auto, "-Nnever", "b+c@example.net")
	if want := "RCPT TO:<b+c@example.net> NOTIFY=NEVER ORCPT=rfc822;b+2Bc@example.net"; m.rcpts[0] != want {
		t.Errorf("%q, want %q", m.rcpts[0], want)
	}
}

func s33(t *testing.T, p *pki) {
	for _, to := range []string{"jörg@example.net", "b@bücher.example"} {
		f := (&fakesub{ehlo: without("SMTPUTF8")}).start(t, p)
		r := f.send(t, p, canary, yes, to)
		if r.code != 65 || !strings.Contains(r.stderr, "5.6.7") {
			t.Errorf("%s: exit %d: %s", to, r.code, r.stderr)
		}
		f.nothingCrossed(t)
		f = (&fakesub{}).start(t, p)
		m := f.sent(t, p, canary, yes, to)
		if !strings.Contains(m.mail, " SMTPUTF8 ") || !strings.HasSuffix(m.mail, " REQUIRETLS") || !strings.HasPrefix(m.rcpts[0], "RCPT TO:<"+to+">") {
			t.Errorf("%q, %q", m.mail, m.rcpts)
		}
	}
	f := (&fakesub{}).start(t, p)
	if m := f.sent(t, p, strings.Replace(canary, "canary", "Störung", 1), yes, "b@example.net"); strings.Contains(m.mail, "SMTPUTF8") {
		t.Errorf("asked for without need: %q", m.mail)
	}
}

func s35(t *testing.T, p *pki) {
	eight := canary + "Grüße\n"
	for _, tc := range []struct {
		message string
		offer   []string
		want    bool
	}{
		{canary, everything, false},
		{canary, without("8BITMIME"), false},
		{eight, everything, true},
	} {
		f := (&fakesub{ehlo: tc.offer}).start(t, p)
		if m := f.sent(t, p, tc.message, yes, "b@example.net"); strings.Contains(m.mail, " BODY=8BITMIME") != tc.want {
			t.Errorf("%q", m.mail)
		}
	}
	f := (&fakesub{ehlo: without("8BITMIME")}).start(t, p)
	m := f.sent(t, p, eight, yes, "b@example.net")
	if slices.ContainsFunc(m.raw, func(c byte) bool { return c >= 0x80 }) || !strings.HasSuffix(string(m.raw), "\r\ncanary-body\r\nGr=C3=BC=C3=9Fe\r\n") || strings.Contains(m.mail, "BODY") {
		t.Errorf("%q, %q", m.mail, m.raw)
	}
	f = (&fakesub{ehlo: without("8BITMIME")}).start(t, p)
	const signed = "Content-Type: multipart/signed; boundary=b\nSubject: canary\n\n--b\n\nGrüße\n--b\n\nx\n--b--\n"
	if r := f.send(t, p, signed, yes, "b@example.net"); r.code != 65 || !strings.Contains(r.stderr, "5.6.3") || !strings.Contains(r.stderr, "signed") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	f.nothingCrossed(t)
}

func s36(t *testing.T, p *pki) {
	for _, tc := range []struct {
		args []string
		want bool
	}{
		{[]string{"-O", "requiretls=yes"}, true},
		{[]string{"-Orequiretls=YES"}, true},
		{[]string{"-O", "RequireTLS=no"}, false},
		{[]string{"-O", "Timeout.hoststatus=5m", "-OQueueSortOrder=time"}, true}, // ignored
	} {
		f := (&fakesub{}).start(t, p)
		m := f.sent(t, p, canary, append(tc.args, "b@example.net")...)
		if strings.HasSuffix(m.mail, " REQUIRETLS") != tc.want || required(m.header()) == 1 == tc.want {
			t.Errorf("%q: %q, header %q", tc.args, m.mail, m.header())
		}
	}
}

func s37(t *testing.T, p *pki) {
	const anonymous = "To: t@example.net\nSubject: canary\n\nbody\n"
	for _, tc := range []struct {
		args []string
		from string // reverse-path
		to   []string
		name string // in the From field
	}{
		{[]string{"-FCronDaemon", "-i", "-B8BITMIME", "-oem", "u@example.net"}, "sender@example.org", []string{"u@example.net"}, "CronDaemon <sender@example.org>"},
		{[]string{"-FCronDaemon", "-odi", "-oem", "-oi", "-t"}, "sender@example.org", []string{"t@example.net"}, "CronDaemon <"},
		{[]string{"-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"}, "sender@example.org", []string{"t@example.net"}, ""},
		{[]string{"-ti"}, "sender@example.org", []string{"t@example.net"}, ""},
		{[]string{"-f", "me@example.org", "-i", "u@example.net", "v@example.net"}, "me@example.org", []string{"u@example.net", "v@example.net"}, "me@example.org"},
		{[]string{"-oem", "-oi", "-f", "me@example.org", "-N", "failure,delay", "-R", "hdrs", "--", "u@example.net"}, "me@example.org", []string{"u@example.net"}, ""},
		{[]string{"-t", "-i", "-fbounce@example.org"}, "bounce@example.org", []string{"t@example.net"}, ""},
		{[]string{"u@example.net", "-r", "late@example.org", "-F", "Ann O. Nym"}, "late@example.org", []string{"u@example.net"}, `"Ann O. Nym" <late@example.org>`},
		{[]string{"-f", "", "u@example.net"}, "", []string{"u@example.net"}, "sender@example.org"},
		{[]string{"-f<>", "u@example.net"}, "", []string{"u@example.net"}, ""},
		{[]string{"-bm", "-m", "-n", "-G", "-U", "-d0.1", "-h", "5", "-LX", "-Ac", "-om", "-o7", "-p", "ESMTP", "-em", "-X", "/dev/null", "-V", "id", "u@example.net"}, "sender@example.org", []string{"u@example.net"}, ""},
		{[]string{"-t", "u@example.net", "T@example.net", "t@EXAMPLE.net"}, "sender@example.org", []string{"u@example.net", "T@example.net", "t@EXAMPLE.net"}, ""},
		{[]string{"-q30m", "-odq", "u@example.net"}, "sender@example.org", []string{"u@example.net"}, ""},
	} {
		f := (&fakesub{ehlo: without("DSN")}).start(t, p)
		m := f.sent(t, p, anonymous, append([]string{auto}, tc.args...)...)
		var to []string
		for _, line := range m.rcpts {
			to = append(to, strings.Trim(strings.TrimPrefix(line, "RCPT TO:"), "<>"))
		}
		if !strings.HasPrefix(m.mail, "MAIL FROM:<"+tc.from+">") || !slices.Equal(to, tc.to) {
			t.Errorf("%q: %q, %q", tc.args, m.mail, to)
		}
		if !strings.Contains(m.header(), "\r\nFrom: "+tc.name) {
			t.Errorf("%q: header %q", tc.args, m.header())
		}
	}
	f := (&fakesub{}).start(t, p)
	f.refused(t, p, 64, "-bd: this is no daemon", "-bd")
}

func s38(t *testing.T, p *pki) {
	on := func(prefix, reply string) func(string, bool) string {
		return func(line string, _ bool) string {
			if strings.HasPrefix(line, prefix) {
				return reply
			}
			return ""
		}
	}
	for _, tc := range []struct {
		at, reply string
		code      int
		reason    string
	}{
		{"(connect)", "554 5.3.2 no service", 69, "5.3.2"},
		{"(connect)", "421 4.3.2 too busy", 75, "4.3.2"},
		{"EHLO", "421 4.3.2 too busy", 75, "4.3.2"},
		{"AUTH", "535 5.7.8 wrong", 77, "5.7.8"},
		{"AUTH", "454 4.7.0 not now", 75, "4.7.0"},
		{"MAIL", "550 5.7.1 not you", 65, "5.7.1"},
		{"MAIL", "550 5.7.30 no such luck", 69, "5.7.30"},
		{"MAIL", "530 5.7.0 log in first", 77, "5.7.0"},
		{"MAIL", "451 4.3.0 later", 75, "4.3.0"},
		{"RCPT", "550 5.1.1 nobody", 67, "5.1.1"},
		{"RCPT", "550 nobody", 67, "550 nobody"},
		{"RCPT", "554 5.7.1 no relaying", 65, "5.7.1"},
		{"RCPT", "450 4.2.1 later", 75, "4.2.1"},
		{"DATA", "554 5.6.0 no", 65, "5.6.0"},
		{"DATA", "452 4.3.1 full", 75, "4.3.1"},
		{".", "554 5.6.0 spam", 65, "5.6.0"},
		{".", "550 5.7.10 not on my way", 69, "5.7.10"},
		{".", "452 4.3.1 full", 75, "4.3.1"},
		{"MAIL", "999 what", 76, ""},
		{"MAIL", "hello there", 76, ""},
		{"MAIL", hangUp, 75, "4.4.2"},
	} {
		for _, offer := range [][]string{everything, without("PIPELINING")} {
			f := (&fakesub{ehlo: offer, script: on(tc.at, tc.reply)}).start(t, p)
			r := f.send(t, p, canary, yes, "b@example.net")
			if r.code != tc.code || !strings.Contains(r.stderr, tc.reason) || !strings.HasPrefix(r.stderr, "rtls-send: ") {
				t.Errorf("%s to %s: exit %d, %q; want %d, %q", tc.reply, tc.at, r.code, r.stderr, tc.code, tc.reason)
			}
			if strings.Contains(r.stderr, "may have been taken") {
				t.Errorf("%s to %s: %q", tc.reply, tc.at, r.stderr)
			}
			if f.stop(); len(f.messages) > 0 {
				t.Errorf("%s to %s: a message was taken", tc.reply, tc.at)
			}
		}
	}
	f := (&fakesub{ehlo: without("AUTH")}).start(t, p)
	f.refused(t, p, 77, "authentication")
	f = (&fakesub{}).start(t, p)
	f.stop()
	f.refused(t, p, 75, "refused") // nobody listens any more
	f.refused(t, p, 69, "5.7.10", "--port", plainServer(t))
}

// plainServer is a port where a server speaks first, and no TLS.
func plainServer(t *testing.T) string {
	f := (&fakesub{starttls: true}).start(t, newPKI(t))
	return f.port()
}

func s40(t *testing.T, p *pki) {
	for _, tc := range []struct {
		reply string
		code  int
		doubt bool
	}{
		{"250 2.0.0 taken" + hangUp, 0, false},
		{hangUp, 75, true},
	} {
		for _, offer := range [][]string{everything, without("PIPELINING")} {
			f := &fakesub{ehlo: offer, script: func(line string, _ bool) string {
				if line == "." {
					return tc.reply
				}
				return ""
			}}
			r := f.start(t, p).send(t, p, canary, yes, "b@example.net")
			if r.code != tc.code || strings.Contains(r.stderr, "may have been taken") != tc.doubt {
				t.Errorf("%q: exit %d: %s", tc.reply, r.code, r.stderr)
			}
			if f.stop(); len(f.commands("MAIL")) != 1 {
				t.Errorf("%q: %q", tc.reply, f.lines())
			}
		}
	}
}

func s46(t *testing.T, p *pki) {
	f := (&fakesub{}).start(t, p)
	f.sent(t, p, canary, yes, "b@example.net")
	if err := f.closedProperly(); err != nil {
		t.Error(err)
	}
	f = (&fakesub{ehlo: without("REQUIRETLS")}).start(t, p)
	f.refused(t, p, 69, "5.7.30", yes)
	if err := f.closedProperly(); err != nil {
		t.Error(err)
	}
}

func s48(t *testing.T, p *pki) {
	const message = "To: b@example.net\nBcc: c@example.net,\n d@example.net\nSubject: s\nResent-Bcc : e@example.net\n\n.\n..\nbcc: stays\rx\r\nend"
	for _, args := range [][]string{{"-t"}, {"b@example.net"}} {
		f := (&fakesub{}).start(t, p)
		m := f.sent(t, p, message, append(args, auto)...)
		for _, word := range []string{"c@example", "d@example", "e@example", "Bcc"} {
			if strings.Contains(m.header(), word) {
				t.Errorf("%q left in header %q", word, m.header())
			}
		}
		if got, want := string(m.body()), ".\r\n..\r\nbcc: stays\r\nx\r\nend\r\n"; got != want {
			t.Errorf("body %q, want %q", got, want)
		}
	}
	for _, to := range []string{"a> SIZE=1", "a@b> SIZE=1", "a@b SIZE=1", "a@b\r\nRCPT TO:<c@d>", "a@b\n", "a\x00@b", "a@b\x7f", "<a@b", `"a` + "\t" + `b"@c`, "a b@c", "@", "a@", "a@-b", "a@b..c"} {
		f := (&fakesub{}).start(t, p)
		if to == "a\x00@b" {
			continue // no argument holds a NUL
		}
		f.refused(t, p, 65, "", to)
		f.refused(t, p, 65, "", "-f", to)
		if got := f.lines(); len(got) != 0 {
			t.Errorf("%q: the server heard %q", to, got)
		}
	}
	for _, message := range []string{"Subject: a\rBcc: x@y\n\nbody\n", "Subject: a\x00\n\nbody\n", "Subject: a\n\nbody\x00\n", "Subject: a\n\n" + strings.Repeat("x\n", 1<<20) + "\x00"} {
		f := (&fakesub{}).start(t, p)
		r := f.send(t, p, message, "b@example.net")
		if r.code != 65 {
			t.Errorf("exit %d: %s", r.code, r.stderr)
		}
		f.nothingCrossed(t)
	}
}
