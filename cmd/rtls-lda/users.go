package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"rtls/internal/config"
	"rtls/internal/lda"
	"rtls/internal/owner"
	"rtls/internal/users"
	"rtls/store"
)

// accounts finds the accounts that this process may deliver to.
type accounts struct {
	directory *users.Directory
	config    *config.File
	uid       int                     // whom we deliver as; -1: not decided yet
	found     map[string]users.Record // nil: not to be remembered
}

func newAccounts(f *config.File) *accounts {
	return &accounts{directory: users.NewDirectory(f.Store), config: f, uid: os.Geteuid()}
}

// record finds a user. One that was found stays found: whom we have become since may
// not be allowed to look.
func (a *accounts) record(name string) (users.Record, bool, error) {
	if r, ok := a.found[name]; ok {
		return r, true, nil
	}
	r, ok, err := a.directory.Lookup(name)
	if ok && a.found != nil {
		a.found[name] = r
	}
	return r, ok, err
}

// lookup is the agent's. Who has a user id of his own gets his mail from a process
// that has it, too.
func (a *accounts) lookup(name string) (lda.User, bool, error) {
	r, ok, err := a.record(name)
	if err != nil || !ok {
		return lda.User{}, false, err
	}
	if r.UID == 0 {
		return lda.User{}, false, errOfRoot(name)
	}
	if r.UID >= 0 && a.uid >= 0 && r.UID != a.uid {
		return lda.User{}, false, fmt.Errorf("the mail of %s belongs to uid %d, and rtls-lda runs as uid %d; start it as the recipient, or as root without user under [lda]", name, r.UID, a.uid)
	}
	u, err := a.user(r)
	return u, err == nil, err
}

// user is what the agent has to know.
func (a *accounts) user(r users.Record) (u lda.User, err error) {
	u = lda.User{Name: r.Name, Dir: r.Dir, Quota: store.Quota{Bytes: r.Quota, Messages: r.QuotaMessages}}
	if template := a.config.LDA.Sieve; template != "" {
		if u.Script, err = config.Expand(template, r.Name, r.Home); err != nil {
			return lda.User{}, fmt.Errorf("filter: %w", err)
		}
	}
	return u, nil
}

// errRoot is what root cannot deliver without.
var errRoot = errors.New(`started as root, and there is nobody to become: write user = "vmail" under [lda]`)

// errOfRoot is for mail that stays with the mail transfer agent until somebody else is
// to read it.
func errOfRoot(name string) error {
	return &lda.Error{
		Code: 451, Status: "4.3.5", Text: "no mail is delivered as root, the postmaster has to make an alias",
		Err: fmt.Errorf("the mail of %s belongs to root, and nothing is delivered as root: make an alias for it", name),
	}
}

// errUserRoot is for a configuration that wants what is never done.
var errUserRoot = errors.New(`user is root, and nothing is delivered as root: write user = "vmail" under [lda], or whose mail it is`)

// ownerOf says who a user's mail belongs to: whom the user database names, whom the
// configuration names, who owns the store.
func ownerOf(f *config.File, r users.Record) (uid, gid int, err error) {
	switch {
	case r.UID == 0:
		return 0, 0, errOfRoot(r.Name)
	case r.UID > 0:
		return r.UID, r.GID, nil
	case f.LDA.User != "":
		return systemUser(f.LDA.User)
	}
	if uid, gid, err = storeOwner(f); err == nil && uid == 0 {
		err = errRoot
	}
	return uid, gid, err
}

// storeOwner says who owns the store: root, where there is no directory for all accounts.
func storeOwner(f *config.File) (uid, gid int, err error) {
	if f.Store.Root == "" {
		return 0, 0, nil
	}
	return owner.Of(f.Store.Root)
}

// systemUser finds "name" or "uid:gid", who is not to be root.
func systemUser(name string) (uid, gid int, err error) {
	if uid, gid, err = lookUp(name); err == nil && uid == 0 {
		err = errUserRoot
	}
	return uid, gid, err
}

func lookUp(name string) (uid, gid int, err error) {
	if u, g, numbers := strings.Cut(name, ":"); numbers {
		uid, err1 := strconv.ParseUint(u, 10, 31)
		gid, err2 := strconv.ParseUint(g, 10, 31)
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, fmt.Errorf("user: %q is neither a name nor uid:gid", name)
		}
		return int(uid), int(gid), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("user: %w", err)
	}
	if uid, err = strconv.Atoi(u.Uid); err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	return uid, gid, err
}

// become gives root's rights up for good, in all threads. It does nothing for a
// process that is not root's.
func (a *accounts) become(r users.Record) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ownerOf(a.config, r)
	if err != nil {
		return err
	}
	a.uid = uid
	return owner.Become(uid, gid)
}

// becomeFor is become for a message to several users, who all have to be one.
func (a *accounts) becomeFor(names []string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var first users.Record
	for i, name := range names {
		r, ok, err := a.record(name)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("user %s is gone", name)
		}
		if i == 0 {
			first = r
		} else if r.UID != first.UID {
			return fmt.Errorf("the message is for %s and %s, whose mail belongs to different users: use LMTP, or expand the alias in the mail transfer agent", first.Name, name)
		}
	}
	return a.become(first)
}
