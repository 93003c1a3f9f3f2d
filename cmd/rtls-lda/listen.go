package main

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/systemd"
	"rtls/internal/unixsock"
)

// listen is one value of --lmtp.
type listen struct {
	kind  string // "unix", "tcp", "systemd" or "stdio"
	addr  string // path, host:port, or the name of systemd's socket
	mode  os.FileMode
	owner string
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
	case kind == "systemd" && rest != "":
	default:
		err = fmt.Errorf("--lmtp takes unix:PATH, tcp:HOST:PORT, systemd, systemd:NAME or stdio, not %q", spec)
	}
	if err != nil {
		return l, usageError(err)
	}
	return l, nil
}

// parseUnix reads "PATH,mode=0660,owner=NAME,group=NAME". Whoever may connect may say what
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
		case "owner":
			l.owner = value
		case "group":
			l.group = value
		default:
			return fmt.Errorf("--lmtp unix:PATH takes mode=, owner= and group=, not %q", setting)
		}
	}
	if l.addr == "" || len(l.addr) > unixsock.Longest {
		return fmt.Errorf("the path of a socket has 1 to %d octets", unixsock.Longest)
	}
	return nil
}

func (l *listen) checkTCP() error {
	_, port, err := net.SplitHostPort(l.addr)
	if err != nil {
		return usageError(fmt.Errorf("--lmtp tcp: takes HOST:PORT, not %q", l.addr))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return usageError(fmt.Errorf("--lmtp tcp: takes a port number, not %q", port))
	}
	return checkPort(int(n))
}

// checkPort follows RFC 2033 section 5.
func checkPort(port int) error {
	if port != 25 {
		return nil
	}
	return cli.Errorf(cli.Config, "LMTP is not served on port 25, which is SMTP's").
		WithHint("write --lmtp tcp:127.0.0.1:24, or a Unix socket")
}

// open starts to listen.
func (l listen) open(sd systemd.Env) ([]net.Listener, error) {
	switch l.kind {
	case "unix":
		socket, err := unixsock.Listen(l.addr, l.admit)
		if err != nil {
			return nil, err
		}
		return []net.Listener{socket}, nil
	case "tcp":
		socket, err := net.Listen("tcp", l.addr)
		if err != nil {
			return nil, err
		}
		return []net.Listener{socket}, nil
	}
	return sd.Listeners(l.addr)
}

// admit gives the socket its owner and group, and then its mode.
func (l listen) admit() error {
	uid, gid := -1, -1
	if l.owner != "" {
		u, err := user.Lookup(l.owner)
		if err != nil {
			return err
		}
		if uid, err = strconv.Atoi(u.Uid); err != nil {
			return err
		}
	}
	if l.group != "" {
		g, err := user.LookupGroup(l.group)
		if err != nil {
			return err
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return err
		}
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Chown(l.addr, uid, gid); err != nil {
			return err
		}
	}
	return os.Chmod(l.addr, l.mode)
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
