package config

import (
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
)

// OAuth says which tokens are good.
type OAuth struct {
	Issuer   string `toml:"issuer"`
	Audience string `toml:"audience"`
	Keys     string `toml:"keys"`  // of the issuer, a JWK set: a file or an https URL
	Claim    string `toml:"claim"` // which names the user; default: email
	CA       string `toml:"ca"`    // PEM file of those who vouch for the URL's server; default: the system's
}

// checkLogins makes sure that somebody can log in.
func (f *File) checkLogins() error {
	i := &f.IMAPD
	at := func(key string) toml.Key { return toml.Key{"imapd", key} }
	checkers := 0
	for _, set := range []bool{len(i.CheckPassword) > 0, i.CheckerSocket != "", i.PAM != ""} {
		if set {
			checkers++
		}
	}
	switch {
	case checkers > 1:
		return f.errorf(at("checkpassword"), "checkpassword, checker_socket and pam are three ways to do one thing; write one of them")
	case len(i.CheckPassword) > 0 && !filepath.IsAbs(i.CheckPassword[0]):
		return f.errorf(at("checkpassword"), "checkpassword begins with the absolute path of a program, not %q", i.CheckPassword[0])
	case i.CheckerSocket != "" && !filepath.IsAbs(i.CheckerSocket):
		return f.errorf(at("checker_socket"), "checker_socket is an absolute path, not %q", i.CheckerSocket)
	case f.Store.Root == "" && i.State == "":
		return f.errorf(at("state"), `without root under [store], [imapd] needs a place to remember things; write state = "/var/lib/rtls-imapd" under [imapd]`)
	}
	if err := f.checkOAuth(); err != nil {
		return err
	}
	if checkers > 0 || i.OAuth != nil {
		return f.checkPlaces()
	}
	return f.CheckStore()
}

func (f *File) checkOAuth() error {
	o := f.IMAPD.OAuth
	if o == nil {
		for _, name := range []string{"OAUTHBEARER", "XOAUTH2"} {
			if slices.Contains(f.IMAPD.Mechanisms, name) {
				return f.errorf(toml.Key{"imapd", "mechanisms"}, "the mechanism %s takes a table [imapd.oauth]", name)
			}
		}
		return nil
	}
	for _, need := range []struct{ key, value, like string }{
		{"issuer", o.Issuer, "https://sso.example.org/realms/mail"},
		{"audience", o.Audience, "imap"},
		{"keys", o.Keys, "https://sso.example.org/realms/mail/protocol/openid-connect/certs"},
	} {
		if need.value == "" {
			return f.errorf(toml.Key{"imapd", "oauth", need.key}, "[imapd.oauth] has no %s; write %s = %q, say", need.key, need.key, need.like)
		}
	}
	if o.Claim == "" {
		o.Claim = "email"
	}
	return nil
}
