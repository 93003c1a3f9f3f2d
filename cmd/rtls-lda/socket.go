//go:build !plain

package main

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"

	"rtls/internal/systemd"
	"rtls/internal/unixsock"
)

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
