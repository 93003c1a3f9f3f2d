package lmtp

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"rtls/internal/lmtptest"
)

func TestPatience(t *testing.T) {
	const waited = "421 4.4.2 localhost waited too long"
	t.Run("for a command", func(t *testing.T) {
		c := start(t, func(s *Server) { s.IdleTimeout = 50 * time.Millisecond }).dial()
		c.Expect("220 ")
		c.Write("LHLO")
		c.Expect(waited)
		c.Closed()
	})
	for name, change := range map[string]func(*Server){
		"without progress": func(s *Server) { s.DataTimeout = 50 * time.Millisecond },
		"for the message":  func(s *Server) { s.MessageTimeout = 50 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, change)
			for _, begin := range []string{"DATA\r\nx\r\n", "BDAT 5\r\nx"} {
				c := r.hello()
				c.Write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n" + begin)
				c.Expect("250 ", "250 ")
				if begin[0] == 'D' {
					c.Expect("354 ")
				}
				c.Expect(waited)
				c.Closed()
			}
			if len(r.fake.messages()) > 0 {
				t.Error("something was stored")
			}
		})
	}
	t.Run("for TLS", func(t *testing.T) {
		c := start(t, func(s *Server) { s.HandshakeTimeout = 50 * time.Millisecond }).hello()
		c.Write("STARTTLS\r\n")
		c.Expect("220 ")
		c.Closed()
	})
	t.Run("with nonsense", func(t *testing.T) {
		c := start(t, nil).hello()
		c.Write(strings.Repeat("X\r\n", 51))
		for range 51 {
			c.Expect("500 ")
		}
		c.Expect("421 4.7.0 too many errors")
		c.Closed()
	})
}

func TestTooMany(t *testing.T) {
	r := start(t, func(s *Server) { s.MaxConns, s.MaxRecipients = 1, 2 })
	c := r.hello()
	other := r.dial()
	other.Expect("421 4.3.2 localhost too busy, try again later")
	other.Closed()
	c.Talk(`
		C: MAIL FROM:<a@example.org>
		S: 250
		C: RCPT TO:<b@example.org>
		S: 250
		C: RCPT TO:<c@example.org>
		S: 250
		C: RCPT TO:<d@example.org>
		S: 452 4.5.3 too many recipients
		C: DATA
		S: 354
		C: .
		S: 250
		S: 250
		C: QUIT
		S: 221`)
	c.Closed()
}

// Shutdown: who waits is sent away, who delivers may finish, nobody new comes in.
func TestShutdown(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	r := start(t, nil)
	r.fake.hold, r.fake.held = hold, held
	idle, busy, reading, idleTLS := r.hello(), r.hello(), r.hello(), r.secure()
	const open = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
	busy.Write(open + "busy\r\n.\r\nNOOP\r\n")
	<-held
	reading.Write(open + "rea")
	reading.Expect("250 ", "250 ", "354 ")
	r.stop()
	idle.Expect("421 4.3.2 localhost is shutting down")
	idle.Closed()
	idleTLS.Expect("421 4.3.2 localhost is shutting down")
	idleTLS.Closed() // with close_notify, or this would be an unexpected EOF
	if conn, err := net.Dial("unix", r.addr); err == nil {
		conn.Close()
		t.Error("the socket is still there")
	}
	reading.Write("ding\r\n.\r\n")
	<-held
	close(hold)
	busy.Expect("250 ", "250 ", "354 ", "250 2.0.0 delivered as", "421 4.3.2")
	busy.Closed()
	reading.Expect("250 2.0.0 delivered as", "421 4.3.2")
	reading.Closed()
	<-r.done
	if got := r.fake.messages(); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// When Grace is over, deliveries are cancelled: not delivered, not acknowledged.
func TestShutdownGrace(t *testing.T) {
	r := start(t, func(s *Server) { s.Grace = 50 * time.Millisecond })
	r.fake.hold, r.fake.held = make(chan struct{}), make(chan struct{}, 1)
	c := r.hello()
	c.Write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\n")
	<-r.fake.held
	r.stop()
	<-r.done
	rest, _ := c.Rest()
	if strings.Contains(string(rest), "delivered") || len(r.fake.messages()) > 0 {
		t.Errorf("stored %v, said %q", r.fake.messages(), rest)
	}
}

// Running out of descriptors passes; it does not end the service.
func TestAcceptFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	server := &Server{Hostname: "localhost", Backend: &fake{}}
	served := make(chan error)
	go func() { served <- server.Serve(ctx, &flaky{l, 2}) }()
	c := lmtptest.Dial(t, "tcp", l.Addr().String(), nil)
	c.Hello()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	c.Expect("421 ")
	c.Closed()
}

// flaky is a listener whose first calls fail.
type flaky struct {
	net.Listener
	failures int
}

func (l *flaky) Accept() (net.Conn, error) {
	if l.failures--; l.failures >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}
