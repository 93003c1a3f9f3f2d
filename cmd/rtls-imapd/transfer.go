package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/imap/importer"
	"rtls/store"
)

// readTransferCommand reads export or import, and what stands behind it.
func (o *options) readTransferCommand(words []string) error {
	o.mode, o.action, o.mailbox = modeTransfer, words[0], "INBOX"
	switch {
	case len(words) == 2:
	case len(words) == 3 && o.imap != "":
		return errors.New("import --imap copies mailboxes to those of their names; --mailbox says which")
	case len(words) == 3:
		if o.mailbox = words[2]; o.mailbox == "" {
			return errors.New("the mailbox has no name")
		}
	default:
		return fmt.Errorf("whose mail? write %s USER, or %s USER MAILBOX", o.action, o.action)
	}
	o.user = words[1]
	return auth.ValidName(o.user)
}

// transfer copies a mailbox out of the store or mail into it, as the user whose files
// the account's are.
func transfer(ctx context.Context, env cli.Env, o *options) error {
	var other importer.Config
	var err error
	if o.imap != "" { // secrets are read before we become that user
		if other, err = otherServer(ctx, env, o); err != nil {
			return err
		}
	}
	a, limit, err := openAccount(env, o)
	if err != nil {
		return err
	}
	if o.action == "import" {
		a.SetQuota(limit)
		err = importMail(ctx, env, o, a, other)
	} else {
		err = exportMail(ctx, env, o, a)
	}
	return explainTransfer(o, errors.Join(err, a.Close()))
}

// explainTransfer gives an error its exit code.
func explainTransfer(o *options, err error) error {
	var verify *tls.CertificateVerificationError
	switch {
	case errors.Is(err, store.ErrNotMbox), errors.Is(err, store.ErrLeftOut):
		return cli.Errorf(cli.DataErr, "%w", err)
	case errors.Is(err, importer.ErrLogin):
		return cli.Errorf(cli.NoPerm, "%w", err)
	case errors.As(err, &verify):
		return cli.Errorf(cli.Unavailable, "%w", err).WithHint("--ca FILE names the authority of a server that the system does not know")
	case errors.Is(err, importer.ErrTLS):
		return cli.Errorf(cli.Unavailable, "%w", err)
	case errors.Is(err, importer.ErrBroken):
		return cli.Errorf(cli.TempFail, "%w", err).WithHint("run it again: it goes on from there")
	case errors.Is(err, fs.ErrPermission):
		return cli.Errorf(cli.NoPerm, "%w", err)
	case o.action == "export" && errors.Is(err, fs.ErrExist):
		return cli.Errorf(cli.CantCreate, "%w", err).WithHint("name another file, or remove this one first: none is written over")
	case o.action == "export" && errors.Is(err, fs.ErrNotExist):
		return cli.Errorf(cli.CantCreate, "%w", err).WithHint("make the directory first")
	case o.action == "export" && errors.Is(err, syscall.ENOTDIR):
		return cli.Errorf(cli.CantCreate, "%w", err).WithHint("--maildir takes a directory, which it makes if there is none")
	case o.action == "import" && errors.Is(err, fs.ErrNotExist):
		return cli.Errorf(cli.NoInput, "%w", err)
	case o.action == "import" && errors.Is(err, syscall.EISDIR):
		return cli.Errorf(cli.NoInput, "%w", err).WithHint("--mbox takes a file; --maildir is for directories")
	case o.action == "import" && errors.Is(err, syscall.ENOTDIR):
		return cli.Errorf(cli.NoInput, "%w", err).WithHint("--maildir takes a directory; --mbox is for files")
	}
	return explainMailbox(err)
}

func importMail(ctx context.Context, env cli.Env, o *options, a *store.Account, other importer.Config) (err error) {
	out := newReport(env, o)
	report := store.ImportReport{Progress: out.steps(), Failed: func(message string, err error) {
		out.clear()
		fmt.Fprintf(env.Stderr, "%s: left out: %s\n", name, cli.Printable(fmt.Sprintf("%s: %v", message, err)))
	}}
	var done importer.Summary
	switch {
	case o.imap != "":
		other.Report = report
		other.Again = func(err error, pause time.Duration) {
			out.clear()
			fmt.Fprintf(env.Stderr, "%s: %s; again in %s\n", name, cli.Printable(err.Error()), pause.Round(100*time.Millisecond))
		}
		done, err = importer.Run(ctx, a, other)
	case o.maildir != "":
		done.Imported, err = a.ImportMaildir(ctx, o.mailbox, o.maildir, report)
	default:
		done.Imported, err = importMbox(ctx, env, o, a, report)
	}
	out.clear()
	if err != nil && !errors.Is(err, store.ErrLeftOut) {
		if done.Added > 0 {
			return fmt.Errorf("%d messages are in, and stay when it is run again: %w", done.Added, err)
		}
		return err
	}
	return errors.Join(err, sayImported(env.Stdout, o, done))
}

func sayImported(w io.Writer, o *options, done importer.Summary) error {
	if o.json {
		if o.imap != "" {
			return json.NewEncoder(w).Encode(done)
		}
		return json.NewEncoder(w).Encode(done.Imported)
	}
	text := fmt.Sprintf("%d messages are in", done.Added)
	for _, part := range []struct {
		n    int
		what string
	}{
		{done.Known, "were in already"}, {done.Changed, "of them have got other flags"}, {done.Gone, "that were imported earlier are not there any more"},
		{done.Resized, "have another size than was said"}, {done.Failed, "were left out"}, {done.MailboxesLeft, "mailboxes were left out"},
	} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return say(w, fmt.Sprintf("%s: %s\n", cli.Printable(o.user), text))
}

func importMbox(ctx context.Context, env cli.Env, o *options, a *store.Account, report store.ImportReport) (store.Imported, error) {
	if o.mbox == "-" {
		return a.ImportMbox(ctx, o.mailbox, store.Mbox{Reader: env.Stdin, Source: "-"}, report)
	}
	f, err := os.Open(o.mbox)
	if err != nil {
		return store.Imported{}, err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return store.Imported{}, err
	}
	source, err := filepath.Abs(o.mbox)
	if err != nil {
		return store.Imported{}, err
	}
	return a.ImportMbox(ctx, o.mailbox, store.Mbox{Reader: f, Source: source, Size: info.Size()}, report)
}

func exportMail(ctx context.Context, env cli.Env, o *options, a *store.Account) error {
	out := newReport(env, o)
	defer out.clear()
	switch {
	case o.maildir != "":
		return a.ExportMaildir(ctx, o.mailbox, o.maildir, out.steps())
	case o.mbox == "-":
		return a.ExportMbox(ctx, o.mailbox, env.Stdout, out.steps())
	}
	return newFile(o.mbox, func(w io.Writer) error { return a.ExportMbox(ctx, o.mailbox, w, out.steps()) })
}
