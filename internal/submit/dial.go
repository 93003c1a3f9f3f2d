package submit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Direct returns a Dial that binds to a local address and looks names up with a
// resolver; without either, what the system chooses.
func Direct(source string, resolver *net.Resolver) (Dial, error) {
	d := net.Dialer{Resolver: resolver}
	if source != "" {
		addr, err := netip.ParseAddr(source)
		if err != nil {
			return nil, fmt.Errorf("a source is an IP address of this host, not %q", source)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
	}
	return d.DialContext, nil
}

// SOCKS5 returns a Dial over the proxy at a URL like socks5://user:password@host:1080
// (RFC 1928, RFC 1929). The proxy gets the server's name and looks it up; inner
// connects to the proxy, nil in the usual way.
func SOCKS5(proxy string, inner Dial) (Dial, error) {
	u, err := url.Parse(proxy)
	if err != nil || u.Scheme != "socks5" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("a proxy is written as socks5://host:port") // its text may hold a password
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "1080")
	}
	password, _ := u.User.Password()
	if len(u.User.Username()) > 255 || len(password) > 255 {
		return nil, errors.New("the proxy's user or password is too long")
	}
	if inner == nil {
		inner = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, target string) (net.Conn, error) {
		conn, err := inner(ctx, network, addr)
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", addr, err)
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline)
		}
		if err := socks(conn, target, u.User.Username(), password); err != nil {
			conn.Close()
			return nil, fmt.Errorf("proxy %s: %w", addr, err)
		}
		return conn, conn.SetDeadline(time.Time{})
	}, nil
}

// socks asks a proxy for a connection to target.
func socks(conn net.Conn, target, user, password string) error {
	method := byte(0) // no authentication
	if user != "" {
		method = 2
	}
	answer := make([]byte, 2)
	if err := ask(conn, []byte{5, 1, method}, answer); err != nil {
		return err
	}
	if answer[0] != 5 || answer[1] != method {
		return errors.New("it is no SOCKS5 proxy, or refuses us")
	}
	if user != "" {
		login := append([]byte{1, byte(len(user))}, user...)
		login = append(append(login, byte(len(password))), password...)
		if err := ask(conn, login, answer); err != nil {
			return err
		}
		if answer[1] != 0 {
			return errors.New("it refuses our password")
		}
	}
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(host) > 255 {
		return fmt.Errorf("no way to ask it for %q", target)
	}
	request := append([]byte{5, 1, 0, 3, byte(len(host))}, host...)
	if addr, err := netip.ParseAddr(host); err == nil {
		kind := byte(1)
		if addr.Is6() {
			kind = 4
		}
		request = append([]byte{5, 1, 0, kind}, addr.AsSlice()...)
	}
	return connected(conn, binary.BigEndian.AppendUint16(request, uint16(number)))
}

// connected sends the request and reads the answer, which has the proxy's own address
// behind it.
func connected(conn net.Conn, request []byte) error {
	head := make([]byte, 5)
	if err := ask(conn, request, head); err != nil {
		return err
	}
	if head[0] != 5 || head[1] != 0 {
		return fmt.Errorf("it cannot connect (SOCKS reply %d)", head[1])
	}
	size := map[byte]int{1: 4, 3: int(head[4]) + 1, 4: 16}[head[3]]
	if size == 0 {
		return errors.New("its answer makes no sense")
	}
	_, err := io.ReadFull(conn, make([]byte, size-1+2))
	return err
}

func ask(conn net.Conn, question, answer []byte) error {
	if _, err := conn.Write(question); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, answer)
	return err
}

// Command returns a Dial that runs a program, without a shell, and talks to its
// standard input and output. In its arguments %h is the server's host and %p the
// port. What it writes to standard error goes to stderr.
func Command(argv []string, stderr io.Writer) Dial {
	return func(ctx context.Context, _, target string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(target)
		if err != nil {
			return nil, err
		}
		words := make([]string, len(argv))
		for i, word := range argv {
			words[i] = strings.NewReplacer("%h", host, "%p", port, "%%", "%").Replace(word)
		}
		ours, theirs, err := socketPair()
		if err != nil {
			return nil, err
		}
		defer theirs.Close()
		cmd := exec.Command(words[0], words[1:]...) // it lives as long as the connection, not the dialing
		cmd.Stdin, cmd.Stdout = theirs, theirs
		cmd.Stderr, cmd.WaitDelay = stderr, time.Second
		if err := cmd.Start(); err != nil {
			ours.Close()
			return nil, fmt.Errorf("proxy command: %w", err)
		}
		return &commandConn{Conn: ours, cmd: cmd}, nil
	}
}

// socketPair makes two connected sockets, since a pipe has no deadlines.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "proxy"), os.NewFile(uintptr(fds[1]), "proxy")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// commandConn ends the program with the connection.
type commandConn struct {
	net.Conn
	cmd  *exec.Cmd
	once sync.Once
}

func (c *commandConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
	return err
}
