package config

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Domain is a certificate of rtls-imapd for clients that name one of its servers.
type Domain struct {
	Names []string `toml:"names"` // "mail.example.org", or "*.example.org" for all one label below
	Cert  string   `toml:"cert"`
	Key   string   `toml:"key"`
}

// checkDomains makes sure that each certificate is for something.
func (f *File) checkDomains() error {
	for i, d := range f.IMAPD.Domains {
		key := toml.Key{"imapd", fmt.Sprintf("domain#%d", i+1)}
		switch {
		case len(d.Names) == 0:
			return f.errorf(key, `[[imapd.domain]] has no names; write names = ["mail.example.org"]`)
		case d.Cert == "" || d.Key == "":
			return f.errorf(key, "[[imapd.domain]] for %s takes cert and key", d.Names[0])
		}
		for _, name := range d.Names {
			if !validServerName(name) {
				return f.errorf(key, `names of [[imapd.domain]] are like "mail.example.org" or "*.example.org", not %q`, name)
			}
		}
	}
	return nil
}

func validServerName(name string) bool {
	host := strings.TrimPrefix(name, "*.")
	return host != "" && !strings.HasPrefix(host, ".") && !strings.HasSuffix(host, ".") && !strings.ContainsFunc(host, func(r rune) bool {
		return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}
