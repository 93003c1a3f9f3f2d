//go:build !plain

package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"rtls/internal/sieve"
	"rtls/store"
)

// filter runs a user's script and says where the message is to be stored. What is to
// be sent is noted in o, and what else is done with the message as well.
func (j *job) filter(ctx context.Context, o *outcome, u User, keep placement) ([]placement, error) {
	script, err := readScript(u.Script)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []placement{keep}, nil
	case isScriptError(err):
		return j.ignoreScript(ctx, u, keep, err), nil
	case err != nil:
		return nil, fmt.Errorf("filter: %w", err)
	}
	trace := j.trace(&content{to: o.rcpt}, j.eol())
	result, err := script.Run(ctx, j.filterEnv(u, o.rcpt, keep), sieve.Message{
		Content:   &traced{trace, j.spool},
		Size:      int64(len(trace)) + j.spool.size,
		WireSize:  j.spool.size + j.spool.bare,
		Sender:    j.env.Sender,
		Recipient: o.rcpt.Address,
	})
	if isScriptError(err) {
		return j.ignoreScript(ctx, u, keep, err), nil
	}
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return j.obey(o, u, keep, result)
}

// ignoreScript keeps the message of a user whose script is wrong (RFC 5228 section
// 2.10.6). The user will not learn of it from us, but somebody may.
func (j *job) ignoreScript(ctx context.Context, u User, keep placement, err error) []placement {
	j.a.explain("filter: %s is wrong and passed over: %v", u.Script, err)
	j.a.cfg.Logger.WarnContext(ctx, "filter is wrong, message is kept", "id", j.env.ID, "user", u.Name, "script", u.Script, "err", err)
	return []placement{keep}
}

func isScriptError(err error) bool {
	_, ok := errors.AsType[*sieve.Error](err)
	return ok
}

// readScript reads a script file, which is the user's: it may be anything.
func readScript(path string) (*sieve.Script, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to wait for a FIFO's writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	return sieve.Parse(f)
}

// traced reads the trace fields and then the message.
type traced struct {
	trace []byte
	rest  io.ReaderAt
}

func (t *traced) ReadAt(p []byte, at int64) (n int, err error) {
	if at < int64(len(t.trace)) {
		n = copy(p, t.trace[at:])
		if n == len(p) {
			return n, nil
		}
	}
	m, err := t.rest.ReadAt(p[n:], at+int64(n)-int64(len(t.trace)))
	return n + m, err
}

func (j *job) filterEnv(u User, r Recipient, keep placement) sieve.Env {
	inboxName := keep.folder
	if inboxName == "" {
		inboxName = inbox
	}
	env := sieve.Env{
		Now:       j.start,
		Delimiter: j.a.cfg.Delimiter,
		Owner:     ownerOf(u, r, j.a),
		Inbox:     inboxName,
		Mailboxes: ownMailboxes{j.a, u},
		Tag:       j.v.tag.String(),
		Origin:    j.v.origin.String(),
	}
	if j.a.cfg.Explain != nil {
		env.Explain = func(line string) { j.a.explain("filter: %s", line) }
	}
	return env
}

// ownerOf is the address that answers come from.
func ownerOf(u User, r Recipient, a *Agent) string {
	if strings.Contains(u.Name, "@") {
		return u.Name
	}
	local, domain := SplitAddress(r.Address)
	if base, _ := a.splitDetail(local); domain != "" && strings.EqualFold(base, u.Name) {
		return Quote(base + "@" + domain)
	}
	return ""
}

// ownMailboxes answers a script's question.
type ownMailboxes struct {
	a *Agent
	u User
}

func (m ownMailboxes) Exists(ctx context.Context, name string) (bool, error) {
	account, err := store.Open(m.u.Dir, m.a.cfg.Store)
	if errors.Is(err, store.ErrNoAccount) {
		return strings.EqualFold(name, inbox), nil
	}
	if err != nil {
		return false, err
	}
	defer account.Close()
	return mailboxExists(ctx, account, name)
}

// obey makes placements of what a script has decided.
func (j *job) obey(o *outcome, u User, keep placement, result sieve.Result) (places []placement, err error) {
	before := len(o.sends) // those are of other targets
	for _, action := range result.Actions {
		switch act := action.(type) {
		case sieve.Keep:
			places = append(places, keep.flagged(act.Flags))
		case sieve.FileInto:
			p := placement{folder: act.Mailbox, create: act.Create || j.a.cfg.CreateFolders}
			places = append(places, p.flagged(act.Flags))
		case sieve.Reject:
			j.a.explain("filter: refused")
			return nil, refused(act)
		case sieve.Discard:
			j.a.explain("filter: discarded")
			o.copies = append(o.copies, &storedCopy{user: u, done: "discarded by filter"})
		case sieve.Redirect:
			o.sends = append(o.sends, sending{
				user: u, to: act.Address, from: o.rcpt.Address,
				redirect: true, keep: keep.flagged(result.Keep.Flags),
			})
		case sieve.Vacation:
			o.sends = append(o.sends, sending{user: u, to: act.To, answer: &act})
		}
	}
	for i := range o.sends[before:] {
		o.sends[before+i].alone = len(places) == 0
	}
	return places, nil
}

// refused is a reject action as a reply. We send no messages of refusal ourselves:
// most would go to forged addresses. A reason that a reply cannot hold is left out.
func refused(r sieve.Reject) *Error {
	reason := strings.Join(strings.Fields(r.Reason), " ")
	if len(reason) > 400 || strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' || r > '~' }) {
		reason = ""
	}
	if reason == "" {
		reason = "the recipient refuses this message"
	}
	return &Error{Code: 550, Status: "5.7.1", Text: reason}
}

// flagged is the placement with IMAP flags and keywords.
func (p placement) flagged(names []string) placement {
	flags := map[string]store.Flags{
		`\seen`: store.Seen, `\answered`: store.Answered, `\flagged`: store.Flagged,
		`\deleted`: store.Deleted, `\draft`: store.Draft,
	}
	p.flags, p.keywords = 0, nil
	for _, name := range names {
		if f, ok := flags[strings.ToLower(name)]; ok {
			p.flags |= f
		} else if !strings.HasPrefix(name, `\`) && !reserved(name) {
			p.keywords = append(p.keywords, name)
		}
	}
	return p
}

// reserved says that a keyword is the tag's, which nobody can set.
func reserved(keyword string) bool {
	return slices.ContainsFunc([]string{"$RequireTLS", "$RequireTLSUnknown", "$TLSOptional"}, func(k string) bool {
		return strings.EqualFold(k, keyword)
	})
}
