package sieve

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/mail"
	"slices"
	"strings"
	"time"

	"rtls/internal/mimetree"
)

// Periods of vacation (RFC 5230 section 4.1, RFC 6131 section 2).
const (
	day           = 24 * time.Hour
	defaultPeriod = 7 * day
	maxPeriod     = 365 * day

	maxFrom = 800 // octets of :from
)

// Vacation sends an answer to the sender. It is among the actions only if the
// message is one to be answered: to the user in person, by a person.
//
// Before it is sent, look whether an answer with Key has been sent within Period;
// if so, do nothing. The memory is the user's own, lasts over deliveries and holds
// at least 1000 keys (RFC 5230 section 4.2); make the note durable before sending.
//
// Send it with the null reverse-path and NOTIFY=NEVER. It may repeat the message's
// subject, so what RFC 8689 section 6 says counts: the answer to a message that
// came with REQUIRETLS goes out with REQUIRETLS or not at all, and that to one with
// TLS-Required: No can carry that field, before those of Message.
type Vacation struct {
	To     string        // the envelope sender of the message
	Key    string        // identifies the answer and the one who gets it
	Period time.Duration // 0: always answer

	// What Message is made of. All are UTF-8 on one line but Body.
	From       []*mail.Address
	Subject    string
	InReplyTo  string   // a Message-ID in angle brackets, or empty
	References []string // Message-IDs in angle brackets, the last is InReplyTo
	MIME       bool     // Body starts with header fields (RFC 5230 section 4.4)
	Body       string   // lines end in CRLF
}

type vacationCommand struct {
	step
	period        time.Duration
	subject, from *text // nil without the tag
	addresses     []text
	mime          bool
	handle        *text
	reason        text
}

func (c *compiler) vacation(call *call) (command, error) {
	cmd := vacationCommand{step: step{call.node}, mime: call.has("mime"), period: defaultPeriod}
	optional := func(tag string) (*text, error) {
		arg, ok := call.tags[tag]
		if !ok {
			return nil, nil
		}
		t, err := c.one(arg)
		return &t, err
	}
	var err error
	if cmd.subject, err = optional("subject"); err != nil {
		return nil, err
	}
	if cmd.from, err = optional("from"); err != nil {
		return nil, err
	}
	if cmd.handle, err = optional("handle"); err != nil {
		return nil, err
	}
	if cmd.addresses, err = c.all(call.tags["addresses"]); err != nil {
		return nil, err
	}
	if cmd.reason, err = c.one(call.pos[0]); err != nil {
		return nil, err
	}
	if arg, ok := call.tags["days"]; ok {
		cmd.period = time.Duration(min(max(arg.number, 1), 365)) * day
	}
	if arg, ok := call.tags["seconds"]; ok {
		if arg.number > 1<<31 {
			return nil, arg.at.errorf(":seconds is too large: it can be %d", 1<<31)
		}
		cmd.period = min(time.Duration(arg.number)*time.Second, maxPeriod)
	}
	return cmd, cmd.checkConstants()
}

// checkConstants finds at once what would be an error for every message.
func (c *vacationCommand) checkConstants() error {
	if c.from != nil && c.from.constant() {
		if _, err := c.readFrom(c.from.raw); err != nil {
			return err
		}
	}
	if c.mime && c.reason.constant() {
		return c.checkEntity(c.reason.raw)
	}
	return nil
}

func (c *vacationCommand) readFrom(s string) ([]*mail.Address, error) {
	list, err := mail.ParseAddressList(s)
	if err != nil || !plain(s) || len(s) > maxFrom {
		return nil, c.from.at.errorf(`vacation: %q is no address to answer from: write one, such as "Alice <alice@example.org>"`, oneLine(s, 200))
	}
	return list, nil
}

func (c vacationCommand) exec(r *run) error {
	if err := r.compatible(c.node); err != nil {
		return err
	}
	if r.vacation {
		return c.node.at.errorf("vacation: a message can be answered only once: put stop; behind the first vacation")
	}
	r.vacation = true
	answer, err := c.answer(r)
	if err != nil {
		return err
	}
	why, err := c.silent(r, answer)
	if err != nil {
		return err
	}
	if why != "" {
		r.say(c.node, "no answer: %s", why)
		return nil
	}
	r.say(c.node, "answer %s, not again for %v, key %s", answer.To, answer.Period, answer.Key)
	r.actions = append(r.actions, answer)
	return nil
}

// key identifies the answer by the arguments as they were written, without the
// values of variables (RFC 5230 section 4.2), and the one who gets it.
func (c *vacationCommand) key(to string) string {
	h := sha256.New()
	add := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	raw := func(t *text) {
		if t == nil {
			add("-")
			return
		}
		add("+" + t.raw)
	}
	add(lower(to))
	raw(c.handle)
	if c.handle == nil {
		raw(c.subject)
		raw(c.from)
		raw(&c.reason)
		add(map[bool]string{true: "mime", false: ""}[c.mime])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// silent says why a message is not to be answered, "" if it is.
func (c *vacationCommand) silent(r *run, answer Vacation) (string, error) {
	to, ok := pathAddress(answer.To)
	own := c.ownAddresses(r)
	switch {
	case answer.To == "":
		return "the sender is the null one", nil
	case !ok || to.Host == "" || !plain(answer.To):
		return "the sender's address cannot be read", nil
	case len(answer.From) == 0:
		return "there is no address to answer from", nil
	case own[ownForm(to, r.env.Delimiter)]:
		return "the sender is the user", nil
	case robot(to.Mailbox):
		return "the sender is a program", nil
	}
	fields, err := r.content.header(r.ctx)
	if err != nil {
		return "", err
	}
	for _, f := range fields {
		if automatic(f) {
			return "the message has a field " + f.name + ": it is automatic or of a list", nil
		}
	}
	for _, name := range recipientFields {
		found, err := r.content.addresses(r.ctx, name)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(found, func(a mimetree.Address) bool { return own[ownForm(a, r.env.Delimiter)] }) {
			return "", nil
		}
	}
	return "no address of the user is in To, Cc or Bcc: name it with :addresses", nil
}

// recipientFields are those that one of the user's addresses has to be in (RFC
// 5230 section 4.5).
var recipientFields = []string{"to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc"}

// ownAddresses are the user's, as ownForm has them.
func (c *vacationCommand) ownAddresses(r *run) map[string]bool {
	list := append([]string{r.env.Owner, r.content.Recipient}, r.env.Addresses...)
	list = append(list, r.expandAll(c.addresses)...)
	own := make(map[string]bool)
	for _, s := range list {
		for _, a := range addresses(s) {
			own[ownForm(a, r.env.Delimiter)] = true
		}
	}
	return own
}

// ownForm is the same for all forms that an address of one user can have: in any
// case, with a detail or without.
func ownForm(a mimetree.Address, delimiter string) string {
	a.Mailbox, _, _ = splitDetail(a.Mailbox, delimiter)
	return strings.ToLower(whole(a))
}

// robot says whether a local part is one that programs send from (RFC 5230 section
// 4.6).
func robot(local string) bool {
	local = lower(local)
	switch local {
	case "mailer-daemon", "listserv", "majordomo", "mailman", "bounce", "bounces", "daemon", "root":
		return true
	}
	for _, s := range []string{"owner-", "bounce-", "bounces-", "bounce+", "bounces+", "noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "do_not_reply"} {
		if strings.HasPrefix(local, s) {
			return true
		}
	}
	for _, s := range []string{"-request", "-owner", "-bounce", "-bounces", "-noreply", "-no-reply", "-relay"} {
		if strings.HasSuffix(local, s) {
			return true
		}
	}
	return false
}

// automatic says whether a field tells that nobody waits for an answer (RFC 5230
// section 4.6, RFC 3834 section 2).
func automatic(f field) bool {
	first, _, _ := strings.Cut(f.value, ";")
	first, _, _ = strings.Cut(first, "(")
	value := lower(strings.Trim(first, " \t"))
	switch f.name {
	case "list-id", "list-help", "list-subscribe", "list-unsubscribe", "list-post", "list-owner", "list-archive":
		return true
	case "precedence":
		return value == "bulk" || value == "junk" || value == "list"
	case "auto-submitted":
		return value != "no"
	case "x-auto-response-suppress": // Exchange
		for word := range strings.SplitSeq(value, ",") {
			switch strings.Trim(word, " \t") {
			case "all", "oof", "autoreply":
				return true
			}
		}
	}
	return false
}
