package wire

import (
	"bufio"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits bound what one command may make the server read or hold.
type Limits struct {
	Line    int   // octets of a line
	Held    int   // octets of a command kept in memory: its lines and its string literals
	Discard int64 // octets of refused literals that are read and thrown away
}

const (
	readBuffer = 4 << 10 // small: an idle connection keeps it
	keepLine   = 4 << 10 // a larger line buffer is given back after the command
	tailSize   = 32      // of a line that is too long: enough for "{18446744073709551615+}"
)

// Lexer reads commands from a connection, element by element. Every command is
// begun with Next and ended with Finish. It belongs to one goroutine.
type Lexer struct {
	r      *bufio.Reader
	limits Limits
	prompt func() error // asks the client for a synchronising literal

	line    []byte // the current line: all of it, or up to where a literal starts
	pos     int
	tooLong bool
	held    int
	lit     literal
}

// literal is the state of the last literal that was announced.
type literal struct {
	open bool // announced and not yet read to its end
	sync bool // the client waits to be asked for it
	left int64
}

// NewLexer reads from r. prompt is called when the client waits for permission
// to send a literal; it must make that permission reach the client before the
// next read from r returns.
func NewLexer(r io.Reader, limits Limits, prompt func() error) *Lexer {
	return &Lexer{r: bufio.NewReaderSize(r, readBuffer), limits: limits, prompt: prompt}
}

// SetLimits changes the limits, for instance after login.
func (l *Lexer) SetLimits(limits Limits) { l.limits = limits }

// Next reads the first line of the next command. An error ends the connection.
func (l *Lexer) Next() error {
	l.held, l.lit = 0, literal{}
	return l.readLine()
}

// readLine reads a line, without its end. A lone line feed ends one, too: inside
// TLS there is nobody in between to be confused by it. Of a line that is too
// long the beginning is kept, and whether it announces a literal.
func (l *Lexer) readLine() error {
	l.line, l.pos, l.tooLong = l.line[:0], 0, false
	var tail [tailSize]byte
	nTail := 0
	for {
		part, err := l.r.ReadSlice('\n')
		if room := l.limits.Line - len(l.line); !l.tooLong && len(part) <= room {
			l.line = append(l.line, part...)
		} else {
			l.line = append(l.line, part[:max(0, min(room, len(part)))]...)
			l.tooLong = true
		}
		if l.tooLong {
			nTail = shiftTail(&tail, nTail, part)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(l.line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		break
	}
	l.held += len(l.line)
	end := l.line
	if l.tooLong {
		end = tail[:nTail]
	}
	end = trimEOL(end)
	if !l.tooLong {
		l.line = end
	} else if size, sync, ok := announcement(end); ok {
		l.lit = literal{open: true, sync: sync, left: size}
	}
	return nil
}

func shiftTail(tail *[tailSize]byte, n int, part []byte) int {
	if len(part) >= tailSize {
		return copy(tail[:], part[len(part)-tailSize:])
	}
	if over := n + len(part) - tailSize; over > 0 {
		copy(tail[:], tail[over:n])
		n -= over
	}
	return n + copy(tail[n:], part)
}

func trimEOL(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// announcement reports whether a line ends in "{n}" or "{n+}".
func announcement(line []byte) (size int64, sync, ok bool) {
	n := len(line)
	if n < 3 || line[n-1] != '}' {
		return 0, false, false
	}
	end := n - 1
	if sync = line[end-1] != '+'; !sync {
		end--
	}
	start := end
	for start > 0 && line[start-1] >= '0' && line[start-1] <= '9' {
		start--
	}
	if start == end || start == 0 || line[start-1] != '{' {
		return 0, false, false
	}
	size, err := strconv.ParseInt(string(line[start:end]), 10, 64)
	if err != nil {
		size = math.MaxInt64
	}
	return size, sync, true
}

// Finish throws away what is left of the command: literals that the client sends
// without waiting, and the lines between them, must never be taken for commands.
// An error ends the connection.
func (l *Lexer) Finish() error {
	for discarded := int64(0); ; {
		if !l.lit.open && !l.tooLong && l.pos < len(l.line) {
			if size, sync, ok := announcement(l.line); ok {
				l.lit = literal{open: true, sync: sync, left: size}
			}
		}
		if !l.lit.open || l.lit.sync {
			break // a client that waits does not send
		}
		if discarded += l.lit.left; discarded > l.limits.Discard || discarded < 0 {
			return ErrFlood
		}
		if _, err := io.CopyN(io.Discard, l.r, l.lit.left); err != nil {
			return noEOF(err)
		}
		l.lit = literal{}
		if err := l.readLine(); err != nil {
			return noEOF(err)
		}
	}
	l.lit = literal{}
	if cap(l.line) > keepLine {
		l.line = nil
	}
	l.line, l.pos = l.line[:0], 0
	return nil
}

// noEOF: the stream may end between commands, never inside one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Line reads a line outside any command: a SASL response, or the end of IDLE.
func (l *Lexer) Line() (string, error) {
	if err := l.readLine(); err != nil {
		return "", noEOF(err)
	}
	if l.tooLong {
		return "", Syntaxf("line is too long")
	}
	l.pos = len(l.line)
	return string(l.line), nil
}

// Buffered is the number of octets that were received and not yet read.
func (l *Lexer) Buffered() int { return l.r.Buffered() }

// Empty reports whether the command is an empty line.
func (l *Lexer) Empty() bool { return len(l.line) == 0 && !l.tooLong }

// Tag reads a command's tag. Without one there is nothing to put before a
// tagged reply.
func (l *Lexer) Tag() (string, error) {
	tag := l.while(isTagChar)
	if tag == "" || !l.AtEnd() && l.Peek() != ' ' {
		l.pos = 0 // whatever it is, it may still announce a literal
		return "", Syntaxf("no tag")
	}
	if l.tooLong {
		return tag, Syntaxf("command line is longer than %d octets", l.limits.Line)
	}
	return tag, nil
}

func (l *Lexer) while(accept func(byte) bool) string {
	start := l.pos
	for l.pos < len(l.line) && accept(l.line[l.pos]) {
		l.pos++
	}
	return string(l.line[start:l.pos])
}

// Peek returns the next octet, or 0 at the end of the line. An octet 0 in a line
// is no part of anything and is rejected by whatever reads it.
func (l *Lexer) Peek() byte {
	if l.pos < len(l.line) {
		return l.line[l.pos]
	}
	return 0
}

// Accept steps over c if it comes next.
func (l *Lexer) Accept(c byte) bool {
	if l.pos < len(l.line) && l.line[l.pos] == c {
		l.pos++
		return true
	}
	return false
}

// Expect steps over c, which has to come next.
func (l *Lexer) Expect(c byte) error {
	if l.Accept(c) {
		return nil
	}
	return l.unexpected("%q", c)
}

// SP steps over the one space that has to come next.
func (l *Lexer) SP() error { return l.Expect(' ') }

// End fails unless the command ends here.
func (l *Lexer) End() error {
	if l.pos == len(l.line) {
		return nil
	}
	return l.unexpected("the end of the command")
}

// AtEnd reports whether the line ends here.
func (l *Lexer) AtEnd() bool { return l.pos == len(l.line) }

func (l *Lexer) unexpected(format string, args ...any) error {
	found := "the end of the command"
	if l.pos < len(l.line) {
		found = strconv.QuoteToASCII(string(l.line[l.pos:min(len(l.line), l.pos+16)]))
	}
	return Syntaxf("expected "+format+", found %s", append(args, found)...)
}

// Atom reads an atom.
func (l *Lexer) Atom() (string, error) {
	if s := l.while(isAtomChar); s != "" {
		return s, nil
	}
	return "", l.unexpected("an atom")
}

// Word reads letters, digits and the characters in extra: a keyword of the
// grammar that something other than a space may follow.
func (l *Lexer) Word(extra string) (string, error) {
	s := l.while(func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(extra, c) >= 0
	})
	if s == "" {
		return "", l.unexpected("a keyword")
	}
	return strings.ToUpper(s), nil
}

// Flag reads a flag or keyword, "\" included. Case is kept.
func (l *Lexer) Flag() (string, error) {
	prefix := ""
	if l.Accept('\\') {
		prefix = `\`
	}
	s, err := l.Atom()
	if err != nil {
		return "", l.unexpected("a flag")
	}
	return prefix + s, nil
}

// List reads a parenthesised list, calling item for each element. It may be
// empty.
func (l *Lexer) List(item func() error) error {
	if err := l.Expect('('); err != nil {
		return err
	}
	if l.Accept(')') {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if l.Accept(')') {
			return nil
		}
		if err := l.SP(); err != nil {
			return err
		}
	}
}

// AString reads an atom-like word or a string.
func (l *Lexer) AString() (string, error) {
	if s := l.while(isAStringChar); s != "" {
		return s, nil
	}
	return l.String()
}

// Pattern reads a mailbox pattern of LIST.
func (l *Lexer) Pattern() (string, error) {
	if s := l.while(isListChar); s != "" {
		return s, nil
	}
	return l.String()
}

// NString reads a string or NIL.
func (l *Lexer) NString() (s string, isNil bool, err error) {
	if c := l.Peek(); c == 'n' || c == 'N' {
		word, err := l.Atom()
		if err == nil && !strings.EqualFold(word, "NIL") {
			err = Syntaxf("expected a string or NIL, found %q", word)
		}
		return "", true, err
	}
	s, err = l.String()
	return s, false, err
}

// String reads a quoted string or a literal, which is held in memory.
func (l *Lexer) String() (string, error) {
	switch l.Peek() {
	case '"':
		return l.quoted()
	case '{', '~':
		return l.heldLiteral()
	}
	return "", l.unexpected("a string")
}

func (l *Lexer) quoted() (string, error) {
	start := l.pos
	l.pos++
	var b strings.Builder
	for ; l.pos < len(l.line); l.pos++ {
		c := l.line[l.pos]
		switch {
		case c == '"':
			l.pos++
			s := b.String()
			if !utf8.ValidString(s) {
				return "", Syntaxf("a quoted string is not UTF-8")
			}
			return s, nil
		case c == '\\':
			l.pos++
			if e := l.Peek(); e != '"' && e != '\\' {
				return "", Syntaxf("a quoted string escapes something other than a quote or a backslash")
			}
			c = l.line[l.pos]
		case c == 0 || c == '\r':
			return "", Syntaxf("a quoted string holds NUL or CR")
		}
		b.WriteByte(c)
	}
	l.pos = start
	return "", Syntaxf("a quoted string does not end")
}

func (l *Lexer) heldLiteral() (string, error) {
	lit, err := l.Announced()
	if err != nil {
		return "", err
	}
	if lit.Size > int64(l.limits.Held-l.held) {
		return "", &SyntaxError{Code: "TOOBIG", Text: "literal is too large"}
	}
	r, err := l.OpenLiteral()
	if err != nil {
		return "", err
	}
	b := make([]byte, lit.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", noEOF(err)
	}
	l.held += len(b)
	if err := l.CloseLiteral(); err != nil {
		return "", err
	}
	if !lit.Binary && strings.IndexByte(string(b), 0) >= 0 {
		return "", Syntaxf("a literal holds NUL")
	}
	return string(b), nil
}

// Literal describes a literal that the client announced.
type Literal struct {
	Size   int64
	Sync   bool // the client waits to be asked
	Binary bool // "~{n}", may hold NUL (RFC 3516)
}

// Announced reads the announcement of a literal and leaves the literal where it
// is: OpenLiteral reads it, Finish gets rid of it.
func (l *Lexer) Announced() (Literal, error) {
	start := l.pos
	binary := l.Accept('~')
	rest := l.line[l.pos:]
	size, sync, ok := announcement(rest)
	if !ok || rest[0] != '{' || strings.IndexByte(string(rest[1:]), '{') >= 0 {
		l.pos = start
		return Literal{}, l.unexpected("a literal")
	}
	l.pos = len(l.line)
	l.lit = literal{open: true, sync: sync, left: size}
	return Literal{Size: size, Sync: sync, Binary: binary}, nil
}

// OpenLiteral asks for the announced literal, where the client waits for that,
// and returns a reader of exactly its octets. A stream that ends early is
// io.ErrUnexpectedEOF, never io.EOF.
func (l *Lexer) OpenLiteral() (io.Reader, error) {
	if l.lit.sync {
		if err := l.prompt(); err != nil {
			return nil, err
		}
		l.lit.sync = false // it comes now, wanted or not
	}
	return literalReader{l}, nil
}

// CloseLiteral reads past what is left of the literal, and then the line on
// which the command goes on.
func (l *Lexer) CloseLiteral() error {
	if _, err := io.CopyN(io.Discard, l.r, l.lit.left); err != nil {
		return noEOF(err)
	}
	l.lit = literal{}
	if err := l.readLine(); err != nil {
		return noEOF(err)
	}
	if l.tooLong || l.held > l.limits.Held {
		return Syntaxf("command is too long")
	}
	return nil
}

type literalReader struct{ l *Lexer }

func (r literalReader) Read(p []byte) (int, error) {
	lit := &r.l.lit
	if lit.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > lit.left {
		p = p[:lit.left]
	}
	n, err := r.l.r.Read(p)
	lit.left -= int64(n)
	if err != nil && lit.left > 0 {
		return n, noEOF(err)
	}
	return n, nil
}

// Number reads an unsigned 32-bit number.
func (l *Lexer) Number() (uint32, error) {
	n, err := l.digits(32)
	return uint32(n), err
}

// Number64 reads an unsigned 63-bit number (RFC 9051 section 9, number64).
func (l *Lexer) Number64() (uint64, error) { return l.digits(63) }

func (l *Lexer) digits(bits int) (uint64, error) {
	s := l.while(func(c byte) bool { return c >= '0' && c <= '9' })
	if s == "" {
		return 0, l.unexpected("a number")
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, Syntaxf("number %.24s is too large", s)
	}
	return n, nil
}

// Set reads a set of sequence numbers or UIDs.
func (l *Lexer) Set() (Set, error) {
	var set Set
	for {
		r, err := l.setRange()
		if err != nil {
			return nil, err
		}
		set = append(set, r)
		if !l.Accept(',') {
			return set, nil
		}
	}
}

func (l *Lexer) setRange() (Range, error) {
	lo, err := l.setNumber()
	if err != nil || !l.Accept(':') {
		return Range{lo, lo}, err
	}
	hi, err := l.setNumber()
	return Range{lo, hi}, err
}

func (l *Lexer) setNumber() (uint32, error) {
	if l.Accept('*') {
		return 0, nil
	}
	n, err := l.Number()
	if err == nil && n == 0 {
		err = Syntaxf("0 is not a message number")
	}
	return n, err
}

// Base64 reads a base64 text, or "=" for the empty one (RFC 4959), undecoded.
func (l *Lexer) Base64() (string, error) {
	s := l.while(func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '='
	})
	if s == "" {
		return "", l.unexpected("base64")
	}
	return s, nil
}
