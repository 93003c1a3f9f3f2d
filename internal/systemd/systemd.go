// Package systemd is what a service says to systemd and gets from it, by the
// protocols of sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3). Without
// systemd nothing is to be had and saying something does nothing.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Env is the environment of a process.
type Env struct {
	PID    int
	Getenv func(string) string
}

// firstFD is the descriptor of the first socket, after those of standard input,
// output and error.
const firstFD = 3

// Listeners takes over the listening sockets that systemd has opened. A name, from
// FileDescriptorName= in the socket unit, picks the sockets that have it; empty
// picks all. Each socket can be taken once.
func (e Env) Listeners(name string) ([]net.Listener, error) {
	n, err := strconv.Atoi(e.Getenv("LISTEN_FDS"))
	if err != nil || n < 1 || e.Getenv("LISTEN_PID") != strconv.Itoa(e.PID) {
		return nil, errors.New("systemd has handed over no socket")
	}
	names := strings.Split(e.Getenv("LISTEN_FDNAMES"), ":")
	var all []net.Listener
	for i := range n {
		if name != "" && (i >= len(names) || names[i] != name) {
			continue
		}
		l, err := listener(firstFD + i)
		if err != nil {
			closeAll(all)
			return nil, fmt.Errorf("socket %d of systemd: %w", i, err)
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("systemd has handed over no socket named %q, only %q", name, names)
	}
	return all, nil
}

func listener(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "systemd socket")
	defer f.Close() // the listener has a copy
	l, err := net.FileListener(f)
	if unix, ok := l.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // the socket's path is systemd's
	}
	return l, err
}

func closeAll(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}

// Ready says that the service is up, and Stopping that it is going down.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	alive    = "WATCHDOG=1"
)

// Notify says something, if systemd wants to hear of this service.
func (e Env) Notify(state string) error {
	socket := e.Getenv("NOTIFY_SOCKET") // a path, or an abstract name with "@" in front
	if socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}

// Watchdog tells systemd that the service lives, twice in the time after which
// systemd would end it, for as long as check returns nil. It returns when ctx
// ends, or at once if there is no watchdog.
func (e Env) Watchdog(ctx context.Context, check func(context.Context) error) error {
	us, err := strconv.ParseInt(e.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := e.Getenv("WATCHDOG_PID"); err != nil || us < 2 || pid != "" && pid != strconv.Itoa(e.PID) {
		return nil
	}
	interval := time.Duration(us) * time.Microsecond / 2
	for tick := time.NewTicker(interval); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := check(ctx)
		if err == nil {
			err = e.Notify(alive)
		}
		if err != nil && ctx.Err() == nil {
			return err // systemd will see to the rest
		}
	}
}
