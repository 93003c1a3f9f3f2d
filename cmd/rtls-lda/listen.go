package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"rtls/internal/cli"
)

// listen is one value of --lmtp.
type listen struct {
	kind  string // "unix", "tcp", "systemd" or "stdio"
	addr  string // path, or host:port
	mode  os.FileMode
	group string
}

func (l listen) String() string {
	if l.addr == "" {
		return l.kind
	}
	return l.kind + ":" + l.addr
}

func parseListen(spec string) (listen, error) {
	kind, rest, _ := strings.Cut(spec, ":")
	l := listen{kind: kind, addr: rest}
	var err error
	switch {
	case kind == "unix" && rest != "":
		err = l.parseUnix()
	case kind == "tcp":
		return l, l.checkTCP()
	case (kind == "systemd" || kind == "stdio") && kind == spec:
	default:
		err = fmt.Errorf("--lmtp takes unix:PATH, tcp:HOST:PORT, systemd or stdio, not %q", spec)
	}
	if err != nil {
		return l, usageError(err)
	}
	return l, nil
}

// parseUnix reads "PATH,mode=0660,group=NAME". Whoever may connect may say what
// came with REQUIRETLS, so without a mode nobody but the owner can.
func (l *listen) parseUnix() error {
	path, settings, more := strings.Cut(l.addr, ",")
	l.addr, l.mode = path, 0o600
	for more {
		var setting string
		setting, settings, more = strings.Cut(settings, ",")
		key, value, _ := strings.Cut(setting, "=")
		switch key {
		case "mode":
			mode, err := strconv.ParseUint(value, 8, 9)
			if err != nil {
				return fmt.Errorf("mode= of --lmtp unix: takes three octal digits, not %q", value)
			}
			l.mode = os.FileMode(mode)
		case "group":
			l.group = value
		default:
			return fmt.Errorf("--lmtp unix:PATH takes mode= and group=, not %q", setting)
		}
	}
	const longest = 107 // of a socket's path, on Linux
	if l.addr == "" || len(l.addr) > longest {
		return fmt.Errorf("the path of a socket has 1 to %d octets", longest)
	}
	return nil
}

func (l *listen) checkTCP() error {
	_, port, err := net.SplitHostPort(l.addr)
	if err != nil {
		return usageError(fmt.Errorf("--lmtp tcp: takes HOST:PORT, not %q", l.addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return usageError(fmt.Errorf("--lmtp tcp: takes a port number, not %q", port))
	} else if n == 25 { // RFC 2033 section 5
		return cli.Errorf(cli.Config, "LMTP is not served on port 25, which is SMTP's").
			WithHint("write --lmtp tcp:127.0.0.1:24, or a Unix socket")
	}
	return nil
}

// open starts to listen.
func (l listen) open() ([]net.Listener, error) {
	switch l.kind {
	case "unix":
		socket, err := l.openUnix()
		return []net.Listener{socket}, err
	case "tcp":
		socket, err := net.Listen("tcp", l.addr)
		return []net.Listener{socket}, err
	}
	return systemdSockets(os.Getpid(), os.LookupEnv)
}

// openUnix makes the socket, with nobody let in before its mode and group are
// right. A socket that nobody listens on any more makes way for it.
func (l listen) openUnix() (net.Listener, error) {
	if err := removeStale(l.addr); err != nil {
		return nil, err
	}
	old := syscall.Umask(0o777)
	socket, err := net.Listen("unix", l.addr)
	syscall.Umask(old)
	if err != nil {
		return nil, err
	}
	if err := l.admit(); err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
}

func (l listen) admit() error {
	if l.group != "" {
		g, err := user.LookupGroup(l.group)
		if err != nil {
			return err
		}
		gid, err := strconv.Atoi(g.Gid)
		if err != nil {
			return err
		}
		if err := os.Chown(l.addr, -1, gid); err != nil {
			return err
		}
	}
	return os.Chmod(l.addr, l.mode)
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("somebody serves on %s already", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// systemdSockets takes over the sockets of sd_listen_fds(3).
func systemdSockets(pid int, lookup func(string) (string, bool)) ([]net.Listener, error) {
	forPID, _ := lookup("LISTEN_PID")
	count, _ := lookup("LISTEN_FDS")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || forPID != strconv.Itoa(pid) {
		return nil, errors.New("--lmtp systemd: systemd has handed over no socket")
	}
	var all []net.Listener
	for i := range n {
		f := os.NewFile(uintptr(3+i), "systemd socket")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return all, fmt.Errorf("socket %d of systemd: %w", i, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// userIDs looks up the users of trust_local.
func userIDs(names []string) ([]uint32, error) {
	var ids []uint32
	for _, n := range names {
		u, err := user.Lookup(n)
		if err != nil {
			return nil, fmt.Errorf("trust_local: %w", err)
		}
		id, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("trust_local: user %s: %w", n, err)
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
