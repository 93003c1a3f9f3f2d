package resolve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"rtls/internal/testdns"
)

func client(t *testing.T, s *testdns.Server) *Client {
	t.Helper()
	c, err := New(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnswers(t *testing.T) {
	s := testdns.New(t)
	for _, r := range []string{
		"_submissions._tcp.example.org. 60 IN SRV 10 5 465 smtp.example.org.",
		"_465._tcp.smtp.example.org. 60 IN TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"example.org. 60 IN MX 20 b.example.org.",
		"example.org. 60 IN MX 10 a.example.org.",
		`_mta-sts.example.org. 60 IN TXT "v=STSv1; " "id=1"`,
		"smtp.example.org. 60 IN A 127.0.0.1",
	} {
		s.Add(t, r)
	}
	s.Secure("example.org")
	c := client(t, s)
	srv, proven, err := c.SRV(t.Context(), "submissions", "example.org")
	if err != nil || !proven || len(srv) != 1 || srv[0] != (net.SRV{Target: "smtp.example.org.", Port: 465, Priority: 10, Weight: 5}) {
		t.Errorf("%v %v %v", srv, proven, err)
	}
	tlsa, proven, err := c.TLSA(t.Context(), "smtp.example.org", 465)
	if err != nil || !proven || len(tlsa) != 1 || !tlsa[0].Usable() {
		t.Errorf("%v %v %v", tlsa, proven, err)
	}
	mx, _, err := c.MX(t.Context(), "example.org")
	if err != nil || len(mx) != 2 || mx[0].Host != "a.example.org." {
		t.Errorf("%v %v", mx, err)
	}
	txt, _, err := c.TXT(t.Context(), "_mta-sts.example.org")
	if err != nil || len(txt) != 1 || txt[0] != "v=STSv1; id=1" {
		t.Errorf("%q %v", txt, err)
	}
	addrs, err := c.Addresses().LookupHost(t.Context(), "smtp.example.org")
	if err != nil || len(addrs) != 1 || addrs[0] != "127.0.0.1" {
		t.Errorf("%v %v", addrs, err)
	}
	none, proven, err := c.MX(t.Context(), "example.net")
	if err != nil || proven || len(none) != 0 {
		t.Errorf("%v %v %v", none, proven, err)
	}
}

// An answer that cannot be had is not an answer that there is nothing.
func TestBroken(t *testing.T) {
	s := testdns.New(t)
	s.Secure("example.org")
	s.Break("_465._tcp.smtp.example.org")
	_, proven, err := client(t, s).TLSA(t.Context(), "smtp.example.org", 465)
	if e, ok := errors.AsType[*net.DNSError](err); !ok || !e.IsTemporary || e.IsNotFound || proven {
		t.Errorf("%v %v", proven, err)
	}
}

func TestLongAnswer(t *testing.T) {
	s := testdns.New(t)
	for i := range 100 {
		s.Add(t, fmt.Sprintf("example.org. 60 IN MX %d host%d.example.org.", i, i))
	}
	mx, _, err := client(t, s).MX(t.Context(), "example.org")
	if err != nil || len(mx) != 100 {
		t.Errorf("%d records, %v", len(mx), err)
	}
}

func TestTrusted(t *testing.T) {
	for text, want := range map[string]bool{
		"nameserver 127.0.0.53\n":                           true,
		"nameserver ::1\nnameserver 127.0.0.1\n":            true,
		"nameserver 192.0.2.1\n":                            false,
		"nameserver 127.0.0.1\nnameserver 192.0.2.1\n":      false,
		"nameserver 192.0.2.1\noptions edns0 trust-ad\n":    true,
		"# options trust-ad\nnameserver 192.0.2.1\noptions": false,
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := System(path)
		if err != nil || c.Trusted() != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	for addr, want := range map[string]bool{"127.0.0.1": true, "[::1]:5353": true, "192.0.2.1:53": false} {
		c, err := New(addr)
		if err != nil || c.Trusted() != want {
			t.Errorf("%q: %v, want %v", addr, err, want)
		}
	}
	if _, err := New("resolver.example.org"); err == nil {
		t.Error("a name passes for an address")
	}
}

// A resolver elsewhere cannot prove anything, whatever it says.
func TestNotTrusted(t *testing.T) {
	s := testdns.New(t)
	s.Add(t, "example.org. 60 IN MX 10 a.example.org.")
	s.Secure("example.org")
	c := client(t, s)
	c.trusted = false
	mx, proven, err := c.MX(t.Context(), "example.org")
	if err != nil || len(mx) != 1 || proven {
		t.Errorf("%v %v %v", mx, proven, err)
	}
}

// The resolvers of the system are asked in turn by the standard library, and no other
// than those.
func TestAddressesOfSeveral(t *testing.T) {
	c := &Client{servers: []string{"127.0.0.1:5301", "127.0.0.1:5302"}}
	for asked, want := range map[string]string{"127.0.0.1:5301": "127.0.0.1:5301", "127.0.0.1:5302": "127.0.0.1:5302", "192.0.2.1:53": "127.0.0.1:5301"} {
		conn, err := c.Addresses().Dial(t.Context(), "udp", asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.RemoteAddr().String(); got != want {
			t.Errorf("asked %s for %s, want %s", got, asked, want)
		}
		conn.Close()
	}
}
