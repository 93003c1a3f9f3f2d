package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// CheckStore makes sure that the store's table is complete for those who have a
// password.
func (f *File) CheckStore() error {
	if f.Store.Root == "" {
		return f.errorf(toml.Key{"store", "root"}, `[store] has no root; write root = "/var/lib/rtls" under [store]`)
	}
	if f.Store.Users == "" {
		return f.errorf(toml.Key{"store", "users"}, `[store] has no users; write users = "/etc/rtls/passwd" under [store] and add one with rtls-imapd user add NAME`)
	}
	return f.checkPlaces()
}

// checkPlaces makes sure that there are users, and that each has a place.
func (f *File) checkPlaces() error {
	s := &f.Store
	at := func(key string) toml.Key { return toml.Key{"store", key} }
	switch {
	case s.Root == "" && s.Account == "":
		return f.errorf(at("root"), `[store] has no root; write root = "/var/lib/rtls" under [store]`)
	case s.Root != "" && !filepath.IsAbs(s.Root):
		return f.errorf(at("root"), "root is an absolute path, not %q", s.Root)
	case s.Users == "" && s.FirstSystemUID == 0:
		return f.errorf(at("users"), `[store] has no users; write users = "/etc/rtls/passwd" or first_system_uid = 1000 under [store]`)
	case s.FirstSystemUID < 0:
		return f.errorf(at("first_system_uid"), "first_system_uid is a user id, not %d", s.FirstSystemUID)
	case s.Quota < 0:
		return f.errorf(at("quota"), "quota is a number of octets, not %d", s.Quota)
	case s.QuotaMessages < 0:
		return f.errorf(at("quota_messages"), "quota_messages is a number, not %d", s.QuotaMessages)
	}
	if s.Account == "" {
		return nil
	}
	if err := checkTemplate(s.Account); err != nil {
		return f.errorf(at("account"), "account: %w", err)
	}
	if !strings.ContainsAny(strings.ReplaceAll(s.Account, "%d", ""), "%") {
		return f.errorf(at("account"), "account %q is the same for all; write %%u or %%h into it", s.Account)
	}
	return nil
}

// AccountDir is the directory of a user's account. The name must have passed
// ValidUser. home is empty where nobody knows it; the error says that it is
// needed.
func (s *Store) AccountDir(user, home string) (string, error) {
	if s.Account == "" {
		return filepath.Join(s.Root, user), nil
	}
	return Expand(s.Account, user, home)
}

// Expand fills in a template of a path: %u is the user's name, %n what stands in
// front of the "@" in it and %d what stands behind, %h the user's home directory,
// %% a percent sign. The result is an absolute path. A name that passes ValidUser
// cannot lead out of the directory that the template names.
func Expand(template, user, home string) (string, error) {
	local, domain, _ := strings.Cut(user, "@")
	var b strings.Builder
	for i := 0; i < len(template); i++ {
		if template[i] != '%' {
			b.WriteByte(template[i])
			continue
		}
		i++
		letter := byte(0)
		if i < len(template) {
			letter = template[i]
		}
		switch letter {
		case 'u':
			b.WriteString(user)
		case 'n':
			b.WriteString(local)
		case 'd':
			if domain == "" || domain[0] == '.' {
				return "", fmt.Errorf("%q takes a domain, and user %q has none", template, user)
			}
			b.WriteString(domain)
		case 'h':
			if !filepath.IsAbs(home) {
				return "", fmt.Errorf("%q takes a home directory, and user %q has none", template, user)
			}
			b.WriteString(home)
		case '%':
			b.WriteByte('%')
		default:
			return "", fmt.Errorf("%q: there are %%u, %%n, %%d, %%h and %%%%", template)
		}
	}
	path := filepath.Clean(b.String())
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not an absolute path", template)
	}
	return path, nil
}

func checkTemplate(template string) error {
	_, err := Expand(template, "user@example.org", "/home/user")
	return err
}

// Size is a number of octets. In the file it is an integer, or a string like "500M"
// with one of the letters k, M, G and T for the powers of 1024.
type Size int64

var _ toml.Unmarshaler = (*Size)(nil)

// UnmarshalTOML reads a value of the file.
func (s *Size) UnmarshalTOML(value any) error {
	switch v := value.(type) {
	case int64:
		*s = Size(v)
		return nil
	case string:
		n, err := ParseSize(v)
		*s = Size(n)
		return err
	}
	return errors.New(`a size is a number of octets or a string like "1G"`)
}

// ParseSize reads a number of octets, with one of k, M, G and T (in either case)
// behind it or not.
func ParseSize(text string) (int64, error) {
	bad := fmt.Errorf(`a size is a number of octets, or like "500M" or "1G", not %q`, text)
	shift := 0
	digits := text
	if text != "" {
		if i := strings.IndexByte("kmgt", text[len(text)-1]|0x20); i >= 0 {
			shift, digits = 10*(i+1), text[:len(text)-1]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, bad
	}
	return int64(n) << shift, nil
}
