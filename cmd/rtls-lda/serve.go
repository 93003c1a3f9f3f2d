//go:build !plain

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"rtls/internal/cli"
	"rtls/internal/config"
	"rtls/internal/lda"
	"rtls/internal/lmtp"
	"rtls/internal/systemd"
	"rtls/internal/tlsconf"
	"rtls/internal/users"
)

// serve serves LMTP until ctx ends.
func serve(ctx context.Context, o *options, env cli.Env) error {
	f, err := loadConfig(o, true)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(env.Stderr, nil))
	known := newAccounts(f)
	server, err := newServer(f, logger)
	if err != nil {
		return cli.Errorf(cli.Config, "%w", err)
	}
	if o.lmtp[0].kind == "stdio" {
		closeBackend, err := deliverTo(server, f, known, o, env)
		if err != nil {
			return err
		}
		defer closeBackend()
		return serveStdio(ctx, server, env)
	}
	sd := systemd.Env{PID: os.Getpid(), Getenv: env.Getenv}
	listeners, err := openAll(o.lmtp, sd)
	defer func() {
		for _, l := range listeners {
			l.Close() // removes a Unix socket; a second time it does nothing
		}
	}()
	if err != nil {
		return err
	}
	closeBackend, err := deliverTo(server, f, known, o, env)
	if err != nil {
		return err
	}
	defer closeBackend()
	for _, l := range listeners {
		logger.Info("LMTP on " + l.Addr().Network() + ":" + l.Addr().String())
	}
	defer sd.Report(ctx, logger, func(ctx context.Context) error { return greets(ctx, listeners[0].Addr()) })()
	return server.Serve(ctx, listeners...)
}

// openAll opens all listeners; with an error it returns those that are open.
func openAll(lmtp []listen, sd systemd.Env) (all []net.Listener, err error) {
	for _, l := range lmtp {
		sockets, err := l.open(sd)
		if err != nil {
			return all, cli.Errorf(cli.TempFail, "listen on %s: %w", l, err)
		}
		all = append(all, sockets...)
		for _, socket := range sockets {
			if tcp, ok := socket.Addr().(*net.TCPAddr); ok {
				if err := checkPort(tcp.Port); err != nil {
					return all, err
				}
			}
		}
	}
	return all, nil
}

// greets says whether there is somebody at addr who answers, be it that he is too
// busy.
func greets(ctx context.Context, addr net.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, addr.Network(), addr.String())
	if errors.Is(err, fs.ErrPermission) {
		return nil // the socket is there, for another user than we have become
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}

// deliverTo gives a server its backend. Where all mail belongs to one user this process
// becomes that user for good; else it stays root, and has others deliver. It comes when
// sockets and certificate are open, which that user may have no right to.
func deliverTo(server *lmtp.Server, f *config.File, known *accounts, o *options, env cli.Env) (closeBackend func(), err error) {
	several, err := known.several()
	if err != nil {
		return nil, cli.Errorf(cli.Config, "%w", err)
	}
	if several {
		known.uid = -1 // each user's own
		pool, err := newPool(f, known, o.config, env, server.Logger)
		if err != nil {
			return nil, err
		}
		server.Backend = pool
		return pool.Close, nil
	}
	if err := known.become(users.Record{UID: -1}); err != nil {
		return nil, cli.Errorf(cli.Config, "%w", err)
	}
	agent := agentConfig(f, known, server.Logger)
	agent.Send, agent.Reports = sender(f, o.config, env), f.LDA.SuccessReports
	server.Backend = lda.New(agent)
	return func() {}, nil
}

// newServer is a server that has no backend yet.
func newServer(f *config.File, logger *slog.Logger) (*lmtp.Server, error) {
	tlsConfig, err := serverTLS(f)
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
		Logger:     logger,
		LocalUsers: trusted,
		DSN:        f.LDA.SuccessReports,
		MaxSize:    f.LDA.MaxSize,
		MaxConns:   f.LDA.MaxConnections,
	}, nil
}

func serverTLS(f *config.File) (*tls.Config, error) {
	c, err := tlsconf.Load(tlsconf.Pair{Cert: f.LDA.Cert, Key: f.LDA.Key})
	if err == nil && f.LDA.ClientCA != "" {
		err = c.AskClients(f.LDA.ClientCA)
	}
	if err != nil {
		return nil, err
	}
	return c.Config(), nil
}

// serveStdio serves one client on standard input and output. When that is a
// socket, as from inetd, its address counts for what the client may do.
func serveStdio(ctx context.Context, server *lmtp.Server, env cli.Env) error {
	// FileConn makes a descriptor non-blocking for all who share it, so it is for
	// sockets only.
	if info, err := env.Stdin.Stat(); err == nil && info.Mode().Type() == fs.ModeSocket {
		conn, err := net.FileConn(env.Stdin)
		if err != nil {
			return cli.Errorf(cli.TempFail, "standard input: %w", err)
		}
		if conn.RemoteAddr() == nil {
			conn.Close()
			return cli.Errorf(cli.Config, "standard input is a socket that listens").
				WithHint("hand over connections, or write --lmtp systemd")
		}
		if tcp, ok := conn.LocalAddr().(*net.TCPAddr); ok {
			if err := checkPort(tcp.Port); err != nil {
				conn.Close()
				return err
			}
		}
		server.ServeConn(ctx, conn)
		return nil
	}
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
