package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/submit"
)

// receipt is what --receipt writes of a message that a server took. The names are
// part of the command's interface.
type receipt struct {
	Time       time.Time `json:"time"`
	Target     string    `json:"target"`
	TLS        string    `json:"tls"`
	Cipher     string    `json:"cipher"`
	Verified   string    `json:"verified_by"` // "authority", "dane" or, over a Unix socket, "none"
	Chain      []string  `json:"chain"`       // subjects, the server's own first
	KeyPin     string    `json:"pin_sha256"`  // of the server's key
	Auth       string    `json:"auth,omitempty"`
	Announced  bool      `json:"requiretls_announced"`
	RequireTLS bool      `json:"requiretls"`
	// Conforming says that the message was sent as RFC 8689 asks for one that
	// requires TLS. Without the wish there is nothing to conform to.
	Conforming bool     `json:"conforming"`
	Reply      string   `json:"reply"`
	From       string   `json:"from"`
	To         []string `json:"to"`
	MessageID  string   `json:"message_id,omitempty"`
	Size       int64    `json:"size"`
	SHA256     string   `json:"sha256"` // of the message as it was sent, CRLF line ends, no dot-stuffing
}

// receiptFile is a place that a receipt can be written to, made before the message
// is sent.
type receiptFile struct {
	path string
	temp *os.File
}

func newReceiptFile(path string) (*receiptFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".receipt-") // mode 0600
	if err != nil {
		return nil, cli.Errorf(cli.CantCreate, "--receipt: %w", err)
	}
	return &receiptFile{path, f}, nil
}

// drop removes what has not become a receipt.
func (r *receiptFile) drop() {
	r.temp.Close()
	_ = os.Remove(r.temp.Name())
}

// write makes the receipt of a message. That it fails does not make the message
// unsent: it is told, and the exit code stays.
func (r *receiptFile) write(env cli.Env, m *submit.Mail, got *submit.Receipt) {
	if err := r.save(m, got); err != nil {
		fmt.Fprintf(env.Stderr, "%s: the message was sent, but there is no receipt: %s\n", name, cli.Printable(err.Error()))
	}
}

func (r *receiptFile) save(m *submit.Mail, got *submit.Receipt) error {
	hash := sha256.New()
	if _, err := m.Content.WriteTo(hash); err != nil {
		return err
	}
	verified := "authority"
	switch {
	case got.DANE:
		verified = "dane"
	case got.TLSVersion == 0:
		verified = "none"
	}
	line, err := json.Marshal(receipt{
		Time: time.Now().UTC().Truncate(time.Second), Target: got.Target,
		TLS: tlsName(got), Cipher: cipherName(got),
		Verified: verified, Chain: got.Chain, KeyPin: got.KeyPin, Auth: got.Mechanism,
		Announced: got.Announced, RequireTLS: got.RequireTLS, Conforming: m.Wish == requiretls.Yes && got.RequireTLS && got.Announced,
		Reply: got.Reply.String(), From: m.From, To: m.To, MessageID: m.MessageID, Size: m.Size,
		SHA256: hex.EncodeToString(hash.Sum(nil)),
	})
	if err != nil {
		return err
	}
	if _, err := r.temp.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := r.temp.Sync(); err != nil {
		return err
	}
	if err := r.temp.Close(); err != nil {
		return err
	}
	return os.Rename(r.temp.Name(), r.path)
}
