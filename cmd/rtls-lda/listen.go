package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"rtls/internal/cli"
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
