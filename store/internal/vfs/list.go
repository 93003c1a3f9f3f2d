package vfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Files asks the system itself: package os makes an entry of each name, and sorts them
// or loses their types.
func (OS) Files(dir string) (names, odd []string, err error) {
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return names, odd, &os.PathError{Op: "list", Path: dir, Err: err}
		}
		if n == 0 {
			return names, odd, nil
		}
		names, odd = appendEntries(names, odd, buf[:n])
	}
}

// appendEntries reads entries as getdents64(2) writes them: inode and offset of 8
// octets each, length of the entry of 2, type of 1, and the name, which ends in NUL.
// Names of one buffer share memory.
func appendEntries(names, odd []string, raw []byte) ([]string, []string) {
	const lenAt, typeAt, nameAt = 16, 18, 19
	all := string(raw)
	for len(raw) > nameAt {
		inode := binary.NativeEndian.Uint64(raw)
		length := int(binary.NativeEndian.Uint16(raw[lenAt:]))
		if length <= nameAt || length > len(raw) {
			break // the system makes no such entries
		}
		end := bytes.IndexByte(raw[nameAt:length], 0)
		at := len(all) - len(raw) + nameAt
		if end > 0 && inode != 0 {
			name := all[at : at+end]
			if name != "." && name != ".." {
				names = append(names, name)
				if raw[typeAt] != unix.DT_REG {
					odd = append(odd, name)
				}
			}
		}
		raw = raw[length:]
	}
	return names, odd
}
