package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	own "rtls/internal/scram"

	"rtls/internal/users"
)

// The example of RFC 7677 section 3: password "pencil".
func TestVerifierOfTheRFC(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	v, err := newVerifier(own.Salting{Salt: string(salt), Iterations: 4096}, "pencil")
	if err != nil {
		t.Fatal(err)
	}
	const message = "n=user,r=rOprNGfwEbeRWgbNEkqO," +
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	sign := func(key []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(message))
		return mac.Sum(nil)
	}
	if got := base64.StdEncoding.EncodeToString(sign(v.ServerKey)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("the server signs %s", got)
	}
	proof, _ := base64.StdEncoding.DecodeString("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	for i, b := range sign(v.StoredKey) {
		proof[i] ^= b
	}
	if got := sha256.Sum256(proof); string(got[:]) != string(v.StoredKey) {
		t.Error("the client's proof does not fit")
	}
	again, err := parseVerifier(v.String())
	if err != nil || again.String() != v.String() || !strings.HasPrefix(v.String(), "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,") {
		t.Errorf("%s: %v", v, err)
	}
	for _, bad := range []string{"", "{SCRAM-SHA-256}", v.String() + ",", strings.Replace(v.String(), "4096", "0", 1), strings.Replace(v.String(), "4096", "x", 1),
		strings.Replace(v.String(), "W22", "!", 1), v.String()[:len(v.String())-4], strings.TrimPrefix(v.String(), scramScheme)} {
		if _, err := parseVerifier(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// try is a SCRAM login without channel binding.
func try(t *testing.T, g *Gate, user, password string) (Login, error) {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	conversation := client.NewConversation()
	x := newScram(g, Peer{Addr: here}, false)
	challenge := []byte{}
	for {
		message, err := conversation.Step(string(challenge))
		if err != nil {
			t.Fatal(err)
		}
		var done bool
		if challenge, done, err = x.Next(t.Context(), []byte(message)); err != nil || done {
			if done && !conversation.Valid() {
				t.Error("the server has not proved itself")
			}
			return x.Login(), err
		}
	}
}

func passes(t *testing.T, g *Gate, user, password string, want bool) {
	t.Helper()
	g.Throttle = Throttle{}
	if login, err := try(t, g, user, password); want != (err == nil) || !want && !errors.Is(err, ErrCredentials) || login.User != user {
		t.Errorf("%s with %q: %+v, %v", user, password, login, err)
	}
}

func TestScramVerifierIsTiedToTheHash(t *testing.T) {
	g := &Gate{Users: testUsers(t)}
	add(t, g.Users, "alice", "secret")
	passes(t, g, "alice", "secret", true)
	passes(t, g, "alice", "Secret", false)
	text, _ := os.ReadFile(g.Users.Path())
	before := string(text)

	// Somebody sets a password with doveadm pw.
	hash, rest, _ := strings.Cut(strings.TrimPrefix(before, "alice:"), ":")
	write(t, g.Users, "alice:"+newHash(cheap, "other").String()+":"+rest)
	passes(t, g, "alice", "secret", false)
	verify(t, g.Users, "alice", "other", true)

	write(t, g.Users, "alice:!"+hash+":"+rest)
	passes(t, g, "alice", "secret", false)
	write(t, g.Users, "alice:*:"+rest)
	passes(t, g, "alice", "secret", false)
	write(t, g.Users, before)
	passes(t, g, "alice", "secret", true)

	write(t, g.Users, strings.Replace(before, "{SCRAM-SHA-256}4096", "{SCRAM-SHA-256}x", 1))
	if _, err := try(t, g, "alice", "secret"); err == nil || errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), "passwd:1: ") {
		t.Errorf("a damaged line: %v", err)
	}
}

// SCRAM is offered where it is good for everybody who has a password.
func TestScramIsOffered(t *testing.T) {
	u := testUsers(t)
	g := &Gate{Users: u}
	offered := func(want string) {
		t.Helper()
		if got := strings.Join(g.Mechanisms(Peer{}), " "); got != want {
			t.Errorf("offered: %s, want %s", got, want)
		}
	}
	offered("PLAIN LOGIN") // no file
	add(t, u, "alice", "secret")
	offered("SCRAM-SHA-256 PLAIN LOGIN") // no TLS 1.3
	u.NoScram = true
	add(t, u, "bob", "secret")
	offered("PLAIN LOGIN")
	text, _ := os.ReadFile(u.Path())
	write(t, u, strings.Replace(string(text), "bob:", "bob:!", 1))
	offered("SCRAM-SHA-256 PLAIN LOGIN")
	write(t, u, "# nobody\n")
	offered("PLAIN LOGIN")
	g.Only = []string{Scram, Plain}
	offered("SCRAM-SHA-256 PLAIN")
	g.Only = []string{ScramPlus}
	offered("")
}

// Names are not told: who does not exist has a salt like others, and the same one
// after a restart.
func TestScramSaltsOfNobody(t *testing.T) {
	u := testUsers(t)
	add(t, u, "alice", "secret")
	dir := filepath.Join(t.TempDir(), "state")
	first := func(name string) string {
		t.Helper()
		state, err := MakeState(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		g := &Gate{Users: u}
		if g.SaltKey, err = state.SaltKey(); err != nil {
			t.Fatal(err)
		}
		challenge, _, err := newScram(g, Peer{Addr: here}, false).Next(t.Context(), []byte("n,,n="+name+",r=nonce"))
		if err != nil {
			t.Fatal(err)
		}
		_, salt, _ := strings.Cut(string(challenge), ",s=")
		return salt
	}
	nobody, alice := first("nobody"), first("alice")
	if nobody != first("nobody") || nobody == first("another") || alice != first("alice") || len(nobody) != len(alice) {
		t.Errorf("nobody has %s, then %s; another %s; alice %s", nobody, first("nobody"), first("another"), alice)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeState(dir, slog.New(slog.DiscardHandler)); !errors.Is(err, users.ErrPermissions) {
		t.Errorf("%v", err)
	}
}

// Guesses by SCRAM are slowed down like others.
func TestScramIsThrottled(t *testing.T) {
	g := &Gate{Users: testUsers(t)}
	add(t, g.Users, "alice", "secret")
	for range freeLevel {
		if _, err := try(t, g, "alice", "wrong"); !errors.Is(err, ErrCredentials) {
			t.Fatal(err)
		}
	}
	if level := g.Throttle.records[addressKey(here)].level; level != freeLevel {
		t.Errorf("level %d", level)
	}
	if _, err := try(t, g, "alice", "secret"); err != nil {
		t.Error(err)
	}
	if _, left := g.Throttle.records[userKey("alice")]; left || !g.Throttle.trusts(here, "alice") {
		t.Error("the success is not counted")
	}
}
