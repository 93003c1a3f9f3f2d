package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lda"
)

// mode is what the command is to do.
type mode uint8

const (
	modeDeliver mode = iota
	modeServe
	modeWorker
	modeSieveTest
	modeCheckConfig
	modeVersion
	modeHelp
)

// workerFlag is how rtls-lda starts itself.
const workerFlag = "worker"

// options is a valid command line.
type options struct {
	mode    mode
	config  string
	set     []string // single settings
	verbose bool

	lmtp []listen

	user       string
	sender     *string // nil: not given
	original   string
	final      string
	folder     string
	extension  string
	requireTLS bool
	queueID    string
	fromEnv    bool
	path       string // of the message; empty: standard input
	reason     bool   // say on standard error why a message is refused
	dryRun     bool
	explain    bool
	script     string // of --sieve-test
}

const usage = `usage: rtls-lda -d USER [flags] < message
       rtls-lda --lmtp unix:PATH|tcp:HOST:PORT|systemd|stdio ...
       rtls-lda --sieve-test SCRIPT [-d USER] [flags] < message

Delivery of one message
  -d USER                  whose mailbox; without it, that of the -r or -a address
  -f SENDER                reverse-path; without it, what Return-Path says
  -a ADDRESS               recipient as the sender wrote it
  -r ADDRESS               recipient after aliases; default: the -a address
  -m FOLDER                mailbox, if it exists; default: the detail of the address
  -x DETAIL                detail of the address, if it was cut off
  -p FILE                  read the message from FILE
  --requiretls             the message came with REQUIRETLS
  --queue-id ID            what the mail transfer agent calls the message: one that
                           comes again is not stored again
  --from-env               take what is not given from the environment, as Postfix
                           local(8) and OpenSMTPD set it
  --dry-run                decide all, store and send nothing
  --explain                say on standard output what was decided, and why
  -e                       say on standard error, too, why a message is refused
  -k, -t, -Y               accepted for compatibility; it is always so

LMTP
  --lmtp unix:PATH[,mode=0660][,owner=NAME][,group=NAME]
  --lmtp tcp:HOST:PORT     beyond loopback clients have to use STARTTLS
  --lmtp systemd[:NAME]    the sockets, of that name, that systemd hands over
  --lmtp stdio             one dialogue on standard input and output

  -c, --config FILE        default: ` + config.SystemPath + `
  -o TABLE.KEY=VALUE       a setting in place of the configuration's
  --check-config           say whether the configuration is right
  -v, --verbose            show the log of a delivery
  --version, --help
`

// parseArgs reads the command line. With an error the options say the mode only,
// as far as it was understood.
func parseArgs(args []string) (*options, error) {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.Usage = func() {}
	var o options
	fs.StringVarP(&o.user, "user", "d", "", "")
	sender := fs.StringP("sender", "f", "", "")
	fs.StringVarP(&o.original, "original-recipient", "a", "", "")
	fs.StringVarP(&o.final, "recipient", "r", "", "")
	fs.StringVarP(&o.folder, "mailbox", "m", "", "")
	fs.StringVarP(&o.extension, "extension", "x", "", "")
	fs.StringVarP(&o.path, "path", "p", "", "")
	fs.BoolVar(&o.requireTLS, "requiretls", false, "")
	fs.StringVar(&o.queueID, "queue-id", "", "")
	fs.BoolVar(&o.fromEnv, "from-env", false, "")
	fs.BoolVarP(&o.reason, "reason", "e", false, "")
	fs.BoolVar(&o.dryRun, "dry-run", false, "")
	fs.BoolVar(&o.explain, "explain", false, "")
	fs.StringVar(&o.script, "sieve-test", "", "")
	for _, harmless := range []string{"k", "t", "Y"} {
		fs.BoolP("compatible-"+harmless, harmless, false, "")
	}
	asWorker := fs.Bool(workerFlag, false, "")
	listens := fs.StringArray("lmtp", nil, "")
	fs.StringVarP(&o.config, "config", "c", config.SystemPath, "")
	fs.StringArrayVarP(&o.set, "set", "o", nil, "")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "")
	check := fs.Bool("check-config", false, "")
	version := fs.Bool("version", false, "")
	help := fs.BoolP("help", "h", false, "")

	err := fs.Parse(args)
	switch {
	case *help:
		o.mode = modeHelp
	case *version:
		o.mode = modeVersion
	case *check:
		o.mode = modeCheckConfig
	case *asWorker:
		o.mode = modeWorker
	case fs.Changed("lmtp"):
		o.mode = modeServe
	case fs.Changed("sieve-test"):
		o.mode = modeSieveTest
	}
	if err != nil {
		return &o, usageError(err)
	}
	if fs.Changed("sender") {
		o.sender = sender
	}
	for _, spec := range *listens {
		l, err := parseListen(spec)
		if err != nil {
			return &o, err
		}
		o.lmtp = append(o.lmtp, l)
	}
	switch o.mode {
	case modeServe:
		err = o.checkServe(fs)
	case modeDeliver:
		err = o.checkDeliver()
	case modeSieveTest:
		err = o.checkAddresses()
	}
	if err == nil && fs.NArg() > 0 && o.mode != modeHelp {
		err = fmt.Errorf("%q is one too many; a recipient is written as -d USER", fs.Arg(0))
	}
	if err != nil {
		return &o, usageError(err)
	}
	return &o, nil
}

func usageError(err error) error {
	return cli.Errorf(cli.Usage, "%w", err).WithHint("%s --help lists what there is", name)
}

// checkServe finds flags that mean nothing to LMTP, and a stdio that is not alone.
func (o *options) checkServe(fs *pflag.FlagSet) error {
	for _, f := range []string{"user", "sender", "original-recipient", "recipient", "mailbox", "extension", "path", "requiretls", "queue-id", "from-env", "dry-run", "explain", "sieve-test"} {
		if fs.Changed(f) {
			flag := fs.Lookup(f)
			spelling := "--" + f
			if flag.Shorthand != "" {
				spelling = "-" + flag.Shorthand
			}
			return fmt.Errorf("%s is for the delivery of one message; in LMTP the client says it", spelling)
		}
	}
	isStdio := func(l listen) bool { return l.kind == "stdio" }
	if len(o.lmtp) > 1 && slices.ContainsFunc(o.lmtp, isStdio) {
		return errors.New("--lmtp stdio is one dialogue and goes with no other --lmtp")
	}
	var fromSystemd []string
	for _, l := range o.lmtp {
		if l.kind == "systemd" {
			fromSystemd = append(fromSystemd, l.addr)
		}
	}
	if all := len(fromSystemd); all > 1 && (slices.Contains(fromSystemd, "") || len(slices.Compact(slices.Sorted(slices.Values(fromSystemd)))) < all) {
		return errors.New("--lmtp systemd: each socket of systemd can be taken once")
	}
	return nil
}

func (o *options) checkDeliver() error {
	if o.user == "" && o.final == "" && o.original == "" && !o.fromEnv {
		return errors.New("no recipient; say whose mailbox with -d USER, or serve LMTP with --lmtp")
	}
	return o.checkAddresses()
}

func (o *options) checkAddresses() error {
	if o.sender != nil {
		// Some say the null reverse-path with its brackets, and Postfix without
		// null_sender= says MAILER-DAEMON.
		*o.sender = strings.TrimSuffix(strings.TrimPrefix(*o.sender, "<"), ">")
		if *o.sender == "MAILER-DAEMON" {
			*o.sender = ""
		}
		*o.sender = lda.Quote(*o.sender)
		if err := lda.CheckAddress(*o.sender); err != nil {
			return fmt.Errorf("-f: %w", err)
		}
	}
	for _, f := range []struct {
		flag    string
		address *string
	}{{"-d", &o.user}, {"-a", &o.original}, {"-r", &o.final}} {
		*f.address = lda.Quote(*f.address)
		if err := lda.CheckAddress(*f.address); err != nil {
			return fmt.Errorf("%s: %w", f.flag, err)
		}
	}
	return nil
}
