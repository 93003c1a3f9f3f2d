package users

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"rtls/internal/config"
)

// testDirectory knows the users of a file and a system with three users.
func testDirectory(t *testing.T, text string, s config.Store, euid int) *Directory {
	t.Helper()
	s.Users = filepath.Join(t.TempDir(), "passwd")
	d := NewDirectory(s)
	d.euid = euid
	d.system = func(name string) (*user.User, error) {
		switch name {
		case "daemon":
			return &user.User{Username: name, Uid: "1", Gid: "1", HomeDir: "/"}, nil
		case "alice", "sys":
			return &user.User{Username: name, Uid: "1001", Gid: "101", HomeDir: "/home/" + name}, nil
		case "alias": // a name service may answer with another name
			return &user.User{Username: "alice", Uid: "1001", Gid: "101", HomeDir: "/home/alice"}, nil
		case "broken":
			return nil, errors.New("the name service is down")
		}
		return nil, user.UnknownUserError(name)
	}
	if text != "" {
		if err := os.WriteFile(s.Users, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestDirectory(t *testing.T) {
	const file = "alice:!\nvirtual@example.org:!:5000:5001::/var/vmail/v::userdb_quota_rule=*:storage=1G:messages=7\nk:!::::::userdb_quota_rule=*:storage=10\n"
	plain := config.Store{Root: "/var/lib/rtls", Quota: 3, QuotaMessages: 4}
	system := config.Store{Root: "/var/lib/rtls", FirstSystemUID: 1000}
	home := config.Store{Account: "%h/mail", FirstSystemUID: 1000}
	for _, tc := range []struct {
		what, name string
		store      config.Store
		euid       int
		want       Record
	}{
		{"file", "alice", plain, 0, Record{"alice", "/var/lib/rtls/alice", "", -1, -1, 3, 4, false, false}},
		{"file, own quota", "virtual@example.org", plain, 0, Record{"virtual@example.org", "/var/lib/rtls/virtual@example.org", "/var/vmail/v", 5000, 5001, 1 << 30, 7, false, false}},
		{"file, Dovecot's unit", "k", plain, 0, Record{"k", "/var/lib/rtls/k", "", -1, -1, 10 << 10, 4, false, false}},
		{"file, home", "virtual@example.org", home, 0, Record{"virtual@example.org", "/var/vmail/v/mail", "/var/vmail/v", 5000, 5001, 1 << 30, 7, false, false}},
		{"file before system", "alice", system, 0, Record{"alice", "/var/lib/rtls/alice", "", -1, -1, 0, 0, false, false}},
		{"file before system, as somebody else", "alice", system, 1002, Record{"alice", "/var/lib/rtls/alice", "", -1, -1, 0, 0, false, false}},
		{"system, as oneself", "alice", home, 1001, Record{"alice", "/home/alice/mail", "/home/alice", 1001, 101, 0, 0, false, false}},
		{"system", "sys", home, 0, Record{"sys", "/home/sys/mail", "/home/sys", 1001, 101, 0, 0, false, false}},
		{"system not asked", "sys", plain, 0, Record{}},
		{"below the first uid", "daemon", system, 0, Record{}},
		{"below the first uid, as oneself", "daemon", system, 1, Record{}},
		{"another name", "alias", system, 0, Record{}},
		{"nobody", "mallory", system, 0, Record{}},
		{"no name", "../alice", system, 0, Record{}},
	} {
		got, ok, err := testDirectory(t, file, tc.store, tc.euid).Lookup(tc.name)
		if got != tc.want || ok != (tc.want.Name != "") || err != nil {
			t.Errorf("%s: %+v, %t, %v", tc.what, got, ok, err)
		}
	}
}

// Somebody who may not read the file is found among the system's users.
func TestDirectoryWithoutFile(t *testing.T) {
	d := testDirectory(t, "", config.Store{Account: "%h/mail", FirstSystemUID: 1000}, 1001)
	if r, ok, err := d.Lookup("alice"); !ok || err != nil || r.Dir != "/home/alice/mail" {
		t.Errorf("%+v, %t, %v", r, ok, err)
	}
	if _, ok, err := d.Lookup("mallory"); ok || err == nil {
		t.Errorf("mallory without a file: %t, %v", ok, err)
	}
}

func TestDirectoryErrors(t *testing.T) {
	for text, want := range map[string]string{
		"alice:!:x:1\n":      `passwd:1: a user or group id is a number, not "x"`,
		"\nalice:!:-1:1\n":   "passwd:2: a user or group id",
		"alice:!:1\n":        "a user id without a group id",
		"alice:!::::home:\n": "a home directory is an absolute path",
		"alice:!::::::userdb_quota_rule=Trash:storage=1G\n": "quota rule",
		"alice:!::::::userdb_quota_rule=*:storage=much\n":   "quota rule",
		"alice:!::::::userdb_quota_rule=*:size=1\n":         "there are storage, bytes and messages",
		"alice:!\n": `account of user alice: "%h/mail" takes a home directory`,
	} {
		d := testDirectory(t, text, config.Store{Account: "%h/mail"}, 0)
		if _, ok, err := d.Lookup("alice"); ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	d := testDirectory(t, "alice:!\n", config.Store{Root: "/r", FirstSystemUID: 1000}, 0)
	if _, ok, err := d.Lookup("broken"); ok || err == nil {
		t.Errorf("%t, %v", ok, err)
	}
}

// Who has an index of texts is said by the store's table, and by a user's own line.
func TestTextIndexOfUsers(t *testing.T) {
	const file = "alice:!\nyes:!::::::userdb_fts_autoindex=yes\nno:!::::::x=y userdb_fts_autoindex=no\nbad:!::::::userdb_fts_autoindex=1\n"
	for _, all := range []bool{false, true} {
		d := testDirectory(t, file, config.Store{Root: "/var/lib/rtls", TextIndex: all}, 0)
		for name, want := range map[string]bool{"alice": all, "yes": true, "no": false} {
			if r, ok, err := d.Lookup(name); !ok || err != nil || r.TextIndex != want {
				t.Errorf("%s, all %v: %+v, %v, %v", name, all, r, ok, err)
			}
		}
		if _, _, err := d.Lookup("bad"); err == nil {
			t.Error("1 is taken for yes or no")
		}
	}
}

// Mail can belong to another than the owner of the store where a line says so, or where
// there are users of the system.
func TestOwnedByOthers(t *testing.T) {
	for _, test := range []struct {
		text  string
		first int
		want  bool
	}{
		{"", 0, false},
		{"alice:!\nbob:!:::::\n", 0, false},
		{"alice:!\n#bob:!:1001:1001\n\n", 0, false},
		{"alice:!:1000:1000\n", 0, false},
		{"erin:!:0:0\n", 0, false},   // who gets none
		{"frank:!:1001\n", 0, false}, // a line that cannot be used
		{"alice:!:1000:1000\nbob:!:1001:1001\n", 0, true},
		{"alice:!:1001:1001::/home/alice\r\n", 0, true},
		{"", 1000, true},
	} {
		d := testDirectory(t, test.text, config.Store{FirstSystemUID: test.first}, 0)
		if got, err := d.OwnedByOthers(1000); got != test.want || err != nil {
			t.Errorf("%q, %d: %t, %v", test.text, test.first, got, err)
		}
	}
	d := testDirectory(t, "alice:!\n", config.Store{}, 0)
	if err := os.Chmod(d.Users.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.OwnedByOthers(1000); !errors.Is(err, ErrPermissions) {
		t.Errorf("a file that is open to others: %v", err)
	}
	if err := os.Remove(d.Users.Path()); err != nil {
		t.Fatal(err)
	}
	if got, err := d.OwnedByOthers(1000); got || err != nil {
		t.Errorf("no file: %t, %v", got, err)
	}
}
