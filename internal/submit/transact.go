package submit

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
)

// maxGroup is how many RCPT commands travel in one group. Their replies fit into
// what the system buffers, so that neither side waits for the other to read (RFC
// 2920 section 3.1).
const maxGroup = 100

// able checks the message against what the server can do, before the server hears
// of it.
func (s *session) able(m *Mail) error {
	if m.UTF8 && !s.offers("SMTPUTF8") {
		return cli.Errorf(cli.DataErr, "an address is not ASCII and the server does not offer SMTPUTF8, nothing was sent").WithStatus("5.6.7")
	}
	if m.EightBit && !s.offers("8BITMIME") {
		if err := m.encode(); err != nil {
			return err
		}
	}
	if limit, err := strconv.ParseInt(s.extensions["SIZE"], 10, 64); err == nil && limit > 0 && m.Size > limit {
		return cli.Errorf(cli.DataErr, "the message has %d octets and the server takes %d, nothing was sent", m.Size, limit).WithStatus("5.3.4")
	}
	return nil
}

// mailCommand is the MAIL command with the parameters that are needed and offered.
// REQUIRETLS has no value (RFC 8689 section 2) and stands last.
func (s *session) mailCommand(m *Mail) string {
	var b strings.Builder
	fmt.Fprintf(&b, "MAIL FROM:<%s>", m.From)
	if s.offers("SIZE") {
		fmt.Fprintf(&b, " SIZE=%d", m.Size)
	}
	if m.EightBit {
		b.WriteString(" BODY=8BITMIME")
	}
	if m.UTF8 {
		b.WriteString(" SMTPUTF8")
	}
	if s.offers("DSN") {
		b.WriteString(m.mailDSN())
	}
	if m.Wish == requiretls.Yes {
		b.WriteString(" " + requiretls.Keyword)
	}
	return b.String()
}

func (s *session) rcptCommand(m *Mail, to string) string {
	line := "RCPT TO:<" + to + ">"
	if s.offers("DSN") {
		line += m.rcptDSN(to)
	}
	return line
}

// transact sends the message. The session ends with it if it is the last, or if
// nothing else puts the server back to where the next can begin.
func (s *session) transact(m *Mail, last bool) (Reply, error) {
	s.at = stageMail
	dataAsked, err := s.envelope(m, last)
	if err != nil {
		return Reply{}, err
	}
	if s.chunking() {
		s.at = stageData
		return s.content(m, last)
	}
	if !dataAsked {
		if err := s.writeCommands("DATA"); err != nil {
			return Reply{}, s.lost(err)
		}
	}
	r, err := s.read()
	if err != nil {
		return Reply{}, s.lost(err)
	}
	if r.Code != 354 {
		s.reset(last)
		return Reply{}, refused(stageData, "DATA", r)
	}
	s.at = stageData
	return s.content(m, last)
}

// lost marks the session as one on which nothing can be sent any more.
func (s *session) lost(err error) error {
	s.dead = true
	return err
}

// reset makes the session fit for another message, or ends it.
func (s *session) reset(last bool) {
	if last {
		s.quit()
		return
	}
	if r, err := s.command("RSET"); err != nil || !r.positive() {
		s.dead = true
	}
}

// envelope sends MAIL and all RCPT, a login that can travel along before and DATA
// behind them, where that is safe: see the package comment. It returns an error
// unless every recipient was accepted.
func (s *session) envelope(m *Mail, last bool) (dataAsked bool, err error) {
	commands := []string{s.mailCommand(m)}
	for _, to := range m.To {
		commands = append(commands, s.rcptCommand(m, to))
	}
	group := 1
	if s.offers("PIPELINING") {
		group = maxGroup
		if len(m.To) == 1 && !s.chunking() {
			commands = append(commands, "DATA")
			dataAsked = true
		}
	}
	refusals := &rejections{}
	for at := 0; at < len(commands); at += group {
		part := commands[at:min(at+group, len(commands))]
		if err := s.writeGroup(part); err != nil {
			return false, err
		}
		for i, command := range part {
			if command == "DATA" {
				break // its reply is the caller's, if there is no refusal
			}
			r, err := s.read()
			if err != nil {
				return false, s.lost(err)
			}
			refusals.note(m, at+i, r)
		}
		if refusals.mail != nil || group == 1 && refusals.any() {
			break
		}
	}
	if !refusals.any() {
		return dataAsked, nil
	}
	s.abandon(dataAsked, last)
	return false, refusals.err(len(m.To), "the message was sent to none of the other recipients either")
}

// writeGroup sends a group of commands, with the login before them if there is one
// to travel along, and reads the reply to that.
func (s *session) writeGroup(part []string) error {
	lead := s.lead
	s.lead = nil
	if lead == nil {
		if err := s.writeCommands(part...); err != nil {
			return s.lost(err)
		}
		return nil
	}
	if err := s.writeCommands(append([]string{lead.command()}, part...)...); err != nil {
		return s.lost(err)
	}
	r, err := s.read()
	if err != nil {
		return s.lost(err)
	}
	if err := lead.finish(r); err != nil {
		s.forsake(r, part)
		return err
	}
	s.mechanism = lead.name
	return nil
}

// forsake ends a session whose login failed when an envelope was under way behind
// it. Whatever the server made of that, it gets no text. One that answered the login
// with a challenge takes the envelope for the response to it, and there is no telling
// which reply belongs to what.
func (s *session) forsake(login Reply, part []string) {
	defer func() { s.dead = true }()
	if login.Code/100 == 3 {
		return
	}
	for _, command := range part {
		r, err := s.read()
		if err != nil || command == "DATA" && r.Code == 354 {
			return
		}
	}
	s.quit()
}

// abandon is for an envelope in which something was refused. If the server waits for
// text, closing without the final dot is the only way that delivers nothing.
func (s *session) abandon(dataAsked, last bool) {
	if dataAsked {
		r, err := s.read()
		if err != nil || r.Code == 354 {
			s.dead = true
			return
		}
	}
	s.reset(last)
}

// chunking says whether the text goes by BDAT (RFC 3030). A chunk is as safe as what
// ends it: the last one is empty, so that the server has no whole message before all
// of the text could be read.
func (s *session) chunking() bool { return s.target.BDAT && s.offers("CHUNKING") }

// writeText sends the text, up to the final dot.
func (s *session) writeText(m *Mail) error {
	dots := &dotWriter{w: s.w, lineStart: true}
	if _, err := m.Content.WriteTo(dots); err != nil {
		return s.halfWritten(err, dots.err)
	}
	if !dots.lineStart {
		s.dead = true
		return &unreadable{cli.Errorf(cli.Software, "the message does not end with a line end")}
	}
	return nil
}

// writeChunk sends the text as one chunk.
func (s *session) writeChunk(m *Mail) error {
	line := fmt.Sprintf("BDAT %d", m.Size)
	s.trace("> ", line)
	_, _ = s.w.WriteString(line + "\r\n") // Flush has the error
	chunk := &chunkWriter{w: s.w, left: m.Size}
	if _, err := m.Content.WriteTo(chunk); err != nil {
		return s.halfWritten(err, chunk.err)
	}
	if chunk.left != 0 {
		s.dead = true
		return &unreadable{cli.Errorf(cli.Software, "the message is not as long as was said")}
	}
	return nil
}

// halfWritten ends a session whose server has a part of the text. ours is the
// connection's error, if that is the reason.
func (s *session) halfWritten(err, ours error) error {
	s.dead = true
	if ours == nil { // the text could not be read: the server must not take half of it
		return &unreadable{cli.Errorf(cli.TempFail, "read the message back: %w", err)}
	}
	return s.lastWords(stageData, err)
}

// content sends the text and what ends it, and QUIT in the same group if this was the
// last message and that is allowed.
func (s *session) content(m *Mail, last bool) (Reply, error) {
	write, end, replies := s.writeText, ".\r\n", 1 // and what verdict adds
	if s.chunking() {
		write, end, replies = s.writeChunk, "BDAT 0 LAST\r\n", 2
	}
	if err := write(m); err != nil {
		return Reply{}, err
	}
	together := last && s.offers("PIPELINING")
	if together {
		end += "QUIT\r\n"
		s.dead = true
	}
	s.trace("> ", fmt.Sprintf("(%d octets)", m.Size))
	s.dotSent = true
	_, err := io.WriteString(s.w, end)
	if err == nil {
		err = s.w.Flush()
	}
	if err != nil {
		return Reply{}, s.lost(s.lastWords(stageData, err))
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(s.o.Timeouts.Final)); err != nil {
		return Reply{}, s.lost(err)
	}
	r, err := s.verdict(m, replies)
	if _, judged := errors.AsType[*refusal](err); err != nil && !judged {
		return Reply{}, s.lost(err)
	}
	switch {
	case s.dead && !together:
	case together:
		s.awaitEnd()
	case last:
		s.quit()
	}
	return r, err
}

// verdict reads what the server says of the whole message: the last of some replies,
// or over LMTP one for each recipient from there on (RFC 2033 section 4.2).
func (s *session) verdict(m *Mail, replies int) (Reply, error) {
	for ; replies > 1; replies-- {
		r, err := s.judgement()
		if err == nil && !r.positive() { // there is nothing to learn from the rest
			s.dead = true
			err = refused(stageData, "the message", r)
		}
		if err != nil {
			return Reply{}, err
		}
	}
	if s.target.LMTP {
		return s.verdicts(m)
	}
	r, err := s.judgement()
	if err == nil && !r.positive() {
		err = refused(stageData, "the message", r)
	}
	return r, err
}

// judgement reads a reply to a text. One that is neither yes nor no leaves the message
// in doubt.
func (s *session) judgement() (Reply, error) {
	r, err := s.read()
	if err == nil && r.Code/100 == 3 {
		err = protocolError("the server's reply to the message makes no sense: " + r.String())
	}
	return r, err
}

// unreadable is for a message that is at fault itself; no other target can help.
type unreadable struct{ err *cli.Error }

func (e *unreadable) Error() string { return e.err.Error() }
func (e *unreadable) Unwrap() error { return e.err }

// rejections collects the negative replies to an envelope.
type rejections struct {
	mail  *refusal
	rcpts []*refusal
}

func (j *rejections) any() bool { return j.mail != nil || len(j.rcpts) > 0 }

// note takes the reply to MAIL, which has index 0, or to the RCPT of that number.
func (j *rejections) note(m *Mail, index int, r Reply) {
	switch {
	case r.positive():
	case index == 0:
		j.mail = refused(stageMail, "MAIL FROM:<"+m.From+">", r)
	default:
		j.rcpts = append(j.rcpts, refused(stageRcpt, "RCPT TO:<"+m.To[index-1]+">", r))
	}
}

// err is one error for all of them. NoUser means that no recipient exists. One that
// is refused for good makes all of it permanent: to try again would be in vain. Others
// says what became of those that were not refused.
func (j *rejections) err(recipients int, others string) *refusal {
	if j.mail != nil {
		return j.mail
	}
	worst := j.rcpts[0]
	unknown := 0
	for _, r := range j.rcpts {
		if r.err.Code == cli.NoUser {
			unknown++
		}
		if worst.err.Code == cli.TempFail && r.err.Code != cli.TempFail {
			worst = r
		}
	}
	code := worst.err.Code
	if code == cli.NoUser && unknown < recipients {
		code = cli.DataErr
	}
	texts := make([]error, 0, len(j.rcpts)+1)
	for i, r := range j.rcpts {
		if i == 10 {
			texts = append(texts, fmt.Errorf("and %d more", len(j.rcpts)-i))
			break
		}
		texts = append(texts, r.err.Err)
	}
	if recipients > len(j.rcpts) && others != "" {
		texts = append(texts, errors.New(others))
	}
	e := cli.Errorf(code, "%w", errors.Join(texts...)).WithStatus(worst.err.Status)
	return &refusal{reply: worst.reply, err: e, at: stageRcpt, verdict: unknown > 0}
}
