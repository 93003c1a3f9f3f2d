package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
	"rtls/store"
)

// TestConformanceI has a subtest for each row about reading mail.
func TestConformanceI(t *testing.T) {
	p := newPKI(t)
	for _, row := range []struct {
		name string
		test func(*testing.T, *pki)
	}{
		{"I01_implicit_tls", i01},
		{"I02_nothing_in_clear", i02},
		{"I06_no_starttls", i06},
		{"I09_tls_versions", i09},
		{"I10_plain", i10},
		{"I11_bound_to_the_exporter", i11},
		{"I12_all_messages_for_all", i12},
		{"I13_tag_is_a_read_only_keyword", i13},
		{"I14_search_for_tags", i14},
		{"I15_append_sets_no_tag", i15},
		{"I16_log_line", i16},
		{"I17_certificate_reload", i17},
		{"I17_reload_of_all_domains", i17Domains},
		{"I18_expired_certificate", i18},
		{"I19_cut_off_inside_append", i19},
		{"I20_audit", i20},
		{"I21_utf8_mail_is_not_hidden", i21},
		{"I22_compression_is_off", i22},
	} {
		t.Run(row.name, func(t *testing.T) { row.test(t, p) })
	}
}

func i01(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-quiet", "-verify_return_error",
		"-CAfile", p.caFile, "-verify_hostname", "localhost", "-connect", d.addr)
	cmd.Stdin = strings.NewReader("a LOGOUT\r\n")
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "* OK ") || !strings.Contains(string(out), "\r\na OK ") {
		t.Errorf("openssl: %v\n%s", err, out)
	}

	// Commands in clear get no answer but the end: at most a TLS alert.
	answer := inClear(t, d.addr, fmt.Sprintf("a LOGIN %s %q\r\nb CAPABILITY\r\n", imapUser, imapPassword))
	if len(answer) > 7 || len(answer) > 0 && answer[0] != 21 {
		t.Errorf("in clear: %q", answer)
	}
}

// i02 looks at all sockets that the process has: one listens, and it is the one with
// TLS.
func i02(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	d.dial(t, p, nil)
	listening := listeningPorts(t, d.cmd.Process.Pid)
	if want := []string{d.port()}; !slices.Equal(listening, want) {
		t.Errorf("it listens on ports %s, want %s", listening, want)
	}
	if answer := inClear(t, d.addr, "a CAPABILITY\r\n"); strings.Contains(answer, "OK") {
		t.Errorf("in clear it says %q", answer)
	}
}

// inClear sends octets without TLS and returns all that comes back.
func inClear(t *testing.T, addr, octets string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(imapTimeout))
	if _, err := io.WriteString(conn, octets); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it does not hang up after %q", octets)
	}
	return string(answer)
}

// listeningPorts reads from /proc on which TCP ports a process listens.
func listeningPorts(t *testing.T, pid int) []string {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		t.Fatalf("no files of process %d: %v", pid, err)
	}
	inodes := make(map[string]bool)
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:[") {
			inodes[strings.Trim(target[len("socket:"):], "[]")] = true
		}
	}
	var ports []string
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			const local, state, inode, listen = 1, 3, 9, "0A"
			f := strings.Fields(line)
			if len(f) > inode && f[state] == listen && inodes[f[inode]] {
				_, hex, _ := strings.Cut(f[local], ":")
				var port int
				fmt.Sscanf(hex, "%X", &port)
				ports = append(ports, fmt.Sprint(port))
			}
		}
	}
	return ports
}

func i06(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	c := d.dial(t, p, nil)
	for _, line := range c.ok("CAPABILITY") {
		if strings.Contains(line, "STARTTLS") {
			t.Errorf("offered inside TLS: %s", line)
		}
	}
	c.fails("BAD", "", "STARTTLS")
	c.ok("LOGIN %s %q", imapUser, imapPassword)
	c.fails("BAD", "", "STARTTLS")
	c.ok("NOOP")
}

func i10(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	plain := func(zid, id, password string) string {
		return base64.StdEncoding.EncodeToString([]byte(zid + "\x00" + id + "\x00" + password))
	}
	c := d.dial(t, p, nil)
	if line := strings.Join(c.ok("CAPABILITY"), "\n"); !strings.Contains(line, " AUTH=PLAIN") {
		t.Errorf("not offered: %s", line)
	}
	c.fails("NO", "[AUTHENTICATIONFAILED]", "AUTHENTICATE PLAIN %s", plain("", imapUser, "wrong"))
	c.fails("NO", "[AUTHENTICATIONFAILED]", "AUTHENTICATE PLAIN %s", plain("", "nobody@example.org", imapPassword))
	c.fails("NO", "", "AUTHENTICATE PLAIN %s", plain("root", imapUser, imapPassword))
	c.fails("BAD", "", "AUTHENTICATE PLAIN !")
	c.fails("BAD", "", "SELECT INBOX")
	c.ok("AUTHENTICATE PLAIN %s", plain("", imapUser, imapPassword))
	c.ok("SELECT INBOX")

	c = d.dial(t, p, nil)
	c.write("x AUTHENTICATE PLAIN\r\n")
	if line := c.read(); line != "+ " {
		t.Errorf("the server goes on with %q", line)
	}
	c.write(plain(imapUser, imapUser, imapPassword) + "\r\n")
	if r := c.tagged("x"); r.status != "OK" {
		t.Errorf("without an initial response: %s %s", r.status, r.text)
	}

	c = d.dial(t, p, nil)
	c.write("x AUTHENTICATE PLAIN\r\n")
	c.read()
	c.write("*\r\n")
	if r := c.tagged("x"); r.status != "BAD" {
		t.Errorf("cancelled: %s %s", r.status, r.text)
	}
	c.fails("NO", "[AUTHENTICATIONFAILED]", "LOGIN %s wrong", imapUser)
	c.ok("LOGIN %s %q", imapUser, imapPassword)
}

// allTags delivers a message of each tag into INBOX and returns their UIDs by tag.
func allTags(t *testing.T, d *imapd) map[store.Tag]uint32 {
	t.Helper()
	keys := make(map[store.Key]store.Tag)
	for tag, origin := range map[store.Tag]store.Origin{
		store.TagNone:     store.OriginESMTP,
		store.TagRequire:  store.OriginESMTP,
		store.TagOptional: store.OriginHeader,
		store.TagUnknown:  store.OriginUnknown,
	} {
		keys[d.deliver(t, "INBOX", fmt.Appendf(nil, "Subject: %s\n\nhello\n", tag), tag, origin)] = tag
	}
	uids := make(map[store.Tag]uint32)
	for _, m := range d.stored(t, "INBOX") {
		if tag := keys[m.Key]; m.Tag != tag {
			t.Fatalf("%s is stored with tag %s", tag, m.Tag)
		}
		uids[m.Tag] = m.UID
	}
	if len(uids) != 4 {
		t.Fatalf("%d messages are stored, want 4", len(uids))
	}
	return uids
}

// i12: no client sees less, however it connects.
func i12(t *testing.T, p *pki) {
	d := startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost"}, RSA: true})
	uids := allTags(t, d)
	for _, config := range []*tls.Config{
		{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
		{MaxVersion: tls.VersionTLS12},
		{MinVersion: tls.VersionTLS13},
	} {
		c := d.dial(t, p, config)
		c.ok("LOGIN %s %q", imapUser, imapPassword)
		for _, sel := range []string{"SELECT", "EXAMINE"} {
			if lines := c.ok("%s INBOX", sel); !slices.Contains(lines, "* 4 EXISTS") {
				t.Errorf("%s: %q", sel, lines)
			}
			if found := c.search("ALL"); len(found) != len(uids) {
				t.Errorf("%s: found %d", sel, found)
			}
			bodies := c.bodies()
			for tag, uid := range uids {
				if want := fmt.Sprintf("Subject: %s\r\n\r\nhello\r\n", tag); bodies[uid] != want {
					t.Errorf("%s: the %s message is %q", sel, tag, bodies[uid])
				}
			}
		}
	}
}

// tagKeywords are what clients see of tags.
var tagKeywords = map[store.Tag][]string{
	store.TagNone:     {},
	store.TagRequire:  {"$RequireTLS"},
	store.TagOptional: {"$TLSOptional"},
	store.TagUnknown:  {"$RequireTLSUnknown"},
}

func i13(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	uids := allTags(t, d)
	c := d.login(t, p, "")
	for _, line := range c.ok("SELECT INBOX") {
		if strings.Contains(line, "PERMANENTFLAGS") && (strings.Contains(line, "TLS") || !strings.Contains(line, `\*`)) {
			t.Errorf("a client may set %s", line)
		}
		if strings.HasPrefix(line, "* FLAGS ") && !strings.Contains(line, "$RequireTLS") {
			t.Errorf("the keyword is not announced: %s", line)
		}
	}
	expect := func(what string, extra ...string) {
		t.Helper()
		for tag, uid := range uids {
			want := append(slices.Clone(tagKeywords[tag]), extra...)
			slices.Sort(want)
			if got := c.flags(uid); !slices.Equal(got, want) {
				t.Errorf("%s: the %s message has %q, want %q", what, tag, got, want)
			}
		}
	}
	expect("delivered")
	for _, keyword := range []string{"$RequireTLS", "$requiretls", "$TLSOptional", "$RequireTLSUnknown"} {
		c.fails("NO", "[CANNOT]", "STORE 1:* +FLAGS (%s)", keyword)
		c.fails("NO", "[CANNOT]", "STORE 1:* -FLAGS (%s)", keyword)
		c.fails("NO", "[CANNOT]", `STORE 1:* +FLAGS (\Seen %s)`, keyword)
	}
	expect("refused")
	// A client that writes back the flags it has read must not fail, nor change it.
	c.ok(`STORE 1:* FLAGS (\Seen $RequireTLS)`)
	expect("replaced", `\Seen`)
	c.ok(`STORE 1:* FLAGS (\Flagged)`)
	expect("replaced without it", `\Flagged`)
	c.ok(`STORE 1:* FLAGS ()`)
	expect("replaced with nothing")
	for _, m := range d.stored(t, "INBOX") {
		if m.UID != uids[m.Tag] || len(m.Keywords) > 0 {
			t.Errorf("UID %d is stored as %s with %q", m.UID, m.Tag, m.Keywords)
		}
	}
}

func i14(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	uids := allTags(t, d)
	c := d.login(t, p, "INBOX")
	for tag, keywords := range tagKeywords {
		for _, keyword := range keywords {
			for _, spelling := range []string{keyword, strings.ToUpper(keyword)} {
				if got := c.search("KEYWORD %s", spelling); !slices.Equal(got, []uint32{uids[tag]}) {
					t.Errorf("KEYWORD %s: %d, want %d", spelling, got, uids[tag])
				}
				if got := c.search("UNKEYWORD %s", spelling); len(got) != 3 || slices.Contains(got, uids[tag]) {
					t.Errorf("UNKEYWORD %s: %d", spelling, got)
				}
			}
		}
	}
	got := c.search("UNKEYWORD $RequireTLS UNKEYWORD $TLSOptional UNKEYWORD $RequireTLSUnknown")
	if !slices.Equal(got, []uint32{uids[store.TagNone]}) {
		t.Errorf("with none of them: %d, want %d", got, uids[store.TagNone])
	}
}

func i15(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	c := d.login(t, p, "INBOX")
	for i, flags := range []string{"($RequireTLS)", `(\Seen $requiretls)`, "($TLSOptional)", "($RequireTLSUnknown)", ""} {
		if r := c.append("INBOX", flags, []byte("Require-TLS-ESMTP: yes\r\nSubject: x\r\n\r\nx\r\n")); r.status != "OK" {
			t.Errorf("APPEND %s: %s %s", flags, r.status, r.text)
			continue
		}
		for _, flag := range c.flags(uint32(i + 1)) {
			if strings.Contains(strings.ToUpper(flag), "TLS") {
				t.Errorf("APPEND %s set %s", flags, flag)
			}
		}
	}
	if got := c.search("OR KEYWORD $RequireTLS OR KEYWORD $TLSOptional KEYWORD $RequireTLSUnknown"); len(got) != 0 {
		t.Errorf("found %d", got)
	}
}

func i16(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	c := d.dial(t, p, config)
	c.ok("LOGIN %s %q", imapUser, imapPassword)
	suite := tls.CipherSuiteName(c.conn.(*tls.Conn).ConnectionState().CipherSuite)
	line := d.waitLog(t, regexp.MustCompile(`(?m)^.*\blogin\b.*$`))[0]
	for _, word := range []string{"user=" + imapUser, "1.3", suite} {
		if !strings.Contains(line, word) {
			t.Errorf("%s is not in the log line: %s", word, line)
		}
	}
	if text, _ := d.log.now(); strings.Contains(text, imapPassword) {
		t.Errorf("the password is in the log:\n%s", text)
	}
}

func i17(t *testing.T, p *pki) {
	d := startIMAPD(t, p)
	old := d.login(t, p, "INBOX")
	presented := func() string {
		c := d.dial(t, p, nil)
		defer c.conn.Close()
		return serial(c)
	}
	before := serial(old)

	// Half of a pair: the old one stays in use.
	certPEM, keyPEM, err := p.Issue(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	swap(t, d.cert, certPEM)
	if presented() != before {
		t.Error("a certificate without its key is presented")
	}
	swap(t, d.key, keyPEM)
	for deadline := time.Now().Add(imapTimeout); presented() == before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not presented")
		}
	}
	old.ok("NOOP") // no drop
}

// serial is the number of the certificate that the server presented.
func serial(c *imapConn) string {
	return c.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// swap replaces a file as a whole.
func swap(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
