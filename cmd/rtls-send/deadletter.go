package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rtls/internal/cli"
	"rtls/internal/compose"
)

// errorMode is sendmail's ErrorMode: how to tell that a message cannot be sent. It is
// always told by exit code and, unless it is to be quiet, on standard error.
type errorMode byte

const (
	errorsPrinted    errorMode = 'p' // the default
	errorsQuiet      errorMode = 'q'
	errorsMailed     errorMode = 'm'
	errorsWritten    errorMode = 'w' // on the user's terminal, else as mail; here always the latter
	errorsMailedZero errorMode = 'e' // as mail, and exit with 0
)

// chooseErrorMode reads -e and the last -oe. Another letter is the default.
func chooseErrorMode(e string, sets []string) errorMode {
	for _, set := range sets {
		if rest, ok := strings.CutPrefix(set, "e"); ok && len(rest) == 1 {
			e = rest
		}
	}
	if len(e) == 1 && strings.Contains("qmwe", e) {
		return errorMode(e[0])
	}
	return errorsPrinted
}

// mailed says whether the message is to come back to its sender or, where that cannot
// be, to be kept.
func (m errorMode) mailed() bool {
	return m == errorsMailed || m == errorsWritten || m == errorsMailedZero
}

// inputCopy is what has been read of standard input. A nil one copies nothing.
type inputCopy struct {
	spill *compose.Spill
	some  bool
	err   error // of keeping it; what is read is good all the same
}

// newInputCopy returns nil where nobody wants the message to be kept, or where a person
// types it.
func newInputCopy(env cli.Env, o *options) *inputCopy {
	if !o.errors.mailed() || o.pretend || isTerminal(env.Stdin) {
		return nil
	}
	return &inputCopy{spill: compose.NewSpill(env.Getenv("TMPDIR"))}
}

func (c *inputCopy) Close() {
	if c != nil {
		_ = c.spill.Close()
	}
}

// reading returns r, and copies what is read from it.
func (c *inputCopy) reading(r io.Reader) io.Reader {
	if c == nil {
		return r
	}
	return io.TeeReader(r, c)
}

// Write never fails: a copy that cannot be kept is no reason not to send.
func (c *inputCopy) Write(p []byte) (int, error) {
	c.some = c.some || len(p) > 0
	if c.err == nil {
		_, c.err = c.spill.Write(p)
	}
	return len(p), nil
}

// saveLetter appends a message that is not sent and not in the queue to its caller's
// dead.letter, where the caller asked for something like that: cron looks at no exit
// code. Who interrupts the command, or calls it the wrong way, still has the message.
func saveLetter(ctx context.Context, env cli.Env, o *options, c *inputCopy, why error) {
	if c == nil || ctx.Err() != nil || cli.ExitCode(why) == cli.Usage || cli.ExitCode(why) == cli.NoInput {
		return
	}
	path, err := deadLetter(ctx, env, c)
	if err != nil {
		fmt.Fprintf(env.Stderr, "%s: the message cannot be saved in dead.letter: %s\n", name, cli.Printable(err.Error()))
	} else if path != "" {
		fmt.Fprintf(env.Stderr, "%s: the message was saved in %s\n", name, path)
	}
}

// deadLetter returns an empty path where there is no message.
func deadLetter(ctx context.Context, env cli.Env, c *inputCopy) (path string, err error) {
	home := env.Getenv("HOME")
	if home == "" { // as with cron, started by systemd
		if who, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
			home = who.HomeDir
		}
	}
	if !filepath.IsAbs(home) {
		return "", errors.New("there is no home directory")
	}
	if err := c.readRest(ctx, env.Stdin); err != nil || !c.some {
		return "", err
	}
	path = filepath.Join(home, "dead.letter")
	return path, appendLetter(path, c.spill, time.Now())
}

// readRest reads what the message's reader has left. See composing.read for the
// goroutine.
func (c *inputCopy) readRest(ctx context.Context, r io.Reader) error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, r)
		done <- err
	}()
	select {
	case err := <-done:
		return errors.Join(err, c.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// appendLetter adds a message to an mbox file, durably and whole or not at all. The file
// is for its owner alone: what is in it may have required TLS on its way.
func appendLetter(path string, text io.WriterTo, now time.Time) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 || st.Nlink != 1 {
		return fmt.Errorf("%s is not a file of your own that nobody else can read; chmod 600 it", path)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 { // it may be new
		if err := syncDir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			_ = f.Truncate(info.Size())
		}
	}()
	out := bufio.NewWriter(f)
	fmt.Fprintf(out, "From MAILER-DAEMON %s\n", now.UTC().Format(time.ANSIC)) // Flush has the error
	m := &mboxWriter{w: out}
	if _, err := text.WriteTo(m); err != nil {
		return err
	}
	if err := errors.Join(m.end(), out.Flush(), f.Sync()); err != nil {
		return err
	}
	return f.Close()
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// mboxWriter writes a message into an mbox: with LF for line ends, and with a mark on
// lines that would begin another message.
type mboxWriter struct {
	w     *bufio.Writer
	line  []byte // the last one, as long as it is not whole
	begun bool
}

func (m *mboxWriter) Write(p []byte) (int, error) {
	size := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 {
			m.line = append(m.line, p...)
			break
		}
		m.line = append(m.line, p[:end]...)
		p = p[end:]
		if err := m.put(); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// put writes the line. A "From " line before the header is the caller's own.
func (m *mboxWriter) put() error {
	line := bytes.TrimRight(m.line, "\r\n")
	first := !m.begun
	m.begun = true
	m.line = m.line[:0]
	if bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
		if first {
			return nil
		}
		_ = m.w.WriteByte('>') // the last one has the error
	}
	_, _ = m.w.Write(line)
	return m.w.WriteByte('\n')
}

// end writes the last line, and a blank one behind it.
func (m *mboxWriter) end() error {
	if len(m.line) > 0 {
		if err := m.put(); err != nil {
			return err
		}
	}
	return m.w.WriteByte('\n')
}
