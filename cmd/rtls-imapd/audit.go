package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/hops"
	"rtls/store"
)

// readAuditCommand reads what stands behind audit.
func (o *options) readAuditCommand(words []string) error {
	const form = "write audit ACCOUNT, audit ACCOUNT MAILBOX or audit ACCOUNT MAILBOX UID"
	switch {
	case len(words) == 0:
		return errors.New("whose mail? " + form)
	case len(words) > 3:
		return errors.New("one message, one mailbox or one account at a time: " + form)
	}
	o.mode, o.user = modeAudit, words[0]
	if len(words) > 1 {
		if o.mailbox = words[1]; o.mailbox == "" {
			return errors.New("the mailbox has no name; " + form)
		}
	}
	if len(words) > 2 {
		uid, err := strconv.ParseUint(words[2], 10, 32)
		if err != nil || uid == 0 {
			return fmt.Errorf("a UID is a number above 0, not %q", words[2])
		}
		o.uid = uint32(uid)
	}
	if isPath(o.user) {
		return nil
	}
	return auth.ValidName(o.user)
}

// audit shows by what way messages came, and what of it is evidence.
func audit(ctx context.Context, env cli.Env, o *options) error {
	a, _, err := openAccount(env, o)
	if err != nil {
		return err
	}
	mailboxes := []string{o.mailbox}
	if o.mailbox == "" {
		mailboxes = nil
		var infos []store.MailboxInfo
		if infos, err = a.Mailboxes(ctx); err == nil {
			for _, info := range infos {
				if info.Exists {
					mailboxes = append(mailboxes, info.Name)
				}
			}
		}
	}
	for _, mailbox := range mailboxes {
		if err == nil {
			err = auditMailbox(ctx, env, o, a, mailbox)
		}
	}
	err = errors.Join(err, a.Close())
	if errors.Is(err, store.ErrNoMailbox) || errors.Is(err, store.ErrNoMessage) {
		return cli.Errorf(cli.NoInput, "%w", err)
	}
	return err
}

func auditMailbox(ctx context.Context, env cli.Env, o *options, a *store.Account, mailbox string) (err error) {
	m, err := a.Mailbox(ctx, mailbox)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	snapshot := m.Snapshot()
	if o.uid != 0 {
		at, ok := snapshot.Find(o.uid)
		if !ok {
			return cli.Errorf(cli.NoInput, "%s has no message with UID %d", mailbox, o.uid)
		}
		return auditMessage(ctx, env.Stdout, o, m, snapshot.At(at))
	}
	for i := range snapshot.Len() {
		err := auditMessage(ctx, env.Stdout, o, m, snapshot.At(i))
		if errors.Is(err, store.ErrNoMessage) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// audited is what is known of a message's way.
type audited struct {
	Account string     `json:"account"`
	Mailbox string     `json:"mailbox"`
	UID     uint32     `json:"uid"`
	Subject string     `json:"subject,omitempty"`
	Tag     string     `json:"tag"`
	Origin  string     `json:"origin"`
	Hops    []hops.Hop `json:"hops"` // the last one first
}

func auditMessage(ctx context.Context, w io.Writer, o *options, m *store.Mailbox, msg store.Message) error {
	content, err := m.Open(ctx, msg.UID)
	if err != nil {
		return err
	}
	header, err := hops.Header(io.NewSectionReader(content, 0, content.Size()), "Received", "RTLS-Delivery", "Subject")
	if err := errors.Join(err, content.Close()); err != nil {
		return fmt.Errorf("read UID %d of %s: %w", msg.UID, m.Name(), err)
	}
	// What the header says of our own agent, an uploaded message says, too. That it
	// was delivered, its origin says, which the store keeps.
	ours := msg.Origin != store.OriginUnknown
	found := audited{
		Account: o.user, Mailbox: m.Name(), UID: msg.UID, Subject: first(header["subject"]),
		Tag: msg.Tag.String(), Origin: msg.Origin.String(),
		Hops: hops.Read(header["received"], ours, first(header["rtls-delivery"])),
	}
	if o.json {
		return json.NewEncoder(w).Encode(found)
	}
	return say(w, found.text(ours))
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// text is for people.
func (a *audited) text(ours bool) string {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(cli.Printable(fmt.Sprintf(format, args...)) + "\n") }
	line("%s %s %d: %s", a.Account, a.Mailbox, a.UID, a.Subject)
	line("  tag %s, origin %s", a.Tag, a.Origin)
	for i, h := range a.Hops {
		line("  %2d %-7s %s", i+1, h.Evidence, hopText(h))
	}
	switch {
	case len(a.Hops) == 0:
		line("  No hop is written down, so nothing is known of its way.")
	case !ours:
		line("  None of this is evidence: it is not known that rtls-lda put the message here.")
	case len(a.Hops) == 1:
		line("  Hop 1 is evidence: rtls-lda has seen it.")
	default:
		line("  Only hop 1 is evidence: rtls-lda has seen it. The others say so themselves, and anybody could have written them.")
	}
	return b.String()
}

func hopText(h hops.Hop) string {
	var words []string
	for _, w := range []struct{ name, value string }{{"from", h.From}, {"by", h.By}, {"with", h.With}, {"tls", h.TLS}} {
		if w.value != "" {
			words = append(words, w.name+" "+w.value)
		}
	}
	if h.RequireTLS {
		words = append(words, "requiretls")
	}
	text := strings.Join(words, " ")
	if h.Note != "" {
		text += " (" + h.Note + ")"
	}
	return strings.TrimSpace(text)
}
