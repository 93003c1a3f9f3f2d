package lmtp

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rtls/internal/lda"
	"rtls/internal/lmtptest"
)

// pipe serves one client on a net.Pipe, which has no buffer: what one side says, the
// other has to read. It runs in a synctest bubble, where a wait takes no time.
func pipe(t *testing.T, backend Backend) (client net.Conn, served chan struct{}) {
	client, server := net.Pipe()
	served = make(chan struct{})
	go func() {
		defer close(served)
		(&Server{Hostname: "localhost", Backend: backend}).ServeConn(t.Context(), server)
	}()
	return client, served
}

// slowly writes an octet at a time until the server has had enough.
func slowly(w io.Writer, text string, pause time.Duration) {
	for i := range len(text) {
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// A client cannot keep a connection by sending an octet now and then.
func TestDrip(t *testing.T) {
	const open = "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	for _, tc := range []struct {
		name, at string
		pause    time.Duration
		want     time.Duration
	}{
		{"before LHLO", "", time.Minute, 5 * time.Minute},
		{"in a command", open, time.Second, 5 * time.Minute},
		{"in a message", open + "DATA\r\n", time.Minute, time.Hour},
		{"in a message, with pauses", open + "DATA\r\n", 4 * time.Minute, 3 * time.Minute},
		{"in a chunk", open + "BDAT 9999999\r\n", time.Minute, time.Hour},
		{"between chunks", open + "BDAT 1\r\nx", time.Minute, 5 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &fake{}
				client, served := pipe(t, backend)
				said := make(chan string)
				go func() {
					all, _ := io.ReadAll(client)
					said <- string(all)
				}()
				if _, err := io.WriteString(client, tc.at); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() { slowly(client, strings.Repeat("x", 10_000), tc.pause) })
				<-served
				client.Close()
				if took := time.Since(start); took != tc.want {
					t.Errorf("it took %v", took)
				}
				if all := <-said; !strings.HasSuffix(all, "\r\n421 4.4.2 localhost waited too long\r\n") || len(backend.messages()) > 0 {
					t.Errorf("%v, %q", backend.messages(), all)
				}
			})
		})
	}
}

// A client that reads no replies is given up, and what it sent behind them is not
// run.
func TestDeafClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &fake{}
		client, served := pipe(t, backend)
		defer client.Close()
		start := time.Now()
		go func() {
			_, _ = io.WriteString(client, "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n")
		}()
		<-served
		if took := time.Since(start); took != 30*time.Second || len(backend.messages()) > 0 {
			t.Errorf("it took %v, %v is stored", took, backend.messages())
		}
	})
}

// patient is a backend that takes its time.
type patient struct{ fake }

func (p *patient) Deliver(ctx context.Context, env lda.Envelope, rcpts []lda.Recipient, msg io.Reader) []error {
	time.Sleep(10 * time.Minute)
	return p.fake.Deliver(ctx, env, rcpts, msg)
}

// How long a delivery takes has no part in how long its replies may take.
func TestRepliesAfterALongDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rcpts = 1000
		client, served := pipe(t, &patient{})
		go func() {
			var b strings.Builder
			b.WriteString("LHLO x\r\nMAIL FROM:<a@b>\r\n")
			for i := range rcpts {
				fmt.Fprintf(&b, "RCPT TO:<%d>\r\n", i)
			}
			b.WriteString("DATA\r\nx\r\n.\r\nQUIT\r\n")
			_, _ = io.WriteString(client, b.String())
		}()
		all, err := io.ReadAll(client)
		<-served
		if n := strings.Count(string(all), "250 2.0.0 delivered as "); err != nil || n != rcpts {
			t.Errorf("%d replies, %v", n, err)
		}
	})
}

// The last replies reach a client that is still talking: on TCP, octets that nobody
// has read must not take them back.
func TestLastRepliesArrive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	backend := &fake{}
	go func() { served <- (&Server{Hostname: "localhost", Backend: backend}).Serve(ctx, l) }()
	// Most of the replies wait on the server's side until the client reads.
	const rcpts = 1000
	c := lmtptest.Dial(t, "tcp", l.Addr().String(), nil)
	tcp := c.Conn.(*net.TCPConn)
	if err := tcp.SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	c.Hello()
	_, _ = io.WriteString(tcp, "MAIL FROM:<a@b>\r\n"+strings.Repeat("RCPT TO:<c@d>\r\n", rcpts)+"DATA\r\n.\r\nQUIT\r\n"+strings.Repeat("NOOP\r\n", 500_000))
	_ = tcp.CloseWrite()
	c.Expect("250 2.1.0")
	for range rcpts {
		c.Expect("250 2.1.5")
	}
	c.Expect("354")
	for range rcpts {
		c.Expect("250 2.0.0 delivered")
	}
	c.Expect("221 ")
	c.Closed()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// What a client says between chunks does not buy it time.
func TestChunksTakeTooLong(t *testing.T) {
	for _, idle := range []string{"NOOP\r\n", "BDAT 0\r\n"} {
		r := start(t, func(s *Server) { s.MessageTimeout = 200 * time.Millisecond })
		c := r.hello()
		c.Open("<a@example.org>", "<b@example.org>")
		c.Write("BDAT 1\r\nx")
		c.Expect("250 2.0.0")
		for begun := time.Now(); time.Since(begun) < 10*time.Second; {
			if _, err := c.Conn.Write([]byte(idle)); err != nil {
				break
			}
			if lines, err := c.Read(); err != nil || !strings.HasPrefix(lines[0], "250 ") {
				break
			}
		}
		_, _ = c.Rest()
		if !strings.Contains(c.Said.String(), "\r\n421 4.4.2 ") || len(r.fake.messages()) > 0 {
			t.Errorf("%q: %q, %d messages", idle, c.Said.String()[max(0, c.Said.Len()-60):], len(r.fake.messages()))
		}
	}
}
