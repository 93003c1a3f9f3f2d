package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// step is one thing that agents do to deliver, by whatever system call.
type step struct {
	what  string
	calls []string // system calls that can be it
	is    func(line, maildir string) bool
}

// steps are what can fail. The lines are strace's, with paths behind descriptors.
var steps = []step{
	{"create the file", []string{"openat", "open", "creat"}, func(line, maildir string) bool {
		return strings.Contains(line, maildir+"/tmp") && (strings.Contains(line, "O_CREAT") || strings.Contains(line, "O_TMPFILE"))
	}},
	{"write the message", []string{"write", "pwrite64", "writev"}, inTemporary},
	{"fsync the message", []string{"fsync", "fdatasync"}, inTemporary},
	{"close the message", []string{"close"}, inTemporary},
	{"give it its name", []string{"linkat", "link", "rename", "renameat", "renameat2"}, func(line, maildir string) bool {
		return strings.Contains(line, maildir+"/new/") || strings.Contains(line, maildir+"/cur/")
	}},
	{"fsync the directory", []string{"fsync", "fdatasync"}, func(line, maildir string) bool {
		return strings.Contains(line, maildir+"/new>") || strings.Contains(line, maildir+"/cur>")
	}},
	{"remove the first name", []string{"unlink", "unlinkat"}, func(line, maildir string) bool {
		return strings.Contains(line, maildir+"/tmp")
	}},
	{"end, delivered", []string{"exit_group"}, func(string, string) bool { return true }},
}

func inTemporary(line, maildir string) bool { return strings.Contains(line, "<"+maildir+"/tmp/") }

// fault is a step that goes wrong. The error is a name of errno(3), or SIGKILL.
type fault struct {
	step string
	err  string
}

var faults = []fault{
	{"create the file", "ENOSPC"}, {"create the file", "EDQUOT"}, {"create the file", "EMFILE"}, {"create the file", "EIO"},
	{"write the message", "ENOSPC"}, {"write the message", "EDQUOT"}, {"write the message", "EIO"}, {"write the message", "SIGKILL"},
	{"fsync the message", "EIO"}, {"fsync the message", "ENOSPC"}, {"fsync the message", "SIGKILL"},
	{"close the message", "EIO"}, {"close the message", "EDQUOT"},
	{"give it its name", "ENOSPC"}, {"give it its name", "EDQUOT"}, {"give it its name", "EIO"}, {"give it its name", "SIGKILL"},
	{"fsync the directory", "EIO"}, {"fsync the directory", "SIGKILL"},
	{"remove the first name", "EIO"},
	{"end, delivered", "SIGKILL"},
}

// call is a system call of one thread: its how many-th of that name.
type call struct {
	thread, name string
	number       int
	line         string
}

// outcome is what a delivery with a fault came to.
type outcome struct {
	hit          bool   // the agent does this step at all
	exit         string // status or signal
	there, after int    // messages then, and after the mail transfer agent did its part
	torn         bool   // a message is there in part
	left         int    // files below tmp/
}

// temporary says whether Postfix tries again.
func (o *outcome) temporary() bool {
	return o.exit == "75" || o.exit == "71" || o.exit == hangs || strings.HasPrefix(o.exit, "SIG")
}

// right says whether the message is there once in the end, and was never said to be
// where it was not.
func (o *outcome) right() bool {
	return o.exit != hangs && !o.torn && o.after == 1 && (o.temporary() || o.exit == "0" && o.there == 1)
}

func (o *outcome) String() string {
	if !o.hit {
		return "–"
	}
	var s string
	switch {
	case o.exit == "0" && o.there == 0:
		s = "0, lost"
	case o.exit == "0":
		s = fmt.Sprintf("0, %d there", o.there)
	case !o.temporary():
		s = fmt.Sprintf("%s, bounced, %d there", o.exit, o.there)
	default:
		s = fmt.Sprintf("%s, %d there, then %d", o.exit, o.there, o.after)
	}
	if o.torn {
		s += ", in part"
	}
	if o.left > 0 {
		s += ", tmp left"
	}
	if !o.right() {
		s = "**" + s + "**"
	}
	return s
}

// trial runs the deliveries of one agent, each in a directory of its own.
type trial struct {
	agent
	parent string
	runs   int
}

var faultMessage = messageOf(4<<10, "\n")

// fresh places the agent and delivers once, so that the account is there.
func (t *trial) fresh(ctx context.Context) (*placed, string, error) {
	t.runs++
	p, err := t.place(t.parent, fmt.Sprint("fault-", t.runs))
	if err != nil {
		return nil, "", err
	}
	first := *p
	first.argv = slices.Clone(p.argv)
	for i, arg := range first.argv {
		if arg == "4Q1" { // another message has another queue id
			first.argv[i] = "4Q0"
		}
	}
	if _, err := first.deliver(ctx, []byte("Subject: first\n\nfirst\n")); err != nil {
		return nil, "", err
	}
	return p, filepath.Join(p.home, "trace"), nil
}

// traceCalls are the system calls to look at.
var traceCalls = func() string {
	var all []string
	for _, s := range steps {
		all = append(all, s.calls...)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}()

// plain runs a delivery without a fault and returns its system calls.
func (t *trial) plain(ctx context.Context) ([]call, string, error) {
	p, trace, err := t.fresh(ctx)
	if err != nil {
		return nil, "", err
	}
	if _, err := p.deliver(ctx, faultMessage, "strace", "-f", "-y", "-o", trace, "-e", "trace="+traceCalls); err != nil {
		return nil, "", err
	}
	raw, err := os.ReadFile(trace)
	return parseTrace(string(raw)), p.maildir, err
}

func parseTrace(trace string) []call {
	var all []call
	count := make(map[[2]string]int)
	for line := range strings.Lines(trace) {
		thread, rest, _ := strings.Cut(line, " ")
		if strings.HasPrefix(strings.TrimSpace(rest), "<... ") { // the end of a call
			for i, c := range slices.Backward(all) {
				if c.thread == thread {
					all[i].line += line
					break
				}
			}
			continue
		}
		name, _, ok := strings.Cut(strings.TrimSpace(rest), "(")
		if !ok || strings.ContainsAny(name, " <+-") {
			continue // a signal or an exit
		}
		key := [2]string{thread, name}
		count[key]++
		all = append(all, call{thread, name, count[key], line})
	}
	return all
}

// find looks for the call that is the step.
func (s *step) find(calls []call, maildir string) (call, bool) {
	i := slices.IndexFunc(calls, func(c call) bool {
		return slices.Contains(s.calls, c.name) && s.is(c.line, maildir)
	})
	if i < 0 {
		return call{}, false
	}
	return calls[i], true
}

// with runs a delivery with a fault. Threads share work as they like, so it is tried
// again until the call that is meant was the one that failed.
func (t *trial) with(ctx context.Context, f fault) (*outcome, error) {
	s := &steps[slices.IndexFunc(steps, func(s step) bool { return s.what == f.step })]
	const tries = 40
	for range tries {
		calls, maildir, err := t.plain(ctx)
		if err != nil {
			return nil, err
		}
		c, ok := s.find(calls, maildir)
		if !ok {
			return &outcome{}, nil
		}
		o, err := t.inject(ctx, s, c, f)
		if err != nil || o.hit {
			return o, err
		}
	}
	return nil, fmt.Errorf("%s: %s did not fail as it was told to", t.name, f.step)
}

func (t *trial) inject(ctx context.Context, s *step, c call, f fault) (*outcome, error) {
	p, trace, err := t.fresh(ctx)
	if err != nil {
		return nil, err
	}
	how := "error=" + f.err
	if f.err == "SIGKILL" {
		how = "signal=KILL"
	}
	o := &outcome{}
	o.exit, err = p.deliver(ctx, faultMessage, "strace", "-f", "-y", "-o", trace, "-e", "trace="+traceCalls,
		"-e", fmt.Sprintf("inject=%s:%s:when=%d", c.name, how, c.number))
	if o.exit == "" {
		return nil, err
	}
	raw, err := os.ReadFile(trace)
	if err != nil {
		return nil, err
	}
	o.hit = wasHit(string(raw), s, c.name, p.maildir, f.err)
	if o.there, o.torn, err = p.count(); err != nil {
		return nil, err
	}
	tmp, err := filepath.Glob(filepath.Join(p.maildir, "tmp", "*"))
	if err != nil {
		return nil, err
	}
	o.left = len(tmp)
	if o.temporary() { // the mail transfer agent tries again
		if exit, err := p.deliver(ctx, faultMessage); exit != "0" {
			return nil, fmt.Errorf("second try: %w", err)
		}
	}
	var torn bool
	o.after, torn, err = p.count()
	o.torn = o.torn || torn
	return o, err
}

// wasHit says whether the step failed. Each thread counts by itself, so that other
// calls may have failed before; the delivery came this far all the same.
func wasHit(trace string, s *step, name, maildir, errno string) bool {
	mark := "INJECTED"
	if errno == "SIGKILL" {
		mark = "= ?"
	}
	return slices.ContainsFunc(parseTrace(trace), func(c call) bool {
		return c.name == name && strings.Contains(c.line, mark) && s.is(c.line, maildir)
	})
}

// count is the number of copies of the message that are there, whole or not.
func (p *placed) count() (n int, torn bool, err error) {
	files, err := stored(p.maildir)
	if err != nil {
		return 0, false, err
	}
	_, body, _ := bytes.Cut(faultMessage, []byte("\n\n"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0, false, err
		}
		if bytes.HasSuffix(text, []byte("\n\nfirst\n")) {
			continue
		}
		n++
		torn = torn || !bytes.HasSuffix(text, body)
	}
	return n, torn, nil
}

// faultTable prints what agents make of faults, or fails if ours is wrong.
func faultTable(ctx context.Context, parent, bin, only string) error {
	var cells [][]string
	var names []string
	var wrong []error
	for _, a := range agents(bin) {
		if only != "" && a.name != only {
			continue
		}
		version, err := a.version(ctx)
		if err != nil {
			return err
		}
		names = append(names, strings.TrimSpace(a.name+" "+version))
		t := &trial{agent: a, parent: parent}
		var column []string
		for _, f := range faults {
			o, err := t.with(ctx, f)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s, %s %s: %v\n", a.name, f.step, f.err, o)
			if a.pkg == "" && o.hit && !o.right() {
				wrong = append(wrong, fmt.Errorf("%s %s: %v", f.step, f.err, o))
			}
			column = append(column, o.String())
		}
		cells = append(cells, column)
	}
	if only == "" {
		fmt.Print(faultText)
	}
	fmt.Printf("| what fails | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for i, f := range faults {
		fmt.Printf("| %s: %s |", f.step, f.err)
		for _, column := range cells {
			fmt.Printf(" %s |", column[i])
		}
		fmt.Println()
	}
	return errors.Join(wrong...)
}

const faultText = `# What becomes of a message when the system fails

Made by ` + "`make lda-faults`" + `, which has one system call of one delivery fail
(strace --inject) for each cell: the message has 4 KiB, the Maildir is there.

A cell has the exit status, and how many copies are there then. Where Postfix tries
again (75, 71, killed by a signal, or by Postfix after a long wait), "then" has the
number of copies after one more try without a fault. "–": the agent does not do this.
"tmp left": there is a file below tmp/ afterwards. Bold is what loses, bounces,
doubles or cuts the message, or takes longer than 15 seconds.

procmail runs with -t, dovecot-lda with quota_full_tempfail = yes (otherwise it takes
longer than 15 seconds on EDQUOT), maildrop as Debian has it.

`
