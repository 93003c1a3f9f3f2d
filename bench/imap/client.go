package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"
)

// client is a connection to a server. It belongs to one goroutine.
type client struct {
	conn *tls.Conn
	r    *bufio.Reader
	line func(line []byte) // is shown untagged lines, if set; a long one in pieces
}

// patience is how long one command may take.
const patience = 5 * time.Minute

// connect connects and reads the greeting.
func (s *site) connect() (*client, error) {
	conn, err := tls.Dial("tcp", s.addr, s.pki)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if _, err := c.r.ReadSlice('\n'); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// login connects and logs a user in.
func (s *site) login(user string) (*client, error) {
	c, err := s.connect()
	if err != nil {
		return nil, err
	}
	if err := c.do("LOGIN " + user + " " + password); err != nil {
		return nil, errors.Join(err, c.conn.Close())
	}
	return c, nil
}

// open logs in and selects a mailbox.
func (s *site) open(user, mailbox string) (*client, error) {
	c, err := s.login(user)
	if err != nil {
		return nil, err
	}
	if err := c.do("SELECT " + mailbox); err != nil {
		return nil, errors.Join(err, c.conn.Close())
	}
	return c, nil
}

// do runs commands, one after the other, each of which has to be answered with OK.
func (c *client) do(commands ...string) error {
	for _, command := range commands {
		if err := c.send("zz9 " + command + "\r\n"); err != nil {
			return err
		}
		if err := c.await(); err != nil {
			return fmt.Errorf("%.60q: %w", command, err)
		}
	}
	return nil
}

func (c *client) send(octets string) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, octets)
	return err
}

// await reads up to the tagged reply.
func (c *client) await() error {
	for {
		line, err := c.r.ReadSlice('\n')
		switch {
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		case bytes.HasPrefix(line, []byte("zz9 OK ")):
			return nil
		case bytes.HasPrefix(line, []byte("zz9 ")):
			return fmt.Errorf("answered with %.200q", line)
		case c.line != nil:
			c.line(line)
		}
	}
}

// awaitLine reads up to a line that holds text.
func (c *client) awaitLine(text string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if bytes.Contains(line, []byte(text)) {
			return nil
		}
	}
}

// leave logs out and waits until the server has closed the connection: then it has
// put away what it had open, too.
func (c *client) leave() error {
	err := c.do("LOGOUT")
	if err == nil {
		_, err = io.Copy(io.Discard, c.r)
	}
	return errors.Join(err, c.conn.Close())
}
