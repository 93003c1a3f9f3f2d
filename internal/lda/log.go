package lda

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"time"
)

// log writes the one line that a recipient's delivery leaves.
func (a *Agent) log(ctx context.Context, env *Envelope, h *header, v verdict, r Recipient, c *storedCopy, e *Error, start time.Time) {
	attrs := []slog.Attr{
		slog.String("id", env.ID),
		slog.String("from", env.Sender),
		slog.String("rcpt", r.Address),
		slog.String("user", r.User),
		slog.String("folder", c.mailbox),
		slog.Int64("bytes", c.bytes),
		slog.Int64("ms", a.cfg.Clock().Sub(start).Milliseconds()),
	}
	more := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	more("queue_id", env.QueueID)
	more("proto", env.Protocol)
	if env.TLS != nil {
		more("tls", strings.TrimPrefix(tls.VersionName(env.TLS.Version), "TLS ")+" "+tls.CipherSuiteName(env.TLS.CipherSuite))
	}
	more("msgid", h.messageID[:min(len(h.messageID), 250)])
	more("tag", v.tag.String())
	more("origin", v.origin.String())
	more("note", strings.Join(v.notes, "; "))
	level, what := slog.LevelInfo, "delivered"
	switch {
	case e == nil:
		more("key", string(c.key))
	case e.Temporary():
		level, what = slog.LevelWarn, "deferred"
		more("err", e.Error())
	default:
		level, what = slog.LevelWarn, "refused"
		more("err", e.Error())
	}
	a.cfg.Logger.LogAttrs(ctx, level, what, attrs...)
}
