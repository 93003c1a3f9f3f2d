package lmtp

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	errAborted = errors.New("transaction was abandoned between chunks")
	// errBadChunk ends the connection: nobody knows how many of the octets that
	// follow are content, and content must never be run as commands.
	errBadChunk = errors.New("BDAT without a size")
)

// bdat follows RFC 3030 and RFC 2033 section 4.3. Every chunk but the last gets
// one reply, which only says that it has come; what became of the message is
// said behind the last, once per recipient. A client that was refused every
// recipient gets no reply to its last chunk, as it expects none.
func (c *conn) bdat(args string) bool {
	size, last, ok := parseBdat(args)
	if !ok {
		c.farewell(errBadChunk)
		return false
	}
	by := time.Now().Add(c.cfg.MessageTimeout)
	c.dataBy = by
	if c.tx == nil || len(c.tx.rcpts) == 0 {
		return c.discard(size, last)
	}
	c.tx.chunking = true
	chunks := &chunkReader{c: c, size: size, left: size, last: last, by: by}
	err := c.deliver(chunks)
	switch {
	case chunks.abortedBy != "":
		c.tx = nil
		return c.command(chunks.abortedBy)
	case err != nil:
		c.farewell(err)
		return false
	}
	return true
}

// discard reads a chunk that is for nobody.
func (c *conn) discard(size int64, last bool) bool {
	if _, err := io.CopyN(io.Discard, c.r, size); err != nil {
		c.farewell(err)
		return false
	}
	c.bad++
	if last {
		c.tx = nil
	} else {
		c.reply(503, "5.5.1", "no recipient")
	}
	return true
}

func parseBdat(args string) (size int64, last, ok bool) {
	fields := strings.Fields(args)
	switch {
	case len(fields) == 2 && strings.EqualFold(fields[1], "LAST"):
		last = true
	case len(fields) != 1:
		return 0, false, false
	}
	if len(fields[0]) > 18 || strings.Trim(fields[0], "0123456789") != "" {
		return 0, false, false
	}
	size, err := strconv.ParseInt(fields[0], 10, 64)
	return size, last, err == nil
}

// chunkReader reads the content of consecutive BDAT commands. Between chunks it
// runs the dialogue itself.
type chunkReader struct {
	c         *conn
	size      int64
	left      int64     // of this chunk
	last      bool      // this is the last chunk
	by        time.Time // when the message has to be here
	abortedBy string
	err       error
}

func (ch *chunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for ch.err == nil && ch.left == 0 {
		if ch.last {
			ch.err = io.EOF
			break
		}
		ch.c.reply(250, "2.0.0", "%d octets received", ch.size)
		ch.err = ch.next()
	}
	if ch.err != nil {
		return 0, ch.err
	}
	n, err := ch.c.r.Read(p[:min(int64(len(p)), ch.left)])
	ch.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	ch.err = err
	return n, err
}

// next runs commands up to the next BDAT.
func (ch *chunkReader) next() error {
	c := ch.c
	for {
		if time.Now().After(ch.by) {
			return os.ErrDeadlineExceeded
		}
		line, err := c.readLine()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		verb, args, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "BDAT":
			size, last, ok := parseBdat(args)
			if !ok {
				return errBadChunk
			}
			ch.size, ch.left, ch.last = size, size, last
			c.dataBy = ch.by
			return nil
		case "RSET", "LHLO", "QUIT", "STARTTLS":
			ch.abortedBy = line
			return errAborted
		default:
			c.command(line) // none of the others ends the connection or the transaction
		}
	}
}
