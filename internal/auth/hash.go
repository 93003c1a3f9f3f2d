package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// scheme is how Dovecot names the hash.
const scheme = "{ARGON2ID}"

// maxPassword bounds the work that a client can ask for.
const maxPassword = 1024

// ValidPassword says whether a password can be one: not empty, at most 1,024 octets
// of UTF-8, and no control character, which no SASL mechanism would let through
// whole (RFC 4616 section 2, RFC 8265 section 4.2).
func ValidPassword(password string) error {
	switch {
	case password == "":
		return errors.New("the password is empty")
	case len(password) > maxPassword:
		return fmt.Errorf("the password is longer than %d octets", maxPassword)
	case !utf8.ValidString(password):
		return errors.New("the password is not in UTF-8")
	case strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("the password holds a control character")
	}
	return nil
}

// cost is what one computation of a hash takes (RFC 9106 section 3.1).
type cost struct {
	memory uint32 // KiB
	time   uint32
	lanes  uint8
}

// defaultCost is about 20 ms here. More memory would slow down a guesser who has
// stolen the file, and the server on the morning after a restart.
var defaultCost = cost{memory: 19 << 10, time: 2, lanes: 1}

// Bounds of what a file may ask for, so that a slip in it does not stop the server.
const (
	maxMemory = 1 << 20 // KiB
	maxTime   = 64
	saltSize  = 16
	sumSize   = 32
	maxSum    = 128
)

// hash is a password's Argon2id hash.
type hash struct {
	cost
	salt, sum []byte
}

func newHash(c cost, password string) hash {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	h := hash{cost: c, salt: salt}
	h.sum = h.of(password, sumSize)
	return h
}

func (h hash) of(password string, size int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, uint32(size))
}

// fits takes the same time whatever it finds.
func (h hash) fits(password string) bool {
	return subtle.ConstantTimeCompare(h.of(password, len(h.sum)), h.sum) == 1
}

// String writes the hash as it stands in the file.
func (h hash) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("%s$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", scheme, argon2.Version,
		h.memory, h.time, h.lanes, b64.EncodeToString(h.salt), b64.EncodeToString(h.sum))
}

// parseHash reads what String writes. The error does not repeat it.
func parseHash(field string) (hash, error) {
	var h hash
	phc, ok := strings.CutPrefix(field, scheme)
	parts := strings.Split(phc, "$")
	if !ok || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errors.New("the password is not hashed with " + scheme + "; set it anew")
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errors.New("the hash has a version of Argon2 that is not supported")
	}
	if n, err := fmt.Sscanf(parts[3]+"\n", "m=%d,t=%d,p=%d\n", &h.memory, &h.time, &h.lanes); n != 3 || err != nil {
		return h, errors.New("the hash has parameters that cannot be read")
	}
	if h.lanes < 1 || h.time < 1 || h.time > maxTime || h.memory < 8*uint32(h.lanes) || h.memory > maxMemory {
		return h, errors.New("the hash has parameters out of bounds")
	}
	var errSalt, errSum error
	h.salt, errSalt = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, errSum = base64.RawStdEncoding.DecodeString(parts[5])
	if errSalt != nil || errSum != nil || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > maxSum {
		return h, errors.New("the hash is damaged")
	}
	return h, nil
}

// decoyFor returns a hash for users that do not exist. Its cost is that of the
// first user in the text, since it is the time of wrong passwords there that must
// not be told from it. No password fits it.
func decoyFor(text []byte, otherwise cost) hash {
	decoy := hash{cost: otherwise, salt: make([]byte, saltSize), sum: make([]byte, sumSize)}
	for line := range bytes.Lines(text) {
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		_, rest, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		field, _, _ := bytes.Cut(rest, []byte(":"))
		if h, err := parseHash(string(field)); err == nil {
			decoy.cost = h.cost
			break
		}
	}
	rand.Read(decoy.salt)
	rand.Read(decoy.sum)
	return decoy
}
