// Command rtls-imapd serves the mail in the store over IMAP, inside TLS and in no
// other way. See rtls-imapd.8.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/owner"
)

const name = "rtls-imapd"

func main() {
	// Nobody may be reading our log any more, and that is no reason to die.
	signal.Ignore(syscall.SIGPIPE)
	cli.Main(name, run)
}

func run(ctx context.Context, env cli.Env) error {
	o, err := parseArgs(env.Args)
	if err != nil {
		return err
	}
	switch o.mode {
	case modeHelp:
		return say(env.Stdout, usage)
	case modeVersion:
		return say(env.Stdout, name+" "+cli.Version()+"\n")
	case modeUser:
		return manageUsers(ctx, env, o)
	case modeBan:
		return manageBans(env, o)
	case modeWho:
		return who(ctx, env, o)
	case modeKick:
		return kick(ctx, env, o)
	case modeStore:
		return mendStore(ctx, env, o)
	case modeQuota:
		return showQuota(ctx, env, o)
	case modeMailbox:
		return manageMailboxes(ctx, env, o)
	case modeTransfer:
		return transfer(ctx, env, o)
	case modeAudit:
		return audit(ctx, env, o)
	case modeCheckConfig:
		return checkConfig(env, o)
	case modeWorker:
		return work(ctx, env)
	}
	return serve(ctx, env, o)
}

func say(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return cli.Errorf(cli.IOErr, "%w", err)
	}
	return nil
}

// loadConfig reads the configuration and checks it as far as check does.
func loadConfig(o *options, check func(*config.File) error) (*config.File, error) {
	f, err := config.Load(o.config)
	if err == nil {
		err = check(f)
	}
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%w", err)
	}
	if f.Hostname == "" {
		if f.Hostname, err = os.Hostname(); err != nil {
			f.Hostname = "localhost"
		}
	}
	return f, nil
}

// mailOwner makes sure that the directory with the accounts is there, and says whose it
// is. Where accounts are elsewhere, nobody else than the caller is meant.
func mailOwner(f *config.File) (uid, gid int, err error) {
	if f.Store.Root == "" {
		return os.Geteuid(), os.Getegid(), nil
	}
	info, err := os.Stat(f.Store.Root)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", f.Store.Root)
	}
	if err != nil {
		return 0, 0, cli.Errorf(cli.Config, "the store's root: %w", err).
			WithHint("make it, for the user that %s and rtls-lda run as: install -d -m 700 -o USER %s", name, f.Store.Root)
	}
	return owner.Of(f.Store.Root)
}
