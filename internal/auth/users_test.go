package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/users"
)

// cheap is a cost that tests can pay.
var cheap = cost{memory: 8, time: 1, lanes: 1}

// testUsers returns the users of a file in a directory of its own, which is not there
// yet.
func testUsers(t *testing.T) *Users {
	t.Helper()
	u := Open(filepath.Join(t.TempDir(), "passwd"))
	u.cost, u.iterations = cheap, 4096
	return u
}

func write(t *testing.T, u *Users, text string) {
	t.Helper()
	if err := os.WriteFile(u.Path(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, u *Users, name, password string) {
	t.Helper()
	if err := u.Add(name, password); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, u *Users, name, password string, want bool) {
	t.Helper()
	if _, got, err := u.Verify(t.Context(), name, password); got != want || err != nil {
		t.Errorf("%s with %q: %t, %v; want %t", name, password, got, err, want)
	}
}

func known(t *testing.T, u *Users, name string, want bool) {
	t.Helper()
	if got, err := u.Known(name); got != want || err != nil {
		t.Errorf("%s is known: %t, %v; want %t", name, got, err, want)
	}
}

func TestAddAndVerify(t *testing.T) {
	u := testUsers(t)
	add(t, u, "alice@example.org", "correct horse")
	add(t, u, "bob", "grüße")
	for range 2 { // the second time what was right is remembered
		verify(t, u, "alice@example.org", "correct horse", true)
		verify(t, u, "bob", "grüße", true)
		verify(t, u, "bob", "correct horse", false)
		verify(t, u, "bob", "grüße ", false)
		verify(t, u, "bob", "", false)
		verify(t, u, "alice", "correct horse", false)
		verify(t, u, "Bob", "grüße", false)
		verify(t, u, "", "", false)
	}
	known(t, u, "alice@example.org", true)
	known(t, u, "alice", false)
	known(t, u, "alice@example.org:", false)
	known(t, u, "", false)

	info, err := os.Stat(u.Path())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(u.Path())); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// A hash that another implementation made: the Argon2id test that everybody has,
// from the reference implementation's test.c.
func TestForeignHash(t *testing.T) {
	u := testUsers(t)
	write(t, u, "alice:{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4:1000:1000::/home/alice\n")
	verify(t, u, "alice", "password", true)
	verify(t, u, "alice", "Password", false)
}

func TestLines(t *testing.T) {
	h := newHash(cheap, "secret").String()
	u := testUsers(t)
	write(t, u, "# alice:"+h+"\n#carol:"+h+"\n\nno colon\nalicex:"+h+"\r\n"+
		"locked:!"+h+"\nstarred:*\nnone:\ntwice:"+h+"\ntwice:{ARGON2ID}damaged\nlast:"+h+":uid:gid")
	for name, want := range map[string]bool{
		"alice": false, "#carol": false, "carol": false, "# alice": false, "no colon": false,
		"alicex": true, "locked": true, "starred": true, "none": true, "twice": true, "last": true,
	} {
		known(t, u, name, want)
	}
	for name, want := range map[string]bool{
		"alice": false, "#carol": false, "alicex": true, "locked": false, "starred": false,
		"none": false, "twice": true, "last": true,
	} {
		verify(t, u, name, "secret", want)
	}
}

func TestDamagedHash(t *testing.T) {
	good := newHash(cheap, "secret").String()
	for _, field := range []string{
		"secret",
		"{PLAIN}secret",
		"{SHA512-CRYPT}$6$x$y",
		strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=8", "m=7", 1),
		strings.Replace(good, "m=8", "m=4294967296", 1),
		strings.Replace(good, "m=8", "m=1048577", 1),
		strings.Replace(good, "t=1", "t=0", 1),
		strings.Replace(good, "t=1", "t=65", 1),
		strings.Replace(good, "p=1", "p=0", 1),
		strings.Replace(good, "p=1", "p=2", 1),
		strings.Replace(good, "p=1", "p=1,x=2", 1),
		strings.Replace(good, "t=1,", "", 1),
		good[:len(good)-30],
		good + "$",
		good + "=",
	} {
		u := testUsers(t)
		write(t, u, "bob:"+good+"\nalice:"+field+"\n")
		known(t, u, "alice", true)
		_, ok, err := u.Verify(t.Context(), "alice", "secret")
		if ok || err == nil || !strings.Contains(err.Error(), u.Path()+":2: ") {
			t.Errorf("%s: %t, %v", field, ok, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
		verify(t, u, "bob", "secret", true)
	}
}

func TestFileThatIsNotToBeRead(t *testing.T) {
	h := newHash(cheap, "secret").String()
	for _, c := range []struct {
		name  string
		make  func(path string) error
		is    error
		words string
	}{
		{"absent", func(string) error { return nil }, fs.ErrNotExist, "rtls-imapd user add NAME"},
		{"group", func(path string) error { return os.Chmod(path, 0o640) }, users.ErrPermissions, "chmod 600"},
		{"others", func(path string) error { return os.Chmod(path, 0o604) }, users.ErrPermissions, "chmod 600"},
		{"directory", func(path string) error { return os.Mkdir(path, 0o700) }, nil, "is not a file"},
		{"FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }, nil, "is not a file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := testUsers(t)
			if errors.Is(c.is, users.ErrPermissions) {
				write(t, u, "alice:"+h+"\n")
			}
			if err := c.make(u.Path()); err != nil {
				t.Fatal(err)
			}
			_, err := u.Known("alice")
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("Known: %v", err)
			}
			_, ok, err := u.Verify(t.Context(), "alice", "secret")
			if ok || err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("Verify: %t, %v", ok, err)
			}
			if err := u.Add("alice", "secret"); (err == nil) != errors.Is(c.is, fs.ErrNotExist) {
				t.Errorf("Add: %v", err)
			}
		})
	}
}

// However the file changes, the next question gets the new answer.
func TestFileChanges(t *testing.T) {
	u := testUsers(t)
	a, b := newHash(cheap, "a"), newHash(cheap, "b")
	write(t, u, "alice:"+a.String()+"\n")
	verify(t, u, "alice", "a", true)

	write(t, u, "alice:"+b.String()+"\n") // in place, and of the same size
	verify(t, u, "alice", "a", false)
	verify(t, u, "alice", "b", true)

	add(t, u, "bob", "c") // replaced
	known(t, u, "bob", true)
	verify(t, u, "alice", "b", true)

	write(t, u, "")
	known(t, u, "alice", false)
	verify(t, u, "alice", "b", false)

	if err := os.Remove(u.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Known("alice"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is gone, and the error is %v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	u := testUsers(t)
	add(t, u, "alice", "secret")
	before, _ := os.ReadFile(u.Path())
	if err := u.Add("alice", "other"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is there: %v", err)
	}
	for _, name := range []string{"", "#alice", ".alice", "-alice", "a/b", "a:b", "a b", "a\nb", strings.Repeat("x", 256)} {
		if err := u.Add(name, "secret"); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
	for _, password := range []string{"", "a\x00b", "a\nb", "\xff", strings.Repeat("x", 1025)} {
		if err := u.Add("bob", password); err == nil {
			t.Errorf("password %q was taken", password)
		}
		verify(t, u, "alice", password, false)
	}
	if after, _ := os.ReadFile(u.Path()); !bytes.Equal(before, after) {
		t.Errorf("the file has changed:\n%s", after)
	}
}

// What stands in the file stays: comments, other fields, a last line without end.
func TestAddKeepsTheFile(t *testing.T) {
	u := testUsers(t)
	const before = "# ours\r\n\nbob:*:1:2\nno colon"
	write(t, u, before)
	add(t, u, "alice", "secret")
	after, err := os.ReadFile(u.Path())
	if err != nil || !strings.HasPrefix(string(after), before+"\nalice:{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$") || !strings.HasSuffix(string(after), "\n") {
		t.Errorf("%v:\n%s", err, after)
	}
}

func TestAddFollowsALink(t *testing.T) {
	u := testUsers(t)
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, u.Path()); err != nil {
		t.Fatal(err)
	}
	add(t, u, "alice", "secret")
	if info, err := os.Lstat(u.Path()); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	known(t, Open(target), "alice", true)
}

func TestAddNeedsTheDirectory(t *testing.T) {
	u := Open(filepath.Join(t.TempDir(), "gone", "passwd"))
	u.cost, u.iterations = cheap, 4096
	if err := u.Add("alice", "secret"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Nobody's user is lost, and of those who add the same one wins.
func TestAddAtOnce(t *testing.T) {
	u := testUsers(t)
	const n = 16
	results := make(chan error, n)
	done := make(chan error, n)
	for i := range n {
		go func() {
			other := Open(u.Path()) // as another process would
			other.cost, other.iterations = cheap, 4096
			done <- other.Add(fmt.Sprintf("user%d", i), "secret")
			results <- other.Add("same", fmt.Sprint(i))
		}()
	}
	won := 0
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-results; err == nil {
			won++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d added the same name", won)
	}
	for i := range n {
		known(t, u, fmt.Sprintf("user%d", i), true)
	}
}

func TestVerifyWaitsForATurn(t *testing.T) {
	u := testUsers(t)
	add(t, u, "alice", "secret")
	for range cap(u.turns) {
		u.turns <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range []string{"alice", "nobody"} {
		if _, ok, err := u.Verify(ctx, name, "secret"); ok || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %t, %v", name, ok, err)
		}
	}
	<-u.turns
	verify(t, u, "alice", "secret", true)
	u.turns <- struct{}{}
	// Now it is remembered, and needs no turn.
	if _, ok, err := u.Verify(ctx, "alice", "secret"); !ok || err != nil {
		t.Errorf("%t, %v", ok, err)
	}
	// A wrong one does.
	if _, ok, err := u.Verify(ctx, "alice", "wrong"); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%t, %v", ok, err)
	}
}

// What is remembered is forgotten after a while, and at once when the hash changes.
func TestProofsEnd(t *testing.T) {
	u := testUsers(t)
	now := time.Now()
	u.clock = func() time.Time { return now }
	add(t, u, "alice", "secret")
	recalled := func(want bool) {
		t.Helper()
		c, err := u.credential("alice")
		if _, got := u.remembered(c, "secret"); got != want || err != nil {
			t.Errorf("recalled: %t, %v; want %t", got, err, want)
		}
		if _, ok := u.remembered(c, "wrong"); ok {
			t.Error("a wrong password was recalled")
		}
	}
	recalled(false)
	verify(t, u, "alice", "wrong", false)
	recalled(false)
	verify(t, u, "alice", "secret", true)
	recalled(true)
	now = now.Add(proofTime - 1)
	recalled(true)
	verify(t, u, "alice", "secret", true) // which does not prolong it
	now = now.Add(1)
	recalled(false)
	verify(t, u, "alice", "secret", true)
	recalled(true)

	write(t, u, "alice:"+newHash(cheap, "secret").String()+"\n") // a new salt
	recalled(false)
	verify(t, u, "alice", "secret", true)
	recalled(true)
	write(t, u, "alice:!\n")
	recalled(false)
	write(t, u, "bob:!\n")
	recalled(false)
}

func TestProofsAreBounded(t *testing.T) {
	var p proofs
	now := time.Now()
	for i := range maxProofs + 1 {
		p.add(now, fmt.Sprint(i), "hash", "password")
		if len(p.found) > maxProofs {
			t.Fatalf("%d are kept", len(p.found))
		}
	}
	if !p.has(now, fmt.Sprint(maxProofs), "hash", "password") {
		t.Error("the last one is gone")
	}
}

// A user that does not exist costs what a wrong password costs.
func TestDecoyCostsTheSame(t *testing.T) {
	strong := newHash(cost{memory: 16, time: 3, lanes: 2}, "secret")
	for text, want := range map[string]cost{
		"":        cheap,
		"# x\n":   cheap,
		"bob:*\n": cheap,
		"# x\nbob:*\nalice:" + strong.String() + ":1:2\r\n": strong.cost,
	} {
		u := testUsers(t)
		write(t, u, text)
		c, err := u.credential("nobody")
		if err != nil || c.hash.cost != want || c.known {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

func TestDefaultCost(t *testing.T) {
	h, err := parseHash(newHash(defaultCost, "secret").String())
	if err != nil || h.cost != defaultCost || !h.fits("secret") || h.fits("Secret") {
		t.Errorf("%+v, %v", h.cost, err)
	}
}

func FuzzHash(f *testing.F) {
	f.Add(newHash(cheap, "secret").String())
	f.Fuzz(func(t *testing.T, field string) {
		h, err := parseHash(field)
		if err != nil {
			return
		}
		again, err := parseHash(h.String())
		if err != nil || again.String() != h.String() {
			t.Errorf("%q is written as %q: %v", field, h, err)
		}
	})
}

// A line is found, whatever stands around it.
func FuzzFind(f *testing.F) {
	f.Add("a:b\n", "alice", "x\n")
	f.Add("", "#", "")
	f.Fuzz(func(t *testing.T, before, name, after string) {
		if before != "" && !strings.HasSuffix(before, "\n") {
			before += "\n"
		}
		if _, _, ok := users.Find([]byte(before), name); ok || ValidName(name) != nil {
			return
		}
		rest, line, ok := users.Find([]byte(before+name+":hash\n"+after), name)
		if !ok || string(rest) != "hash" || line != strings.Count(before, "\n")+1 {
			t.Errorf("%q %d %t", rest, line, ok)
		}
	})
}

func BenchmarkKnown(b *testing.B) {
	u := Open(filepath.Join(b.TempDir(), "passwd"))
	h := newHash(cheap, "secret").String()
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "user%d@example.org:%s\n", i, h)
	}
	if err := os.WriteFile(u.Path(), []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("once", func(b *testing.B) {
		for b.Loop() {
			if ok, err := Open(u.Path()).Known("user99999@example.org"); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if ok, err := u.Known("user99999@example.org"); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
}

// What keeps somebody out whose password is right is found, and the hash is not shown.
func TestCheckUsers(t *testing.T) {
	u := testUsers(t)
	if err := u.Add("alice", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if _, err := u.AddApp("alice", "phone"); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(u.Path())
	if err != nil {
		t.Fatal(err)
	}
	const bad = "bob:*\ncarol:!\ndave:{PLAIN}secret\nerin:!$6$salt$sum\nfrank:{CRYPT}$6$salt$sum\ngrace:*::::::rtls_scram=x\nheidi:*::::::rtls_app=x\n"
	if err := os.WriteFile(u.Path(), append(good, bad...), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong, err := u.Check()
	text := fmt.Sprint(wrong)
	for _, line := range []string{":4: ", ":6: ", ":7: ", ":8: "} {
		if !strings.Contains(text, u.Path()+line) {
			t.Errorf("nothing is said of%s", line)
		}
	}
	if err != nil || len(wrong) != 4 || strings.Contains(text, "secret") {
		t.Errorf("%v, %v", text, err)
	}
}
