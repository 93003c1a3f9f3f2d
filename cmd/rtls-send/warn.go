package main

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"net/textproto"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/requiretls"
)

// pgpArmor is how an encrypted text without MIME begins (RFC 9580 section 6.2).
const pgpArmor = "-----BEGIN PGP MESSAGE-----"

// warnUnencrypted tells the sender of a message that requires TLS that every server
// on the way can read it (RFC 8689 section 8.3), if the configuration asks for that.
func warnUnencrypted(env cli.Env, s *settings, m *compose.Message) {
	if !s.warnUnencrypted || s.wish != requiretls.Yes || encrypted(io.NewSectionReader(m, 0, m.Size())) {
		return
	}
	fmt.Fprintf(env.Stderr, "%s: warning: the message requires TLS and is not encrypted itself: each server on the way can read it\n", name)
}

// encrypted says whether a message is one of OpenPGP or S/MIME that is encrypted, by
// its outermost type or its first line.
func encrypted(message io.Reader) bool {
	r := textproto.NewReader(bufio.NewReader(message))
	header, err := r.ReadMIMEHeader()
	if err != nil {
		return false
	}
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	switch kind {
	case "multipart/encrypted": // RFC 3156
		return true
	case "application/pkcs7-mime", "application/x-pkcs7-mime": // RFC 8551
		return strings.HasSuffix(strings.ToLower(params["smime-type"]), "enveloped-data")
	case "text/plain":
		for {
			line, err := r.ReadLine()
			if err != nil || line != "" {
				return line == pgpArmor
			}
		}
	}
	return false
}
