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
	modeUser
	modeBan
	modeWho
	modeKick
	modeStore
	modeAudit
	modeQuota
	modeMailbox
	modeTransfer
	modeCheckConfig
	modeWorker
	modeVersion
	modeHelp
)

// options is a valid command line.
type options struct {
	mode         mode
	config       string
	user         string   // or, with store and audit, the directory of an account, or, with ban, an address
	app          string   // of an app password
	mailbox      string   // of audit; empty: all of them
	mailboxes    []string // of mailbox
	specialUse   string   // of mailbox create; empty: none
	mbox         string   // of export and import: a file
	maildir      string   // of export and import: a directory
	imap         string   // of import: a server, with its port
	login        string   // of import: who logs in there
	pattern      string   // of import: mailboxes there; empty: all
	startTLS     bool     // of import
	ca           string   // of import: a file of authorities; empty: the system's
	credential   string   // of import: a password that systemd has
	uid          uint32   // of audit; 0: all of them
	passwordFile string   // empty: ask, or standard input
	noPassword   bool
	noScram      bool
	action       string // of the mode: what stands behind its word
	rebuild      bool   // of store index: anew
	quiet        bool
	json         bool
}

const usage = `usage: rtls-imapd [--config FILE]
       rtls-imapd [--config FILE] user add|passwd [--password-file FILE] [--no-scram] NAME
       rtls-imapd [--config FILE] user add --no-password NAME
       rtls-imapd [--config FILE] user disable|enable|rm NAME
       rtls-imapd [--config FILE] user list [--json]
       rtls-imapd [--config FILE] user app-password add|revoke NAME APP
       rtls-imapd [--config FILE] user app-password list [--json] NAME
       rtls-imapd [--config FILE] ban list [--json]
       rtls-imapd [--config FILE] ban lift ADDRESS|USER
       rtls-imapd [--config FILE] who [--json]
       rtls-imapd [--config FILE] kick USER|SESSION
       rtls-imapd [--config FILE] store check|repair|rebuild [--quiet] [--json] ACCOUNT
       rtls-imapd [--config FILE] store index [--rebuild] [--quiet] [--json] ACCOUNT
       rtls-imapd [--config FILE] quota [--json] USER
       rtls-imapd [--config FILE] mailbox list [--json] USER
       rtls-imapd [--config FILE] mailbox create|delete|subscribe|unsubscribe USER MAILBOX...
       rtls-imapd [--config FILE] mailbox create --special-use USE USER MAILBOX
       rtls-imapd [--config FILE] mailbox rename USER OLD NEW
       rtls-imapd [--config FILE] export [--quiet] USER [MAILBOX] --mbox FILE|--maildir DIR
       rtls-imapd [--config FILE] import [--quiet] [--json] USER [MAILBOX] --mbox FILE|--maildir DIR
       rtls-imapd [--config FILE] import [--quiet] [--json] USER --imap HOST[:PORT] --login NAME
                  [--password-file FILE|--password-credential NAME] [--mailbox PATTERN]
                  [--starttls] [--ca FILE]
       rtls-imapd [--config FILE] audit [--json] ACCOUNT [MAILBOX [UID]]

  --config FILE         default: ` + config.SystemPath + `
  --password-file FILE  its first line is the password; without it, rtls-imapd asks
                        on a terminal, and reads one line from standard input
                        elsewhere
  --no-password         the user logs in with app passwords, or by other means
  --no-scram            write the hash alone, and nothing that SCRAM takes
  --special-use USE     Archive, Drafts, Junk, Sent, Trash, All or Flagged
  --mbox FILE           - is standard input or output
  --maildir DIR         a Maildir
  --imap HOST[:PORT]    a server to copy mail from, over TLS; the port is 993, and with
                        --starttls 143
  --login NAME          who logs in there
  --password-credential NAME  a credential of systemd, as in LoadCredential=
  --mailbox PATTERN     copy these mailboxes alone; * stands for anything, % for a level
  --starttls            TLS begins with STARTTLS
  --ca FILE             the authorities to trust, in place of the system's
  --rebuild             index all texts anew
  --quiet               show no progress on a terminal
  --json                write JSON: a list, and with store an object a line
  SESSION               a number that who shows
  APP                   a name for the program or device
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
	fs.BoolVar(&o.rebuild, "rebuild", false, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.BoolVar(&o.noPassword, "no-password", false, "")
	fs.BoolVar(&o.noScram, "no-scram", false, "")
	fs.StringVar(&o.specialUse, "special-use", "", "")
	fs.StringVar(&o.mbox, "mbox", "", "")
	fs.StringVar(&o.maildir, "maildir", "", "")
	fs.StringVar(&o.imap, "imap", "", "")
	fs.StringVar(&o.login, "login", "", "")
	fs.StringVar(&o.credential, "password-credential", "", "")
	fs.StringVar(&o.pattern, "mailbox", "", "")
	fs.BoolVar(&o.startTLS, "starttls", false, "")
	fs.StringVar(&o.ca, "ca", "", "")
	check := fs.Bool("check-config", false, "")
	worker := fs.Bool(workerFlag, false, "")
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
	case *worker:
		o.mode = modeWorker
		return &o, nil
	case o.config == "":
		return nil, usageError(errors.New("--config takes the name of a file"))
	}
	if err := o.readCommand(fs.Args()); err != nil {
		return nil, usageError(err)
	}
	if *check {
		if o.mode != modeServe {
			return nil, usageError(errors.New("--check-config stands alone"))
		}
		o.mode = modeCheckConfig
	}
	if err := o.checkFlags(fs.Changed); err != nil {
		return nil, usageError(err)
	}
	return &o, nil
}

// checkFlags makes sure that flags go with the command.
func (o *options) checkFlags(given func(flag string) bool) error {
	sets := o.mode == modeUser && (o.action == "add" || o.action == "passwd")
	imports := o.mode == modeTransfer && o.action == "import"
	if err := o.checkTransferFlags(given); err != nil {
		return err
	}
	lists := o.mode == modeStore || o.mode == modeWho || o.mode == modeQuota || o.mode == modeMailbox && o.action == "list" || o.mode == modeAudit || o.mode == modeUser && o.action == "list" || o.mode == modeUser && o.action == "app-password list" || o.mode == modeBan && o.action == "list"
	if given("special-use") {
		if err := o.checkSpecialUse(); err != nil {
			return err
		}
	}
	switch {
	case given("password-file") && !sets && o.imap == "":
		return errors.New("--password-file goes with user add, user passwd and import --imap")
	case given("no-scram") && !sets:
		return errors.New("--no-scram goes with user add and user passwd")
	case given("no-password") && (o.mode != modeUser || o.action != "add"):
		return errors.New("--no-password goes with user add")
	case given("password-file") && o.passwordFile == "":
		return errors.New("--password-file takes the name of a file")
	case o.noPassword && (given("password-file") || o.noScram):
		return errors.New("--no-password goes with no other flag of a password")
	case o.rebuild && (o.mode != modeStore || o.action != "index"):
		return errors.New("--rebuild goes with store index")
	case o.quiet && o.mode != modeStore && o.mode != modeTransfer:
		return errors.New("--quiet goes with store, export and import")
	case o.json && !lists && !imports:
		return errors.New("--json goes with who, store, import, audit, quota, mailbox list, user list, user app-password list and ban list")
	}
	return nil
}

// readCommand reads what is not a flag.
func (o *options) readCommand(words []string) error {
	if len(words) == 0 {
		return nil
	}
	switch words[0] {
	case "store":
		return o.readStoreCommand(words[1:])
	case "mailbox":
		return o.readMailboxCommand(words[1:])
	case "export", "import":
		return o.readTransferCommand(words)
	case "quota":
		return o.readQuotaCommand(words[1:])
	case "audit":
		return o.readAuditCommand(words[1:])
	case "user":
		return o.readUserCommand(words[1:])
	case "ban":
		return o.readBanCommand(words[1:])
	case "who", "kick":
		return o.readSessionCommand(words)
	}
	return fmt.Errorf("there is no command %q; write user, ban, who, kick, store, audit, quota, mailbox, export or import, or nothing to serve", words[0])
}

// readUserCommand reads what stands behind user.
func (o *options) readUserCommand(words []string) error {
	const form = "write user add, passwd, disable, enable or rm with a NAME, user list, or user app-password"
	if len(words) == 0 {
		return errors.New("what to do with whom? " + form)
	}
	o.mode, o.action = modeUser, words[0]
	switch o.action {
	case "add", "passwd", "disable", "enable", "rm":
		if len(words) == 1 {
			return fmt.Errorf("whom? write user %s NAME", o.action)
		}
		if len(words) > 2 {
			return fmt.Errorf("one user at a time, not %s", strings.Join(words[1:], ", "))
		}
		o.user = words[1]
		return auth.ValidName(o.user)
	case "list":
		if len(words) > 1 {
			return errors.New("user list takes no names")
		}
		return nil
	case "app-password":
		return o.readAppCommand(words[1:])
	}
	return fmt.Errorf("there is no command %q; "+form, "user "+o.action)
}

// readAppCommand reads what stands behind user app-password.
func (o *options) readAppCommand(words []string) error {
	const form = "write user app-password add NAME APP, user app-password revoke NAME APP or user app-password list NAME"
	if len(words) == 0 {
		return errors.New("what to do with app passwords? " + form)
	}
	o.action = "app-password " + words[0]
	switch {
	case words[0] == "list" && len(words) == 2:
	case (words[0] == "add" || words[0] == "revoke") && len(words) == 3:
		o.app = words[2]
		if err := auth.ValidAppName(o.app); err != nil {
			return err
		}
	case words[0] == "list" || words[0] == "add" || words[0] == "revoke":
		return errors.New(form)
	default:
		return fmt.Errorf("there is no command %q; "+form, "user "+o.action)
	}
	o.user = words[1]
	return auth.ValidName(o.user)
}

// readBanCommand reads what stands behind ban.
func (o *options) readBanCommand(words []string) error {
	const form = "write ban list, or ban lift with an address or a user"
	switch {
	case len(words) == 1 && words[0] == "list":
	case len(words) == 2 && words[0] == "lift" && words[1] != "":
		o.user = words[1]
	default:
		return errors.New(form)
	}
	o.mode, o.action = modeBan, words[0]
	return nil
}

func usageError(err error) error {
	return cli.Errorf(cli.Usage, "%w", err).WithHint("%s --help lists what there is", name)
}
