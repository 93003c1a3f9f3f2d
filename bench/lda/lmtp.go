package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"rtls/bench/report"
	"rtls/internal/testpki"
)

const (
	users      = 16
	lmtpRounds = 5
)

// server is an LMTP server on a Unix socket.
type server struct {
	socket  string
	maildir func(user string) string
	cmd     *exec.Cmd
}

// stop ends a server that we started.
func (s *server) stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait() // by the signal
	return err
}

// userName is a user that no other round has.
func userName(round, n int) string { return fmt.Sprintf("r%du%d", round, n) }

// startOurs starts rtls-lda.
func startOurs(parent, bin string) (*server, error) {
	dir := filepath.Join(parent, "ours")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	ca, err := testpki.New()
	if err != nil {
		return nil, err
	}
	if _, _, err := ca.WriteFiles(dir, "mx", testpki.Leaf{Names: []string{"mx.example.org"}}); err != nil {
		return nil, err
	}
	var names []string
	for round := range 100 {
		for n := range users {
			names = append(names, userName(round, n))
		}
	}
	config, err := configure(dir, names)
	if err != nil {
		return nil, err
	}
	s := &server{socket: filepath.Join(dir, "lmtp"), maildir: func(user string) string { return filepath.Join(dir, "store", user, "Maildir") }}
	s.cmd = exec.Command(bin, "-c", config, "--lmtp", "unix:"+s.socket)
	s.cmd.SysProcAttr = asNobody()
	if err := give(dir); err != nil {
		return nil, err
	}
	return s, s.start(dir)
}

// dovecotConf is a Dovecot that does LMTP only, with everything of its own. %s:
// directory.
const dovecotConf = `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:~/Maildir
auth_username_format = %%u
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=%[1]s/home/%%u allow_all_users=yes
}
service lmtp {
  unix_listener lmtp {
    mode = 0600
  }
}
`

// startDovecot starts Dovecot.
func startDovecot(parent string) (*server, error) {
	dir := filepath.Join(parent, "dovecot")
	for _, d := range []string{dir, filepath.Join(dir, "home"), filepath.Join(dir, "run"), filepath.Join(dir, "state")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "home"), 0o777); err != nil { // its users make theirs in it
		return nil, err
	}
	config := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, dovecotConf, dir), 0o644); err != nil {
		return nil, err
	}
	s := &server{socket: filepath.Join(dir, "run", "lmtp"), maildir: func(user string) string { return filepath.Join(dir, "home", user, "Maildir") }}
	s.cmd = exec.Command("/usr/sbin/dovecot", "-F", "-c", config)
	return s, s.start(dir)
}

// start starts the server and waits until it greets.
func (s *server) start(dir string) error {
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return err
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for range 1000 {
		if c, err := dial(s.socket); err == nil {
			c.Close()
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	said, _ := os.ReadFile(out.Name())
	return errors.Join(fmt.Errorf("%s does not answer\n%s", s.cmd, said), s.stop())
}

// client is one LMTP connection.
type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(socket string) (*client, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReader(conn)}
	err = conn.SetDeadline(time.Now().Add(10 * time.Minute))
	if err == nil {
		err = c.expect("220")
	}
	if err == nil {
		err = c.say("LHLO client.example.com\r\n", "250")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// say writes and reads a reply for each prefix.
func (c *client) say(text string, prefixes ...string) error {
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	return c.expect(prefixes...)
}

func (c *client) expect(prefixes ...string) error {
	for _, prefix := range prefixes {
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(line, prefix) {
				return fmt.Errorf("%q instead of %s", line, prefix)
			}
			if len(line) > 3 && line[3] == ' ' {
				break
			}
		}
	}
	return nil
}

// deliver sends a message the way Postfix does: envelope in one write.
func (c *client) deliver(user string, message []byte) error {
	err := c.say("MAIL FROM:<sender@example.com>\r\nRCPT TO:<"+user+">\r\nDATA\r\n", "250", "250", "354")
	if err == nil {
		_, err = c.Write(message)
	}
	if err == nil {
		err = c.say(".\r\n", "250")
	}
	return err
}

// load delivers n messages over some connections to the users of a round, after one
// to each user that makes the account.
func (s *server) load(round, connections, n int, message []byte) (time.Duration, error) {
	clients := make([]*client, connections)
	for i := range clients {
		c, err := dial(s.socket)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		clients[i] = c
	}
	for u := range users {
		if err := clients[u%connections].deliver(userName(round, u), message); err != nil {
			return 0, err
		}
	}
	errs := make([]error, connections)
	var wait sync.WaitGroup
	start := time.Now()
	for i, c := range clients {
		wait.Go(func() {
			for k := i; k < n && errs[i] == nil; k += connections {
				errs[i] = c.deliver(userName(round, k%users), message)
			}
		})
	}
	wait.Wait()
	took := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	return took, s.checkLoad(round, n)
}

// checkLoad makes sure that all has come.
func (s *server) checkLoad(round, n int) error {
	total := 0
	for u := range users {
		found, err := stored(s.maildir(userName(round, u)))
		if err != nil {
			return err
		}
		total += len(found)
	}
	if total != n+users {
		return fmt.Errorf("%d messages of %d have come", total, n+users)
	}
	return nil
}

// both starts ours and Dovecot, runs f, and stops them.
func both(parent, bin string, f func(ours, theirs *server) error) error {
	parent, err := os.MkdirTemp(parent, "lmtp")
	if err == nil {
		err = os.Chmod(parent, 0o755)
	}
	if err != nil {
		return err
	}
	ours, err := startOurs(parent, bin)
	if err != nil {
		return err
	}
	theirs, err := startDovecot(parent)
	if err != nil {
		return errors.Join(err, ours.stop())
	}
	return errors.Join(f(ours, theirs), ours.stop(), theirs.stop())
}

// overLMTP compares deliveries over LMTP.
func overLMTP(_ context.Context, parent, bin string, table *report.Table) error {
	return both(parent, bin, func(ours, theirs *server) error {
		round := 0
		for _, c := range []struct {
			size, connections, n int
			goal                 float64
		}{
			{4 << 10, 1, 800, 1 / 2.0}, {4 << 10, 4, 1600, 1 / 2.5}, {4 << 10, 16, 1600, 1 / 3.0}, {1 << 20, 1, 64, 1 / 2.0},
		} {
			message := messageOf(c.size, "\r\n")
			one := func(s *server) func() (time.Duration, error) {
				return func() (time.Duration, error) {
					round++
					return s.load(round, c.connections, c.n, message)
				}
			}
			a, b, err := report.Interleave(lmtpRounds, one(ours), one(theirs))
			if err != nil {
				return err
			}
			table.Add(report.Row{
				Scenario: fmt.Sprintf("LMTP, %s, %d connections", sizeName(c.size), c.connections),
				Ours:     milliseconds(a, c.n), Peer: milliseconds(b, c.n),
				PeerName: "Dovecot LMTP", Unit: "ms a message", Goal: c.goal,
			})
		}
		return nil
	})
}
