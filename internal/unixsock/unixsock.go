// Package unixsock makes Unix sockets, and knows who is at the other end of one.
package unixsock

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// Longest is the number of octets that the path of a socket can have on Linux.
const Longest = 107

// Listen makes a socket. Nobody is let in before admit has given it owner and mode. A
// socket at path that nobody listens on any more makes way for it. It changes the
// process's umask for a moment.
func Listen(path string, admit func() error) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	old := syscall.Umask(0o777)
	socket, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, err
	}
	if err := admit(); err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
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
