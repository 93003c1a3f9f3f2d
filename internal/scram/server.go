package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Salting is what a client has to know before it can answer.
type Salting struct {
	Salt       string
	Iterations int
}

// Verifier is what a server keeps of a password (RFC 5802 section 3): enough to tell
// whether somebody knows it, and not enough to log in with.
type Verifier struct {
	Salting
	StoredKey, ServerKey []byte
}

// Derive makes the verifier of a password. One that SASLprep does not allow is taken as
// it is, as most clients do.
func Derive(password string, s Salting) (Verifier, error) {
	if prepared, err := prepare(password); err == nil {
		password = prepared
	}
	salted, err := pbkdf2.Key(sha256.New, password, []byte(s.Salt), s.Iterations, sha256.Size)
	if err != nil {
		return Verifier{}, err
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	return Verifier{s, stored[:], mac(salted, "Server Key")}, nil
}

// What a server refuses. Any other error says that a message is malformed.
var (
	ErrProof     = errors.New("the proof does not fit the password")
	ErrBinding   = errors.New("the channel binding is another connection's")
	ErrDowngrade = errors.New("somebody has taken the channel binding out of the offer")
)

// Server is the server's side of one exchange. It is not for concurrent use.
type Server struct {
	User    string // decoded
	AuthzID string // decoded; mostly empty

	flag   string // gs2-cbind-flag
	header string // gs2-header
	said   string // of the authentication message, what has been said
	nonce  string
}

var errMalformed = errors.New("the message is not one of SCRAM")

// NewServer reads the client's first message. offered is a binding to the connection,
// the zero Binding if there was none to offer; bound says that the client took the
// mechanism that binds.
func NewServer(message string, offered Binding, bound bool) (*Server, error) {
	parts := strings.SplitN(message, ",", 3)
	if len(parts) != 3 || !utf8.ValidString(message) {
		return nil, errMalformed
	}
	s := &Server{flag: parts[0], header: parts[0] + "," + parts[1] + ",", said: parts[2]}
	if err := s.checkFlag(offered, bound); err != nil {
		return nil, err
	}
	fields := strings.Split(parts[2], ",") // extensions behind the first two are passed over
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "n=") || !strings.HasPrefix(fields[1], "r=") || len(fields[1]) == 2 {
		return nil, errMalformed // m=, a mandatory extension, would stand first
	}
	var okUser, okID bool
	s.User, okUser = decodeName(fields[0][2:])
	s.AuthzID, okID = decodeName(strings.TrimPrefix(parts[1], "a="))
	if !okUser || !okID || parts[1] != "" && !strings.HasPrefix(parts[1], "a=") {
		return nil, errMalformed
	}
	s.nonce = fields[1][2:] + rand.Text()
	return s, nil
}

// checkFlag is RFC 5802 section 6: a client that binds says so with the mechanism too,
// and one that could, and was told that we cannot, was lied to if we can.
func (s *Server) checkFlag(offered Binding, bound bool) error {
	kind, binds := strings.CutPrefix(s.flag, "p=")
	switch {
	case binds != bound:
		return errors.New("channel binding and mechanism do not go together")
	case binds && s.flag != offered.flag:
		return errors.New("channel binding " + kind + " is not supported, only tls-exporter")
	case s.flag == "y" && offered.flag != "":
		return ErrDowngrade
	case !binds && s.flag != "y" && s.flag != "n":
		return errMalformed
	}
	return nil
}

// decodeName reads a saslname (RFC 5802 section 5.1).
func decodeName(name string) (string, bool) {
	decoded := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
	rest := strings.NewReplacer("=2C", "", "=3D", "").Replace(name)
	return decoded, !strings.Contains(rest, "=") && !strings.Contains(decoded, "\x00")
}

// Challenge returns the server's first message.
func (s *Server) Challenge(v Salting) string {
	challenge := "r=" + s.nonce + ",s=" + base64.StdEncoding.EncodeToString([]byte(v.Salt)) + ",i=" + strconv.Itoa(v.Iterations)
	s.said += "," + challenge
	return challenge
}

// Verify reads the client's final message and looks among verifiers with one salt for
// the one whose password the client knows. It returns its place and the server's final
// message, which shows the client that we know it, too.
func (s *Server) Verify(message string, b Binding, all []Verifier) (at int, reply string, err error) {
	cut := strings.LastIndex(message, ",p=")
	if cut < 0 {
		return 0, "", errMalformed
	}
	unproved := message[:cut]
	proof, err := base64.StdEncoding.DecodeString(message[cut+3:])
	if err != nil || len(proof) != sha256.Size {
		return 0, "", errMalformed
	}
	fields := strings.Split(unproved, ",")
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "c=") || fields[1] != "r="+s.nonce {
		return 0, "", errMalformed
	}
	want := []byte(s.header)
	if strings.HasPrefix(s.flag, "p=") {
		want = append(want, b.data...)
	}
	bound, err := base64.StdEncoding.DecodeString(fields[0][2:])
	if err != nil {
		return 0, "", errMalformed
	}
	if !hmac.Equal(bound, want) {
		return 0, "", ErrBinding
	}
	said := s.said + "," + unproved
	for i, v := range all {
		key := mac(v.StoredKey, said)
		for j := range key {
			key[j] ^= proof[j]
		}
		if stored := sha256.Sum256(key); hmac.Equal(stored[:], v.StoredKey) {
			return i, "v=" + base64.StdEncoding.EncodeToString(mac(v.ServerKey, said)), nil
		}
	}
	return 0, "", ErrProof
}
