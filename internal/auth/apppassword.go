package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// An app password is twenty letters and digits in groups, so that it can be typed,
// of 100 bits, so that no dear hash has to protect it.
const (
	appAlphabet = "abcdefghijkmnpqrstuvwxyz23456789" // 32, none like another
	appGroups   = 5
	appGroup    = 4
)

func newAppPassword() string {
	random := make([]byte, appGroups*appGroup)
	rand.Read(random)
	var b strings.Builder
	for i, r := range random {
		if i > 0 && i%appGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(appAlphabet[int(r)%len(appAlphabet)])
	}
	return b.String()
}

// appForm says whether a password could be an app password.
func appForm(password string) bool {
	groups := strings.Split(password, "-")
	if len(groups) != appGroups {
		return false
	}
	for _, g := range groups {
		if len(g) != appGroup || strings.Trim(g, appAlphabet) != "" {
			return false
		}
	}
	return true
}

// ValidAppName says whether an app password can have that name: 1 to 64 letters,
// digits and "._-@+", and no dot or dash in front. It is the name of a file, too.
func ValidAppName(name string) error {
	if name == "" || len(name) > 64 {
		return errors.New("the name of an app password has 1 to 64 characters")
	}
	if name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("the name of an app password does not start with %q", name[:1])
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._-@+", c) >= 0) {
			return fmt.Errorf("the name of an app password has letters, digits and ._-@+ in it, not %q", name)
		}
	}
	return nil
}
