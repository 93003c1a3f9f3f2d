package lda

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"rtls/internal/dsn"
)

// report sends the report of success that is owed (RFC 3461 section 5.2), one for all
// recipients. The message is stored by then, so that a report that cannot be handed
// over is all that is lost, and the log says so.
func (j *job) report(ctx context.Context, outcomes []*outcome, results []error) {
	if !j.a.cfg.Reports || j.a.cfg.DryRun {
		return
	}
	f := &dsn.Failed{
		From: j.env.Sender, Wish: j.wish(), EnvelopeID: unXtext(j.env.EnvID), MessageID: j.h.messageID,
		Arrived: j.start, Content: headerOf{j.h},
	}
	for i, o := range outcomes {
		if results[i] != nil {
			continue
		}
		f.Recipients = append(f.Recipients, dsn.Recipient{
			Address: o.rcpt.Address, Original: unXtext(o.rcpt.ORcpt), Notify: strings.Split(o.rcpt.Notify, ","),
			Action: o.action(), Status: "2.0.0",
		})
	}
	err := guard(func() error {
		return dsn.Send(ctx, f, dsn.Options{Hostname: j.a.cfg.Hostname, Now: j.a.cfg.Clock}, j.sendReport)
	})
	if err != nil {
		j.a.cfg.Logger.ErrorContext(ctx, "report of success is lost", "id", j.env.ID, "to", j.env.Sender, "err", err)
	}
}

func (j *job) sendReport(ctx context.Context, r *dsn.Report) error {
	if j.a.cfg.Send == nil {
		return errors.New("there is no program to send with")
	}
	text, in := io.Pipe()
	go func() {
		_, err := r.WriteTo(in)
		in.CloseWithError(err)
	}()
	defer text.Close()
	return j.a.cfg.Send(ctx, Onward{To: r.To(), Wish: r.Wish(), Message: text})
}

// action is what a recipient's sender is told. What a script sends on is out of our
// hands, and what it discards has arrived.
func (o *outcome) action() dsn.Action {
	here := func(c *storedCopy) bool { return c.err == nil && c.content != nil }
	onward := func(s sending) bool { return s.redirect }
	if !slices.ContainsFunc(o.copies, here) && slices.ContainsFunc(o.sends, onward) {
		return dsn.ActionRelayed
	}
	return dsn.ActionDelivered
}

// headerOf writes a header, and a part of the body, with the line ends of a report.
type headerOf struct{ h *header }

func (c headerOf) WriteTo(w io.Writer) (int64, error) {
	var n int64
	for _, piece := range c.h.kept() {
		for line := range bytes.Lines(piece) {
			if text, ok := bytes.CutSuffix(line, []byte("\n")); ok {
				line = append(bytes.TrimSuffix(bytes.Clone(text), []byte("\r")), "\r\n"...)
			}
			m, err := w.Write(line)
			n += int64(m)
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// unXtext reads xtext (RFC 3461 section 4), which was checked when it came.
func unXtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
