package users

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"rtls/internal/config"
)

func TestCheck(t *testing.T) {
	const text = "# users\n\nalice:*\r\nbob\nbob:*:x:y\ncarol:*::::::userdb_quota_rule=*:storage=lots\nalice:!\na b:*\ndave:{MD5}x\nerin:*"
	d := testDirectory(t, text, config.Store{Root: "/r"}, 0)
	path := d.Users.Path()
	odd := errors.New("odd")
	wrong, err := d.Users.Check(func(name, rest string) error {
		if name == "dave" && rest == "{MD5}x" {
			return odd
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		path + ":4: there is no colon",
		path + `:5: a user or group id is a number, not "x"`,
		path + `:6: quota rule "*:storage=lots"`,
		path + ":7: the user stands in line 3 already",
		path + `:8: user name "a b" holds a character`,
		path + ":9: odd",
	}
	for i, err := range wrong {
		if i >= len(want) || !strings.HasPrefix(err.Error(), want[i]) {
			t.Errorf("unexpected: %v", err)
		}
	}
	if len(wrong) != len(want) {
		t.Errorf("%d errors, want %d", len(wrong), len(want))
	}
	if wrong, err := d.Users.Check(nil); len(wrong) != len(want)-1 || err != nil {
		t.Errorf("without more: %v, %v", wrong, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Users.Check(nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
