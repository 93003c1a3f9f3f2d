// Package wire reads and writes the lexical elements of IMAP (RFC 9051 section
// 9): lines, atoms, strings, literals, number sets and mailbox names. It knows
// no command.
package wire

import (
	"errors"
	"fmt"
)

// SyntaxError says that what the client sent is not IMAP. The command gets a
// tagged BAD and the connection goes on.
type SyntaxError struct {
	Code string // response code without brackets, or empty
	Text string
}

func (e *SyntaxError) Error() string { return e.Text }

// Syntaxf makes a *SyntaxError.
func Syntaxf(format string, args ...any) error {
	return &SyntaxError{Text: fmt.Sprintf(format, args...)}
}

// ErrFlood says that the client announced more octets than this server is
// willing to read and throw away: what follows in the stream cannot be told
// apart from commands, so the connection has to be closed (RFC 7888 section 4).
var ErrFlood = errors.New("announced literals are too large")

func isAtomChar(c byte) bool {
	switch c {
	case '(', ')', '{', ' ', '%', '*', '"', '\\', ']':
		return false
	}
	return c > ' ' && c < 0x7f
}

// isAStringChar also admits what mailbox names and user names may hold.
func isAStringChar(c byte) bool { return isAtomChar(c) || c == ']' }

// isTagChar is any ASTRING-CHAR but "+" (RFC 9051 section 9).
func isTagChar(c byte) bool { return isAStringChar(c) && c != '+' }

// isListChar admits the wildcards of LIST patterns.
func isListChar(c byte) bool { return isAStringChar(c) || c == '%' || c == '*' }
