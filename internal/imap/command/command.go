// Package command turns what an IMAP client sends into typed commands. It
// decides about syntax and about which command belongs to which state of a
// connection; it looks at no mailbox.
package command

import (
	"strings"

	"rtls/internal/imap/wire"
)

// State is a set of connection states (RFC 9051 section 3).
type State uint8

const (
	NotAuthenticated State = 1 << iota
	Authenticated
	Selected
	// Clear is before STARTTLS, where a client can do next to nothing.
	Clear

	anyState    = beforeLogin | loggedIn
	beforeLogin = NotAuthenticated | Clear
	loggedIn    = Authenticated | Selected
)

// Command is one of the struct types of this package.
type Command any

// Commands without arguments.
type (
	Capability     struct{}
	Noop           struct{}
	Logout         struct{}
	StartTLS       struct{}
	Idle           struct{}
	Namespace      struct{}
	Unauthenticate struct{}
	Check          struct{}
	Close          struct{}
	Unselect       struct{}
)

// Login is LOGIN.
type Login struct{ User, Password string }

// Authenticate is AUTHENTICATE. Initial is the undecoded initial response (RFC
// 4959), nil if there is none.
type Authenticate struct {
	Mechanism string // upper case
	Initial   *string
}

// Compress is COMPRESS (RFC 4978); the mechanism is in upper case.
type Compress struct{ Mechanism string }

// Enable is ENABLE (RFC 5161); the names are in upper case.
type Enable struct{ Capabilities []string }

// ID is ID (RFC 2971). Values of NIL are left out.
type ID struct{ Fields [][2]string }

// NumSet is a set of messages: numbers, or the result of the last search that
// was saved, "$" (RFC 5182).
type NumSet struct {
	Set   wire.Set
	Saved bool
}

func (n NumSet) String() string {
	if n.Saved {
		return "$"
	}
	return n.Set.String()
}

// Parser parses commands.
type Parser struct {
	// UTF8 says that mailbox names are in UTF-8 rather than in modified UTF-7: the
	// client has enabled IMAP4rev2 or UTF8=ACCEPT.
	UTF8 bool
	// NoCharset says that SEARCH must not name a charset (RFC 6855 section 3).
	NoCharset bool
	// UIDOnly says that messages must not be named by sequence numbers (RFC 9586).
	UIDOnly bool
}

// errUIDRequired is the answer to sequence numbers of a client that wants none.
var errUIDRequired = &wire.SyntaxError{Code: "UIDREQUIRED", Text: "sequence numbers are switched off"}

type entry struct {
	states State
	parse  func(p *Parser, l *wire.Lexer) (Command, error)
}

// Parse reads the command that l.Next has found. Tag is empty if there is none,
// and name, which is for logs, if the command is unknown. The error is a
// *wire.SyntaxError, or one that ends the connection. Either way l.Finish has to
// follow.
//
// Of an Append and a ReplaceMessage the first literal is announced, but not yet read: see NextMessage.
func (p *Parser) Parse(l *wire.Lexer, state State) (tag, name string, cmd Command, err error) {
	if tag, err = l.Tag(); err != nil {
		return tag, "", nil, err
	}
	if l.AtEnd() {
		return tag, "", nil, wire.Syntaxf("no command")
	}
	if err := l.SP(); err != nil {
		return tag, "", nil, err
	}
	e, name, err := lookup(l)
	if err != nil {
		return tag, "", nil, err
	}
	if e.states&state == 0 {
		return tag, name, nil, wire.Syntaxf("%s is not possible %s", name, situation(e.states, state))
	}
	if p.UIDOnly && needsNumbers(name) {
		return tag, name, nil, errUIDRequired
	}
	if cmd, err = e.parse(p, l); err != nil {
		return tag, name, nil, err
	}
	switch c := cmd.(type) {
	case *Append, *ReplaceMessage: // go on with literals
	case Notify:
		if !c.Unknown { // else nobody knows what follows
			err = l.End()
		}
	default:
		err = l.End()
	}
	return tag, name, cmd, err
}

func lookup(l *wire.Lexer) (e entry, name string, err error) {
	if name, err = l.Atom(); err != nil {
		return e, "", err
	}
	name = strings.ToUpper(name)
	if name == "UID" {
		if err := l.SP(); err != nil {
			return e, "", err
		}
		sub, err := l.Atom()
		if err != nil {
			return e, "", err
		}
		name += " " + strings.ToUpper(sub)
	}
	e, ok := find(name)
	if !ok {
		return e, "", wire.Syntaxf("unknown command")
	}
	return e, name, nil
}

// needsNumbers reports whether a command has a form with UID that has to be used if
// sequence numbers are not wanted. EXPUNGE names no messages.
func needsNumbers(name string) bool {
	switch name {
	case "FETCH", "STORE", "COPY", "MOVE", "REPLACE", "SEARCH", "SORT", "THREAD":
		return true
	}
	return false
}

// situation says what is wrong about a state, for a command that has others.
func situation(possible, state State) string {
	switch {
	case state == Clear:
		return "before STARTTLS"
	case possible == Clear:
		return "inside TLS"
	case state == NotAuthenticated:
		return "before login"
	case state == Authenticated:
		return "now: no mailbox is selected, or login is over"
	}
	return "while a mailbox is selected"
}

// bare is the parser of a command without arguments.
func bare(cmd Command) func(*Parser, *wire.Lexer) (Command, error) {
	return func(*Parser, *wire.Lexer) (Command, error) { return cmd, nil }
}

func find(name string) (entry, bool) {
	e := entry{loggedIn, nil}
	switch name {
	case "CAPABILITY":
		e = entry{anyState, bare(Capability{})}
	case "NOOP":
		e = entry{anyState, bare(Noop{})}
	case "LOGOUT":
		e = entry{anyState, bare(Logout{})}
	case "ID":
		e = entry{anyState, parseID}

	case "STARTTLS":
		e = entry{Clear, bare(StartTLS{})}
	case "LOGIN":
		e = entry{beforeLogin, parseLogin}
	case "AUTHENTICATE":
		e = entry{beforeLogin, parseAuthenticate}

	case "ENABLE":
		e.parse = parseEnable
	case "SELECT":
		e.parse = parseSelect(false)
	case "EXAMINE":
		e.parse = parseSelect(true)
	case "CREATE":
		e.parse = parseCreate
	case "DELETE":
		e.parse = parseDelete
	case "RENAME":
		e.parse = parseRename
	case "SUBSCRIBE":
		e.parse = parseSubscribe(true)
	case "UNSUBSCRIBE":
		e.parse = parseSubscribe(false)
	case "LIST":
		e.parse = parseList
	case "LSUB":
		e.parse = parseLSub
	case "NAMESPACE":
		e.parse = bare(Namespace{})
	case "NOTIFY":
		e.parse = parseNotify
	case "ESEARCH":
		e.parse = parseMultiSearch
	case "STATUS":
		e.parse = parseStatus
	case "APPEND":
		e.parse = parseAppend
	case "GETMETADATA":
		e.parse = parseGetMetadata
	case "SETMETADATA":
		e.parse = parseSetMetadata
	case "GETQUOTA":
		e.parse = parseGetQuota
	case "GETQUOTAROOT":
		e.parse = parseGetQuotaRoot
	case "SETQUOTA":
		e.parse = parseSetQuota
	case "IDLE":
		e.parse = bare(Idle{})
	case "UNAUTHENTICATE":
		e.parse = bare(Unauthenticate{})
	case "COMPRESS":
		e.parse = parseCompress

	default:
		e.states = Selected
		e.parse = findSelected(name)
	}
	return e, e.parse != nil
}

// findSelected returns the parsers of commands that need a selected mailbox.
func findSelected(name string) func(*Parser, *wire.Lexer) (Command, error) {
	name, uid := strings.CutPrefix(name, "UID ")
	switch name {
	case "FETCH":
		return parseFetch(uid)
	case "STORE":
		return parseStore(uid)
	case "COPY":
		return parseCopy(uid, false)
	case "MOVE":
		return parseCopy(uid, true)
	case "REPLACE":
		return parseReplace(uid)
	case "SEARCH":
		return parseSearch(uid)
	case "SORT":
		return parseSort(uid)
	case "THREAD":
		return parseThread(uid)
	case "EXPUNGE":
		return parseExpunge(uid)
	}
	if uid {
		return nil
	}
	switch name {
	case "CHECK":
		return bare(Check{})
	case "CLOSE":
		return bare(Close{})
	case "CANCELUPDATE":
		return parseCancelUpdate
	case "UNSELECT":
		return bare(Unselect{})
	}
	return nil
}

func parseLogin(_ *Parser, l *wire.Lexer) (Command, error) {
	var c Login
	var err error
	if err = l.SP(); err != nil {
		return nil, err
	}
	if c.User, err = l.AString(); err != nil {
		return nil, err
	}
	if err = l.SP(); err != nil {
		return nil, err
	}
	if c.Password, err = l.AString(); err != nil {
		return nil, err
	}
	return c, nil
}

func parseAuthenticate(_ *Parser, l *wire.Lexer) (Command, error) {
	if err := l.SP(); err != nil {
		return nil, err
	}
	mechanism, err := l.Atom()
	if err != nil {
		return nil, err
	}
	c := Authenticate{Mechanism: strings.ToUpper(mechanism)}
	if l.Accept(' ') {
		initial, err := l.Base64()
		if err != nil {
			return nil, err
		}
		c.Initial = &initial
	}
	return c, nil
}

func parseCompress(_ *Parser, l *wire.Lexer) (Command, error) {
	if err := l.SP(); err != nil {
		return nil, err
	}
	mechanism, err := l.Atom()
	return Compress{strings.ToUpper(mechanism)}, err
}

func parseEnable(_ *Parser, l *wire.Lexer) (Command, error) {
	var c Enable
	for {
		if err := l.SP(); err != nil {
			return nil, err
		}
		name, err := l.Atom()
		if err != nil {
			return nil, err
		}
		c.Capabilities = append(c.Capabilities, strings.ToUpper(name))
		if l.AtEnd() {
			return c, nil
		}
	}
}

const maxIDFields = 30 // RFC 2971 section 3.3

func parseID(_ *Parser, l *wire.Lexer) (Command, error) {
	if err := l.SP(); err != nil {
		return nil, err
	}
	var c ID
	if l.Peek() != '(' {
		_, isNil, err := l.NString()
		if err == nil && !isNil {
			err = wire.Syntaxf("ID takes a list or NIL")
		}
		return c, err
	}
	var name string
	n := 0
	err := l.List(func() error {
		n++
		if n > 2*maxIDFields {
			return wire.Syntaxf("ID has more than %d fields", maxIDFields)
		}
		if n%2 == 1 {
			var err error
			name, err = l.String()
			return err
		}
		value, isNil, err := l.NString()
		if !isNil {
			c.Fields = append(c.Fields, [2]string{name, value})
		}
		return err
	})
	if err == nil && n%2 == 1 {
		err = wire.Syntaxf("ID has a field without a value")
	}
	return c, err
}

// numSet reads a set of messages.
func numSet(l *wire.Lexer) (NumSet, error) {
	if l.Accept('$') {
		return NumSet{Saved: true}, nil
	}
	set, err := l.Set()
	return NumSet{Set: set}, err
}

// spaced runs readers with a space before each.
func spaced(l *wire.Lexer, readers ...func() error) error {
	for _, read := range readers {
		if err := l.SP(); err != nil {
			return err
		}
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}
