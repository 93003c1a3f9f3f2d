package config

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// LDA configures rtls-lda.
type LDA struct {
	Cert string `toml:"cert"` // for STARTTLS in LMTP
	Key  string `toml:"key"`
	// ClientCA is a PEM file of the authority whose certificates clients of LMTP
	// have to show to be believed; default: any client inside TLS is.
	ClientCA string `toml:"client_ca"`

	MaxSize        int64  `toml:"max_size"`        // octets per message in LMTP; default 100 MiB
	MaxConnections int    `toml:"max_connections"` // LMTP clients at once; default 200
	User           string `toml:"user"`            // whom to become when started as root; default: the owner of the store's root

	Delimiter     string   `toml:"recipient_delimiter"` // default "+"
	Domains       []string `toml:"domains"`             // ours; default: whatever the mail transfer agent hands over
	Aliases       string   `toml:"aliases"`             // file in the format of sendmail; default: none
	CreateFolders bool     `toml:"create_folders"`      // make the folder that is asked for

	QuotaFull          string `toml:"quota_full"`          // "tempfail" (default) or "reject"
	SingleInstance     bool   `toml:"single_instance"`     // several recipients share one file
	DeliverOnce        *bool  `toml:"deliver_once"`        // know a message that is handed over again; default true
	SuppressDuplicates bool   `toml:"suppress_duplicates"` // one message per mailbox and Message-ID

	Sieve string `toml:"sieve"` // template of a user's script; default: no filter
	Send  string `toml:"send"`  // rtls-send, for what a script sends and for reports; default: in PATH

	SuccessReports bool `toml:"success_reports"` // offer DSN in LMTP, and send the reports that this makes ours

	RefuseRequire bool `toml:"refuse_requiretls"` // the store is also served without TLS

	TrustHeader bool     `toml:"trust_require_tls_esmtp"` // take Require-TLS-ESMTP: yes for REQUIRETLS
	TrustLocal  []string `toml:"trust_local"`             // users whose processes may say REQUIRETLS without TLS on a Unix socket
}

// CheckLDA makes sure that rtls-lda has what it needs; lmtp says whether it is
// to serve LMTP, which takes a certificate.
func (f *File) CheckLDA(lmtp bool) error {
	if err := f.checkPlaces(); err != nil {
		return err
	}
	at := func(key string) toml.Key { return toml.Key{"lda", key} }
	l := &f.LDA
	switch {
	case len(l.Delimiter) > 1:
		return f.errorf(at("recipient_delimiter"), "recipient_delimiter is one character, not %q", l.Delimiter)
	case l.MaxSize < 0 || l.MaxSize == 0 && f.says("lda", "max_size"):
		return f.errorf(at("max_size"), "max_size is a number of octets, not %d", l.MaxSize)
	case l.MaxConnections < 0 || l.MaxConnections == 0 && f.says("lda", "max_connections"):
		return f.errorf(at("max_connections"), "max_connections is a number of clients, not %d", l.MaxConnections)
	case l.QuotaFull != "" && l.QuotaFull != "tempfail" && l.QuotaFull != "reject":
		return f.errorf(at("quota_full"), `quota_full is "tempfail" or "reject", not %q`, l.QuotaFull)
	case l.Aliases != "" && l.Aliases[0] != '/':
		return f.errorf(at("aliases"), "aliases is an absolute path, not %q", l.Aliases)
	}
	if l.Sieve != "" {
		if err := checkTemplate(l.Sieve); err != nil {
			return f.errorf(at("sieve"), "sieve: %w", err)
		}
	}
	for i, domain := range l.Domains {
		if domain == "" || strings.ContainsAny(domain, "@ *") {
			return f.errorf(at("domains"), `domains is a list like ["example.org"], %q is none`, domain)
		}
		l.Domains[i] = strings.ToLower(domain)
	}
	if !lmtp {
		return nil
	}
	return f.checkCert("lda", l.Cert, l.Key)
}
