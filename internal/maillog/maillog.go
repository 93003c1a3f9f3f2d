// Package maillog is the system's log as a mail program sees it.
package maillog

import (
	"io"
	"log/slog"
	"log/syslog"
)

// Sockets are where the system's log listens.
var Sockets = []string{"/dev/log", "/var/run/syslog"}

// Log writes a line for each record, without its time, which the system's log has
// anyway.
type Log struct {
	slog.Handler
	w *syslog.Writer
}

// Open returns the log that listens at the first of sockets where one does, and nil
// where none does. Its lines have the facility mail and are marked with tag.
func Open(tag string, sockets []string) *Log {
	for _, path := range sockets {
		if w, err := syslog.Dial("unixgram", path, syslog.LOG_MAIL|syslog.LOG_INFO, tag); err == nil {
			return &Log{Text(w), w}
		}
	}
	return nil
}

// Close ends the connection. A nil Log has none.
func (l *Log) Close() {
	if l != nil {
		l.w.Close()
	}
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
