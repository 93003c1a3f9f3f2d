package compose

import (
	"strings"

	"rtls/internal/cli"
)

// arguments takes what the command line says: recipients and reverse-path.
func (m *Message) arguments(o Options) error {
	for _, arg := range o.Recipients {
		found, err := ParseList(arg)
		if err == nil && len(found) == 0 {
			return cli.Errorf(cli.Usage, "the recipient %q is no address", excerpt(arg))
		}
		if err != nil {
			return cli.Errorf(cli.DataErr, "the recipient %q: %w", excerpt(arg), err).WithStatus("5.1.3")
		}
		if err := m.add(found, o); err != nil {
			return err
		}
	}
	if o.Sender == nil {
		return nil
	}
	addr, err := ParseAddress(*o.Sender)
	if err != nil {
		return cli.Errorf(cli.DataErr, "the sender %q: %w", excerpt(*o.Sender), err).WithStatus("5.1.7")
	}
	if m.From = addr; o.PlusWish {
		m.From = m.cutPlus(addr)
	}
	return nil
}

// add adds recipients, each once, with what their aliases lead to.
func (m *Message) add(found []string, o Options) error {
	if m.known == nil {
		m.known = make(map[string]bool)
	}
	for _, addr := range found {
		if o.PlusWish {
			addr = m.cutPlus(addr)
		}
		more, err := o.expand(addr)
		if err != nil {
			return err
		}
		if len(more) == 0 {
			more = []string{addr}
		}
		for i := range more {
			if o.PlusWish {
				more[i] = m.cutPlus(more[i])
			}
		}
		if err := m.addAddresses(more); err != nil {
			return err
		}
	}
	return nil
}

func (m *Message) addAddresses(found []string) error {
	for _, addr := range found {
		if err := checkRecipient(addr); err != nil {
			return err
		}
		if key := mailboxKey(addr); !m.known[key] {
			m.known[key] = true
			m.To = append(m.To, addr)
		}
	}
	return nil
}

// recipients adds the header's recipients if that is asked for.
func (m *Message) recipients(fields []field, o Options) error {
	if o.FromHeader {
		for _, f := range recipientFields(fields) {
			found, err := ParseList(f.body())
			if err != nil {
				return cli.Errorf(cli.DataErr, "the %s field: %w", f.name, err).WithStatus("5.1.3")
			}
			if err := m.add(found, o); err != nil {
				return err
			}
		}
	}
	if len(m.To) > 0 {
		return nil
	}
	err := cli.Errorf(cli.Usage, "no recipients")
	if o.FromHeader {
		return err.WithHint("the message names none in To, Cc or Bcc; write them there or on the command line")
	}
	return err.WithHint("write them on the command line, or use -t to take them from the header")
}

// checkRecipient refuses an address without a domain: nobody but this host could
// say whose it is. Every domain has a postmaster (RFC 5321 section 4.5.1), and the
// submission server's needs no domain.
func checkRecipient(addr string) error {
	if strings.Contains(addr, "@") || strings.EqualFold(addr, "postmaster") {
		return nil
	}
	return cli.Errorf(cli.NoUser, "the recipient %q has no domain", addr).WithStatus("5.1.3").
		WithHint("write the whole address, user@example.org")
}

// recipientFields are the fields that name the recipients of this submission: of
// the topmost block of Resent- fields if there is one (RFC 5322 section 3.6.6),
// else To, Cc and Bcc. A block ends where a field of it would come twice, and at
// any other field; to read on would send to the readers of an earlier resending.
func recipientFields(fields []field) []field {
	var block, plain []field
	seen := make(map[string]bool)
	ended := false
	for _, f := range fields {
		name := strings.ToLower(f.name)
		switch name {
		case "to", "cc", "bcc":
			plain = append(plain, f)
		}
		resent := strings.HasPrefix(name, "resent-")
		ended = ended || seen[name] || !resent && len(seen) > 0
		if !resent || ended {
			continue
		}
		seen[name] = true
		switch name {
		case "resent-to", "resent-cc", "resent-bcc":
			block = append(block, f)
		}
	}
	if len(seen) > 0 {
		return block
	}
	return plain
}

// sender fills in m.From: what was asked for, else the account's identity, else
// the only author in the header, else this user at this host.
func (m *Message) sender(fields []field, o Options) error {
	if o.Sender != nil && (m.From == "" || strings.Contains(m.From, "@") && (!o.Force || o.Identity == "")) {
		return nil
	}
	if o.SenderFromHeader && o.Sender == nil && !o.Force {
		if m.From = author(fields); m.From != "" {
			return nil
		}
	}
	if o.Identity != "" {
		addr, err := ParseAddress(o.Identity)
		if err != nil || !strings.Contains(addr, "@") {
			return cli.Errorf(cli.Config, "the account's from = %q is not an address", o.Identity).WithHint(`write from = "user@example.org"`)
		}
		m.From = addr
		return nil
	}
	if m.From == "" {
		m.From = author(fields)
	}
	if m.From == "" {
		m.From = o.User
	}
	if !strings.Contains(m.From, "@") {
		addr, err := ParseAddress(m.From + "@" + o.Hostname)
		if err != nil || addr == "" {
			return cli.Errorf(cli.Usage, "there is no sender address").WithHint(`use -f, or write from = "user@example.org" in the account`)
		}
		m.From = addr
	}
	return nil
}

// author is the address in the From field if there is exactly one, and it has a
// domain.
func author(fields []field) string {
	addr := ""
	for _, f := range fields {
		if !f.is("From") {
			continue
		}
		found, err := ParseList(f.body())
		if err != nil || len(found) != 1 || addr != "" {
			return ""
		}
		addr = found[0]
	}
	if !strings.Contains(addr, "@") {
		return ""
	}
	return addr
}

func needsUTF8(addr string) bool { return hasEightBit([]byte(addr)) }

// addressNeedsUTF8 says whether an address in a field is not ASCII, which makes
// the message one for SMTPUTF8. Names and subjects in bare UTF-8 do not: programs
// have sent those for decades, and a message that asks for SMTPUTF8 without need
// is bounced by the many hosts that lack it.
func addressNeedsUTF8(f field) bool {
	switch strings.ToLower(strings.TrimPrefix(strings.ToLower(f.name), "resent-")) {
	case "from", "sender", "reply-to", "to", "cc":
	default:
		return false
	}
	if !hasEightBit(f.raw) {
		return false
	}
	p := &addrParser{s: f.body()}
	_ = p.list(false) // what cannot be read asks for nothing
	for _, addr := range p.found {
		if needsUTF8(addr) {
			return true
		}
	}
	return false
}
