// Package scram is SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, with and without
// channel binding. It is apart from the library that the tests hold it against because
// a command that runs for milliseconds pays for all tables that a library sets up when
// it is loaded.
package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	minIterations = 4096    // RFC 7677 section 4
	maxIterations = 1 << 21 // seconds of work, which no deadline can cut short
)

// Binding says what an exchange is bound to. The zero Binding is for a connection that
// cannot be bound.
type Binding struct {
	flag string // gs2-cbind-flag, RFC 5802 section 7; empty: n
	data []byte
}

// Bindable is for a connection that could be bound, to a server that did not offer it:
// a server that did finds out that somebody took it from the offer (RFC 5802 section 6).
var Bindable = Binding{flag: "y"}

// Exporter binds to a TLS connection (RFC 9266). It fails under TLS 1.2 without the
// extended master secret.
func Exporter(state *tls.ConnectionState) (Binding, error) {
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return Binding{}, fmt.Errorf("channel binding: %w", err)
	}
	return Binding{flag: "p=tls-exporter", data: data}, nil
}

// Client is one exchange. It is not for concurrent use.
type Client struct {
	name, password string // prepared; the name escaped too
	header         string // gs2-header
	binding        []byte
	nonce          string

	answer    func(challenge string) ([]byte, error) // to the next challenge
	signature []byte                                 // that the server owes
	proved    bool
}

// NewClient begins an exchange. It fails for a name or a password that SASLprep (RFC
// 4013) does not allow.
func NewClient(name, password string, b Binding) (*Client, error) {
	name, err := prepare(name)
	if err != nil {
		return nil, fmt.Errorf("user name: %w", err)
	}
	if password, err = prepare(password); err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if b.flag == "" {
		b.flag = "n"
	}
	return &Client{
		name:     strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name),
		password: password, header: b.flag + ",,", binding: b.data, nonce: rand.Text(),
	}, nil
}

// Proved says whether the server has shown that it knows the password too. Before that
// a success it reports is worth nothing.
func (c *Client) Proved() bool { return c.proved }

// First returns the client's first message.
func (c *Client) First() []byte {
	c.answer = c.final
	return []byte(c.header + c.bare())
}

func (c *Client) bare() string { return "n=" + c.name + ",r=" + c.nonce }

// Next answers a challenge. Errors do not repeat it, and no answer is for a server that
// does not keep to the rules, asks for fewer than 4096 or more than 2,097,152
// iterations, or does not know the password.
func (c *Client) Next(challenge []byte) ([]byte, error) {
	if c.answer == nil {
		return nil, errors.New("SCRAM: a message that is not due")
	}
	answer := c.answer
	c.answer = nil
	return answer(string(challenge))
}

// final answers the server's first message: nonce, salt, iterations.
func (c *Client) final(challenge string) ([]byte, error) {
	fields := strings.Split(challenge, ",")
	if len(fields) < 3 {
		return nil, errors.New("SCRAM: the server's first message is malformed")
	}
	nonce, hasNonce := strings.CutPrefix(fields[0], "r=")
	salt64, hasSalt := strings.CutPrefix(fields[1], "s=")
	count, hasCount := strings.CutPrefix(fields[2], "i=")
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if !hasNonce || !hasSalt || !hasCount || err != nil || len(salt) == 0 {
		return nil, errors.New("SCRAM: the server's first message is malformed")
	}
	if !strings.HasPrefix(nonce, c.nonce) || len(nonce) == len(c.nonce) {
		return nil, errors.New("SCRAM: the server's nonce does not continue ours")
	}
	iterations, err := strconv.Atoi(count)
	if err != nil || iterations < minIterations || iterations > maxIterations {
		return nil, fmt.Errorf("SCRAM: the server wants %q iterations; %d to %d are allowed", count, minIterations, maxIterations)
	}
	salted, err := pbkdf2.Key(sha256.New, c.password, salt, iterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("SCRAM: %w", err)
	}
	bound := base64.StdEncoding.EncodeToString(append([]byte(c.header), c.binding...))
	unproved := "c=" + bound + ",r=" + nonce
	said := c.bare() + "," + challenge + "," + unproved
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	proof := mac(stored[:], said)
	for i := range proof {
		proof[i] ^= key[i]
	}
	c.signature = mac(mac(salted, "Server Key"), said)
	c.answer = c.verify
	return []byte(unproved + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// verify looks at the server's final message.
func (c *Client) verify(challenge string) ([]byte, error) {
	verdict, _, _ := strings.Cut(challenge, ",")
	signature64, ok := strings.CutPrefix(verdict, "v=")
	if !ok {
		if code, refused := strings.CutPrefix(verdict, "e="); refused {
			return nil, fmt.Errorf("SCRAM: the server refused: %q", code)
		}
		return nil, errors.New("SCRAM: the server's final message is malformed")
	}
	signature, err := base64.StdEncoding.DecodeString(signature64)
	if err != nil || !hmac.Equal(signature, c.signature) {
		return nil, errors.New("SCRAM: the server does not know the password")
	}
	c.proved = true
	return nil, nil
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}
