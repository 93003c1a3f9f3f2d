package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/internal/testmail"
)

// TestConformanceL has a subtest for each row about final delivery. Each has a
// host of its own with rtls-lda serving on its socket.
func TestConformanceL(t *testing.T) {
	rows := []struct {
		name string
		test func(*testing.T, *mailHost)
	}{
		{"L01_not_offered_in_clear", l01},
		{"L02_offered_inside_tls", l02},
		{"L03_refused_in_clear", l03},
		{"L04_no_value_and_once", l04},
		{"L05_any_case", l05},
		{"L06_long_line", l06},
		{"L07_second_mail", l07},
		{"L08_forgotten", l08},
		{"L09_every_recipient", l09},
		{"L10_aliases", l10},
		{"L11_header_alone", l11},
		{"L12_parameter_and_header", l12},
		{"L13_malformed_header", l13},
		{"L14_postfix_header", l14},
		{"L15_flag", l15},
		{"L16_lhlo_only", l16},
		{"L17_data_without_recipient", l17},
		{"L18_reply_for_each_recipient", l18},
		{"L19_one_over_quota", l19},
		{"L20_pipelining", l20},
		{"L21_enhanced_status_codes", l21},
		{"L22_durable_before_250", l22},
		{"L23_killed", l23},
		{"L24_port_25", l24},
		{"L25_tls_beyond_loopback", l25},
		{"L26_return_path", l26},
		{"L27_received", l27},
		{"L28_tls_clause", l28},
		{"L29_earlier_trace_untouched", l29},
		{"L30_delivered_to", l30},
		{"L31_bytes", l31},
		{"L32_end_of_data", l32},
		{"L33_bdat", l33},
		{"L34_ret", l34},
		{"L35_dsn_syntax", l35},
		{"L36_starttls_injection", l36},
		{"L37_failed_handshake", l37},
		{"L38_old_tls", l38},
		{"L39_read_without_tls", l39},
		{"L40_exit_codes", l40},
		{"L41_wrong_peer", l41},
		{"L42_trusted_peer", l42},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			h := newMailHost(t, t.TempDir())
			h.serve(t)
			row.test(t, h)
		})
	}
}

const plainMail = "Subject: hi\r\n\r\nhello\r\n"

func l01(t *testing.T, h *mailHost) {
	offered := h.mta(t).LHLO()
	if slices.Contains(offered, "REQUIRETLS") || !slices.Contains(offered, "STARTTLS") {
		t.Errorf("%q", offered)
	}
}

func l02(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	if offered := m.StartTLS().LHLO(); !slices.Contains(offered, "REQUIRETLS") || slices.Contains(offered, "STARTTLS") {
		t.Errorf("%q", offered)
	}
}

func l03(t *testing.T, h *mailHost) {
	m := h.mta(t)
	m.LHLO()
	m.Say("MAIL FROM:<a@example.com> REQUIRETLS", "530 5.7.10 ")
	m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	m.Say("DATA", "503 5.5.1 ")
}

func l04(t *testing.T, h *mailHost) {
	m := h.secure(t)
	for _, params := range []string{"REQUIRETLS=yes", "REQUIRETLS=", "REQUIRETLS REQUIRETLS"} {
		m.Say("MAIL FROM:<a@example.com> "+params, "501 5.5.4 ")
		m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	}
}

func l05(t *testing.T, h *mailHost) {
	h.secure(t).Deliver("<a@example.com> rEquirEtls", plainMail, "<alice>")
	if got := h.one(t, "alice").tag; got != "require/esmtp" {
		t.Error(got)
	}
}

func l06(t *testing.T, h *mailHost) {
	// RFC 5321 allows 512 octets, RFC 8689 adds 11, RFC 3461 adds 500 and 10 more
	// for SMTPUTF8 (RFC 6531 section 3.4).
	line := "<" + strings.Repeat("a", 64) + "@" + strings.Repeat("bbb.", 60) + "example> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=" + strings.Repeat("e", 100) + " REQUIRETLS"
	line += strings.Repeat(" ", 512+11+500+10-len("MAIL FROM:")-len(line)-2)
	h.secure(t).Deliver(line, plainMail, "<alice>")
	if got := h.one(t, "alice").tag; got != "require/esmtp" {
		t.Error(got)
	}
}

func l07(t *testing.T, h *mailHost) {
	m := h.secure(t)
	m.Say("MAIL FROM:<first@example.com> REQUIRETLS", "250")
	m.Say("RCPT TO:<alice>", "250")
	m.Say("MAIL FROM:<second@example.com>", "503 5.5.1 ")
	m.Say("RCPT TO:<bob>", "250")
	m.Say("DATA", "354")
	m.Say(plainMail+".", "250 2.0.0 ", "250 2.0.0 ")
	for _, user := range []string{"alice", "bob"} {
		if got := h.one(t, user); got.tag != "require/esmtp" || !strings.HasPrefix(got.raw, "Return-Path: <first@example.com>\r\n") {
			t.Errorf("%s has %s\n%s", user, got.tag, got.raw)
		}
	}
}

func l08(t *testing.T, h *mailHost) {
	m := h.secure(t)
	forget := []func(){
		func() { m.Say("RSET", "250") },
		func() { m.LHLO() },
		func() { // a transaction that was begun with the tag and came to its end
			m.Say("RCPT TO:<bob>", "250")
			m.Say("DATA", "354")
			m.Say(plainMail+".", "250 2.0.0 ")
		},
	}
	for _, f := range forget {
		m.Say("MAIL FROM:<a@example.com> REQUIRETLS", "250")
		f()
		m.Deliver("<a@example.com>", plainMail, "<alice>")
	}
	// What was said before STARTTLS is as if it had not been.
	m = h.mta(t)
	m.LHLO()
	m.Say("MAIL FROM:<a@example.com>", "250")
	m.StartTLS()
	m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	m.LHLO()
	m.Say("RCPT TO:<alice>", "503 5.5.1 ")
	m.Deliver("<a@example.com>", plainMail, "<alice>")
	all := h.mail(t, "alice", "INBOX")
	if len(all) != len(forget)+1 {
		t.Errorf("%d messages", len(all))
	}
	for _, got := range all {
		if got.tag != "none/esmtp" {
			t.Error(got.tag)
		}
	}
}

func l09(t *testing.T, h *mailHost) {
	h.secure(t).Deliver("<a@example.com> REQUIRETLS", plainMail, "<alice@example.org>", "<bob@example.org>", "<carol@example.org>")
	for _, user := range []string{"alice", "bob", "carol@example.org"} {
		if got := h.one(t, user).tag; got != "require/esmtp" {
			t.Errorf("%s has %s", user, got)
		}
	}
}

func l10(t *testing.T, _ *mailHost) {
	dir := t.TempDir()
	aliases := filepath.Join(dir, "aliases")
	if err := os.WriteFile(aliases, []byte("team: alice, crew\ncrew: bob, carol@example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newMailHost(t, dir, fmt.Sprintf("aliases = %q", aliases))
	h.serve(t)
	m := h.secure(t)
	m.Deliver("<a@example.com> REQUIRETLS", plainMail, "<team@example.org>")
	m.Deliver("<a@example.com>", "TLS-Required: No\r\n"+plainMail, "<team>")
	if r := h.lda(t, "Subject: hi\n\n", "-r", "team", "--requiretls"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	for _, user := range []string{"alice", "bob", "carol@example.org"} {
		if got, want := h.tags(t, user), []string{"require/esmtp", "optional/header", "require/mda"}; !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", user, got, want)
		}
	}
}

func l11(t *testing.T, h *mailHost) {
	h.secure(t).Deliver("<a@example.com>", "TLS-Required: No\r\n"+plainMail, "<alice>")
	if got := h.one(t, "alice").tag; got != "optional/header" {
		t.Error(got)
	}
}

func l12(t *testing.T, h *mailHost) {
	h.secure(t).Deliver("<a@example.com> REQUIRETLS", "TLS-Required: No\r\n"+plainMail, "<alice>")
	if got := h.one(t, "alice"); got.tag != "require/esmtp" || !strings.HasSuffix(got.raw, "\r\nTLS-Required: No\r\n"+plainMail) {
		t.Errorf("%s\n%s", got.tag, got.raw)
	}
}

func l13(t *testing.T, h *mailHost) {
	m := h.secure(t)
	for head, want := range map[string]string{
		"TLS-Required: maybe\r\n":                       "none/esmtp",
		"TLS-Required: No\r\nTLS-Required: No\r\n":      "none/esmtp",
		"TLS-Required: No (really)\r\n":                 "none/esmtp",
		"X-TLS-Required: No\r\n":                        "none/esmtp",
		"TLS-Required:\r\n\tnO\r\n":                     "optional/header", // folded before the value: FWS
		"Subject: x\r\n\r\n--b\r\nTLS-Required: No\r\n": "none/esmtp",
	} {
		before := len(h.tags(t, "alice"))
		m.Deliver("<a@example.com>", head+plainMail, "<alice>")
		if got := h.tags(t, "alice"); len(got) != before+1 || got[before] != want {
			t.Errorf("%q became %v", head, got)
		}
	}
	for _, message := range corpus(t) {
		want, ok := map[string]string{
			"44-tls-required-no":          "optional/header",
			"45-tls-required-twice":       "none/esmtp",
			"46-tls-required-inside":      "none/esmtp",
			"47-forged-require-tls-esmtp": "none/esmtp",
			"48-forged-rtls-delivery":     "none/esmtp",
		}[message.Name]
		if !ok {
			continue
		}
		m.Deliver("<a@example.com>", dotted(string(message.Raw)), "<bob>")
		if got := h.tags(t, "bob"); got[len(got)-1] != want {
			t.Errorf("%s has %v, want %s", message.Name, got[len(got)-1], want)
		}
	}
}

// tags are a mailbox's tags.
func (h *mailHost) tags(t *testing.T, user string) []string {
	t.Helper()
	if h.delivered(user) == 0 {
		return nil
	}
	var tags []string
	for _, m := range h.mail(t, user, "INBOX") {
		tags = append(tags, m.tag)
	}
	return tags
}

// corpus are the messages of testdata/mail.
func corpus(t *testing.T) []testmail.Message {
	t.Helper()
	all, err := testmail.All(filepath.Join("..", "..", "testdata", "mail"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// dotted makes what follows DATA of a message with any line ends, without the
// final dot.
func dotted(message string) string {
	wire := string(withCRLF([]byte(message)))
	if wire != "" && !strings.HasSuffix(wire, "\r\n") {
		wire += "\r\n"
	}
	return strings.ReplaceAll("\r\n"+wire, "\r\n.", "\r\n..")[2:]
}

func l14(t *testing.T, h *mailHost) {
	trusting := newMailHost(t, t.TempDir(), "trust_require_tls_esmtp = true")
	for _, tc := range []struct {
		host       *mailHost
		head, want string
	}{
		{trusting, "Require-TLS-ESMTP: yes\n", "require/header"},
		{trusting, "Require-TLS-ESMTP: no\n", "none/mda"},
		{trusting, "Require-TLS-ESMTP: yes please\n", "none/mda"},
		{trusting, "TLS-Required: No\nRequire-TLS-ESMTP: yes\n", "require/header"},
		{trusting, "Subject: x\n\nRequire-TLS-ESMTP: yes\n", "none/mda"},
		{h, "Require-TLS-ESMTP: yes\n", "none/mda"},
	} {
		before := tc.host.tags(t, "alice")
		if r := tc.host.lda(t, tc.head+"\nhello\n", "-d", "alice"); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		if got := tc.host.tags(t, "alice"); len(got) != len(before)+1 || got[len(before)] != tc.want {
			t.Errorf("%q became %v", tc.head, got)
		}
	}
}

func l15(t *testing.T, h *mailHost) {
	if r := h.lda(t, "Subject: hi\nTLS-Required: No\n\n", "-d", "alice", "--requiretls"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := runEnv(t, append([]string{"RTLS_REQUIRETLS=1", "USER=bob"}, quickExit...), strings.NewReader("Subject: hi\n\n"), "rtls-lda", "--config", h.config, "--from-env"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, user := range []string{"alice", "bob"} {
		if got := h.one(t, user).tag; got != "require/mda" {
			t.Errorf("%s has %s", user, got)
		}
	}
}
