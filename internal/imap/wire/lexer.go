package wire

import (
	"bufio"
	"errors"
	"io"
	"math"
	"strconv"
)

// Limits bound what one command may make the server read or hold.
type Limits struct {
	Line    int   // octets of a line
	Held    int   // octets of a command kept in memory: its lines and its string literals
	Discard int64 // octets of refused literals that are read and thrown away
}

const (
	readBuffer = 1 << 10 // small: an idle connection keeps it, and what is long goes past it
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

// Rest is what was received and not yet read, until the next call of another method.
func (l *Lexer) Rest() []byte {
	rest, _ := l.r.Peek(l.r.Buffered()) // it is there
	return rest
}

// Empty reports whether the command is an empty line.
func (l *Lexer) Empty() bool { return len(l.line) == 0 && !l.tooLong }
