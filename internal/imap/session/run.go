package session

import (
	"context"
	"errors"
	"fmt"

	"rtls/internal/auth"
	"rtls/internal/imap/command"
	"rtls/internal/imap/wire"
	"rtls/store"
)

// next reads and runs one command.
func (s *Session) next(ctx context.Context) error {
	if err := s.nextLine(ctx); err != nil {
		return err
	}
	tag, name, cmd, err := s.parser.Parse(s.lex, s.state())
	if err = s.readError(err); err == nil {
		err = s.countCommand()
	}
	s.tag, s.code, s.text = tag, "", name+" completed"
	if err == nil {
		err = s.run(ctx, tag, cmd)
	}
	// What is left of the command is read before the reply: a client must not
	// be told to go on while its literals are on their way.
	reply := err
	if f, ok := errors.AsType[fatal](err); ok {
		return f.err
	}
	if err := s.lex.Finish(); err != nil {
		return err
	}
	if err := s.reply(ctx, tag, reply); err != nil {
		return err
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	if _, ok := cmd.(command.Compress); ok && reply == nil {
		s.compressFromHere()
	}
	if s.elsewhere != nil {
		return s.relay()
	}
	return nil
}

func (s *Session) countCommand() error {
	if s.account != nil {
		return nil
	}
	if s.commands++; s.commands > maxCommands {
		return fatal{errTalking}
	}
	return nil
}

func (s *Session) state() command.State {
	switch {
	case s.account == nil:
		return command.NotAuthenticated
	case s.sel == nil:
		return command.Authenticated
	}
	return command.Selected
}

// reply sends the tagged reply that err asks for.
func (s *Session) reply(ctx context.Context, tag string, err error) error {
	if s.w.Err() != nil {
		return s.w.Err()
	}
	bad, isBad := errors.AsType[*wire.SyntaxError](err)
	if !isBad {
		s.bad = 0
	}
	switch {
	case err == nil:
		s.w.Status(tag, "OK", s.code, s.text)
	case errors.Is(err, errLogout):
		s.w.Status(tag, "OK", "", "LOGOUT completed")
		return err
	case isBad:
		if tag == "" {
			tag = "*"
		}
		s.w.Status(tag, "BAD", bad.Code, bad.Text)
		if s.bad++; s.bad >= maxBad || s.account == nil && s.bad >= maxBadBefore {
			return errTooBad
		}
	default:
		r := s.refusal(ctx, err)
		s.w.Status(tag, "NO", r.code, r.text)
		if s.account == nil && s.failures >= s.cfg.MaxFailures {
			return errGuessing
		}
	}
	return nil
}

// refusal is an error that is answered with NO.
type refusal struct{ code, text string }

func (r *refusal) Error() string { return r.text }

func refuse(code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// refusal says how an error is told to the client. What it does not know is
// temporary, and logged.
func (s *Session) refusal(ctx context.Context, err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	switch {
	case errors.Is(err, auth.ErrCredentials):
		return &refusal{"AUTHENTICATIONFAILED", auth.ErrCredentials.Error()}
	case errors.Is(err, auth.ErrAuthorization):
		return &refusal{"AUTHORIZATIONFAILED", auth.ErrAuthorization.Error()}
	case errors.Is(err, auth.ErrThrottled):
		return &refusal{"LIMIT", auth.ErrThrottled.Error()}
	case errors.Is(err, ErrTooMany):
		return &refusal{"LIMIT", ErrTooMany.Error()}
	case errors.Is(err, store.ErrNoMailbox):
		return &refusal{"NONEXISTENT", "no such mailbox"}
	case errors.Is(err, store.ErrMailboxExists):
		return &refusal{"ALREADYEXISTS", "mailbox exists already"}
	case errors.Is(err, store.ErrName):
		return &refusal{"CANNOT", "mailbox name is not allowed"}
	case errors.Is(err, store.ErrQuota):
		return &refusal{"OVERQUOTA", "the account has no room for it"} // RFC 9208 section 4.3
	case errors.Is(err, store.ErrNoMessage):
		return &refusal{"EXPUNGEISSUED", "a message is gone"}
	case ctx.Err() != nil:
		return &refusal{"UNAVAILABLE", "server is shutting down"}
	}
	s.log.Error("command failed", "err", err)
	return &refusal{"UNAVAILABLE", "temporary failure, try again later"}
}

// ok sets the response code and the text of the OK that will follow.
func (s *Session) ok(code, text string) { s.code, s.text = code, text }

// run runs a command. Commands on a selected mailbox end with news of it.
func (s *Session) run(ctx context.Context, tag string, cmd command.Command) error {
	if s.account == nil {
		return s.runBefore(ctx, tag, cmd)
	}
	err := s.runBounded(ctx, tag, cmd)
	if _, ok := errors.AsType[fatal](err); ok || errors.Is(err, errLogout) {
		return err
	}
	s.tellMetadata()
	s.ownList(ctx, cmd)
	if s.sel == nil {
		return err
	}
	if newsErr := s.news(ctx, cmd); newsErr != nil {
		return newsErr
	}
	return err
}

// runBounded is runAfter with an end for what could read all of an account.
func (s *Session) runBounded(ctx context.Context, tag string, cmd command.Command) error {
	switch cmd.(type) {
	case command.Search, command.Sort, command.Thread, command.MultiSearch:
	default:
		return s.runAfter(ctx, tag, cmd)
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.SearchTimeout)
	defer cancel()
	err := s.runAfter(bounded, tag, cmd)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return refuse("LIMIT", "the search took longer than %s, ask for less", s.cfg.SearchTimeout)
	}
	return err
}

// runBefore runs a command before login.
func (s *Session) runBefore(ctx context.Context, tag string, cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Login:
		return s.login(ctx, c.User, c.Password)
	case command.Authenticate:
		return s.authenticate(ctx, c)
	}
	return s.runAlways(cmd)
}

func (s *Session) runAlways(cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Capability:
		s.w.Line("* CAPABILITY ", s.capabilities())
		return nil
	case command.Noop, command.Check:
		return nil
	case command.Logout:
		s.w.Status("*", "BYE", "", "see you")
		return errLogout
	case command.ID:
		return s.id(c)
	}
	return fmt.Errorf("no handler for command %T", cmd)
}

// runAfter runs a command after login.
func (s *Session) runAfter(ctx context.Context, tag string, cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Enable:
		return s.enable(c)
	case command.Compress:
		return s.compress(c)
	case command.Unauthenticate:
		return s.unauthenticate()
	case command.Select:
		return s.selectMailbox(ctx, c)
	case command.Create:
		return s.create(ctx, c)
	case command.Delete:
		return s.delete(ctx, c)
	case command.Rename:
		return s.account.RenameMailbox(ctx, trimSeparator(c.From), trimSeparator(c.To))
	case command.Subscribe:
		return s.account.Subscribe(ctx, trimSeparator(c.Mailbox), c.On)
	case command.List:
		return s.list(ctx, c)
	case command.Namespace:
		s.w.Line(`* NAMESPACE (("" "/")) NIL NIL`)
		return nil
	case command.Notify:
		return s.setNotify(ctx, c)
	case command.MultiSearch:
		return s.multiSearch(ctx, tag, c)
	case command.Status:
		return s.status(ctx, c)
	case *command.Append:
		return s.append(ctx, c)
	case command.GetMetadata:
		return s.getMetadata(ctx, c)
	case command.SetMetadata:
		return s.setMetadata(ctx, c)
	case command.GetQuota:
		return s.getQuota(ctx, c)
	case command.GetQuotaRoot:
		return s.getQuotaRoot(ctx, c)
	case command.SetQuota:
		return refuse("NOPERM", "the quota is set by the administrator")
	case command.Idle:
		return s.idle(ctx)
	}
	if s.sel != nil {
		return s.runSelected(ctx, tag, cmd)
	}
	return s.runAlways(cmd)
}

// runSelected runs a command on the selected mailbox.
func (s *Session) runSelected(ctx context.Context, tag string, cmd command.Command) error {
	switch c := cmd.(type) {
	case command.Close:
		return s.close(ctx)
	case command.Unselect:
		s.unselect()
		return nil
	case command.Expunge:
		return s.expunge(ctx, c)
	case command.Search:
		return s.search(ctx, tag, c)
	case command.CancelUpdate:
		s.cancelUpdates(c)
		return nil
	case command.Sort:
		return s.sort(ctx, tag, c)
	case command.Thread:
		return s.thread(ctx, c)
	case command.Fetch:
		return s.fetch(ctx, c)
	case command.Store:
		return s.store(ctx, c)
	case *command.ReplaceMessage:
		return s.replace(ctx, c)
	case command.Copy:
		return s.copy(ctx, c)
	}
	return s.runAlways(cmd)
}
