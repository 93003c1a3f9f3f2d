package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"rtls/internal/cli"
)

// stoppable returns a context that SIGINT and SIGTERM end from the call of listen on.
// Until then they are ignored: a delivery that has the whole message needs no longer
// than the disk does, and its answer is worth that. To ignore them costs nothing, to
// listen takes a thread.
func stoppable() (ctx context.Context, listen func()) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	return ctx, sync.OnceFunc(func() { context.AfterFunc(cli.Signals(), cancel) })
}

// errEmpty is the doubt about an input of nothing: no mail transfer agent hands
// over an empty message, but one that has just died may seem to.
var errEmpty = errors.New("there is no message on standard input")

// input reads the message. A read that has to wait is cut off when ctx ends, which
// a file or a pipe cannot be told by itself.
type input struct {
	ctx    context.Context
	listen func() // has signals end ctx
	file   *os.File

	some bool      // something was there
	slow io.Reader // once it had to wait
}

func (in *input) Read(p []byte) (n int, err error) {
	switch {
	case in.slow != nil:
		n, err = in.slow.Read(p)
	case ready(in.file):
		n, err = in.file.Read(p)
	default:
		in.listen()
		in.slow = cutOff(in.ctx, in.file)
		n, err = in.slow.Read(p)
	}
	in.some = in.some || n > 0
	if err == io.EOF && !in.some {
		err = errEmpty
	}
	return n, err
}

// ready says whether a read would not wait. In doubt it would.
func ready(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return err == nil && n > 0
}

// cutOff reads f until ctx ends.
func cutOff(ctx context.Context, f io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		// Nobody waits for this one: it may hang in a read, and ends with the
		// process.
		_, err := io.Copy(w, f)
		w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })
	return r
}
