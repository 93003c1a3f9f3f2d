package lda

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rtls/internal/config"
)

// Resolve finds the account of an address, which may be quoted and may lack a
// domain: the whole address is looked up first, then its local part alone, then
// both without the detail. What is written in capitals is also looked up in
// small letters. The detail becomes the folder. Errors are *Error: 5.1.1 when
// there is no such user, else temporary.
func (a *Agent) Resolve(ctx context.Context, address string) (Recipient, error) {
	if err := ctx.Err(); err != nil {
		return Recipient{}, Classify(err)
	}
	local, domain := SplitAddress(address)
	base, detail := a.splitDetail(local)
	for _, c := range candidates(local, base, domain) {
		if config.ValidUser(c.user) != nil {
			continue
		}
		known, err := a.cfg.Known(c.user)
		if err != nil {
			return Recipient{}, Classify(fmt.Errorf("look up user: %w", err))
		}
		if !known {
			continue
		}
		r := Recipient{Address: address, User: c.user}
		if c.detached {
			r.Folder = detail
		}
		return r, nil
	}
	return Recipient{}, unknownUser()
}

// Detail is the part of an address that stands behind the delimiter.
func (a *Agent) Detail(address string) string {
	local, _ := SplitAddress(address)
	_, detail := a.splitDetail(local)
	return detail
}

// splitDetail cuts at the first delimiter that has something before it.
func (a *Agent) splitDetail(local string) (base, detail string) {
	if a.cfg.Delimiter == "" || local == "" {
		return local, ""
	}
	if i := strings.Index(local[1:], a.cfg.Delimiter); i >= 0 {
		return local[:i+1], local[i+1+len(a.cfg.Delimiter):]
	}
	return local, ""
}

type candidate struct {
	user     string
	detached bool // the detail is not part of user
}

func candidates(local, base, domain string) []candidate {
	forms := []candidate{{local, false}}
	if base != local {
		forms = append(forms, candidate{base, true})
	}
	for _, f := range slices.Clone(forms) {
		if lower := strings.ToLower(f.user); lower != f.user {
			forms = append(forms, candidate{lower, f.detached})
		}
	}
	if domain == "" {
		return forms
	}
	list := make([]candidate, 0, 2*len(forms))
	for _, f := range forms {
		list = append(list, candidate{f.user + "@" + domain, f.detached}, f)
	}
	return list
}

// SplitAddress splits an address into its local part, unquoted, and its domain
// in small letters, which is empty if there is none.
func SplitAddress(address string) (local, domain string) {
	if !strings.HasPrefix(address, `"`) {
		if i := strings.LastIndexByte(address, '@'); i >= 0 {
			return address[:i], strings.ToLower(address[i+1:])
		}
		return address, ""
	}
	var b strings.Builder
	for i := 1; i < len(address); i++ {
		switch address[i] {
		case '\\':
			if i++; i < len(address) {
				b.WriteByte(address[i])
			}
		case '"':
			domain, _ = strings.CutPrefix(address[i+1:], "@")
			return b.String(), strings.ToLower(domain)
		default:
			b.WriteByte(address[i])
		}
	}
	return b.String(), ""
}
