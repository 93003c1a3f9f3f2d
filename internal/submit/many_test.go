package submit

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/testpki"
	"rtls/internal/tlsconf"
)

// serveDialogues plays a dialogue with each connection, in turn. A dialogue without a
// step is one in which the TLS handshake fails, or nothing follows it.
func serveDialogues(t *testing.T, dialogues ...[]step) *Target {
	t.Helper()
	return serveDialoguesOf(t, func(int) [][]step { return dialogues })
}

// serveDialoguesOf makes the dialogues for the port that it got.
func serveDialoguesOf(t *testing.T, dialogues func(port int) [][]step) *Target {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	target, _ := serveAs(t, ca, ca, false, dialogues)
	target.Login = alice()
	return target
}

// serveStranger plays one dialogue; its authority is one that the client knows, or
// not. If silent, nobody may connect.
func serveStranger(t *testing.T, known, silent bool, steps []step) (*Target, *tls.Certificate) {
	t.Helper()
	ours, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	theirs := ours
	if !known {
		if theirs, err = testpki.New(); err != nil {
			t.Fatal(err)
		}
	}
	return serveAs(t, ours, theirs, silent, func(int) [][]step { return [][]step{steps} })
}

// serveAs has a certificate of one authority, and a client that trusts another.
func serveAs(t *testing.T, trusted, issuer *testpki.CA, silent bool, dialogues func(port int) [][]step) (*Target, *tls.Certificate) {
	t.Helper()
	cert, err := issuer.TLS(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := tlsconf.Client(writeCA(t, trusted), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := &Target{Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, TLS: config}
	if silent {
		t.Cleanup(func() { l.Close() })
		return target, &cert
	}
	all := dialogues(target.Port)
	var wait sync.WaitGroup
	wait.Go(func() { // ended by the cleanup
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				if n < len(all) {
					t.Errorf("%d connections, want %d", n, len(all))
				}
				return
			}
			if n >= len(all) {
				t.Error("one connection more than expected")
				conn.Close()
				return
			}
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
			if steps := all[n]; len(steps) > 0 {
				serveSteps(t, secure, steps)
			} else if secure.Handshake() == nil {
				// Under TLS 1.3 the client's refusal comes when we are done.
				if _, err := secure.Read(make([]byte, 1)); err == nil {
					t.Error("the client said something")
				}
			}
			conn.Close()
		}
	})
	t.Cleanup(func() { l.Close(); wait.Wait() })
	return target, &cert
}

// One login for several messages, whatever becomes of them; and each passes the
// guard for itself.
func TestSession(t *testing.T) {
	good := []step{{mail + rcpt + "DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"}, {data, "250 2.0.0 taken\r\n"}}
	steps := append([]step{hello, with(good[0])}, good[1:]...)
	steps = append(steps,
		step{mail + rcpt + "DATA\r\n", "250 ok\r\n550 5.1.1 nobody\r\n503 whom to?\r\n"}, step{"RSET\r\n", "250 ok\r\n"},
		step{mail + rcpt + "DATA\r\n", "250 ok\r\n450 4.2.0 later\r\n503 whom to?\r\n"}, step{"RSET\r\n", "250 ok\r\n"}, // it is about the recipient
		step{mail + rcpt + "DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"}, step{data, "554 5.6.0 no\r\n"})
	steps = append(append(steps, good...), goodbye)
	c := NewSession([]*Target{serveDialogues(t, steps)}, Options{Hostname: "client.example.org"})
	defer c.Close()
	for i, code := range []int{0, cli.NoUser, cli.TempFail, cli.DataErr, cli.DataErr, 0} {
		m := message()
		if i == 4 {
			m.UTF8 = true // which this server does not offer: nothing is said
		}
		if _, err := c.Send(t.Context(), m); cli.ExitCode(err) != code {
			t.Errorf("message %d: %v, want %d", i, err, code)
		}
	}
}

// The guard looks at each message's wish, also where the session is open by now.
func TestSessionGuards(t *testing.T) {
	steps := []step{
		{hello.want, "250-localhost\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"},
		{auth + "MAIL FROM:<alice@example.org>\r\n" + rcpt + "DATA\r\n", "235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"}, {data, "250 taken\r\n"}, goodbye,
	}
	c := NewSession([]*Target{serveDialogues(t, steps)}, Options{Hostname: "client.example.org"})
	defer c.Close()
	m := message()
	m.Wish = requiretls.Auto
	if _, err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_, err := c.Send(t.Context(), message())
	checkError(t, err, cli.Unavailable, requiretls.StatusNoSupport, false)
}

// A connection that is dead, or on which the server takes no more, is replaced; one
// that breaks behind the text is not, since the server may have it.
func TestSessionReconnects(t *testing.T) {
	good := []step{{mail + rcpt + "DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"}, {data, "250 2.0.0 taken\r\n"}}
	first := append([]step{hello, with(good[0])}, good[1:]...) // and hangs up
	second := append(append([]step{hello, with(good[0])}, good[1:]...),
		step{mail + rcpt + "DATA\r\n", "452 4.3.0 enough\r\n503 no\r\n503 no\r\n"}, step{"RSET\r\n", "421 bye\r\n"})
	third := append(append([]step{hello, with(good[0])}, good[1:]...), good[0], step{data, ""}) // and hangs up
	c := NewSession([]*Target{serveDialogues(t, first, second, third)}, Options{Hostname: "client.example.org"})
	defer c.Close()
	for i := range 3 {
		if _, err := c.Send(t.Context(), message()); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	_, err := c.Send(t.Context(), message())
	checkError(t, err, cli.TempFail, "4.4.2", true)
}

// with is a flight with the login in front.
func with(s step) step { return step{auth + s.want, login.say + s.say} }
