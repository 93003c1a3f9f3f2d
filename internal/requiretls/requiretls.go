// Package requiretls holds the rules of RFC 8689: what a sender can wish, what
// the TLS-Required header field says and which status codes report a failure.
package requiretls

import (
	"fmt"
	"strings"
)

// Keyword is the EHLO keyword and the MAIL parameter, which has no value
// (RFC 8689 section 2).
const Keyword = "REQUIRETLS"

// HeaderName is the field of RFC 8689 section 3 and HeaderNo its only value.
const (
	HeaderName = "TLS-Required"
	HeaderNo   = "No"
)

// Status codes of RFC 8689 section 7.
const (
	StatusNoTLS     = "5.7.10" // no verified TLS session: "Encryption needed"
	StatusNoSupport = "5.7.30" // the peer lacks REQUIRETLS: "REQUIRETLS support required"
)

// Wish is what the sender of a message asks for.
type Wish uint8

// The three wishes (RFC 8689 section 4.3). Auto is the absence of one: neither
// the parameter nor the header field is added, whatever the server offers.
const (
	Auto Wish = iota
	Yes       // REQUIRETLS on MAIL FROM, or nothing is sent
	No        // exactly one "TLS-Required: No" header field
)

func (w Wish) String() string { return [...]string{"auto", "yes", "no"}[w] }

// ParseWish reads "yes", "no" or "auto" in any case.
func ParseWish(s string) (Wish, error) {
	switch strings.ToLower(s) {
	case "yes":
		return Yes, nil
	case "no":
		return No, nil
	case "auto":
		return Auto, nil
	}
	return Auto, fmt.Errorf("requiretls is yes, no or auto, not %q", s)
}

// HeaderWish is what the TLS-Required fields of a message say.
type HeaderWish uint8

// A field with another value, or more than one field, is malformed and is never
// obeyed (RFC 8689 section 3: one instance, one value).
const (
	HeaderAbsent HeaderWish = iota
	HeaderOptional
	HeaderMalformed
)

// ReadHeader judges the unfolded values of all TLS-Required fields of a message.
func ReadHeader(values []string) HeaderWish {
	switch {
	case len(values) == 0:
		return HeaderAbsent
	case len(values) == 1 && strings.EqualFold(strings.Trim(values[0], " \t\r\n"), HeaderNo):
		return HeaderOptional
	}
	return HeaderMalformed
}
