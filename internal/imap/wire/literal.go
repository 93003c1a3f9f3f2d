package wire

import (
	"io"
	"strings"
)

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

// SkipLiteral leaves an announced literal, with what follows it, to Finish, if it is
// larger than most octets: then it reports true.
func (l *Lexer) SkipLiteral(most int64) bool {
	start := l.pos
	lit, err := l.Announced()
	if err == nil && lit.Size > most {
		return true
	}
	l.pos, l.lit = start, literal{}
	return false
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
