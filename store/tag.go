package store

import "fmt"

// Tag is what a message's transport said about TLS (RFC 8689 section 4.1).
type Tag uint8

// TagUnknown is the zero value on purpose: what was lost, damaged or never
// written down is unknown, and unknown is never reported as none.
const (
	TagUnknown  Tag = iota
	TagNone         // neither wish was expressed
	TagRequire      // REQUIRETLS was on MAIL FROM
	TagOptional     // TLS-Required: No, and no REQUIRETLS
)

// Origin is the evidence that a tag rests on.
type Origin uint8

// Origins, from no evidence to the best.
const (
	OriginUnknown Origin = iota
	OriginHeader         // a header field, which anyone could have written
	OriginMDA            // argv or environment, set by the mail transfer agent's own configuration
	OriginLocal          // a local socket whose peer was checked
	OriginESMTP          // the transaction itself, inside verified TLS
)

const (
	tagLetters    = "unro" // by Tag: unknown, none, require, optional
	originLetters = "uhmle"
)

var (
	tagNames    = [...]string{"unknown", "none", "require", "optional"}
	originNames = [...]string{"unknown", "header", "mda", "local", "esmtp"}
)

func (t Tag) String() string {
	if int(t) < len(tagNames) {
		return tagNames[t]
	}
	return fmt.Sprintf("Tag(%d)", uint8(t))
}

func (o Origin) String() string {
	if int(o) < len(originNames) {
		return originNames[o]
	}
	return fmt.Sprintf("Origin(%d)", uint8(o))
}
