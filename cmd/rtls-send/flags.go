package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/submit"
)

// mode is what the command is to do.
type mode string

const (
	modeSend        mode = "m" // sendmail -bm, and the default
	modeQueue       mode = "p" // mailq
	modeAliases     mode = "i" // newaliases
	modeFlush       mode = "q" // sendmail -q
	modeVersion     mode = "version"
	modeHelp        mode = "help"
	modeCheckConfig mode = "check-config"
	modeCheck       mode = "check"
	modeCount       mode = "P"       // how many messages are in the queue
	modeSMTP        mode = "s"       // SMTP on standard input and output
	modeVerify      mode = "v"       // say what would become of each recipient
	modeNothing     mode = "nothing" // sendmail's host status, which is not kept
	modeConfigure   mode = "configure"
	modeImport      mode = "import-msmtprc"
)

// options is a valid command line.
type options struct {
	mode       mode
	recipients []string
	fromHeader bool
	sender     *string // nil: not given
	fullName   string
	wish       *requiretls.Wish // nil: not given
	dsn        submit.DSN

	config, account, host, tls string
	port                       int
	verbose                    bool
	tag                        string // -L

	front
	inspect
	delivery delivery
	flush    flush // with modeFlush
	json     bool  // with modeQueue and modeCheck
}

const usage = `usage: rtls-send [flags] recipient... < message
       rtls-send -t [flags] [recipient...] < message

  -t                        take recipients from To, Cc and Bcc as well
  -f, -r, --from ADDRESS    reverse-path
  -F NAME                   full name for a From field that is missing
  --requiretls[=yes|no|auto]
                            yes: with REQUIRETLS or not at all (the default)
                            no: with a TLS-Required: No field
                            auto: with neither
  -O requiretls=yes|no      the same, as in Postfix
  --tls-required=no         the same as --requiretls=no
  -N never|success,failure,delay
  -R full|hdrs
  -V ID                     delivery reports (RFC 3461), where the server offers them
  --account NAME            account of the configuration
  --host, --port, --tls implicit|starttls
                            submission server, in place of the account's
  -C, --config FILE
  -odi, -odb, -odq          send now; keep in the queue and send in the background;
                            keep in the queue
  -bp [--json]              list the queue
  -q[TIME]                  send what is due in the queue, again and again
  -bs                       SMTP on standard input and output, many messages
  -bv, --pretend            say what would be sent, where and how; send nothing
  --configure ADDRESS [--host HOST] [--password-in file|keyring|systemd]
                            find the servers for an address, try them, ask for the
                            password, write a configuration
  --import-msmtprc FILE     print a configuration made of one of msmtp
  --receipt FILE            write what is known of a message that was sent, in JSON
  --check [--login] [--json] [host[:port]...]
                            look at the account's servers, or at these, and log in;
                            nothing is sent
  --check --mx [--json] recipient|domain...
                            look at the mail exchangers of a domain
  --check-config            read the configuration and say whether it is right
  -v, --debug               show the dialogue; show the decisions as well
  --version, --help

rtls-send queue --help has more about the queue.
All other options of sendmail that programs pass are accepted; rtls-send(1) lists
them.
`

// parseArgs reads the command line. invoked is the name that the command was called
// by.
func parseArgs(invoked string, args []string) (*options, error) {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.Usage = func() {}
	var o options
	fs.BoolVar(&o.fromHeader, "read-recipients", false, "")
	from := fs.String("from", "", "")
	fs.StringVar(&o.fullName, "full-name", "", "")
	wishes := fs.StringArray("requiretls", nil, "")
	fs.Lookup("requiretls").NoOptDefVal = "yes"
	required := fs.StringArray("tls-required", nil, "")
	settings := fs.StringArray("option", nil, "")
	notify := fs.String("dsn-notify", "", "")
	ret := fs.String("dsn-return", "", "")
	fs.StringVar(&o.dsn.EnvelopeID, "dsn-envid", "", "")
	fs.StringVar(&o.account, "account", "", "")
	fs.StringVar(&o.host, "host", "", "")
	fs.IntVar(&o.port, "port", 0, "")
	fs.StringVar(&o.tls, "tls", "", "")
	fs.StringVar(&o.config, "config", "", "")
	fs.StringVar(&o.config, "file", "", "") // msmtp's name for it
	fs.StringVar(&o.tag, "log-tag", "", "")
	fs.BoolVar(&o.verbose, "verbose", false, "")
	sendmailMode := fs.String("mode", "m", "")
	queue := fs.String("queue", "", "")
	sets := fs.StringArray("set", nil, "")
	fs.BoolVar(&o.json, "json", false, "")
	aliases := fs.Bool("newaliases", false, "")
	check := fs.Bool("check-config", false, "")
	values := o.front.define(fs)
	o.inspect.define(fs)
	version := fs.Bool("version", false, "")
	fs.String("debug-level", "", "")
	help := fs.Bool("help", false, "")

	args, err := respell(args, fs)
	if err == nil {
		err = fs.Parse(args)
	}
	if err != nil {
		return nil, usageError(err)
	}
	o.recipients = fs.Args()
	if fs.Changed("from") {
		o.sender = from
	}
	switch {
	case *help:
		return &options{mode: modeHelp}, nil
	case *version:
		return &options{mode: modeVersion}, nil
	}
	o.mode, err = chooseMode(invoked, *sendmailMode, *aliases, fs.Changed("queue") && len(o.recipients) == 0 && !o.fromHeader)
	if err != nil {
		return nil, usageError(err)
	}
	o.delivery = chooseDelivery(*sets)
	if o.mode == modeFlush {
		if o.flush, err = parseFlush(*queue); err != nil {
			return nil, usageError(err)
		}
	}
	if o.wish, err = oneWish(*wishes, *required, *settings); err != nil {
		return nil, usageError(err)
	}
	if err := o.readDSN(fs, *notify, *ret); err != nil {
		return nil, usageError(err)
	}
	if err := o.checkServer(fs); err != nil {
		return nil, usageError(err)
	}
	if err := o.front.check(fs, values, *settings, *sets); err != nil {
		return nil, usageError(err)
	}
	if err := o.inspect.valid(o.recipients); err != nil {
		return nil, usageError(err)
	}
	o.verbose = o.verbose || o.debug || fs.Changed("debug-level")
	switch {
	case *check:
		o.mode = modeCheckConfig
	case o.inspect.check:
		o.mode = modeCheck
	case o.configure != "":
		o.mode = modeConfigure
	case o.msmtprc != "":
		o.mode = modeImport
	}
	if o.mode == modeVerify && o.fromHeader { // the message says who they are
		o.mode, o.pretend = modeSend, true
	}
	if o.mode == modeSMTP && (len(o.recipients) > 0 || o.fromHeader || o.pretend) {
		return nil, usageError(errors.New("-bs takes neither recipients, which are said in the dialogue, nor -t or --pretend"))
	}
	if (o.mode == modeSend || o.mode == modeVerify) && len(o.recipients) == 0 && !o.fromHeader {
		return nil, cli.Errorf(cli.Usage, "no recipients").
			WithHint("write them on the command line, or use -t to take them from the header")
	}
	return &o, nil
}

func usageError(err error) error {
	return cli.Errorf(cli.Usage, "%w", err).WithHint("%s --help lists what there is", name)
}

// chooseMode reads -b, the names mailq and newaliases, -I and -q.
func chooseMode(invoked, sendmailMode string, aliases, flush bool) (mode, error) {
	switch {
	case aliases || invoked == "newaliases":
		return modeAliases, nil
	case invoked == "mailq":
		return modeQueue, nil
	}
	switch m := mode(sendmailMode); m {
	case modeSend:
		if flush {
			return modeFlush, nil
		}
		return modeSend, nil
	case modeQueue, modeCount, modeAliases, modeSMTP, modeVerify:
		return m, nil
	case "h", "H":
		return modeNothing, nil
	case "d", "D", "l", "a":
		return "", errors.New("-b" + sendmailMode + ": this is no daemon; -bs speaks SMTP on standard input, for inetd or a systemd socket")
	case "t":
		return "", errors.New("-bt: there are no rewriting rules to test; -bv shows what becomes of an address")
	}
	return "", errors.New("-b" + sendmailMode + " is not there; -bm, -bs, -bv, -bp and -bi are")
}

// oneWish makes one wish of all that were given. To contradict oneself is an error:
// either choice would be wrong for somebody (RFC 8689 section 4.3).
func oneWish(wishes, required, settings []string) (*requiretls.Wish, error) {
	var found []requiretls.Wish
	for _, value := range wishes {
		w, err := requiretls.ParseWish(value)
		if err != nil {
			return nil, err
		}
		found = append(found, w)
	}
	for _, value := range required {
		if !strings.EqualFold(value, requiretls.HeaderNo) {
			return nil, errors.New("--tls-required takes only the value no, like the header field; to require TLS write --requiretls=yes")
		}
		found = append(found, requiretls.No)
	}
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "requiretls") {
			continue // sendmail has a hundred of them
		}
		w, err := requiretls.ParseWish(strings.TrimSpace(value))
		if err != nil {
			return nil, err
		}
		found = append(found, w)
	}
	if len(found) == 0 {
		return nil, nil
	}
	if i := slices.IndexFunc(found, func(w requiretls.Wish) bool { return w != found[0] }); i >= 0 {
		return nil, errors.New("the flags wish for requiretls=" + found[0].String() + " and for requiretls=" + found[i].String() + "; keep one")
	}
	return &found[0], nil
}

// readDSN checks -N, -R and -V (RFC 3461).
func (o *options) readDSN(fs *pflag.FlagSet, notify, ret string) error {
	if fs.Changed("dsn-notify") {
		o.dsn.Notify = strings.Split(strings.ToUpper(notify), ",")
		for i, word := range o.dsn.Notify {
			known := slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, word)
			alone := word != "NEVER" || len(o.dsn.Notify) == 1
			if !known || !alone || slices.Contains(o.dsn.Notify[:i], word) {
				return errors.New("-N takes never, or a list of success, failure and delay")
			}
		}
	}
	if fs.Changed("dsn-return") {
		o.dsn.Return = strings.ToUpper(ret)
		if o.dsn.Return != "FULL" && o.dsn.Return != "HDRS" {
			return errors.New("-R takes full or hdrs")
		}
	}
	if fs.Changed("dsn-envid") {
		return submit.ValidEnvelopeID(o.dsn.EnvelopeID)
	}
	return nil
}

func (o *options) checkServer(fs *pflag.FlagSet) error {
	switch {
	case o.tls != "" && o.tls != "implicit" && o.tls != "starttls":
		return errors.New("--tls takes implicit or starttls; there is no third way")
	case fs.Changed("port") && (o.port < 1 || o.port > 65535):
		return errors.New("--port takes a number from 1 to 65535")
	case fs.Changed("host") && o.host == "":
		return errors.New("--host takes a name")
	}
	return nil
}
