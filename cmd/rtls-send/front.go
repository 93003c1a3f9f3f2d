package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"rtls/internal/cli"
	"rtls/internal/submit"
)

// front is the flags about reading the message and about what is said on the way.
type front struct {
	pretend          bool
	debug            bool
	quiet            bool // -oeq: nothing on standard error
	errors           errorMode
	hops             int      // -h
	senderFromHeader bool     // --read-envelope-from
	ineffective      []string // flags that would change what becomes of a message, and do not
	transcript       string   // -X
	log              io.Writer
	noAliases        bool   // -n
	sevenBit         bool   // -B7BIT
	smtputf8         string // -O smtputf8: yes, no or empty
	timeouts         submit.Timeouts
	configure        string // address
	passwordIn       string // with it: "file", "keyring" or "systemd"
	msmtprc          string // file
}

// frontValues is what the flag set knows before it is checked.
type frontValues struct {
	body, errorMode string
	macro, lifetime string
	timeout         string
	utf8            bool
}

func (f *front) define(fs *pflag.FlagSet) *frontValues {
	v := &frontValues{}
	fs.BoolVar(&f.pretend, "pretend", false, "")
	fs.BoolVar(&f.debug, "debug", false, "")
	fs.StringVar(&f.transcript, "transcript", "", "")
	fs.BoolVar(&f.noAliases, "no-aliases", false, "")
	fs.StringVar(&f.configure, "configure", "", "")
	fs.StringVar(&f.passwordIn, "password-in", "file", "")
	fs.StringVar(&f.msmtprc, "import-msmtprc", "", "")
	fs.StringVar(&v.body, "body", "", "")
	fs.StringVar(&v.errorMode, "error-mode", "", "")
	fs.BoolVar(&v.utf8, "smtputf8", false, "")
	fs.IntVar(&f.hops, "hop-count", 0, "")
	fs.BoolVar(&f.senderFromHeader, "read-envelope-from", false, "")
	fs.StringVar(&v.timeout, "timeout", "", "")
	fs.StringVar(&v.macro, "macro", "", "")
	fs.StringVar(&v.lifetime, "queue-lifetime", "", "")
	return v
}

// check takes the values apart. settings is those of -O, sets those of -o.
func (f *front) check(fs *pflag.FlagSet, v *frontValues, settings, sets []string) error {
	switch strings.ToUpper(v.body) {
	case "7BIT":
		f.sevenBit = true
	case "", "8BITMIME", "BINARYMIME":
	default:
		return errors.New("-B takes 7BIT or 8BITMIME")
	}
	f.errors = chooseErrorMode(v.errorMode, sets)
	f.quiet = f.errors == errorsQuiet
	if fs.Changed("macro") {
		f.ineffective = append(f.ineffective, "-M")
	}
	if fs.Changed("queue-lifetime") {
		f.ineffective = append(f.ineffective, "-T")
	}
	if v.utf8 {
		f.smtputf8 = "yes"
	}
	if n, err := strconv.Atoi(v.timeout); v.timeout != "" && v.timeout != "off" {
		if err != nil || n < 1 || n > 86400 {
			return fmt.Errorf("--timeout takes seconds, at most a day of them, not %q", v.timeout)
		}
		f.timeouts.Connect, f.timeouts.Command = time.Duration(n)*time.Second, time.Duration(n)*time.Second
	}
	for _, setting := range settings {
		if err := f.setting(setting); err != nil {
			return err
		}
	}
	switch {
	case fs.Changed("configure") && !strings.Contains(f.configure, "@"):
		return errors.New("--configure takes your address, user@example.org")
	case !slices.Contains([]string{"file", "keyring", "systemd"}, f.passwordIn):
		return fmt.Errorf("--password-in takes file, keyring or systemd, not %q", f.passwordIn)
	case fs.Changed("password-in") && f.configure == "":
		return errors.New("--password-in belongs to --configure")
	case fs.Changed("import-msmtprc") && f.msmtprc == "":
		return errors.New("--import-msmtprc takes a file")
	}
	return nil
}

// trace shows a line of the dialogue, which holds no secrets.
func (o *options) trace(env cli.Env, line string) {
	if o.verbose {
		fmt.Fprintf(env.Stderr, "%s: %s\n", name, line)
	}
	if o.log != nil {
		fmt.Fprintf(o.log, "%d %s\n", os.Getpid(), line) // a log that fails is no reason not to send
	}
}

// openTranscript opens the file of -X to append to it. Programs pass on flags that
// they had from strangers, who would like to write a file of their choice: so it has
// to exist, to be the caller's, and to be nobody else's to read or run.
func openTranscript(path string) (io.WriteCloser, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, cli.Errorf(cli.CantCreate, "-X: %w", err).WithHint("make the file first: install -m 600 /dev/null FILE")
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		var st unix.Stat_t
		if err = unix.Fstat(int(f.Fd()), &st); err == nil && (int(st.Uid) != os.Getuid() || info.Mode().Perm()&^0o600 != 0) {
			err = fmt.Errorf("%s is not a file of mode 0600 of your own", path)
		}
	}
	if err != nil {
		f.Close()
		return nil, cli.Errorf(cli.CantCreate, "-X: %w", err)
	}
	return f, nil
}

// setting reads one -O name=value. Of sendmail's hundred names these few mean
// something here.
func (f *front) setting(s string) error {
	key, value, _ := strings.Cut(s, "=")
	key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
	timeouts := map[string]*time.Duration{
		"timeout.connect":   &f.timeouts.Connect,
		"timeout.command":   &f.timeouts.Command,
		"timeout.datablock": &f.timeouts.Write,
		"timeout.datafinal": &f.timeouts.Final,
	}
	switch t := timeouts[key]; {
	case key == "smtputf8":
		f.smtputf8 = strings.ToLower(value)
		if f.smtputf8 != "yes" && f.smtputf8 != "no" {
			return fmt.Errorf("smtputf8 is yes or no, not %q", value)
		}
	case t != nil:
		times, err := parseFlush(value) // the same form
		if err != nil || times.every == 0 {
			return fmt.Errorf("%s takes a time such as 90s or 5m, not %q", key, value)
		}
		*t = times.every
	}
	return nil
}
