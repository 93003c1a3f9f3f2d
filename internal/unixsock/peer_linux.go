package unixsock

import (
	"net"
	"syscall"
)

// PeerUID is the user id of the process at the other end of a Unix socket, as it
// was when it connected.
func PeerUID(conn net.Conn) (uid uint32, ok bool) {
	unix, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err == nil {
			uid, ok = cred.Uid, true
		}
	})
	return uid, ok && err == nil
}
