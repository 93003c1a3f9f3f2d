package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/store"
)

// readTransferCommand reads export or import, and what stands behind it.
func (o *options) readTransferCommand(words []string) error {
	o.mode, o.action, o.mailbox = modeTransfer, words[0], "INBOX"
	switch len(words) {
	case 2:
	case 3:
		if o.mailbox = words[2]; o.mailbox == "" {
			return errors.New("the mailbox has no name")
		}
	default:
		return fmt.Errorf("whose mail? write %s USER, or %s USER MAILBOX", o.action, o.action)
	}
	if (o.mbox == "") == (o.maildir == "") {
		return fmt.Errorf("%s takes either --mbox FILE or --maildir DIR", o.action)
	}
	o.user = words[1]
	return auth.ValidName(o.user)
}

// transfer copies a mailbox out of the store or mail into it, as the user whose files
// the account's are.
func transfer(ctx context.Context, env cli.Env, o *options) error {
	a, limit, err := openAccount(env, o)
	if err != nil {
		return err
	}
	if o.action == "import" {
		a.SetQuota(limit)
		err = importMail(ctx, env, o, a)
	} else {
		err = exportMail(ctx, env, o, a)
	}
	err = errors.Join(err, a.Close())
	switch {
	case errors.Is(err, store.ErrNotMbox):
		return cli.Errorf(cli.DataErr, "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return cli.Errorf(cli.NoPerm, "%w", err)
	case o.action == "export" && errors.Is(err, fs.ErrExist):
		return cli.Errorf(cli.CantCreate, "%w", err)
	case o.action == "import" && errors.Is(err, fs.ErrNotExist):
		return cli.Errorf(cli.NoInput, "%w", err)
	}
	return explainMailbox(err)
}

func importMail(ctx context.Context, env cli.Env, o *options, a *store.Account) error {
	out := newReport(env, o)
	progress := func(done, total int64) { out.progress(int(done), int(total)) }
	var n int
	var err error
	if o.maildir != "" {
		n, err = a.ImportMaildir(ctx, o.mailbox, o.maildir, progress)
	} else {
		n, err = importMbox(ctx, env, o, a, progress)
	}
	out.clear()
	if err != nil {
		if n > 0 {
			return fmt.Errorf("%d messages are in, and a second import would add them again: %w", n, err)
		}
		return err
	}
	return say(env.Stdout, fmt.Sprintf("%s: %d messages are in\n", cli.Printable(o.user), n))
}

func importMbox(ctx context.Context, env cli.Env, o *options, a *store.Account, progress store.Progress) (int, error) {
	if o.mbox == "-" {
		return a.ImportMbox(ctx, o.mailbox, env.Stdin, 0, progress)
	}
	f, err := os.Open(o.mbox)
	if err != nil {
		return 0, err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return a.ImportMbox(ctx, o.mailbox, f, info.Size(), progress)
}

func exportMail(ctx context.Context, env cli.Env, o *options, a *store.Account) error {
	switch {
	case o.maildir != "":
		return a.ExportMaildir(ctx, o.mailbox, o.maildir)
	case o.mbox == "-":
		return a.ExportMbox(ctx, o.mailbox, env.Stdout)
	}
	return newFile(o.mbox, func(w io.Writer) error { return a.ExportMbox(ctx, o.mailbox, w) })
}

// newFile makes a file durably, with all that write writes, or not at all. One that
// exists stays as it is: fs.ErrExist.
func newFile(path string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); err == nil { // before the work; Link makes sure
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close() // only read
	f, err := os.CreateTemp(dir.Name(), ".rtls-export-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); err != nil {
		return err
	}
	return dir.Sync()
}
