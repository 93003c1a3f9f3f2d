package importer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// client is a connection that is logged in.
type client struct {
	*imapclient.Client
	ctx  context.Context // that of connect: why reading has ended
	conn *patientConn
	old  *oldConn
	stop func() bool
}

// busy says whether an answer is waited for, which has to come in time then.
func (c *client) busy(on bool) { c.conn.wait(on) }

// explain makes an error of the connection ErrBroken, unless the server has answered or
// we were told to stop.
func (c *client) explain(err error) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err == nil || refused(err) || errors.Is(err, ErrTLS) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

func (c *client) close() {
	c.stop()
	c.conn.Close()
	if c.Client != nil {
		<-c.Closed()
	}
}

func (c *client) logout() {
	c.busy(true)
	_ = c.Logout().Wait() // all is done: whatever it says
}

func (c *client) examine(mailbox string) (*imap.SelectData, error) {
	c.busy(true)
	defer c.busy(false)
	data, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	return data, c.explain(err)
}

// list lists the messages of the mailbox.
func (c *client) list() ([]message, error) {
	c.busy(true)
	defer c.busy(false)
	var all imap.UIDSet
	all.AddRange(1, 0)
	cmd := c.Fetch(all, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true})
	var list []message
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		var m message
		for item := data.Next(); item != nil; item = data.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				m.uid = item.UID
			case imapclient.FetchItemDataFlags:
				m.flags = item.Flags
			case imapclient.FetchItemDataInternalDate:
				m.date = item.Time
			case imapclient.FetchItemDataRFC822Size:
				m.size = item.Size
			}
		}
		if m.uid != 0 {
			list = append(list, m)
		}
	}
	return list, c.explain(cmd.Close())
}

// exists says whether the mailbox still has a message.
func (c *client) exists(uid imap.UID) (bool, error) {
	c.busy(true)
	defer c.busy(false)
	if err := c.Noop().Wait(); err != nil { // it may not tell before
		return false, c.explain(err)
	}
	var uids imap.UIDSet
	uids.AddNum(uid)
	data, err := c.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{uids}}, nil).Wait()
	if err != nil {
		return false, c.explain(err)
	}
	return len(data.AllUIDs()) > 0, nil
}

// copyBody tells errors of reading from those of writing.
func copyBody(w io.Writer, r io.Reader) (n int64, readErr, err error) {
	in := &errReader{r: r}
	n, err = io.Copy(w, in)
	if in.err != nil {
		return n, in.err, nil
	}
	return n, nil, err
}

type errReader struct {
	r   io.Reader
	err error
}

func (e *errReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}
