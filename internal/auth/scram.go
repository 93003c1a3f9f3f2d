package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"rtls/internal/scram"
)

const (
	// scramScheme is how Dovecot names what a SCRAM server keeps of a password.
	scramScheme = "{SCRAM-SHA-256}"
	// scramIterations make a guess at a stolen file cost some 10 ms. A client pays
	// them once a login, the server only where it gets the password itself. Cyrus
	// SASL, and with it mbsync and mutt, refuses to compute more.
	scramIterations = 65_536
	maxIterations   = 10_000_000
)

// verifier is what is kept of a password for SCRAM-SHA-256.
type verifier struct{ scram.Verifier }

func newSalting(iterations int) scram.Salting {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return scram.Salting{Salt: string(salt), Iterations: iterations}
}

func newVerifier(s scram.Salting, password string) (verifier, error) {
	v, err := scram.Derive(password, s)
	return verifier{v}, err
}

// String writes a verifier as Dovecot does.
func (v verifier) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d,%s,%s,%s", scramScheme, v.Iterations, b64([]byte(v.Salt)), b64(v.StoredKey), b64(v.ServerKey))
}

// parseVerifier reads what String writes. The error does not repeat it.
func parseVerifier(text string) (verifier, error) {
	var v verifier
	rest, ok := strings.CutPrefix(text, scramScheme)
	parts := strings.Split(rest, ",")
	if !ok || len(parts) != 4 {
		return v, errors.New("what stands there is not that of " + scramScheme)
	}
	var err error
	if v.Iterations, err = strconv.Atoi(parts[0]); err != nil || v.Iterations < 1 || v.Iterations > maxIterations {
		return v, errors.New("the SCRAM iterations are out of bounds")
	}
	var keys [3][]byte
	for i := range keys {
		if keys[i], err = base64.StdEncoding.DecodeString(parts[i+1]); err != nil {
			return v, errors.New("the SCRAM keys are damaged")
		}
	}
	if len(keys[0]) < 8 || len(keys[1]) != sha256.Size || len(keys[2]) != sha256.Size {
		return v, errors.New("the SCRAM keys are damaged")
	}
	v.Salt, v.StoredKey, v.ServerKey = string(keys[0]), keys[1], keys[2]
	return v, nil
}

// sealOf ties a verifier to the hash beside it: whoever writes a new hash by other
// means must not leave the old password good for SCRAM.
func sealOf(field string) string {
	sum := sha256.Sum256([]byte(field))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
