package tlsconf

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// handshake connects a client to a server and returns both errors and the
// client's state.
func handshake(t *testing.T, client, server *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a pipe would block on the alerts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		b, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer b.Close()
		b.SetDeadline(time.Now().Add(10 * time.Second))
		done <- tls.Server(b, server).Handshake()
	}()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(a, client)
	clientErr = conn.Handshake()
	state = conn.ConnectionState()
	a.Close()
	return state, clientErr, <-done
}

func newCA(t *testing.T, dir string) (*testpki.CA, string) {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return ca, caFile
}

func TestVerification(t *testing.T) {
	dir := t.TempDir()
	ca, caFile := newCA(t, dir)
	_, otherFile := newCA(t, t.TempDir())
	day := 24 * time.Hour
	for _, tc := range []struct {
		name, ca string
		leaf     testpki.Leaf
		want     string // in the client's error; empty: success
	}{
		{"good", caFile, testpki.Leaf{Names: []string{"mail.example.org"}}, ""},
		{"rsa", caFile, testpki.Leaf{Names: []string{"mail.example.org"}, RSA: true}, ""},
		{"other authority", otherFile, testpki.Leaf{Names: []string{"mail.example.org"}}, "unknown authority"},
		{"other name", caFile, testpki.Leaf{Names: []string{"mail.example.net"}}, "not mail.example.org"},
		{"expired", caFile, testpki.Leaf{Names: []string{"mail.example.org"}, NotBefore: time.Now().Add(-2 * day), NotAfter: time.Now().Add(-day)}, "expired"},
		{"not yet valid", caFile, testpki.Leaf{Names: []string{"mail.example.org"}, NotBefore: time.Now().Add(day)}, "not yet valid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert, key, err := ca.WriteFiles(t.TempDir(), "leaf", tc.leaf)
			if err != nil {
				t.Fatal(err)
			}
			server, err := Server(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			client, err := Client(tc.ca, "mail.example.org")
			if err != nil {
				t.Fatal(err)
			}
			state, err, _ := handshake(t, client, server)
			switch {
			case tc.want == "" && (err != nil || len(state.VerifiedChains) == 0):
				t.Errorf("error %v, %d verified chains", err, len(state.VerifiedChains))
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// RFC 8997: neither side speaks TLS 1.0 or 1.1.
func TestOldVersionsRefused(t *testing.T) {
	dir := t.TempDir()
	ca, caFile := newCA(t, dir)
	cert, key, err := ca.WriteFiles(dir, "leaf", testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := Server(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := Client(caFile, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	old := client.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, _, err := handshake(t, old, server); err == nil {
		t.Error("the server took a TLS 1.1 client")
	}
	oldServer := server.Clone()
	oldServer.MinVersion, oldServer.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err, _ := handshake(t, client, oldServer); err == nil {
		t.Error("the client took a TLS 1.1 server")
	}
}

// A renewed certificate is presented without a restart; a broken one is not.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	ca, _ := newCA(t, dir)
	cert, key, err := ca.WriteFiles(dir, "leaf", testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	k := &keyPair{pair: Pair{Cert: cert, Key: key}}
	if err := k.load(); err != nil {
		t.Fatal(err)
	}
	first := k.cert
	now := time.Now()
	current := func() []byte {
		t.Helper()
		now = now.Add(2 * time.Second)
		return k.current(now).Certificate[0]
	}
	touch := func() {
		t.Helper()
		for _, name := range []string{cert, key} {
			if err := os.Chtimes(name, now, now.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(cert, []byte("half a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	touch()
	if string(current()) != string(first.Certificate[0]) {
		t.Error("a broken file replaced the certificate")
	}
	if _, _, err := ca.WriteFiles(dir, "leaf", testpki.Leaf{Names: []string{"localhost"}}); err != nil {
		t.Fatal(err)
	}
	touch()
	if string(current()) == string(first.Certificate[0]) {
		t.Error("the renewed certificate is not in use")
	}
}

func TestBadFiles(t *testing.T) {
	if _, err := Server("/nonexistent.pem", "/nonexistent.key"); err == nil {
		t.Error("Server without files succeeded")
	}
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("no PEM here"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Client(empty, "h"); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("Client with an empty CA file: %v", err)
	}
	if _, err := Client("", "h"); err != nil {
		t.Errorf("Client with the system's roots: %v", err)
	}
}

// A client with a certificate of the authority is known, one without is not, one
// with another's is refused.
func TestAskClients(t *testing.T) {
	dir := t.TempDir()
	ca, caFile := newCA(t, dir)
	other, _ := newCA(t, t.TempDir())
	cert, key, err := ca.WriteFiles(dir, "server", testpki.Leaf{Names: []string{"mail.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	certs, err := Load(Pair{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", filepath.Join(dir, "missing"), key} {
		if err := certs.AskClients(bad); err == nil {
			t.Errorf("%q is a CA file", bad)
		}
	}
	if err := certs.AskClients(caFile); err != nil {
		t.Fatal(err)
	}
	server := certs.Config()
	for _, tc := range []struct {
		name   string
		from   *testpki.CA // nil: no certificate
		known  bool
		refuse bool
	}{{"known", ca, true, false}, {"none", nil, false, false}, {"other", other, false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			client, err := Client(caFile, "mail.example.org")
			if err != nil {
				t.Fatal(err)
			}
			if tc.from != nil {
				cert, err := tc.from.TLS(testpki.Leaf{Names: []string{"relay.example.com"}, Client: true})
				if err != nil {
					t.Fatal(err)
				}
				// Whatever authorities the server names.
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
			}
			chains := 0
			asking, err := server.GetConfigForClient(nil)
			if err != nil {
				t.Fatal(err)
			}
			asking = asking.Clone()
			asking.VerifyConnection = func(s tls.ConnectionState) error {
				chains = len(s.VerifiedChains)
				return nil
			}
			_, _, err = handshake(t, client, asking)
			if (err != nil) != tc.refuse || (chains > 0) != tc.known {
				t.Errorf("%d chains, %v", chains, err)
			}
		})
	}
}

// The authority is another one when its file is; a file that holds none changes nothing,
// and Reload says so.
func TestAskClientsFollows(t *testing.T) {
	dir := t.TempDir()
	ca, caFile := newCA(t, dir)
	other, _ := newCA(t, t.TempDir())
	cert, key, err := ca.WriteFiles(dir, "server", testpki.Leaf{Names: []string{"mail.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	certs, err := Load(Pair{Cert: cert, Key: key})
	if err == nil {
		err = certs.AskClients(caFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	certs.Config()
	now := time.Now()
	knows := func(want *testpki.CA) {
		t.Helper()
		now = now.Add(2 * time.Second)
		if !certs.clients.current(now).ClientCAs.Equal(want.Pool()) {
			t.Error("another authority is known")
		}
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(caFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(caFile, now, now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	knows(ca)
	write([]byte("half a file"))
	knows(ca)
	if err := certs.Reload(); err == nil || !strings.Contains(err.Error(), "authority of clients") {
		t.Errorf("Reload: %v", err)
	}
	write(other.PEM())
	knows(other)
	write(ca.PEM())
	if err := certs.Reload(); err != nil {
		t.Error(err)
	}
	knows(ca)
}
