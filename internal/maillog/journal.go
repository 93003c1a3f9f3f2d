package maillog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"unicode/utf8"
)

// JournalSocket is where systemd's journal listens.
const JournalSocket = "/run/systemd/journal/socket"

// prefix stands before the names of a record's attributes, so that none is taken for one
// of the journal's own fields.
const prefix = "RTLS_"

// maxMessage bounds the text of an entry that is too large as a whole.
const maxMessage = 16 << 10

// Journal is a slog.Handler that writes entries of systemd's journal: the line that a
// Log would write as MESSAGE, and each attribute as a field of its own, of lists one for
// each element. Entries have the facility mail. It is safe for concurrent use.
type Journal struct {
	s     *socket
	tag   string
	attrs []slog.Attr
}

var _ slog.Handler = (*Journal)(nil)

// OpenJournal returns the journal that listens at path, and nil if none does.
func OpenJournal(tag, path string) *Journal {
	s := dial(path)
	if s == nil {
		return nil
	}
	return &Journal{s: s, tag: tag}
}

// Close ends the connection.
func (j *Journal) Close() { j.s.close() }

// Enabled is true for all but what is for debugging.
func (j *Journal) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// WithAttrs returns a handler whose entries have these as well.
func (j *Journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *j
	more.attrs = append(more.attrs[:len(more.attrs):len(more.attrs)], attrs...)
	return &more
}

// WithGroup returns the handler itself: no line of ours has groups.
func (j *Journal) WithGroup(string) slog.Handler { return j }

// Handle writes an entry. One that the system finds too large has its text alone.
func (j *Journal) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	r.AddAttrs(j.attrs...)
	var line bytes.Buffer
	if err := Text(&line).Handle(ctx, r); err != nil {
		return err
	}
	text := strings.TrimSuffix(line.String(), "\n")
	head := j.entry(r.Level, text)
	full := bytes.Clone(head)
	r.Attrs(func(a slog.Attr) bool {
		full = appendAttr(full, a)
		return true
	})
	if err := j.s.send(full); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return j.s.send(j.entry(r.Level, strings.ToValidUTF8(text[:min(len(text), maxMessage)], "")))
}

func (j *Journal) entry(level slog.Level, text string) []byte {
	priority := "6"
	switch {
	case level >= slog.LevelError:
		priority = "3"
	case level >= slog.LevelWarn:
		priority = "4"
	}
	var b []byte
	for _, field := range [][2]string{{"MESSAGE", text}, {"PRIORITY", priority}, {"SYSLOG_FACILITY", "2"}, {"SYSLOG_IDENTIFIER", j.tag}} {
		b = appendField(b, field[0], field[1])
	}
	return b
}

func appendAttr(b []byte, a slog.Attr) []byte {
	name := prefix + strings.Map(fieldLetter, a.Key)
	if list, ok := a.Value.Resolve().Any().([]string); ok {
		for _, value := range list {
			b = appendField(b, name, value)
		}
		return b
	}
	return appendField(b, name, a.Value.Resolve().String())
}

// fieldLetter makes letters of those that a field's name can have.
func fieldLetter(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z':
		return r - 'a' + 'A'
	case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return r
	}
	return '_'
}

// appendField writes a field as the journal's protocol has it: on a line or, if the value
// has lines of its own, with its length.
func appendField(b []byte, name, value string) []byte {
	if !strings.ContainsRune(value, '\n') && utf8.ValidString(value) {
		return fmt.Appendf(b, "%s=%s\n", name, value)
	}
	b = append(append(b, name...), '\n')
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	return append(append(b, value...), '\n')
}
