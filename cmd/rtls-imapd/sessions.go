package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/imap/control"
	"rtls/internal/unixsock"
)

// readSessionCommand reads who and kick.
func (o *options) readSessionCommand(words []string) error {
	if words[0] == "who" {
		if o.mode = modeWho; len(words) > 1 {
			return errors.New("who takes no names; it shows all sessions")
		}
		return nil
	}
	o.mode = modeKick
	if len(words) != 2 {
		return errors.New("whom? write kick USER, or kick SESSION with a number that who shows")
	}
	if _, ok := sessionID(words[1]); !ok {
		if err := auth.ValidName(words[1]); err != nil {
			return err
		}
	}
	o.user = words[1]
	return nil
}

// sessionID tells the number of a session from the name of a user.
func sessionID(word string) (uint64, bool) {
	id, err := strconv.ParseUint(word, 10, 64)
	return id, err == nil && id > 0
}

// openControl makes the socket on which a server answers who and kick; nil if the
// configuration has none.
func openControl(f *config.File) (net.Listener, error) {
	path := f.IMAPD.Control
	if path == "" {
		return nil, nil
	}
	l, err := unixsock.Listen(path, func() error { return os.Chmod(path, 0o600) })
	if err != nil {
		return nil, cli.Errorf(cli.Config, "control socket: %w", err).
			WithHint("control under [imapd] names a socket in a directory that %s can write to, one for each server", name)
	}
	return l, nil
}

// controlSocket is the path of the socket of a running server.
func controlSocket(o *options) (string, error) {
	f, err := config.Load(o.config)
	if err != nil {
		return "", cli.Errorf(cli.Config, "%w", err)
	}
	if f.IMAPD.Control == "" {
		return "", cli.Errorf(cli.Config, "%s: the server has no control socket", o.config).
			WithHint(`write control = "/run/rtls/imapd" under [imapd] and start the server anew`)
	}
	return f.IMAPD.Control, nil
}

func unreachable(err error) error {
	return cli.Errorf(cli.Unavailable, "%w", err).
		WithHint("%s has to run, and this to be run by root or by the server's user", name)
}

// who shows the sessions of a running server.
func who(ctx context.Context, env cli.Env, o *options) error {
	path, err := controlSocket(o)
	if err != nil {
		return err
	}
	sessions, err := control.Who(ctx, path)
	if err != nil {
		return unreachable(err)
	}
	if o.json {
		if sessions == nil {
			sessions = []control.Session{}
		}
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(sessions)
	} else {
		err = showSessions(env.Stdout, sessions)
	}
	if err != nil {
		return cli.Errorf(cli.IOErr, "%w", err)
	}
	return nil
}

func showSessions(w io.Writer, sessions []control.Session) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SESSION\tUSER\tADDRESS\tTLS\tCIPHER\tSTATE\tMAILBOX\tCLIENT\tSINCE\tIN\tOUT")
	for _, s := range sessions {
		dash := func(text string) string {
			if text == "" {
				return "-"
			}
			return cli.Printable(text)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", s.ID, dash(s.User), s.Remote, dash(s.TLS), dash(s.Cipher),
			s.State, dash(s.Mailbox), dash(s.Client), s.Since.Local().Format(time.DateTime), s.In, s.Out)
	}
	return t.Flush()
}

// kick ends a session, or all of a user.
func kick(ctx context.Context, env cli.Env, o *options) error {
	path, err := controlSocket(o)
	if err != nil {
		return err
	}
	user, id := o.user, uint64(0)
	if n, ok := sessionID(o.user); ok {
		user, id = "", n
	}
	ended, err := control.Kick(ctx, path, user, id)
	if err != nil {
		return unreachable(err)
	}
	if ended == 0 {
		return cli.Errorf(cli.NoUser, "there is no session of %s", o.user).WithHint("%s who shows those there are", name)
	}
	return say(env.Stdout, fmt.Sprintf("%d ended\n", ended))
}
