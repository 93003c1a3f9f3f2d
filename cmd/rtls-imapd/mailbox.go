package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/store"
)

// readMailboxCommand reads what stands behind mailbox.
func (o *options) readMailboxCommand(words []string) error {
	const form = "write mailbox list USER, mailbox create, delete, subscribe or unsubscribe USER MAILBOX..., or mailbox rename USER OLD NEW"
	if len(words) < 2 {
		return errors.New("what to do with whose mailboxes? " + form)
	}
	o.mode, o.action, o.user, o.mailboxes = modeMailbox, words[0], words[1], words[2:]
	switch n := len(o.mailboxes); o.action {
	case "list":
		if n > 0 {
			return errors.New("mailbox list takes a user and nothing more")
		}
	case "create", "delete", "subscribe", "unsubscribe":
		if n == 0 {
			return fmt.Errorf("which mailbox? write mailbox %s USER MAILBOX", o.action)
		}
	case "rename":
		if n != 2 {
			return errors.New("write mailbox rename USER OLD NEW")
		}
	default:
		return fmt.Errorf("there is no command %q; "+form, "mailbox "+o.action)
	}
	if slices.Contains(o.mailboxes, "") {
		return errors.New("the mailbox has no name")
	}
	return auth.ValidName(o.user)
}

// checkSpecialUse makes sure that --special-use is one, for one mailbox that is made.
func (o *options) checkSpecialUse() error {
	if o.mode != modeMailbox || o.action != "create" || len(o.mailboxes) != 1 {
		return errors.New("--special-use goes with mailbox create, of one mailbox")
	}
	use, ok := store.SpecialUse(strings.TrimPrefix(o.specialUse, `\`))
	if !ok {
		return fmt.Errorf("--special-use takes one of %s", strings.Join(store.SpecialUses(), ", "))
	}
	o.specialUse = use
	return nil
}

// manageMailboxes does what stands behind mailbox. Of several mailboxes, those before
// one that fails are done.
func manageMailboxes(ctx context.Context, env cli.Env, o *options) error {
	a, _, err := openAccount(env, o)
	if err != nil {
		return err
	}
	switch o.action {
	case "list":
		err = listMailboxes(ctx, env.Stdout, a, o.json)
	case "rename":
		err = a.RenameMailbox(ctx, o.mailboxes[0], o.mailboxes[1])
	default:
		for _, mailbox := range o.mailboxes {
			if err = changeMailbox(ctx, a, o.action, mailbox, o.specialUse); err != nil {
				err = fmt.Errorf("%s: %w", cli.Printable(mailbox), err)
				break
			}
		}
	}
	return explainMailbox(errors.Join(err, a.Close()))
}

func changeMailbox(ctx context.Context, a *store.Account, action, mailbox, use string) error {
	switch action {
	case "create":
		return a.CreateMailbox(ctx, mailbox, use)
	case "delete":
		return a.DeleteMailbox(ctx, mailbox)
	}
	return a.Subscribe(ctx, mailbox, action == "subscribe")
}

// explainMailbox gives an error of the store its exit code.
func explainMailbox(err error) error {
	if _, ok := errors.AsType[*cli.Error](err); ok || err == nil {
		return err
	}
	code := cli.TempFail
	switch {
	case errors.Is(err, store.ErrNoMailbox):
		code = cli.NoInput
	case errors.Is(err, store.ErrMailboxExists):
		code = cli.CantCreate
	case errors.Is(err, store.ErrName):
		code = cli.DataErr
	}
	return cli.Errorf(code, "%w", err)
}

// listed is a mailbox as JSON has it.
type listed struct {
	Name       string `json:"name"`
	Exists     bool   `json:"exists"` // false: a subscription without a mailbox
	Subscribed bool   `json:"subscribed"`
	SpecialUse string `json:"special_use,omitempty"` // RFC 6154, without the backslash
}

func listMailboxes(ctx context.Context, w io.Writer, a *store.Account, json bool) error {
	infos, err := a.Mailboxes(ctx)
	if err != nil {
		return err
	}
	list := make([]listed, len(infos))
	for i, info := range infos {
		list[i] = listed{info.Name, info.Exists, info.Subscribed, info.SpecialUse}
	}
	if json {
		return sayJSON(w, list)
	}
	return table(w, func(w io.Writer) {
		for _, m := range list {
			var words []string
			if m.Subscribed {
				words = append(words, "subscribed")
			}
			if !m.Exists {
				words = append(words, "missing")
			}
			if m.SpecialUse != "" {
				words = append(words, `\`+m.SpecialUse)
			}
			if words == nil {
				words = []string{"-"}
			}
			fmt.Fprintf(w, "%s\t%s\n", strings.Join(words, " "), cli.Printable(m.Name))
		}
	})
}
