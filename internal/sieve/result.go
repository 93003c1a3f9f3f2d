package sieve

import (
	"slices"
	"strings"
	"unicode/utf8"
)

const inbox = "INBOX"

// Action is Keep, FileInto, Redirect, Reject, Discard or Vacation.
type Action interface{ action() }

// Keep stores the message where it would be stored without a script.
type Keep struct{ Flags []string }

// FileInto stores the message in a mailbox. If that is not there and is not to be
// created, or cannot be, store the message where Keep does.
type FileInto struct {
	Mailbox string // UTF-8, with the hierarchy separator that the user wrote
	Create  bool   // create the mailbox if it is not there
	Copy    bool   // it came with :copy, so it did not cancel the implicit keep
	// Flags are IMAP system flags that can be set, and keywords; each is there once.
	// What the mailbox cannot store is to be passed over (RFC 5232 section 5).
	Flags []string
}

// Redirect sends the message to an address. The envelope sender stays what it is,
// if it is the null one it has to (RFC 5228 section 4.2), and a Received field has
// to be added. Who carries it out counts those to stop loops.
//
// It makes a message of its own of one that had a tag: one that came with
// REQUIRETLS has to go on with REQUIRETLS or not at all, and TLS-Required stays in
// the header, so that it goes on with that (RFC 8689 section 6). If it is not to be
// sent for such a reason, the implicit keep is not cancelled: do Result.Keep, unless
// Copy is set or another action stores the message.
type Redirect struct {
	Address string // an RFC 5321 mailbox
	Copy    bool
}

// Reject refuses the message. Nothing is stored.
type Reject struct {
	Reason string // UTF-8, lines end in CRLF
	// InSession asks for a refusal in the LMTP session even if the reason has to be
	// replaced to fit in there (ereject, RFC 5429 section 2.1). Otherwise a reason
	// that is not ASCII is to be sent in a message.
	InSession bool
}

// Discard throws the message away, silently. It is the only action but Vacation.
type Discard struct{}

func (Keep) action()     {}
func (FileInto) action() {}
func (Redirect) action() {}
func (Reject) action()   {}
func (Discard) action()  {}
func (Vacation) action() {}

// outcome is what a script has asked for so far.
type outcome struct {
	actions   []Action // no Discard, which is what is left when none disposes of the message
	cancelled bool     // the implicit keep
	vacation  bool     // there was one, answered or not
}

func kept(flags []string) Result {
	keep := Keep{Flags: flags}
	return Result{Actions: []Action{keep}, Keep: keep}
}

func (r *run) result() Result {
	implicit := kept(slices.Clone(r.flags))
	actions := r.actions
	if !r.cancelled {
		if !r.merge(implicit.Keep) {
			actions = append(actions, implicit.Keep)
		}
		r.explain("end: implicit keep")
	} else if !slices.ContainsFunc(actions, disposes) {
		actions = append(actions, Discard{})
	}
	return Result{Actions: actions, Keep: implicit.Keep}
}

// disposes says whether an action takes care of the message.
func disposes(a Action) bool {
	_, answer := a.(Vacation)
	return !answer
}

// mailboxOf returns where an action stores the message.
func (r *run) mailboxOf(a Action) (name string, ok bool) {
	switch a := a.(type) {
	case Keep:
		return r.env.Inbox, true
	case FileInto:
		return a.Mailbox, true
	}
	return "", false
}

func sameMailbox(a, b string) bool {
	return a == b || strings.EqualFold(a, inbox) && strings.EqualFold(b, inbox)
}

// merge makes one action of two that store the message in one mailbox (RFC 5228
// section 2.10.3), with the flags of the later (RFC 5232 section 3).
func (r *run) merge(later Action) bool {
	name, stores := r.mailboxOf(later)
	for i, a := range r.actions {
		other, ok := r.mailboxOf(a)
		if !ok || !stores || !sameMailbox(name, other) {
			continue
		}
		into, filed := a.(FileInto)
		switch later := later.(type) {
		case Keep:
			into.Flags, into.Copy = later.Flags, false
		case FileInto:
			into.Flags, into.Create, into.Copy = later.Flags, into.Create || later.Create, into.Copy && later.Copy
		}
		if filed {
			r.actions[i] = into
		} else {
			r.actions[i] = Keep{into.Flags}
		}
		return true
	}
	return false
}

// store adds an action that stores the message.
func (r *run) store(n *node, a Action) error {
	if err := r.compatible(n); err != nil {
		return err
	}
	if r.merge(a) {
		return nil
	}
	if len(r.actions) >= maxActions {
		return n.at.errorf("%s: too many actions: there can be %d", n.name, maxActions)
	}
	r.actions = append(r.actions, a)
	return nil
}

// compatible refuses an action beside reject (RFC 5429 section 2.4).
func (r *run) compatible(n *node) error {
	for _, a := range r.actions {
		if _, ok := a.(Reject); ok {
			return n.at.errorf("%s cannot be done to a message that has been rejected: put stop; behind the reject", n.name)
		}
	}
	return nil
}

// checkMailbox says what is wrong with the name of a mailbox, "" if nothing is.
func checkMailbox(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxMailbox:
		return "is too long"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 }):
		return "holds control characters"
	}
	return ""
}
