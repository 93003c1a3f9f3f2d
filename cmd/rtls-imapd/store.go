package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"rtls/internal/auth"
	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/imap/fulltext"
	"rtls/internal/owner"
	"rtls/internal/users"
	"rtls/store"
)

// storeActions are what store can be told to do.
var storeActions = []string{"check", "repair", "rebuild", "index"}

// readStoreCommand reads what stands behind store.
func (o *options) readStoreCommand(words []string) error {
	const form = "write store check ACCOUNT, store repair ACCOUNT, store rebuild ACCOUNT or store index ACCOUNT"
	if len(words) == 0 {
		return errors.New("what to do with the store? " + form)
	}
	o.mode, o.action = modeStore, words[0]
	known := false
	for _, action := range storeActions {
		known = known || action == o.action
	}
	switch {
	case !known:
		return fmt.Errorf("there is no command %q; "+form, "store "+o.action)
	case len(words) == 1:
		return errors.New("which account? " + form)
	case len(words) > 2:
		return fmt.Errorf("one account at a time, not %s", strings.Join(words[1:], ", "))
	}
	if o.user = words[1]; isPath(o.user) {
		return nil
	}
	return auth.ValidName(o.user)
}

// isPath tells the directory of an account from the name of a user, which has no
// slash.
func isPath(account string) bool { return strings.ContainsRune(account, '/') }

// mendStore checks, repairs or rebuilds an account, or brings its mail into the index
// of texts.
func mendStore(ctx context.Context, env cli.Env, o *options) error {
	a, _, err := openAccount(env, o)
	if err != nil {
		return err
	}
	out := newReport(env, o)
	opt := store.CheckOptions{Found: out.found, Progress: out.progress}
	texts := fulltext.New(a, slog.New(slog.NewTextHandler(env.Stderr, nil)))
	switch o.action {
	case "check":
		err = a.Check(ctx, opt)
	case "repair":
		err = a.Repair(ctx, opt)
	case "rebuild":
		err = a.Rebuild(ctx, opt)
	case "index":
		if o.rebuild {
			err = texts.Remove()
		}
		if err == nil {
			err = texts.UpdateAll(ctx, out.progress)
		}
		out.texts, out.textOctets = texts.Size()
	}
	if err == nil && (o.action == "check" || o.action == "repair") {
		err = texts.Check(ctx, o.action == "repair", out.found)
	}
	err = errors.Join(err, a.Close(), out.end(err))
	switch {
	case errors.Is(err, fulltext.ErrBusy):
		return cli.Errorf(cli.TempFail, "%w", err).WithHint("rtls-imapd does it by itself while the user is logged in; wait, or try again later")
	case errors.Is(err, store.ErrIndexInUse):
		return cli.Errorf(cli.TempFail, "%w", err)
	case err != nil:
		return cli.Errorf(cli.TempFail, "%w", err).WithHint("what has been done stays; run it again when the cause is gone")
	case out.left == 0:
		return nil
	case o.action == "check":
		return cli.Errorf(cli.DataErr, "%s has problems", o.user).WithHint("%s store repair %s does what stands behind each", name, o.user)
	}
	return cli.Errorf(cli.DataErr, "%s has problems that are left", o.user)
}

// openAccount opens the account that the command line names, without a quota, and
// says what quota its user has. It is for nobody but its owner: files that root makes
// in it, a server without root's rights cannot use.
func openAccount(env cli.Env, o *options) (a *store.Account, limit store.Quota, err error) {
	dir := o.user
	hostname := ""
	if !isPath(o.user) {
		f, err := loadConfig(o, (*config.File).CheckStore)
		if err != nil {
			return nil, limit, err
		}
		r, ok, err := users.NewDirectory(f.Store).Lookup(o.user)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, limit, cli.Errorf(cli.Config, "%w", err)
		}
		if !ok {
			err := cli.Errorf(cli.NoUser, "there is no user %s", o.user)
			if o.mode == modeStore || o.mode == modeAudit { // the others take no directory
				err = err.WithHint("an account whose user is gone is named by its directory, as in %s", filepath.Join(f.Store.Root, o.user))
			}
			return nil, limit, err
		}
		dir, hostname = r.Dir, f.Hostname
		limit = store.Quota{Bytes: r.Quota, Messages: r.QuotaMessages}
	}
	if uid, gid, err := owner.Of(dir); err == nil {
		if err := owner.Become(uid, gid); err != nil {
			return nil, limit, cli.Errorf(cli.OSErr, "%w", err)
		}
		if uid != os.Geteuid() {
			return nil, limit, cli.Errorf(cli.NoPerm, "%s belongs to user %d", dir, uid).WithHint("run it as that user, or as root")
		}
	}
	logger := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a, err = store.Open(dir, &store.Options{Hostname: hostname, Logger: logger})
	switch {
	case errors.Is(err, store.ErrNoAccount):
		return nil, limit, cli.Errorf(cli.NoUser, "%w", err)
	case errors.Is(err, store.ErrPermissions):
		return nil, limit, cli.Errorf(cli.NoPerm, "%w", err)
	}
	return a, limit, err
}

// report writes what is found and done, and how far it has come.
type report struct {
	w        io.Writer
	terminal io.Writer // nil if there is none to draw on
	action   string
	account  string
	json     bool
	drawn    string

	texts      int // messages in the index of texts
	textOctets int64

	count int
	left  int
}

func newReport(env cli.Env, o *options) *report {
	r := &report{w: env.Stdout, action: o.action, account: o.user, json: o.json}
	if f, ok := env.Stderr.(*os.File); ok && !o.quiet && term.IsTerminal(int(f.Fd())) {
		r.terminal = f
	}
	return r
}

func (r *report) progress(done, total int) {
	if r.terminal == nil || total == 0 {
		return
	}
	unit := "messages"
	switch r.action {
	case "rebuild":
		unit = "mailboxes"
	}
	const width = 30
	filled := width * done / total
	line := fmt.Sprintf("[%s%s] %d of %d %s", strings.Repeat("#", filled), strings.Repeat("-", width-filled), done, total, unit)
	if line != r.drawn {
		fmt.Fprintf(r.terminal, "\r%s\x1b[K", line)
		r.drawn = line
	}
}

// redraw is how often a line that counts messages is drawn anew.
const redraw = 100 * time.Millisecond

// steps draws how far an export or import has come, how fast it is, and how long it
// would take at that rate.
func (r *report) steps() store.Progress {
	if r.terminal == nil {
		return nil
	}
	start := time.Now()
	var drawn time.Time
	return func(s store.Step) {
		now := time.Now()
		if now.Sub(drawn) < redraw {
			return
		}
		drawn = now
		r.drawn = stepText(s, now.Sub(start))
		fmt.Fprintf(r.terminal, "\r%s\x1b[K", r.drawn)
	}
}

func stepText(s store.Step, spent time.Duration) string {
	const mib = 1 << 20
	text := fmt.Sprint(s.Messages)
	if s.AllMessages > 0 {
		text += fmt.Sprintf(" of %d", s.AllMessages)
	}
	text += fmt.Sprintf(" messages, %.1f", float64(s.Octets)/mib)
	if s.AllOctets > 0 {
		text += fmt.Sprintf(" of %.1f", float64(s.AllOctets)/mib)
	}
	text += " MiB"
	if spent < time.Second {
		return text
	}
	text += fmt.Sprintf(", %.1f MiB/s", float64(s.Octets)/mib/spent.Seconds())
	share := 0.0
	switch {
	case s.AllOctets > 0:
		share = float64(s.Octets) / float64(s.AllOctets)
	case s.AllMessages > 0:
		share = float64(s.Messages) / float64(s.AllMessages)
	}
	if share <= 0 || share > 1 {
		return text
	}
	left := time.Duration(float64(spent) * (1 - share) / share)
	return text + fmt.Sprintf(", %s left", left.Round(time.Second))
}

// clear takes the progress away, for a line of text.
func (r *report) clear() {
	if r.drawn != "" {
		fmt.Fprint(r.terminal, "\r\x1b[K")
		r.drawn = ""
	}
}

func (r *report) found(f store.Finding) error {
	r.clear()
	r.count++
	if !f.Fixed {
		r.left++
	}
	if r.json {
		return json.NewEncoder(r.w).Encode(f)
	}
	line := f.Path + ": " + f.Text
	switch {
	case f.Fixed:
		line += "; done: " + f.Repair
	case f.Repair != "":
		line += "; repair: " + f.Repair
	}
	return say(r.w, cli.Printable(line)+"\n")
}

// end writes the summary, unless err has cut the rest off.
func (r *report) end(err error) error {
	r.clear()
	if err != nil {
		return nil
	}
	if r.json {
		if r.action == "index" {
			return json.NewEncoder(r.w).Encode(map[string]int64{"messages": int64(r.texts), "octets": r.textOctets})
		}
		return json.NewEncoder(r.w).Encode(map[string]int{"findings": r.count, "left": r.left})
	}
	text := "nothing is wrong"
	switch {
	case r.action == "index":
		text = fmt.Sprintf("the text index has %d messages and takes %d KiB", r.texts, (r.textOctets+1023)/1024)
	case r.action == "rebuild":
		text = "the index is new; the old one is in .rtls/"
	case r.count > 0 && r.action == "check":
		text = fmt.Sprintf("found %d", r.count)
	case r.count > 0:
		text = fmt.Sprintf("found %d, repaired %d", r.count, r.count-r.left)
	}
	return say(r.w, fmt.Sprintf("%s: %s\n", cli.Printable(r.account), text))
}
