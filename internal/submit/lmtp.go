package submit

import (
	"fmt"
	"slices"
	"strings"

	"rtls/internal/cli"
)

// Outcome is what became of a message at an LMTP server that did not treat all
// recipients alike. Who is in none of the lists was not answered for.
type Outcome struct {
	Done  []string // they have it, and must not get it once more
	Later []string // refused for now
	Never []Refused
}

// Refused is a recipient that was refused for good.
type Refused struct {
	To  string
	Err *cli.Error // why
}

// mixed says whether there is more to say than an error can.
func (o *Outcome) mixed() bool {
	return len(o.Done) > 0 || len(o.Later) > 0 && len(o.Never) > 0
}

// OutcomeOf returns what an error of Send says about single recipients, if it was not
// the same for all of them.
func OutcomeOf(err error) (o Outcome, mixed bool) {
	for _, e := range targetErrors(err) {
		if e.Outcome.mixed() {
			return e.Outcome, true
		}
	}
	return Outcome{}, false
}

// Rest is who of some recipients may still get the message: those that neither have it
// nor were refused for good.
func (o *Outcome) Rest(to []string) []string {
	return slices.DeleteFunc(slices.Clone(to), func(addr string) bool {
		return slices.Contains(o.Done, addr) || slices.ContainsFunc(o.Never, func(r Refused) bool { return r.To == addr })
	})
}

// verdicts reads a reply for each recipient, in the order of their RCPT commands; all
// of these were accepted. It fails unless the message is there for all of them.
func (s *session) verdicts(m *Mail) (Reply, error) {
	refusals := &rejections{}
	var good Reply
	for _, to := range m.To {
		r, err := s.judgement()
		if err != nil {
			return Reply{}, err
		}
		if r.positive() {
			s.outcome.Done = append(s.outcome.Done, to)
			good = r
			continue
		}
		no := refused(stageRcpt, "delivery to <"+to+">", r)
		refusals.rcpts = append(refusals.rcpts, no)
		if no.err.Code == cli.TempFail {
			s.outcome.Later = append(s.outcome.Later, to)
		} else {
			s.outcome.Never = append(s.outcome.Never, Refused{to, no.err})
		}
	}
	if !refusals.any() {
		return good, nil
	}
	others := ""
	if done := s.outcome.Done; len(done) > 0 {
		others = "the message was delivered to " + list(done)
	}
	no := refusals.err(len(m.To), others)
	no.verdict = no.verdict || len(s.outcome.Never) > 0
	return Reply{}, no
}

// list is addresses for people, and not more than they read.
func list(addrs []string) string {
	text := "<" + strings.Join(addrs[:min(len(addrs), 10)], ">, <") + ">"
	if more := len(addrs) - 10; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
