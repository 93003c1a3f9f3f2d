package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"

	"rtls/internal/requiretls"
)

// Front is what rtls-send does with a message before it asks a server.
type Front struct {
	Aliases         string   `toml:"aliases"`           // file for recipients without a domain, as in aliases(5); default: none
	LocalDomains    []string `toml:"local_domains"`     // whose users have aliases as those of this host
	AliasesInHeader bool     `toml:"aliases_in_header"` // To and Cc name who is behind the aliases
	WishHeader      string   `toml:"wish_header"`       // field in which a script says yes, no or auto; it is removed; default: none
	PlusWish        bool     `toml:"plus_requiretls"`   // user+requiretls@example.org wishes for REQUIRETLS
	Rules           []*Rule  `toml:"rule"`
}

// Rule is a policy for messages: those that match get a wish or an account. All the
// conditions of a rule have to hold. The first rule that matches and sets the wish
// sets it, and so for the account.
//
// A pattern for addresses is one, or "@example.org" for all of a domain; "*" in it
// stands for any text. Case does not count.
type Rule struct {
	Sender    string `toml:"sender"`    // of the reverse-path asked for, else of the author
	Recipient string `toml:"recipient"` // of any recipient; of all where the wish is no or auto
	Header    string `toml:"header"`    // "Name: text": a field of this name that holds the text

	RequireTLS string `toml:"requiretls"` // yes (default where no account is set), no or auto
	Account    string `toml:"account"`
}

// Message is what the conditions of rules look at.
type Message struct {
	Sender string
	To     []string
	Header func(name string) []string // unfolded bodies
}

// Wish is what the rule sets. It sets none if ok is false.
func (r *Rule) Wish() (w requiretls.Wish, ok bool) {
	if r.RequireTLS == "" {
		return requiretls.Yes, r.Account == ""
	}
	w, err := requiretls.ParseWish(r.RequireTLS)
	return w, err == nil
}

// Match says whether the rule is about m.
func (r *Rule) Match(m Message) bool {
	if r.Sender != "" && !matchAddress(r.Sender, m.Sender) {
		return false
	}
	if r.Recipient != "" && !r.matchRecipients(m.To) {
		return false
	}
	if r.Header == "" {
		return true
	}
	name, text, _ := strings.Cut(r.Header, ":")
	text = strings.ToLower(strings.TrimSpace(text))
	for _, value := range m.Header(name) {
		if strings.Contains(strings.ToLower(value), text) {
			return true
		}
	}
	return false
}

// matchRecipients lets one recipient raise what the message demands, and only all
// together lower it.
func (r *Rule) matchRecipients(to []string) bool {
	w, sets := r.Wish()
	all := sets && w != requiretls.Yes
	for _, addr := range to {
		if matchAddress(r.Recipient, addr) != all {
			return !all
		}
	}
	return all && len(to) > 0
}

func matchAddress(pattern, addr string) bool {
	if pattern[0] == '@' {
		pattern = "*" + pattern
	}
	return glob(pattern, addr)
}

// glob compares text with a pattern in which "*" stands for any text.
func glob(pattern, text string) bool {
	parts := strings.Split(strings.ToLower(pattern), "*")
	rest, ok := strings.CutPrefix(strings.ToLower(text), parts[0])
	if len(parts) == 1 || !ok {
		return ok && rest == ""
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(rest, part)
		if at < 0 {
			return false
		}
		rest = rest[at+len(part):]
	}
	return strings.HasSuffix(rest, last)
}

// checkFront makes sure of what can be seen without a message.
func (f *File) checkFront() error {
	s := &f.Send
	if s.Aliases != "" && !strings.HasPrefix(s.Aliases, "/") {
		return f.errorf(toml.Key{"send", "aliases"}, `aliases is an absolute path, such as "/etc/aliases", not %q`, s.Aliases)
	}
	if strings.ContainsFunc(s.WishHeader, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) || strings.EqualFold(s.WishHeader, requiretls.HeaderName) {
		return f.errorf(toml.Key{"send", "wish_header"}, `wish_header is the name of a field, such as "X-Require-TLS", not %q`, s.WishHeader)
	}
	return nil
}

func (r *Rule) check(accounts map[string]*Account) error {
	if r.Sender == "" && r.Recipient == "" && r.Header == "" {
		return errors.New("a rule needs a condition: sender, recipient or header")
	}
	if name, _, ok := strings.Cut(r.Header, ":"); r.Header != "" && (!ok || name == "" || strings.ContainsAny(name, " \t")) {
		return fmt.Errorf(`header is written as "Name: text", not %q`, r.Header)
	}
	for _, pattern := range []string{r.Sender, r.Recipient} {
		if pattern != "" && !strings.Contains(pattern, "@") {
			return fmt.Errorf(`%q is no address; write one, or "@example.org" for all of a domain`, pattern)
		}
	}
	if r.Account != "" && accounts[r.Account] == nil {
		return fmt.Errorf("there is no account %q", r.Account)
	}
	if r.RequireTLS == "" {
		return nil
	}
	_, err := requiretls.ParseWish(r.RequireTLS)
	return err
}
