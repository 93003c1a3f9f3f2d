package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/config"
)

// mode is what the command is to do.
type mode uint8

const (
	modeServe mode = iota
	modeUserAdd
	modeStore
	modeCheckConfig
	modeVersion
	modeHelp
)

// options is a valid command line.
type options struct {
	mode         mode
	config       string
	user         string // or, with store, the directory of an account
	passwordFile string // empty: ask, or standard input
	action       string // of store: check, repair or rebuild
	quiet        bool
	json         bool
}

const usage = `usage: rtls-imapd [--config FILE]
       rtls-imapd [--config FILE] user add [--password-file FILE] NAME
       rtls-imapd [--config FILE] store check|repair|rebuild [--quiet] [--json] ACCOUNT

  --config FILE         default: ` + config.SystemPath + `
  --password-file FILE  its first line is the password; without it, rtls-imapd asks
                        on a terminal, and reads one line from standard input
                        elsewhere
  --quiet               show no progress on a terminal
  --json                write findings as JSON, an object a line
  ACCOUNT               a user, or, with a slash in it, the directory of an account
  --check-config        say whether the configuration is right
  --version, --help
`

// parseArgs reads the command line.
func parseArgs(args []string) (*options, error) {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.Usage = func() {}
	var o options
	fs.StringVarP(&o.config, "config", "c", config.SystemPath, "")
	fs.StringVar(&o.passwordFile, "password-file", "", "")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "")
	fs.BoolVar(&o.json, "json", false, "")
	check := fs.Bool("check-config", false, "")
	version := fs.Bool("version", false, "")
	help := fs.BoolP("help", "h", false, "")
	if err := fs.Parse(args); err != nil {
		return nil, usageError(err)
	}
	switch {
	case *help:
		o.mode = modeHelp
		return &o, nil
	case *version:
		o.mode = modeVersion
		return &o, nil
	case o.config == "":
		return nil, usageError(errors.New("--config takes the name of a file"))
	}
	if err := o.readCommand(fs.Args(), fs.Changed("password-file")); err != nil {
		return nil, usageError(err)
	}
	if *check {
		if o.mode != modeServe {
			return nil, usageError(errors.New("--check-config stands alone"))
		}
		o.mode = modeCheckConfig
	}
	if (o.quiet || o.json) && o.mode != modeStore {
		return nil, usageError(errors.New("--quiet and --json go with store"))
	}
	return &o, nil
}

// readCommand reads what is not a flag.
func (o *options) readCommand(words []string, hasPasswordFile bool) error {
	if len(words) > 0 && words[0] == "store" {
		if hasPasswordFile {
			return errors.New("--password-file goes with user add")
		}
		return o.readStoreCommand(words[1:])
	}
	switch {
	case len(words) == 0 && hasPasswordFile:
		return errors.New("--password-file goes with user add")
	case len(words) == 0:
		return nil
	case len(words) == 1 && words[0] == "user", len(words) == 2 && words[0] == "user" && words[1] == "add":
		return errors.New("whom to add? write user add NAME")
	case words[0] != "user":
		return fmt.Errorf("there is no command %q; write user add NAME, store check ACCOUNT, or nothing to serve", words[0])
	case words[1] != "add":
		return fmt.Errorf("there is no command %q; write user add NAME", "user "+words[1])
	case len(words) > 3:
		return fmt.Errorf("one user at a time, not %s", strings.Join(words[2:], ", "))
	case hasPasswordFile && o.passwordFile == "":
		return errors.New("--password-file takes the name of a file")
	}
	o.mode, o.user = modeUserAdd, words[2]
	return auth.ValidName(o.user)
}

func usageError(err error) error {
	return cli.Errorf(cli.Usage, "%w", err).WithHint("%s --help lists what there is", name)
}
