// Package testmail reads the messages of testdata/mail, for tests and the demo.
package testmail

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const suffix = ".eml"

// Message is one message of the corpus.
type Message struct {
	Name        string // the file's name without .eml, unique: "19-crlf"
	Description string // one line: what the message is for
	Refused     bool   // rtls-send must refuse it, whatever its flags
	Reason      string // why it is refused, otherwise empty
	Raw         []byte // the exact bytes; the caller's own copy
}

// All returns the messages in dir, which is the path of testdata/mail, ordered by
// name, and after them the generated one with a large attachment. The error says
// which file is missing, or has no row in the table of this package.
func All(dir string) ([]Message, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("list the corpus: %w", err)
	}
	unlisted := make(map[string]bool, len(files))
	for _, file := range files {
		unlisted[filepath.Base(file)] = true
	}
	all := make([]Message, 0, len(table)+1)
	for _, r := range table {
		raw, err := os.ReadFile(filepath.Join(dir, r.name+suffix))
		if err != nil {
			return nil, fmt.Errorf("read the corpus: %w", err)
		}
		delete(unlisted, r.name+suffix)
		all = append(all, r.message(raw))
	}
	for file := range unlisted {
		return nil, fmt.Errorf("read the corpus: %s is not described in internal/testmail/table.go", file)
	}
	return append(all, large.message(largeMessage())), nil
}

func (r row) message(raw []byte) Message {
	return Message{
		Name:        r.name,
		Description: r.description,
		Refused:     r.refused != "",
		Reason:      r.refused,
		Raw:         raw,
	}
}

const (
	largeAttachment = 5_000_000 // octets before base64
	base64Line      = 76        // RFC 2045 section 6.8
)

// largeMessage makes the same message every time: ChaCha8 with a fixed seed is
// part of Go's compatibility promise.
func largeMessage() []byte {
	attachment := make([]byte, largeAttachment)
	rand.NewChaCha8([32]byte([]byte("a 5 MB attachment for every test"))).Read(attachment)

	var b bytes.Buffer
	b.Grow(largeAttachment*4/3*(base64Line+1)/base64Line + 1024)
	b.WriteString(largeHead)
	text := base64.StdEncoding.EncodeToString(attachment)
	for len(text) > 0 {
		n := min(base64Line, len(text))
		b.WriteString(text[:n])
		b.WriteByte('\n')
		text = text[n:]
	}
	b.WriteString("\n--large--\n")
	return b.Bytes()
}

const largeHead = `From: Dora Berg <dora@example.com>
To: alice@example.org
Subject: the whole film
Date: Mon, 23 Nov 2026 20:00:00 +0100
Message-ID: <film@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="large"

--large
Content-Type: text/plain; charset=us-ascii

Here it is. I know, five megabytes.

--large
Content-Type: application/octet-stream; name="film.bin"
Content-Disposition: attachment; filename="film.bin"
Content-Transfer-Encoding: base64

`
