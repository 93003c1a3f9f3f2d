package e2e

import (
	"regexp"
	"strings"
	"testing"

	"rtls/internal/testpki"
	"rtls/store"
)

// i22: compression is there for those who ask for it in the configuration, and then a
// real client uses it in both directions.
func i22(t *testing.T, p *pki) {
	off := startIMAPD(t, p).dial(t, p, nil)
	r := off.do("LOGIN %s %q", imapUser, imapPassword)
	if r.status != "OK" || strings.Contains(r.text, "COMPRESS") {
		t.Errorf("by default: %s %s", r.status, r.text)
	}
	off.fails("NO", "", "COMPRESS DEFLATE")

	d := startIMAPDWith(t, p, testpki.Leaf{Names: []string{"localhost", "127.0.0.1"}}, "compress = true")
	large := "Subject: large\n\n" + strings.Repeat("all work and no play\n", 20_000)
	d.deliver(t, "INBOX", []byte(large), store.TagRequire, store.OriginESMTP)
	m := newMbsync(t, d, p.caFile)
	m.sync(t)
	d.waitLog(t, regexp.MustCompile(`msg=compress .*user=alice`))
	m.compare(t, d, p, "compressed", "INBOX")
}
