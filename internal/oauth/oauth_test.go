package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"rtls/internal/auth"
)

// issuer signs tokens with keys made on the spot.
type issuer struct {
	t    *testing.T
	keys map[string]crypto.Signer
	set  jose.JSONWebKeySet
	now  time.Time
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, keys: make(map[string]crypto.Signer), now: time.Now().Truncate(time.Second)}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	i.add("rsa", r, err)
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.add("ec", e, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	i.add("ed", ed, err)
	return i
}

func (i *issuer) add(id string, key crypto.Signer, err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
	i.keys[id] = key
	i.set.Keys = append(i.set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig"})
}

// file writes the set of keys.
func (i *issuer) file() string {
	i.t.Helper()
	text, err := json.Marshal(i.set)
	if err != nil {
		i.t.Fatal(err)
	}
	path := filepath.Join(i.t.TempDir(), "keys.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// claims are those of a good token, changed by pairs of name and value; nil takes one
// out.
func (i *issuer) claims(change ...any) map[string]any {
	c := map[string]any{"iss": "https://sso.example.org", "aud": []string{"other", "imap"}, "email": "alice@example.org",
		"exp": i.now.Add(time.Hour).Unix(), "nbf": i.now.Add(-time.Hour).Unix()}
	for n := 0; n < len(change); n += 2 {
		if c[change[n].(string)] = change[n+1]; change[n+1] == nil {
			delete(c, change[n].(string))
		}
	}
	return c
}

func (i *issuer) sign(algorithm jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	i.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", id))
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

func (i *issuer) verifier() *Verifier {
	i.t.Helper()
	keys, err := OpenKeys(i.file(), nil)
	if err != nil {
		i.t.Fatal(err)
	}
	return &Verifier{Iss: "https://sso.example.org", Audience: "imap", Claim: "email", Keys: keys, Clock: func() time.Time { return i.now }}
}

func TestUser(t *testing.T) {
	i := newIssuer(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	i.add("short", short, err)
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	i.add("wide", wide, err)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i.set.Keys = append(i.set.Keys, jose.JSONWebKey{Key: other.Public(), KeyID: "enc", Use: "enc"})
	public, err := x509.MarshalPKIXPublicKey(i.keys["rsa"].Public())
	if err != nil {
		t.Fatal(err)
	}
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	good := i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims())
	parts := strings.Split(good, ".")
	v := i.verifier()
	for what, tc := range map[string]struct {
		token string
		ok    bool
	}{
		"RS256":                    {good, true},
		"ES256":                    {i.sign(jose.ES256, i.keys["ec"], "ec", i.claims()), true},
		"EdDSA":                    {i.sign(jose.EdDSA, i.keys["ed"], "ed", i.claims()), true},
		"no kid":                   {i.sign(jose.ES256, i.keys["ec"], "", i.claims()), true},
		"one audience":             {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("aud", "imap")), true},
		"verified address":         {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("email_verified", true)), true},
		"within the leeway":        {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("exp", i.now.Add(-30*time.Second).Unix())), true},
		"none":                     {encode(map[string]string{"alg": "none"}) + "." + parts[1] + ".", false},
		"none, signed":             {encode(map[string]string{"alg": "none"}) + "." + parts[1] + "." + parts[2], false},
		"HS256 with our key":       {i.sign(jose.HS256, public, "rsa", i.claims()), false},
		"PS256":                    {i.sign(jose.PS256, i.keys["rsa"], "rsa", i.claims()), false},
		"RS512":                    {i.sign(jose.RS512, i.keys["rsa"], "rsa", i.claims()), false},
		"ES384":                    {i.sign(jose.ES384, i.keys["wide"], "wide", i.claims()), false},
		"a short key":              {i.sign(jose.RS256, i.keys["short"], "short", i.claims()), false},
		"a key for encryption":     {i.sign(jose.RS256, other, "enc", i.claims()), false},
		"somebody else's key":      {i.sign(jose.RS256, other, "rsa", i.claims()), false},
		"another claim":            {parts[0] + "." + encode(i.claims("email", "bob")) + "." + parts[2], false},
		"another issuer":           {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("iss", "https://sso.example.org/")), false},
		"no issuer":                {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("iss", nil)), false},
		"another audience":         {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("aud", "smtp")), false},
		"no audience":              {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("aud", nil)), false},
		"over":                     {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("exp", i.now.Add(-2*time.Minute).Unix())), false},
		"no end":                   {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("exp", nil)), false},
		"not yet":                  {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("nbf", i.now.Add(2*time.Minute).Unix())), false},
		"no user":                  {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("email", nil)), false},
		"a user that is no string": {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("email", 7)), false},
		"a user with a slash":      {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("email", "../alice")), false},
		"an address not verified":  {i.sign(jose.RS256, i.keys["rsa"], "rsa", i.claims("email_verified", false)), false},
		"cut":                      {good[:len(good)-3], false},
		"nothing":                  {"", false},
		"long":                     {strings.Repeat("x", maxToken+1), false},
	} {
		user, err := v.User(t.Context(), tc.token)
		if tc.ok && (user != "alice@example.org" || err != nil) || !tc.ok && (user != "" || !errors.Is(err, auth.ErrCredentials)) {
			t.Errorf("%s: %q, %v", what, user, err)
		}
		if err != nil && len(parts[2]) > 0 && strings.Contains(err.Error(), parts[2]) {
			t.Errorf("%s: the error tells the token: %v", what, err)
		}
	}
}

// site serves a set of keys over https.
type site struct {
	mu    sync.Mutex
	i     *issuer
	down  bool
	asked int
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch {
	case r.URL.Path == "/moved":
		http.Redirect(w, r, "/keys", http.StatusFound)
	case s.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte(`{"keys":[{"kty":"unheard of"},`))
		for n, key := range s.i.set.Keys {
			text, _ := json.Marshal(key)
			if n > 0 {
				_, _ = w.Write([]byte(","))
			}
			_, _ = w.Write(text)
		}
		_, _ = w.Write([]byte("]}"))
	}
}

func TestKeysBehindAURL(t *testing.T) {
	s := &site{i: newIssuer(t)}
	server := httptest.NewTLSServer(s)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	now := time.Now()
	open := func(from string, roots *x509.CertPool) *Keys {
		t.Helper()
		k, err := OpenKeys(from, roots)
		if err != nil {
			t.Fatal(err)
		}
		k.clock = func() time.Time { return now }
		return k
	}
	k := open(server.URL+"/keys", roots)
	expect := func(id string, want, asked int, ok bool) {
		t.Helper()
		keys, err := k.find(context.Background(), id)
		if len(keys) != want || (err == nil) != ok || s.asked != asked {
			t.Errorf("%s: %d keys, %v, asked %d times; want %d, %d", id, len(keys), err, s.asked, want, asked)
		}
	}
	expect("rsa", 1, 1, true)
	expect("", 3, 1, true)
	expect("new", 0, 1, true) // a minute has not passed
	now = now.Add(keysRetry)
	expect("new", 0, 2, true)

	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.i.set.Keys = s.i.set.Keys[1:] // rsa goes
	s.i.add("new", fresh, err)
	expect("new", 0, 2, true)
	now = now.Add(keysRetry)
	expect("new", 1, 3, true)
	expect("rsa", 0, 3, true)
	now = now.Add(keysFresh)
	expect("new", 1, 4, true)

	s.down = true
	now = now.Add(keysFresh)
	expect("new", 1, 5, true) // the old set
	expect("new", 1, 5, true)
	now = now.Add(keysStale)
	expect("new", 0, 6, false)
	expect("new", 0, 6, false)
	s.down = false
	now = now.Add(keysRetry)
	expect("new", 1, 7, true)

	for what, k := range map[string]*Keys{"not verified": open(server.URL+"/keys", x509.NewCertPool()), "a redirect": open(server.URL+"/moved", roots), "no file": open("/nonexistent/keys", nil)} {
		for range 2 {
			if keys, err := k.find(context.Background(), "new"); len(keys) > 0 || err == nil || errors.Is(err, auth.ErrCredentials) {
				t.Errorf("%s: %d keys, %v", what, len(keys), err)
			}
		}
	}
	for _, from := range []string{"", "keys.json", "http://example.org/keys", "https://", "https://user@example.org/", "file:///etc/keys"} {
		if _, err := OpenKeys(from, nil); err == nil {
			t.Errorf("%q is taken", from)
		}
	}
}
