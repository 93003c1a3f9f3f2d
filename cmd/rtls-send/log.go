package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/config"
	"rtls/internal/maillog"
	"rtls/internal/submit"
)

// sendLog has a line for what became of each message. It is opened when there is
// something to write, and what is wrong with it never changes what becomes of a message.
type sendLog struct {
	where  string // "syslog", "journal", "none" or the path of a file
	format string // of a file
	tag    string // -L
	warn   func(error)

	handler slog.Handler
	close   func()
}

func newSendLog(env cli.Env, o *options, send config.Send) *sendLog {
	l := &sendLog{where: inHome(env, send.Log), format: send.LogFormat, tag: o.tag, close: func() {}}
	if l.where == "" {
		l.where = "syslog"
	}
	if l.tag == "" {
		l.tag = name
	}
	l.warn = func(err error) {
		fmt.Fprintf(env.Stderr, "%s: there is no log: %s\n", name, cli.Printable(err.Error()))
	}
	return l
}

// Close ends what was opened.
func (l *sendLog) Close() { l.close() }

// logger opens the log where that was not done.
func (l *sendLog) logger() *slog.Logger {
	if l.handler == nil {
		l.handler = l.open()
	}
	return slog.New(l.handler)
}

func (l *sendLog) open() slog.Handler {
	switch l.where {
	case "none":
		return slog.DiscardHandler
	case "syslog":
		s := maillog.Open(l.tag, maillog.Sockets)
		if s == nil {
			return slog.DiscardHandler
		}
		l.close = s.Close
		return s
	case "journal":
		j := maillog.OpenJournal(l.tag, maillog.JournalSocket)
		if j == nil {
			return slog.DiscardHandler
		}
		l.close = j.Close
		return j
	}
	f, err := os.OpenFile(l.where, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		l.warn(err)
		return slog.DiscardHandler
	}
	l.close = func() { f.Close() }
	if l.format == "json" {
		return slog.NewJSONHandler(f, nil)
	}
	return slog.NewTextHandler(f, nil)
}

// about is what a line says of a message.
func (c *composing) about(m *compose.Message) []any {
	return []any{
		"account", c.settings.account.Name, "from", m.From, "rcpt", m.To, "size", m.Size(), "msgid", m.MessageID,
		"requiretls", c.settings.wish.String(), "user", c.settings.user,
	}
}

// sent logs a message that a server took.
func (l *sendLog) sent(about []any, r *submit.Receipt) {
	l.logger().Info("sent", append(about, received(r)...)...)
}

// received is what a line says of the server that took a message.
func received(r *submit.Receipt) []any {
	return []any{
		"target", r.Target, "tls", tlsName(r), "cipher", cipherName(r),
		"pin", r.KeyPin, "auth", r.Mechanism, "asked_requiretls", r.RequireTLS, "reply", r.Reply.String(),
	}
}

// tlsName and cipherName are how a message went. Over a Unix socket that may have been
// without TLS.
func tlsName(r *submit.Receipt) string {
	if r.TLSVersion == 0 {
		return "none"
	}
	return tls.VersionName(r.TLSVersion)
}

func cipherName(r *submit.Receipt) string {
	if r.TLSVersion == 0 {
		return "none"
	}
	return tls.CipherSuiteName(r.Cipher)
}

// ineffective logs that flags of a message's caller have no effect.
func (l *sendLog) ineffective(about []any, flags []string) {
	l.logger().Warn("flags without effect", append(about, "flags", flags)...)
}

// queued logs a message that waits in the queue; why is nil where nothing was tried.
func (l *sendLog) queued(about []any, id string, why error) {
	about = append(about, "id", id)
	if why != nil {
		about = append(about, "err", why)
	}
	l.logger().Info("queued", about...)
}

// refused logs a message that its caller gets back.
func (l *sendLog) refused(about []any, err error) {
	l.logger().Warn("not sent", append(about, "exit", cli.ExitCode(err), "err", err)...)
}
