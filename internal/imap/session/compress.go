package session

import (
	"errors"

	"rtls/internal/imap/command"
	"rtls/internal/imap/deflate"
)

// errPipelined ends a connection on which more has come than the client may send.
var errPipelined = errors.New("octets behind COMPRESS")

// compress is COMPRESS (RFC 4978), which is for those who are logged in: it costs
// memory. What the client sends behind the command would have to be compressed, and
// it must not send anything yet (section 3).
func (s *Session) compress(c command.Compress) error {
	switch {
	case !s.cfg.Compress:
		return refuse("CANNOT", "compression is switched off")
	case c.Mechanism != "DEFLATE":
		return refuse("CANNOT", "there is DEFLATE and no other")
	case s.compressed:
		return refuse("COMPRESSIONACTIVE", "DEFLATE is active already")
	case s.lex.Buffered() > 0:
		return fatal{errPipelined}
	}
	return nil
}

// compressFromHere changes to compressed data, the reply to COMPRESS having been
// sent. Nothing but the end of the connection changes back; UNAUTHENTICATE leaves it
// like TLS.
func (s *Session) compressFromHere() {
	s.compressed = true
	s.from, s.to = deflate.NewReader(s.conn), deflate.NewWriter(s.conn)
	s.log.Info("compress")
}
