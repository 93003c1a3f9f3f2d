package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"rtls/internal/imap/session"
	"rtls/internal/reexec"
)

// Channel is a process's side: what it is told to do. It belongs to one goroutine.
type Channel struct {
	conn *net.UnixConn
	buf  []byte
}

// Open opens the channel on a file, and reads the settings.
func Open(f *os.File) (*Channel, json.RawMessage, error) {
	conn, err := reexec.UnixConn(f)
	if err != nil {
		return nil, nil, err
	}
	c := &Channel{conn: conn, buf: make([]byte, maxPacket)}
	settings, files, err := c.read()
	closeAll(files)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("read settings: %w", err)
	}
	return c, settings, nil
}

// Next waits for the next client. At io.EOF there is nothing to do any more.
func (c *Channel) Next() (*Arrival, error) {
	packet, files, err := c.read()
	if err != nil {
		return nil, err
	}
	a, err := arrive(packet, files)
	if err != nil {
		closeAll(files)
		return nil, fmt.Errorf("client: %w", err)
	}
	return a, nil
}

func (c *Channel) read() (packet []byte, files []*os.File, err error) {
	oob := make([]byte, unix.CmsgSpace(2*4)) // of two descriptors
	n, rights, flags, _, err := c.conn.ReadMsgUnix(c.buf, oob)
	if err != nil {
		return nil, nil, err
	}
	if files, err = filesOf(oob[:rights]); err != nil {
		return nil, nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		closeAll(files)
		return nil, nil, errors.New("a packet is cut off")
	}
	return append([]byte(nil), c.buf[:n]...), files, nil
}

func filesOf(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Arrival is a client that was handed over. Take or Refuse has to be called, and Close.
type Arrival struct {
	Client
	Conn net.Conn // the dialogue

	words *net.UnixConn
}

func arrive(packet []byte, files []*os.File) (*Arrival, error) {
	a := &Arrival{}
	if err := json.Unmarshal(packet, &a.Client); err != nil {
		return nil, err
	}
	if len(files) != 2 {
		return nil, fmt.Errorf("%d sockets", len(files))
	}
	conn, err := reexec.UnixConn(files[0])
	if err != nil {
		return nil, err
	}
	if a.words, err = reexec.UnixConn(files[1]); err != nil {
		conn.Close()
		return nil, err
	}
	a.Conn = conn
	return a, nil
}

// Close ends the session.
func (a *Arrival) Close() {
	a.Conn.Close()
	a.words.Close()
}

// Refuse says why the client is not served: session.ErrTooMany, or what the process has
// logged.
func (a *Arrival) Refuse(why error) {
	r := reply{Refused: refusedError}
	if errors.Is(why, session.ErrTooMany) {
		r.Refused = refusedLimit
	}
	_ = json.NewEncoder(a.words).Encode(r) // the server may be gone
}

// Take says that the client is served by a session, and does to that what the server asks
// for, until Close is called or the server is gone.
func (a *Arrival) Take(s *session.Session) {
	enc, dec := json.NewEncoder(a.words), json.NewDecoder(a.words)
	r, err := request{}, enc.Encode(reply{})
	for err == nil {
		if err = dec.Decode(&r); err != nil {
			return
		}
		switch r.Do {
		case doShow:
			err = enc.Encode(reply{Shown: s.Shown()})
		case doStop:
			s.Stop()
		case doExpel:
			s.Expel()
		case doKick:
			s.Kick()
		}
	}
}
