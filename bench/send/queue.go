package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"rtls/bench/report"
)

// flushed is how many messages a flush has to send.
const flushed = 31

// queues measures programs that keep a queue, on tmpfs: what a disk adds, it adds to
// all. Their directories are fixed, so this is done where /etc, /usr and /var/spool
// are not those of the machine.
func queues(ctx context.Context, dir string, rounds int) error {
	if err := disguise(dir); err != nil {
		return err
	}
	s, err := newSite(dir)
	if err != nil {
		return err
	}
	defer s.close()
	q := &queue{s: s, spool: "/var/spool/rtls"}
	if err := q.prepare(); err != nil {
		return err
	}
	table := report.NewTable()
	if err := q.dma(ctx, table, rounds); err != nil {
		return fmt.Errorf("dma: %w", err)
	}
	if err := q.enqueue(ctx, table, rounds); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	if err := q.flush(ctx, table, max(rounds/7, 3)); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return table.Flush()
}

// disguise mounts what only this namespace sees.
func disguise(dir string) error {
	peer, err := filepath.Abs(".peers/nullmailer/usr")
	if err != nil {
		return err
	}
	over := filepath.Join(dir, "over")
	if err := os.Mkdir(over, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", over, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	for _, sub := range []string{"etc", "work"} {
		if err := os.Mkdir(filepath.Join(over, sub), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		unix.Mount("overlay", "/etc", "overlay", 0, fmt.Sprintf("lowerdir=/etc,upperdir=%s/etc,workdir=%s/work", over, over)),
		unix.Mount("overlay", "/usr", "overlay", 0, fmt.Sprintf("lowerdir=%s:/usr", peer)),
		unix.Mount("tmpfs", "/var/spool", "tmpfs", 0, "mode=755"),
	)
}

// queue is a site with the settings of programs that keep queues.
type queue struct {
	s      *site
	spool  string // ours
	config string // ours
}

func (q *queue) prepare() error {
	port := q.s.server.port(implicit)
	for path, text := range map[string]string{
		"/etc/mailname":      "client.example.org\n",
		"/etc/nullmailer/me": "client.example.org\n",
		"/etc/dma/dma.conf":  fmt.Sprintf("SMARTHOST localhost\nPORT %s\nAUTHPATH /etc/dma/auth.conf\nSECURETRANSFER\nMAILNAME client.example.org\n", port),
		"/etc/dma/auth.conf": "sender|localhost:secret\n",
		"/etc/nullmailer/remotes": fmt.Sprintf("localhost smtp --port=%s --ssl --auth-login --user=sender --pass=secret --x509cafile=%s\n",
			port, q.s.ca),
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	mail, err := user.Lookup("mail") // whose set-user-ID and set-group-ID programs these are
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(mail.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(mail.Gid)
	if err != nil {
		return err
	}
	for _, sub := range []string{"", "queue", "tmp", "failed"} {
		path := filepath.Join("/var/spool/nullmailer", sub)
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, uid, gid)); err != nil {
			return err
		}
	}
	q.config, err = q.s.ourConfig(implicit, port, q.spool)
	return errors.Join(err,
		os.Mkdir("/var/spool/dma", 0o775), os.Chown("/var/spool/dma", 0, gid), os.Chmod("/var/spool/dma", 0o775|os.ModeSetgid),
		unix.Mkfifo("/var/spool/nullmailer/trigger", 0o622), os.Chown("/var/spool/nullmailer/trigger", uid, gid))
}

// dma sends one message by way of its queue; ours needs none.
func (q *queue) dma(ctx context.Context, table *report.Table, rounds int) error {
	peer := client{"dma -D", func(*site, string, string, string) ([]string, []string, error) {
		return []string{".peers/dma/usr/sbin/dma", "-D", "-f", "sender@example.org", "b@example.net"}, nil, nil
	}}
	results, err := q.s.measure(ctx, implicit, q.s.server.port(implicit), q.s.small, rounds, []client{{"rtls-send", ours}, peer})
	if err == nil {
		rows(table, "2 KB, implicit TLS", "ms", results, wall, nil)
	}
	q.config, _ = q.s.ourConfig(implicit, q.s.server.port(implicit), q.spool) // ours has written another
	return err
}

func (q *queue) ourCommand(args ...string) []string {
	return append([]string{filepath.Join(q.s.dir, "rtls-send"), "-C", q.config}, args...)
}

// add puts a message into both queues.
func (q *queue) add(ctx context.Context) (a, b sample, err error) {
	a, err = q.s.runOne(ctx, q.ourCommand("-odq", "-f", "sender@example.org", "b@example.net"), nil, q.s.small)
	if err != nil {
		return a, b, err
	}
	b, err = q.s.runOne(ctx, []string{"nullmailer-inject", "-f", "sender@example.org", "b@example.net"}, nil, q.s.small)
	return a, b, err
}

// clear forgets what is in both queues.
func (q *queue) clear(ctx context.Context) error {
	names, err := filepath.Glob("/var/spool/nullmailer/queue/*")
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(q.s.dir, "rtls-send"), "queue", "-C", q.config, "rm", "all")
	if out, rmErr := cmd.CombinedOutput(); rmErr != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w\n%s", cmd, rmErr, out))
	}
	return err
}

func (q *queue) enqueue(ctx context.Context, table *report.Table, rounds int) error {
	var as, bs []sample
	for range rounds {
		a, b, err := q.add(ctx)
		if err != nil {
			return err
		}
		as, bs = append(as, a), append(bs, b)
	}
	results := []result{{"rtls-send -odq", medians(as)}, {"nullmailer-inject", medians(bs)}}
	rows(table, "2 KB into the queue", "ms", results, wall, goals{"nullmailer-inject": 1.5})
	return q.clear(ctx)
}

// flush sends what is in a queue, from the start of a program to the last message.
// Whether nullmailer-send has ended says nothing: it waits for more.
func (q *queue) flush(ctx context.Context, table *report.Table, rounds int) error {
	var as, bs []time.Duration
	for range rounds {
		for range flushed {
			if _, _, err := q.add(ctx); err != nil {
				return err
			}
		}
		a, err := q.arrive(ctx, q.ourCommand("-q"), false)
		if err != nil {
			return err
		}
		b, err := q.arrive(ctx, []string{"nullmailer-send"}, true)
		if err != nil {
			return err
		}
		as, bs = append(as, a), append(bs, b)
		if err := q.clear(ctx); err != nil {
			return err
		}
	}
	slices.Sort(as)
	slices.Sort(bs)
	table.Add(report.Row{
		Scenario: fmt.Sprintf("flush of %d", flushed), Unit: "ms a message", PeerName: "nullmailer-send", Goal: 0.10,
		Ours: as[rounds/2].Seconds() * milli / flushed, Peer: bs[rounds/2].Seconds() * milli / flushed,
	})
	return nil
}

// arrive runs a program until all messages have arrived.
func (q *queue) arrive(ctx context.Context, argv []string, kill bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	want := q.s.server.messages.Load() + flushed
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	for q.s.server.messages.Load() < want && ctx.Err() == nil {
		time.Sleep(100 * time.Microsecond)
	}
	took := time.Since(start)
	if kill {
		_ = cmd.Process.Kill()
	}
	err := cmd.Wait()
	if n := q.s.server.messages.Load(); n != want {
		return 0, fmt.Errorf("%q: %d messages are missing: %w\n%s", argv, want-n, err, out.Bytes()[:min(out.Len(), 1000)])
	}
	return took, nil
}
