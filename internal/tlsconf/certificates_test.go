package tlsconf

import (
	"os"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// pairFor makes a certificate in files of its own.
func pairFor(t *testing.T, ca *testpki.CA, leaf testpki.Leaf, names ...string) Pair {
	t.Helper()
	cert, key, err := ca.WriteFiles(t.TempDir(), "leaf", leaf)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{Names: names, Cert: cert, Key: key}
}

// presented is the first name on the certificate that a client gets.
func presented(t *testing.T, c *Certificates, caFile, name string) string {
	t.Helper()
	client, err := Client(caFile, "default.example.org")
	if err != nil {
		t.Fatal(err)
	}
	client.ServerName = name
	state, _, _ := handshake(t, client, c.Config())
	if len(state.PeerCertificates) == 0 {
		return "refused"
	}
	return state.PeerCertificates[0].Subject.CommonName
}

func TestNamedCertificates(t *testing.T) {
	ca, caFile := newCA(t, t.TempDir())
	leaf := func(names ...string) testpki.Leaf { return testpki.Leaf{Names: names} }
	fallback := pairFor(t, ca, leaf("default.example.org"))
	c, err := Load(fallback,
		pairFor(t, ca, leaf("one.example.net", "two.example.net"), "one.example.net", "Two.Example.Net"),
		pairFor(t, ca, leaf("*.example.com", "example.com"), "*.example.com"),
		pairFor(t, ca, leaf("mail.example.com"), "mail.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"default.example.org": "default.example.org",
		"one.example.net":     "one.example.net",
		"TWO.example.net":     "one.example.net",
		"mail.example.com":    "mail.example.com", // an exact name counts more
		"imap.example.com":    "*.example.com",
	} {
		if got := presented(t, c, caFile, name); got != want {
			t.Errorf("%s: got the certificate of %s, want %s", name, got, want)
		}
	}
	// The client would refuse these.
	for name, want := range map[string]string{"": "default.example.org", "a.b.example.com": "default.example.org", "example.com": "default.example.org", "three.example.net": "default.example.org", "one.example.net.": "one.example.net"} {
		if got := c.find(name).current(time.Now()).Leaf.Subject.CommonName; got != want {
			t.Errorf("%q: got the certificate of %s, want %s", name, got, want)
		}
	}
	for _, bad := range []Pair{
		pairFor(t, ca, leaf("one.example.net"), "four.example.net"),
		pairFor(t, ca, leaf("one.example.net"), "*.example.net"),
		{Names: []string{"x.example.net"}, Cert: "/nonexistent", Key: "/nonexistent"},
	} {
		if _, err := Load(fallback, bad); err == nil || !strings.Contains(err.Error(), "TLS certificate") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	twice := pairFor(t, ca, leaf("one.example.net"), "one.example.net")
	if _, err := Load(fallback, twice, twice); err == nil || !strings.Contains(err.Error(), "two TLS certificates") {
		t.Errorf("a name twice: %v", err)
	}
}

// Reload does not wait for the times of the files to change, takes what it can, and
// names the others.
func TestReloadAll(t *testing.T) {
	ca, _ := newCA(t, t.TempDir())
	leaf := testpki.Leaf{Names: []string{"a.example.org"}}
	first, second := pairFor(t, ca, leaf), pairFor(t, ca, leaf, "a.example.org")
	c, err := Load(first, second)
	if err != nil {
		t.Fatal(err)
	}
	serials := func() (serials [2]string) {
		for i, k := range c.each() {
			serials[i] = k.cert.Leaf.SerialNumber.String()
		}
		return serials
	}
	before := serials()
	renew := func(p Pair, leaf testpki.Leaf) {
		t.Helper()
		certPEM, keyPEM, err := ca.Issue(leaf)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(p.Cert)
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{p.Cert: certPEM, p.Key: keyPEM} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}
	}
	renew(first, leaf)
	renew(second, testpki.Leaf{Names: []string{"b.example.org"}})
	err = c.Reload()
	if err == nil || !strings.Contains(err.Error(), second.Cert+" is not for a.example.org") || strings.Contains(err.Error(), first.Cert) {
		t.Errorf("error %v", err)
	}
	if after := serials(); after[0] == before[0] || after[1] != before[1] {
		t.Errorf("serials %q, before %q", after, before)
	}
	renew(second, leaf)
	if err := c.Reload(); err != nil {
		t.Error(err)
	}
	if after := serials(); after[1] == before[1] {
		t.Error("the second is still the old one")
	}
}

func TestCheck(t *testing.T) {
	ca, _ := newCA(t, t.TempDir())
	now := time.Now()
	day := 24 * time.Hour
	names := []string{"a.example.org"}
	good := pairFor(t, ca, testpki.Leaf{Names: names})
	expired := pairFor(t, ca, testpki.Leaf{Names: names, NotBefore: now.Add(-2 * day), NotAfter: now.Add(-day)}, "a.example.org")
	early := pairFor(t, ca, testpki.Leaf{Names: []string{"b.example.org"}, NotBefore: now.Add(day)}, "b.example.org")
	c, err := Load(good, expired, early)
	if err != nil {
		t.Fatal(err)
	}
	found := c.Check(now)
	for i, want := range []string{"", "has expired on ", "is not valid before "} {
		text := ""
		if found[i].Err != nil {
			text = found[i].Err.Error()
		}
		if (want == "") != (text == "") || !strings.Contains(text, want) {
			t.Errorf("%s: %q, want %q", found[i].Cert, text, want)
		}
	}
	if left := found[0].NotAfter.Sub(now); left < 29*day || left > 31*day {
		t.Errorf("the good one is valid for %s", left)
	}
	if err := os.Remove(good.Key); err != nil {
		t.Fatal(err)
	}
	if v := c.Check(now)[0]; v.Err == nil {
		t.Error("a key that is gone is not told of")
	}
	if c.find("").current(now.Add(time.Minute)) == nil {
		t.Error("the certificate in use is gone, too")
	}
}
