// Package reexec starts this program again as another user, at the other end of a socket.
package reexec

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is who the program is to run as, and in no other group.
type User struct {
	UID, GID int
	Home     string // empty: not known
}

// Command is this program, started as another user, which takes root or that user. ps(1)
// shows it as name once it has called ShowAs. Of the environment it has what says where
// things are; it writes to the same standard error.
func Command(u User, name string, getenv func(string) string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	cmd.Env = []string{"HOME=" + cmp.Or(u.Home, "/")}
	for _, key := range []string{"PATH", "TMPDIR", "TZ"} {
		if value := getenv(key); value != "" {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
		Uid: uint32(u.UID), Gid: uint32(u.GID), Groups: []uint32{uint32(u.GID)},
	}}
	return cmd
}

// ShowAs has ps(1) show this process by its name; else it is "exe", as started.
func ShowAs(name string) {
	_ = os.WriteFile("/proc/self/comm", []byte(name), 0) // for people only
}

// SocketPair makes two Unix sockets that belong together, one of which is for another
// process. The kind is SOCK_STREAM or SOCK_SEQPACKET.
func SocketPair(kind int) (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "socket")
	ours, err = UnixConn(os.NewFile(uintptr(fds[0]), "socket"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// UnixConn makes a connection of a file that is a Unix socket, and closes the file.
func UnixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("%s is a socket of the kind %s", f.Name(), conn.LocalAddr().Network())
	}
	return c, nil
}
