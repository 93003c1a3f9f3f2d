// Package users knows who has an account, and where it is. Who may log in is package
// auth's affair: a delivery needs none of that.
package users

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"

	"rtls/internal/config"
)

// Record is what is known of a user apart from the password.
type Record struct {
	Name string
	Dir  string // of the account
	Home string // empty: not known
	UID  int    // whose files the mail is to be; -1: it does not say
	GID  int    // -1: it does not say

	Quota         int64 // octets; 0: none
	QuotaMessages int64 // 0: none

	TextIndex     bool // there is to be an index of texts
	saysTextIndex bool
}

// Directory finds users: those of a passwd file and those of the system. It is safe
// for concurrent use.
type Directory struct {
	Users *File // nil: none

	store config.Store
	euid  int
	// system is systemUser, or a test's.
	system func(name string) (*user.User, error)
}

// NewDirectory makes a directory by the store's table of the configuration.
func NewDirectory(s config.Store) *Directory {
	d := &Directory{store: s, euid: os.Geteuid(), system: systemUser}
	if s.Users != "" {
		d.Users = Open(s.Users)
	}
	return d
}

// Lookup finds a user; ok is false if there is no such one. A user of the system
// whom this process runs as comes first, since it may read no passwd file; else the
// file's users come before the system's. The error is for a database that cannot be
// read or says something that makes no sense.
func (d *Directory) Lookup(name string) (r Record, ok bool, err error) {
	if d.euid != 0 {
		if r, ok, err = d.lookupSystem(name); r.UID != d.euid {
			ok = false
		}
	}
	if !ok && d.Users != nil {
		r, ok, err = d.Users.Lookup(name)
	}
	if !ok && err == nil {
		r, ok, err = d.lookupSystem(name)
	}
	if err != nil || !ok {
		return Record{}, false, err
	}
	if r.Dir, err = d.store.AccountDir(name, r.Home); err != nil {
		return Record{}, false, fmt.Errorf("account of user %s: %w", name, err)
	}
	if r.Quota == 0 {
		r.Quota = int64(d.store.Quota)
	}
	if !r.saysTextIndex {
		r.TextIndex = d.store.TextIndex
	}
	if r.QuotaMessages == 0 {
		r.QuotaMessages = d.store.QuotaMessages
	}
	return r, true, nil
}

// lookupSystem finds a user of the system who may have mail here. Names are the
// system's: it is not asked for addresses.
func (d *Directory) lookupSystem(name string) (Record, bool, error) {
	if d.store.FirstSystemUID == 0 || config.ValidUser(name) != nil || strings.Contains(name, "@") {
		return Record{}, false, nil
	}
	u, err := d.system(name)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("the system's users: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return Record{}, false, fmt.Errorf("the system's users: %s has the uid %q", name, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return Record{}, false, fmt.Errorf("the system's users: %s has the gid %q", name, u.Gid)
	}
	if u.Username != name || uid < d.store.FirstSystemUID {
		return Record{}, false, nil
	}
	return Record{Name: name, UID: uid, GID: gid, Home: u.HomeDir}, true, nil
}

// OwnedByOthers says whether there can be mail that belongs to another than uid: a user of
// the system's, or one whom the file gives another user id. The error is for a file that
// cannot be read; there need be none.
func (d *Directory) OwnedByOthers(uid int) (bool, error) {
	if d.store.FirstSystemUID != 0 {
		return true, nil
	}
	if d.Users == nil {
		return false, nil
	}
	text, _, err := d.Users.Text()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for line := range bytes.Lines(text) {
		_, rest, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		r := Record{UID: -1, GID: -1}
		if err := r.parse(rest); line[0] != '#' && err == nil && r.UID > 0 && r.UID != uid {
			return true, nil
		}
	}
	return false, err
}

// Lookup finds a user in the file; Dir is left empty. What it knows beyond the name
// is in the fields behind the hash, as Dovecot writes them:
//
//	name:hash:uid:gid:gecos:home:shell:userdb_quota_rule=*:storage=1G:messages=1000
//
// All of them can be empty or missing. uid and gid are numbers. Extra fields of
// other names are passed over. The error is that of Known, or is for fields that
// make no sense.
func (u *File) Lookup(name string) (Record, bool, error) {
	text, _, err := u.Text()
	if err != nil {
		return Record{}, false, err
	}
	rest, line, ok := Find(text, name)
	if !ok {
		return Record{}, false, nil
	}
	r := Record{Name: name, UID: -1, GID: -1}
	if err := r.parse(rest); err != nil {
		return Record{}, false, fmt.Errorf("user database: %s:%d: %w", u.path, line, err)
	}
	return r, true, nil
}

// parse reads what stands behind the name.
func (r *Record) parse(rest []byte) error {
	fields := bytes.SplitN(rest, []byte(":"), 7)
	field := func(i int) string {
		if i < len(fields) {
			return string(fields[i])
		}
		return ""
	}
	for _, id := range []struct {
		text string
		n    *int
	}{{field(1), &r.UID}, {field(2), &r.GID}} {
		if id.text == "" {
			continue
		}
		n, err := strconv.ParseUint(id.text, 10, 31)
		if err != nil {
			return fmt.Errorf("a user or group id is a number, not %q", id.text)
		}
		*id.n = int(n)
	}
	if r.UID >= 0 && r.GID < 0 {
		return errors.New("there is a user id without a group id")
	}
	r.Home = field(4)
	if r.Home != "" && r.Home[0] != '/' {
		return fmt.Errorf("a home directory is an absolute path, not %q", r.Home)
	}
	for word := range strings.FieldsSeq(field(6)) {
		if rule, ok := strings.CutPrefix(word, "userdb_quota_rule="); ok {
			if err := r.parseQuota(rule); err != nil {
				return err
			}
		}
		if value, ok := strings.CutPrefix(word, "userdb_fts_autoindex="); ok {
			if value != "yes" && value != "no" {
				return fmt.Errorf("userdb_fts_autoindex is yes or no, not %q", value)
			}
			r.TextIndex, r.saysTextIndex = value == "yes", true
		}
	}
	return nil
}

// parseQuota reads a rule of Dovecot's for all mailboxes.
func (r *Record) parseQuota(rule string) error {
	parts := strings.Split(rule, ":")
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		n, err := config.ParseSize(value)
		if err != nil || parts[0] != "*" {
			return fmt.Errorf("quota rule %q: write one like *:storage=1G:messages=1000", rule)
		}
		switch key {
		case "bytes":
			r.Quota = n
		case "storage":
			r.Quota = n
			if strings.Trim(value, "0123456789") == "" {
				r.Quota = n << 10 // Dovecot counts storage in units of 1024
			}
		case "messages":
			r.QuotaMessages = n
		default:
			return fmt.Errorf("quota rule %q: there are storage, bytes and messages", rule)
		}
	}
	return nil
}
