package session

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
)

// What is announced is complete and has tests. There is no STARTTLS: without TLS there
// is no session, see package server.
const (
	capabilitiesBefore = " SASL-IR LITERAL+ ID ENABLE"
	capabilitiesAfter  = "IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE IDLE NAMESPACE NOTIFY CHILDREN UNSELECT UIDPLUS MOVE " +
		"BINARY ESEARCH MULTISEARCH SEARCHRES SORT SORT=DISPLAY ESORT CONTEXT=SEARCH CONTEXT=SORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES WITHIN LIST-EXTENDED LIST-METADATA LIST-STATUS METADATA STATUS=SIZE SPECIAL-USE CREATE-SPECIAL-USE " +
		"CONDSTORE QRESYNC INPROGRESS MULTIAPPEND CATENATE URL-PARTIAL REPLACE OBJECTID PARTIAL PREVIEW QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE SAVEDATE UIDONLY UTF8=ACCEPT"
)

func (s *Session) capabilities() string {
	var b strings.Builder
	if s.account != nil || s.elsewhere != nil {
		b.WriteString(capabilitiesAfter)
		if s.mayLeave() {
			b.WriteString(" UNAUTHENTICATE")
		}
		b.WriteString(" APPENDLIMIT=" + strconv.FormatInt(s.cfg.AppendLimit, 10))
		if s.cfg.Compress {
			b.WriteString(" COMPRESS=DEFLATE")
		}
		return b.String()
	}
	b.WriteString("IMAP4rev1 IMAP4rev2")
	for _, name := range s.mechanisms {
		b.WriteString(" AUTH=" + name)
	}
	if !s.takesPasswords() {
		b.WriteString(" LOGINDISABLED")
	}
	return b.String() + capabilitiesBefore
}

// takesPasswords says whether LOGIN is possible: where PLAIN is.
func (s *Session) takesPasswords() bool { return slices.Contains(s.mechanisms, auth.Plain) }

// login is LOGIN (RFC 9051 section 6.2.3).
func (s *Session) login(ctx context.Context, user, password string) error {
	if !s.takesPasswords() {
		return refuse("CANNOT", "LOGIN is disabled, use AUTHENTICATE")
	}
	login, err := s.cfg.Backend.Password(ctx, user, password)
	if err != nil {
		return s.notIn(login, err)
	}
	return s.in(ctx, login)
}

// notIn notes a login that failed.
func (s *Session) notIn(login auth.Login, err error) error {
	switch {
	case errors.Is(err, auth.ErrMalformed):
		return &wire.SyntaxError{Text: err.Error()}
	case errors.Is(err, auth.ErrCredentials), errors.Is(err, auth.ErrThrottled):
		s.failures++
		fallthrough
	case errors.Is(err, auth.ErrAuthorization):
		s.log.Warn("login failed", "user", cli.Printable(login.User), "mechanism", login.Mechanism, "err", cli.Printable(err.Error()))
	}
	return err
}

// in opens the account of a user who has logged in.
func (s *Session) in(ctx context.Context, login auth.Login) error {
	opened, err := s.cfg.Backend.Open(ctx, login.User, s.client)
	if err != nil {
		return err
	}
	s.enter(login.User, opened)
	log := s.log.With("mechanism", login.Mechanism)
	if login.App != "" {
		log = log.With("app", login.App)
	}
	log.Info("login")
	s.ok("CAPABILITY "+s.capabilities(), "logged in")
	return nil
}

// enter makes the session one of a user.
func (s *Session) enter(user string, opened Opened) {
	s.account, s.elsewhere, s.texts, s.release, s.user = opened.Account, opened.Elsewhere, opened.Text, opened.Release, user
	s.lex.SetLimits(s.cfg.limitsAfter())
	s.log = s.log.With("user", cli.Printable(user))
}

// mayLeave says whether there is UNAUTHENTICATE: not where the login was in another
// process than the session is.
func (s *Session) mayLeave() bool { return s.cfg.Backend != nil && s.elsewhere == nil }

// maxSteps bounds the challenges of one exchange.
const maxSteps = 8

// authenticate is AUTHENTICATE (RFC 9051 section 6.2.2, RFC 4959).
func (s *Session) authenticate(ctx context.Context, c command.Authenticate) error {
	var x auth.Exchange
	if slices.Contains(s.mechanisms, c.Mechanism) {
		x = s.cfg.Backend.Start(c.Mechanism)
	}
	if x == nil {
		return refuse("CANNOT", "mechanism is not supported")
	}
	var response []byte
	if c.Initial != nil {
		var err error
		if response, err = decodeResponse(strings.TrimPrefix(*c.Initial, "=")); err != nil {
			return err
		}
	}
	for range maxSteps {
		challenge, done, err := x.Next(ctx, response)
		switch {
		case err != nil:
			return s.notIn(x.Login(), err)
		case done:
			return s.in(ctx, x.Login())
		}
		if response, err = s.challenge(challenge); err != nil {
			return err
		}
	}
	return wire.Syntaxf("the exchange does not end")
}

// challenge sends a challenge and reads the response, which is never nil.
func (s *Session) challenge(challenge []byte) ([]byte, error) {
	s.w.Line("+ ", base64.StdEncoding.EncodeToString(challenge))
	line, err := s.lex.Line()
	if err != nil {
		return nil, s.readError(err)
	}
	if line == "*" {
		return nil, wire.Syntaxf("authentication was cancelled")
	}
	return decodeResponse(line)
}

func decodeResponse(text string) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, wire.Syntaxf("the response is not base64")
	}
	return append([]byte{}, decoded...), nil
}

// readError marks errors of the connection, and lets the client's through.
func (s *Session) readError(err error) error {
	if _, ok := errors.AsType[*wire.SyntaxError](err); ok || err == nil {
		return err
	}
	return fatal{err}
}

// maxClient bounds what is remembered of a client's ID.
const maxClient = 80

// id is ID (RFC 2971). What the client says is for people to read.
func (s *Session) id(c command.ID) error {
	var words []string
	for _, field := range c.Fields {
		if name := strings.ToLower(field[0]); name == "name" || name == "version" {
			words = append(words, field[1])
		}
	}
	s.client = strings.ToValidUTF8(cli.Printable(strings.Join(words, " ")), "?")
	s.client = strings.ToValidUTF8(s.client[:min(len(s.client), maxClient)], "")
	s.w.Raw(`* ID ("name" "rtls-imapd" "version" `)
	s.w.String(cli.Version())
	s.w.Line(")")
	return nil
}

func (s *Session) enable(c command.Enable) error {
	var now []string
	for _, name := range c.Capabilities {
		switch name {
		case "CONDSTORE":
			s.enableCondStore()
		case "QRESYNC":
			s.enableCondStore()
			s.enabled.qResync = true
		case "UIDONLY":
			s.enabled.uidOnly = true
			s.parser.UIDOnly = true
		case "METADATA": // RFC 5464 section 4.1
			if !s.enabled.metadata {
				s.enabled.metadata = true
				_, s.metadataSeq = s.account.MetadataChanges(0)
			}
		case "UTF8=ACCEPT":
			s.enabled.utf8 = true
			s.parser.NoCharset = true
		case "IMAP4REV2":
			name = "IMAP4rev2"
			s.enabled.rev2 = true
		default:
			continue // to be ignored (RFC 5161 section 3.1)
		}
		if !slices.Contains(now, name) {
			now = append(now, name)
		}
	}
	utf8 := s.enabled.utf8 || s.enabled.rev2
	s.parser.UTF8 = utf8
	s.w.SetUTF8(utf8)
	s.w.Line(strings.TrimRight("* ENABLED "+strings.Join(now, " "), " "))
	return nil
}

// enableCondStore notes that the client knows of mod-sequences. One that has a
// mailbox selected is told where that stands (RFC 7162 section 3.1).
func (s *Session) enableCondStore() {
	if s.enabled.condStore {
		return
	}
	s.enabled.condStore = true
	if s.sel != nil {
		s.w.Status("*", "OK", "HIGHESTMODSEQ "+strconv.FormatUint(s.sel.modSeqs.safe, 10), "highest")
	}
}

// unauthenticate is RFC 8437: as if the connection were new.
func (s *Session) unauthenticate() error {
	if !s.mayLeave() {
		return wire.Syntaxf("UNAUTHENTICATE is not announced")
	}
	s.leave()
	s.user, s.enabled = "", enabled{}
	s.commands, s.octets, s.greeted = 0, 0, time.Now()
	s.parser = command.Parser{}
	s.w.SetUTF8(false)
	s.lex.SetLimits(limitsBefore)
	s.log.Info("logout", "how", "UNAUTHENTICATE")
	s.log = s.cfg.Logger
	return nil
}
