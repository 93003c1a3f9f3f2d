package lda

import (
	"context"
	"log/slog"
	"strings"
)

// log writes the line that a recipient's delivery leaves, one for each copy. err is
// an *Error or nil. The time is in milliseconds: until the message was here, and
// from then until it was stored.
func (j *job) log(ctx context.Context, r Recipient, c *storedCopy, err error) {
	env := &j.env
	user, bytes := c.user.Name, int64(0)
	if user == "" {
		user = r.User
	}
	if c.content != nil {
		bytes = c.content.bytes
	}
	now := j.a.cfg.Clock()
	received := j.received
	if received.IsZero() {
		received = now
	}
	attrs := []slog.Attr{
		slog.String("id", env.ID),
		slog.String("from", env.Sender),
		slog.String("rcpt", r.Address),
		slog.String("user", user),
		slog.String("folder", c.mailbox),
		slog.Int64("bytes", bytes),
		slog.Int64("receive_ms", received.Sub(j.start).Milliseconds()),
		slog.Int64("store_ms", now.Sub(received).Milliseconds()),
	}
	more := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	more("queue_id", j.queueID())
	more("proto", env.Protocol)
	more("peer", env.Remote)
	if env.TLS != nil {
		more("tls", strings.TrimPrefix(env.TLS.Version, "TLS ")+" "+env.TLS.Cipher)
	}
	more("msgid", j.h.messageID[:min(len(j.h.messageID), 250)])
	more("notify", r.Notify)
	more("orcpt", r.ORcpt)
	more("tag", j.v.tag.String())
	more("origin", j.v.origin.String())
	more("note", strings.Join(j.v.notes, "; "))
	level, what := slog.LevelInfo, "delivered"
	switch e, _ := err.(*Error); {
	case e == nil:
		more("key", string(c.key))
		if c.done != "" {
			what = c.done
		}
	case e.Temporary():
		level, what = slog.LevelWarn, "deferred"
		more("err", e.Error())
	default:
		level, what = slog.LevelWarn, "refused"
		more("err", e.Error())
	}
	if j.a.cfg.DryRun {
		what = "dry run: " + what
	}
	j.a.cfg.Logger.LogAttrs(ctx, level, what, attrs...)
}
