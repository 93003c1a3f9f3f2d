package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"rtls/internal/lda"
	"rtls/internal/reexec"
)

// process is one worker as the server sees it.
type process struct {
	owner          Owner
	cmd            *exec.Cmd
	conn           *net.UnixConn
	timeout, abort time.Duration
	leave          *time.Timer // while it waits for work
}

func startProcess(o Owner, cmd *exec.Cmd, timeout, abort time.Duration) (*process, error) {
	conn, theirs, err := reexec.SocketPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd.Stdin = theirs
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, err
	}
	return &process{owner: o, cmd: cmd, conn: conn, timeout: timeout, abort: abort}, nil
}

// ask sends a request and reads the answer. When ctx ends the worker is told to stop,
// and may still answer.
func (w *process) ask(ctx context.Context, req *request, message *lda.Spool) ([]error, error) {
	if err := w.conn.SetDeadline(time.Now().Add(w.timeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = w.conn.SetDeadline(time.Now().Add(w.abort))
		_ = w.conn.CloseWrite()
	})
	defer stop()
	line, err := json.Marshal(req)
	if err == nil {
		_, err = w.conn.Write(append(line, '\n'))
	}
	if err == nil && message != nil {
		_, err = io.Copy(w.conn, message.Reader())
	}
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	return w.answer(len(req.Recipients))
}

func (w *process) answer(recipients int) ([]error, error) {
	raw := io.LimitReader(w.conn, int64(recipients+1)*maxAnswer)
	line, err := bufio.NewReader(raw).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if len(a.Results) != recipients {
		return nil, fmt.Errorf("answer of %d results for %d recipients", len(a.Results), recipients)
	}
	results := make([]error, recipients)
	for i, r := range a.Results {
		if r == nil {
			continue
		}
		if results[i], err = r.check(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

var status = regexp.MustCompile(`^[45]\.[0-9]{1,3}\.[0-9]{1,3}$`)

// check makes an error of a result that is one.
func (r *result) check() (*lda.Error, error) {
	if r.Code < 400 || r.Code > 599 || !status.MatchString(r.Status) || r.Code/100 != int(r.Status[0]-'0') {
		return nil, errors.New("answer with a code that is none")
	}
	return &lda.Error{Code: r.Code, Status: r.Status, Text: r.Text}, nil
}

// dismiss lets a worker that does nothing end.
func (w *process) dismiss() {
	if w.leave != nil {
		w.leave.Stop()
	}
	w.conn.Close()
}

// kill ends one that has not answered as it should.
func (w *process) kill() {
	_ = w.cmd.Process.Kill()
	w.conn.Close()
}
