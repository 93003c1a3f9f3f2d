package session

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"rtls/internal/cli"
	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
)

// What is announced is complete and has tests. There is no LOGINDISABLED and no
// STARTTLS: without TLS there is no session, see package server.
const (
	capabilitiesBefore = "IMAP4rev1 IMAP4rev2 AUTH=PLAIN SASL-IR LITERAL+ ID ENABLE"
	capabilitiesAfter  = "IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE " +
		"BINARY ESEARCH MULTISEARCH SEARCHRES SORT SORT=DISPLAY ESORT CONTEXT=SEARCH CONTEXT=SORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES WITHIN LIST-EXTENDED LIST-METADATA LIST-STATUS METADATA STATUS=SIZE SPECIAL-USE CREATE-SPECIAL-USE " +
		"CONDSTORE QRESYNC INPROGRESS MULTIAPPEND CATENATE URL-PARTIAL REPLACE OBJECTID PARTIAL PREVIEW QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE SAVEDATE UIDONLY UTF8=ACCEPT UNAUTHENTICATE APPENDLIMIT="
)

func (s *Session) capabilities() string {
	if s.account == nil {
		return capabilitiesBefore
	}
	return capabilitiesAfter + strconv.FormatInt(s.cfg.AppendLimit, 10)
}

func (s *Session) login(ctx context.Context, user, password string) error {
	account, release, err := s.cfg.Backend.Login(ctx, user, password)
	if err != nil {
		if errors.Is(err, ErrCredentials) || errors.Is(err, ErrThrottled) {
			s.failures++
			s.log.Warn("login failed", "user", cli.Printable(user), "err", err)
		}
		return err
	}
	s.account, s.release, s.user = account, release, user
	s.lex.SetLimits(s.cfg.limitsAfter())
	s.log = s.log.With("user", cli.Printable(user))
	s.log.Info("login")
	s.ok("CAPABILITY "+s.capabilities(), "logged in")
	return nil
}

// authenticate is AUTHENTICATE PLAIN (RFC 4616). The authorization identity has
// to be the user's own.
func (s *Session) authenticate(ctx context.Context, c command.Authenticate) error {
	if c.Mechanism != "PLAIN" {
		return refuse("CANNOT", "mechanism is not supported")
	}
	var response string
	if c.Initial != nil {
		response = strings.TrimPrefix(*c.Initial, "=")
	} else {
		s.w.Line("+ ")
		var err error
		if response, err = s.lex.Line(); err != nil {
			return s.readError(err)
		}
		if response == "*" {
			return wire.Syntaxf("authentication was cancelled")
		}
	}
	decoded, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return wire.Syntaxf("the response is not base64")
	}
	parts := strings.Split(string(decoded), "\x00")
	if len(parts) != 3 || parts[1] == "" {
		return wire.Syntaxf("the response is not that of PLAIN")
	}
	if parts[0] != "" && parts[0] != parts[1] {
		return refuse("AUTHORIZATIONFAILED", "acting for another user is not allowed")
	}
	return s.login(ctx, parts[1], parts[2])
}

// readError marks errors of the connection, and lets the client's through.
func (s *Session) readError(err error) error {
	if _, ok := errors.AsType[*wire.SyntaxError](err); ok || err == nil {
		return err
	}
	return fatal{err}
}

func (s *Session) id(command.ID) error {
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
		s.w.Status("*", "OK", "HIGHESTMODSEQ "+strconv.FormatUint(s.sel.view.snap.HighestModSeq(), 10), "highest")
	}
}

// unauthenticate is RFC 8437: as if the connection were new.
func (s *Session) unauthenticate() error {
	s.leave()
	s.user, s.enabled = "", enabled{}
	s.commands, s.greeted = 0, time.Now()
	s.parser = command.Parser{}
	s.w.SetUTF8(false)
	s.lex.SetLimits(limitsBefore)
	s.log.Info("logout", "how", "UNAUTHENTICATE")
	s.log = s.cfg.Logger
	return nil
}
