// Package config reads rtls.toml, the one configuration file of the three
// commands: strictly, once, with file and line in every complaint.
package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
)

// SystemPath is where the three commands look for their configuration.
const SystemPath = "/etc/rtls/rtls.toml"

// File is a whole configuration file. The validation methods of its tables
// return errors that name file, line and what to write.
type File struct {
	Hostname string `toml:"hostname"` // our own name in EHLO, Received and file names; default: the system's
	Send     Send   `toml:"send"`
	Store    Store  `toml:"store"`
	LDA      LDA    `toml:"lda"`
	IMAPD    IMAPD  `toml:"imapd"`

	path string
	text string
	meta toml.MetaData // of the text
}

// Store says where mail is kept and who has a mailbox.
type Store struct {
	Root    string `toml:"root"`    // one directory per account below it
	Users   string `toml:"users"`   // passwd file, see rtls-imapd user add
	Account string `toml:"account"` // where an account is, see AccountDir; default ROOT/%u

	FirstSystemUID int `toml:"first_system_uid"` // the system's users from this uid on have accounts, too; default: none of them

	Quota         Size  `toml:"quota"`          // of each account, in octets; default: none
	QuotaMessages int64 `toml:"quota_messages"` // of each account; default: none

	TextIndex bool `toml:"text_index"` // whether accounts have an index of texts; default: they have none
}

// Load reads and checks the file at path. A file that does not exist is
// reported with fs.ErrNotExist.
func Load(path string) (*File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, string(raw))
}

// typeError takes a decoder's complaint about a value's type apart; it has no type
// of its own:
//
//	toml: line 3 (last key "send.port"): incompatible types
func typeError(err error) (line, key, text string, ok bool) {
	rest, ok1 := strings.CutPrefix(err.Error(), "toml: line ")
	line, rest, ok2 := strings.Cut(rest, ` (last key "`)
	key, text, ok3 := strings.Cut(rest, `"): `)
	return line, key, text, ok1 && ok2 && ok3
}

// inWords says what a decoder has against a value's type in the words of TOML.
func inWords(complaint string) string {
	const has, wants = "incompatible types: TOML value has type ", "; destination has type "
	value, ok := strings.CutPrefix(complaint, has)
	value, want, ok2 := strings.Cut(value, wants)
	if !ok || !ok2 {
		return complaint
	}
	if want == "slice" && strings.HasPrefix(value, "map") {
		return "write two brackets around the name of the table"
	}
	return fmt.Sprintf("write %s, not %s", inTOML(want), inTOML(value))
}

func inTOML(typ string) string {
	switch {
	case strings.HasPrefix(typ, "map"), strings.HasPrefix(typ, "struct"):
		return "a table"
	case strings.HasPrefix(typ, "[]"), typ == "slice":
		return "an array, as in [\"a\", \"b\"]"
	case strings.HasPrefix(typ, "int"):
		return "a whole number"
	case strings.HasPrefix(typ, "float"):
		return "a number with a point"
	case strings.HasPrefix(typ, "bool"):
		return "true or false"
	case typ == "string":
		return "a string"
	}
	return typ
}

func parse(path, text string) (*File, error) {
	f := &File{path: path, text: text}
	meta, err := toml.Decode(text, f)
	f.meta = meta
	if perr, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, fmt.Errorf("%s:%d: %s", path, perr.Position.Line, perr.Message)
	}
	if err != nil {
		if line, key, text, ok := typeError(err); ok {
			return nil, fmt.Errorf("%s:%s: %s: %s", path, line, key, inWords(text))
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		return nil, f.errorf(key, "unknown key %q; see rtls.toml(5) for the keys there are", key.String())
	}
	if !isHostname(f.Hostname) && f.Hostname != "" {
		return nil, f.errorf(toml.Key{"hostname"}, `hostname = %q is no host's name; write one like "mail.example.org"`, f.Hostname)
	}
	if err := f.checkSend(); err != nil {
		return nil, err
	}
	return f, nil
}

// errorf puts file and line of a key, or of the table it belongs to, in front.
func (f *File) errorf(key toml.Key, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if f.path == "" {
		return fmt.Errorf("no configuration file: %w", err)
	}
	return fmt.Errorf("%s:%d: %w", f.path, lineOf(f.text, key), err)
}

// isHostname says whether a name can stand in a Received field and, without more ado, in
// the name of a file.
func isHostname(name string) bool {
	return len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == '\uFFFD' || strings.ContainsRune("/\\@,;()<>\"", r)
	})
}

// says reports whether a key stands in the file.
func (f *File) says(key ...string) bool { return f.meta.IsDefined(key...) }

func (f *File) checkCert(table, cert, key string) error {
	if cert == "" {
		return f.errorf(toml.Key{table, "cert"}, `[%s] has no certificate; write cert = "/etc/rtls/cert.pem" under [%s]`, table, table)
	}
	if key == "" {
		return f.errorf(toml.Key{table, "key"}, `[%s] has no key; write key = "/etc/rtls/key.pem" under [%s]`, table, table)
	}
	return nil
}

// ValidUser says whether a name may be a user's: not empty, at most 255 octets,
// no path separator, control character, colon or white space, not "." or "..",
// and no leading dot or dash.
func ValidUser(name string) error {
	switch {
	case name == "" || len(name) > 255:
		return errors.New("a user name has 1 to 255 octets")
	case name[0] == '.' || name[0] == '-':
		return fmt.Errorf("user name %q starts with %q", name, name[:1])
	}
	if i := strings.IndexFunc(name, func(r rune) bool {
		return r <= ' ' || r == '/' || r == '\\' || r == ':' || r == 0x7f || r == '\uFFFD'
	}); i >= 0 {
		return fmt.Errorf("user name %q holds a character that is not allowed", name)
	}
	return nil
}
