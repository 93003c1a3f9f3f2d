// Package maillog is the system's log as a mail program sees it.
package maillog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Sockets are where the system's log listens.
var Sockets = []string{"/dev/log", "/var/run/syslog"}

// patience is how long an entry waits for a log that takes nothing. A message that was
// delivered must not come again because nobody could write that down.
const patience = 500 * time.Millisecond

// Log writes a line for each record, without its time, which the system's log has
// anyway. It is safe for concurrent use.
type Log struct {
	slog.Handler
	s *socket
}

// Open returns the log that listens at the first of sockets where one does, and nil
// where none does. Its lines have the facility mail and are marked with tag.
func Open(tag string, sockets []string) *Log {
	for _, path := range sockets {
		if s := dial(path); s != nil {
			return &Log{Text(lines{s, tag}), s}
		}
	}
	return nil
}

// Close ends the connection. A nil Log has none.
func (l *Log) Close() {
	if l != nil {
		l.s.close()
	}
}

// lines makes entries of lines (RFC 3164 section 4.1, without the host).
type lines struct {
	s   *socket
	tag string
}

// mailInfo is the facility mail with the severity informational.
const mailInfo = 2<<3 | 6

func (l lines) Write(line []byte) (int, error) {
	entry := fmt.Appendf(nil, "<%d>%s %s[%d]: %s", mailInfo, time.Now().Format(time.Stamp), l.tag, os.Getpid(), line)
	if err := l.s.send(entry); err != nil {
		return 0, err
	}
	return len(line), nil
}

// socket is a way to the system's log, an entry each datagram.
type socket struct {
	path string

	mu   sync.Mutex // guards what follows
	conn net.Conn
}

// dial returns nil if nobody listens at path.
func dial(path string) *socket {
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		return nil
	}
	return &socket{path: path, conn: conn}
}

// send finds a log that was started anew, and gives up after a while:
// os.ErrDeadlineExceeded.
func (s *socket) send(entry []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.write(entry)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTCONN) {
		conn, again := net.Dial("unixgram", s.path)
		if again != nil {
			return err
		}
		_ = s.conn.Close()
		s.conn = conn
		err = s.write(entry)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the system's log takes nothing: %w", err)
	}
	return err
}

// write must be called with mu held.
func (s *socket) write(entry []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := s.conn.Write(entry)
	return err
}

func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.Close()
}

// Text writes lines without their time.
func Text(w io.Writer) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: withoutTime})
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}
