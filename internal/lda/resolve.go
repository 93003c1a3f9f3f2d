package lda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rtls/internal/config"
)

// Resolve finds the accounts of an address, which may be quoted and may lack a
// domain. Aliases come first. Of users and aliases alike, the whole address is
// looked up first, then, if the domain is ours, its local part alone, then both
// without the detail. What is written in capitals is also looked up in small
// letters. The detail becomes the folder. Errors are *Error: 5.1.1 when there is no
// such user, else temporary; so is what is wrong with an alias.
func (a *Agent) Resolve(ctx context.Context, address string) (Recipient, error) {
	if err := ctx.Err(); err != nil {
		return Recipient{}, Classify(err)
	}
	x := expansion{a: a}
	if err := x.address(address, "", false); err != nil {
		return Recipient{}, Classify(err)
	}
	first := x.targets[0]
	return Recipient{Address: address, User: first.User, Folder: first.Folder, Also: x.targets[1:]}, nil
}

// ResolveUser is Resolve without aliases: somebody has been through them before.
func (a *Agent) ResolveUser(ctx context.Context, address string) (Recipient, error) {
	if err := ctx.Err(); err != nil {
		return Recipient{}, Classify(err)
	}
	t, err := a.user(address)
	if err != nil {
		return Recipient{}, Classify(err)
	}
	return Recipient{Address: address, User: t.User, Folder: t.Folder}, nil
}

// user finds the account of an address, without aliases.
func (a *Agent) user(address string) (Target, error) {
	for _, c := range a.candidates(address) {
		if config.ValidUser(c.name) != nil {
			continue
		}
		u, ok, err := a.cfg.Lookup(c.name)
		if err != nil {
			return Target{}, fmt.Errorf("look up user: %w", err)
		}
		if ok {
			return Target{u.Name, c.detail}, nil
		}
	}
	return Target{}, unknownUser()
}

// Bounds of what an alias can grow to.
const (
	maxTargets    = 1000
	maxAliasDepth = 20
)

// expansion follows aliases to users.
type expansion struct {
	a       *Agent
	targets []Target
	trail   []string // aliases that led here
}

// address adds the targets of an address. detail is that of the alias that named
// it; final says that it is no alias itself.
func (x *expansion) address(address, detail string, final bool) error {
	e, inherited, ok, err := x.alias(address, final)
	if err != nil {
		return err
	}
	if !ok {
		return x.user(address, detail)
	}
	if inherited != "" {
		detail = inherited
	}
	if e.err != nil {
		return aliasError(e.err)
	}
	if len(x.trail) >= maxAliasDepth {
		return aliasError(fmt.Errorf("%s:%d: aliases lead too far: %s", x.a.cfg.Aliases.path, e.line, strings.Join(x.trail, ", ")))
	}
	x.trail = append(x.trail, strings.ToLower(e.name))
	defer func() { x.trail = x.trail[:len(x.trail)-1] }()
	for _, t := range e.targets {
		err := x.address(t.address, detail, t.final)
		if e2, ok := errors.AsType[*Error](err); ok && e2.Status == "5.1.1" {
			err = aliasError(fmt.Errorf("%s:%d: alias %s: %s is nobody here", x.a.cfg.Aliases.path, e.line, e.name, t.address))
		}
		if err != nil {
			return err
		}
	}
	x.a.explain("alias: %s stands for %d targets", e.name, len(e.targets))
	return nil
}

// alias finds the alias of an address, with the detail that was cut off. One on whose
// behalf we are here is none: "alice: alice, bob" means her own account.
func (x *expansion) alias(address string, final bool) (e alias, detail string, ok bool, err error) {
	if x.a.cfg.Aliases == nil || final {
		return alias{}, "", false, nil
	}
	for _, c := range x.a.candidates(address) {
		e, ok, err = x.a.cfg.Aliases.find(c.name)
		if err != nil {
			return alias{}, "", false, err
		}
		if ok && !slices.Contains(x.trail, strings.ToLower(e.name)) {
			return e, c.detail, true, nil
		}
	}
	return alias{}, "", false, nil
}

func (x *expansion) user(address, detail string) error {
	t, err := x.a.user(address)
	if err != nil {
		return err
	}
	if t.Folder == "" {
		t.Folder = detail
	}
	if slices.Contains(x.targets, t) {
		return nil
	}
	if len(x.targets) >= maxTargets {
		return aliasError(fmt.Errorf("aliases of more than %d targets: %s", maxTargets, strings.Join(x.trail, ", ")))
	}
	x.targets = append(x.targets, t)
	return nil
}

// aliasError keeps the mail until the administrator has mended the file.
func aliasError(err error) *Error {
	return &Error{Code: 451, Status: "4.3.5", Text: "an alias is wrong, the postmaster has to mend it", Err: err}
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

// candidate is a name to look for.
type candidate struct {
	name   string
	detail string // that is not a part of name
}

func (a *Agent) candidates(address string) []candidate {
	local, domain := SplitAddress(address)
	base, detail := a.splitDetail(local)
	forms := []candidate{{local, ""}}
	if base != local {
		forms = append(forms, candidate{base, detail})
	}
	for _, f := range slices.Clone(forms) {
		if lower := strings.ToLower(f.name); lower != f.name {
			forms = append(forms, candidate{lower, f.detail})
		}
	}
	if domain == "" {
		return forms
	}
	ours := len(a.cfg.Domains) == 0 || slices.Contains(a.cfg.Domains, domain)
	list := make([]candidate, 0, 2*len(forms))
	for _, f := range forms {
		list = append(list, candidate{f.name + "@" + domain, f.detail})
		if ours {
			list = append(list, f)
		}
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
