package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// entry is a user's line of the file, taken apart.
type entry struct {
	name   string
	fields []string // what stands behind the name, see the constants below
}

// Places in entry.fields, those of passwd(5) without the name.
const (
	fieldHash  = 0
	fieldExtra = 6 // words like key=value
	allFields  = 7
)

// Keys of the extra fields.
const (
	keyScram = "rtls_scram=" // verifier "," seal
	keyApp   = "rtls_app="   // name "," time of making in seconds "," verifier
)

// app is a password of a program, beside the user's own.
type app struct {
	name  string
	made  time.Time
	check verifier
}

func (a app) String() string {
	return keyApp + a.name + "," + strconv.FormatInt(a.made.Unix(), 10) + "," + a.check.String()
}

// parseEntry takes what find has found apart.
func parseEntry(name, rest string) entry {
	return entry{name, strings.SplitN(rest, ":", allFields)}
}

func (e entry) field(i int) string {
	if i < len(e.fields) {
		return e.fields[i]
	}
	return ""
}

func (e *entry) set(i int, value string) {
	for len(e.fields) <= i {
		e.fields = append(e.fields, "")
	}
	e.fields[i] = value
}

// String writes the line, without its end.
func (e entry) String() string { return e.name + ":" + strings.Join(e.fields, ":") }

// locked says that nobody can log in as this user, by whatever means.
func (e entry) locked() bool { return strings.HasPrefix(e.field(fieldHash), "!") }

// hashed returns the password's hash as it stands there, empty if no password fits.
func (e entry) hashed() string {
	field := e.field(fieldHash)
	if field == "" || field[0] == '!' || field[0] == '*' {
		return ""
	}
	return field
}

// scram returns the verifier of the password, nil if there is none: a hash that was
// changed without it makes it void.
func (e entry) scram() (*verifier, error) {
	for word := range strings.FieldsSeq(e.field(fieldExtra)) {
		text, ok := strings.CutPrefix(word, keyScram)
		if !ok {
			continue
		}
		cut := strings.LastIndexByte(text, ',')
		if cut < 0 {
			return nil, errors.New("what stands behind " + keyScram + " is damaged")
		}
		if !equal(text[cut+1:], sealOf(strings.TrimPrefix(e.field(fieldHash), "!"))) {
			return nil, nil
		}
		v, err := parseVerifier(text[:cut])
		if err != nil {
			return nil, err
		}
		return &v, nil
	}
	return nil, nil
}

// apps returns the app passwords.
func (e entry) apps() ([]app, error) {
	var all []app
	for word := range strings.FieldsSeq(e.field(fieldExtra)) {
		text, ok := strings.CutPrefix(word, keyApp)
		if !ok {
			continue
		}
		parts := strings.SplitN(text, ",", 3)
		if len(parts) != 3 {
			return nil, errors.New("what stands behind " + keyApp + " is damaged")
		}
		seconds, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil || ValidAppName(parts[0]) != nil {
			return nil, errors.New("what stands behind " + keyApp + " is damaged")
		}
		v, err := parseVerifier(parts[2])
		if err != nil {
			return nil, fmt.Errorf("app password %s: %w", parts[0], err)
		}
		all = append(all, app{parts[0], time.Unix(seconds, 0), v})
	}
	return all, nil
}

// setExtra takes the words with a key out of the extra fields, but for those that
// keep says to keep, and puts others in.
func (e *entry) setExtra(key string, keep func(value string) bool, words ...string) {
	var all []string
	for word := range strings.FieldsSeq(e.field(fieldExtra)) {
		if value, ok := strings.CutPrefix(word, key); !ok || keep(value) {
			all = append(all, word)
		}
	}
	all = append(all, words...)
	if len(all) > 0 || len(e.fields) > fieldExtra {
		e.set(fieldExtra, strings.Join(all, " "))
	}
}

func none(string) bool { return false }

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
