package auth

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAdmin(t *testing.T) {
	u := testUsers(t)
	u.clock = func() time.Time { return time.Unix(1800000000, 0) }
	write(t, u, "# ours\r\nfirst:*:1:2::/home/first::userdb_quota_rule=*:storage=1G\r\n")
	add(t, u, "alice", "secret")
	if err := u.AddWithout("bob"); err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	phone, err := u.AddApp("alice", "phone")
	check(err)
	laptop, err := u.AddApp("alice", "laptop")
	check(err)
	if phone == laptop || !appForm(phone) {
		t.Errorf("%s, %s", phone, laptop)
	}
	_, err = u.AddApp("first", "x")
	check(err)
	if _, err := u.AddApp("alice", "phone"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second phone: %v", err)
	}
	g := &Gate{Users: u}
	as := func(user, password, app string, want bool) {
		t.Helper()
		for range 2 { // the second time it is remembered
			got, ok, err := u.Verify(t.Context(), user, password)
			if got != app || ok != want || err != nil {
				t.Errorf("%s %s: %s, %t, %v", user, password, got, ok, err)
			}
		}
		g.Throttle = Throttle{}
		if login, err := try(t, g, user, password); login.App != app || want != (err == nil) {
			t.Errorf("%s %s by SCRAM: %+v, %v", user, password, login, err)
		}
	}
	as("alice", "secret", "", true)
	as("alice", phone, "phone", true)
	as("alice", laptop, "laptop", true)
	as("bob", phone, "", false)
	as("nobody", phone, "", false)

	check(u.SetPassword("alice", "better"))
	as("alice", "secret", "", false)
	as("alice", "better", "", true)
	as("alice", phone, "phone", true) // which stays, with its salt
	check(u.RevokeApp("alice", "phone"))
	as("alice", phone, "", false)
	as("alice", laptop, "laptop", true)
	if err := u.RevokeApp("alice", "phone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("revoked twice: %v", err)
	}

	check(u.Disable("alice"))
	check(u.Disable("alice"))
	as("alice", "better", "", false)
	as("alice", laptop, "", false)
	check(u.SetPassword("alice", "best"))
	as("alice", "best", "", false)
	check(u.Enable("alice"))
	as("alice", "best", "", true)
	as("alice", laptop, "laptop", true)

	users, err := u.List()
	text, _ := json.Marshal(users)
	const want = `[{"name":"first","enabled":true,"password":false,"scram":false,"app_passwords":[{"name":"x","made":"<time>","used":null}]},` +
		`{"name":"alice","enabled":true,"password":true,"scram":true,"app_passwords":[{"name":"laptop","made":"<time>","used":null}]},` +
		`{"name":"bob","enabled":true,"password":false,"scram":false,"app_passwords":[]}]`
	made, _ := json.Marshal(time.Unix(1800000000, 0))
	if got := strings.ReplaceAll(string(text), string(made), `"<time>"`); err != nil || got != want {
		t.Errorf("%v:\n%s\n%s", err, got, want)
	}
	if r, ok, err := u.Lookup("first"); !ok || err != nil || r.Quota != 1<<30 || r.Home != "/home/first" {
		t.Errorf("the fields are lost: %+v, %v", r, err)
	}

	write(t, u, string(mustRead(t, u))+"alice:*\n") // must not come to life
	check(u.Remove("alice"))
	known(t, u, "alice", false)
	for _, err := range []error{u.Remove("alice"), u.Disable("alice"), u.Enable("alice"), u.SetPassword("alice", "x"), u.RevokeApp("alice", "x")} {
		if !errors.Is(err, ErrNoUser) {
			t.Errorf("nobody: %v", err)
		}
	}
	if text := string(mustRead(t, u)); !strings.HasPrefix(text, "# ours\r\nfirst:*:1:2::/home/first::userdb_quota_rule=*:storage=1G rtls_app=x,1800000000,{SCRAM-SHA-256}4096,") || !strings.HasSuffix(text, "\r\nbob:*\n") {
		t.Errorf("the file:\n%s", text)
	}
}

func mustRead(t *testing.T, u *Users) []byte {
	t.Helper()
	text, err := os.ReadFile(u.Path())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAppNames(t *testing.T) {
	for _, name := range []string{"phone", "Alice.s-phone_2@home+x"} {
		if err := ValidAppName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".x", "-x", "a b", "a,b", "a/b", "a:b", "ü", strings.Repeat("x", 65)} {
		if ValidAppName(name) == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestTooManyApps(t *testing.T) {
	u := testUsers(t)
	u.iterations = 1
	if err := u.AddWithout("alice"); err != nil {
		t.Fatal(err)
	}
	for i := range maxApps + 1 {
		if _, err := u.AddApp("alice", strings.Repeat("x", i+1)); (err == nil) != (i < maxApps) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// The last use is kept, to the hour and without a write for each.
func TestAppUse(t *testing.T) {
	u := testUsers(t)
	add(t, u, "alice", "secret")
	password, err := u.AddApp("alice", "phone")
	if err != nil {
		t.Fatal(err)
	}
	state, err := MakeState(filepath.Join(t.TempDir(), "state"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{Users: u, State: state}
	login := func(password string) {
		t.Helper()
		if _, err := g.Login(t.Context(), Peer{Addr: here}, "alice", password); err != nil {
			t.Fatal(err)
		}
	}
	login("secret")
	if at, ok := state.Used("alice", "phone"); ok {
		t.Errorf("used %v", at)
	}
	login(password)
	at, ok := state.Used("alice", "phone")
	if !ok || time.Since(at) > time.Minute {
		t.Errorf("used %v, %t", at, ok)
	}
	old := at.Add(-time.Minute)
	if err := os.Chtimes(state.usedFile("alice", "phone"), old, old); err != nil {
		t.Fatal(err)
	}
	login(password)
	if at, _ := state.Used("alice", "phone"); !at.Equal(old) {
		t.Error("it is written each time")
	}
	if err := errors.Join(state.Forget("alice", "phone"), state.Forget("alice", "phone"), state.Forget("alice", ""), state.Forget("bob", "")); err != nil {
		t.Error(err)
	}
	if _, ok := state.Used("alice", "phone"); ok {
		t.Error("it is not forgotten")
	}
}
