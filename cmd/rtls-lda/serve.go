package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lmtp"
	"rtls/internal/tlsconf"
)

// serve serves LMTP until ctx ends.
func serve(ctx context.Context, o *options, env cli.Env) error {
	f, err := loadConfig(o, true)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(env.Stderr, nil))
	server, err := newServer(f, logger)
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	if o.lmtp[0].kind == "stdio" {
		return serveStdio(ctx, server, env)
	}
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close() // removes a Unix socket; a second time it does nothing
		}
	}()
	for _, l := range o.lmtp {
		sockets, err := l.open()
		if err != nil {
			return cli.Errorf(cli.TempFail, "listen on %s: %w", l, err)
		}
		listeners = append(listeners, sockets...)
	}
	for _, l := range listeners {
		logger.Info("LMTP on " + l.Addr().Network() + ":" + l.Addr().String())
	}
	return server.Serve(ctx, listeners...)
}

func newServer(f *config.File, logger *slog.Logger) (*lmtp.Server, error) {
	tlsConfig, err := tlsconf.Server(f.LDA.Cert, f.LDA.Key)
	if err != nil {
		return nil, err
	}
	trusted, err := userIDs(f.LDA.TrustLocal)
	if err != nil {
		return nil, err
	}
	return &lmtp.Server{
		Hostname:   f.Hostname,
		TLS:        tlsConfig,
		Backend:    newAgent(f, logger),
		Logger:     logger,
		LocalUsers: trusted,
		MaxSize:    f.LDA.MaxSize,
	}, nil
}

// serveStdio serves one client on standard input and output.
func serveStdio(ctx context.Context, server *lmtp.Server, env cli.Env) error {
	near, far := net.Pipe()
	go func() {
		// Nobody waits for this one: it may hang in a read for as long as the
		// client likes, and ends with the process.
		_, _ = io.Copy(far, env.Stdin)
		far.Close()
	}()
	server.ServeConn(ctx, stdio{near, env.Stdout})
	return nil
}

// stdio reads from a net.Pipe, since standard input may know no deadlines, and
// writes to standard output.
type stdio struct {
	net.Conn
	out io.Writer
}

func (s stdio) Write(p []byte) (int, error) { return s.out.Write(p) }

func (s stdio) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline does not mind that the input has ended: a Read will say so.
func (s stdio) SetReadDeadline(t time.Time) error {
	if err := s.Conn.SetReadDeadline(t); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

// SetWriteDeadline does nothing: how long we wait for a reader is its affair.
func (s stdio) SetWriteDeadline(time.Time) error { return nil }
