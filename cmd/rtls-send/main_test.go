package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"

	"rtls/internal/testpki"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){name: main, "sendmail": main, "mailq": main, "newaliases": main})
}

// TestScript runs the scripts in testdata against the real command. Each has a
// submission server of its own, on another implementation of REQUIRETLS, and a
// configuration for it in the user's home. What the server takes is counted by
// "taken", which leaves the last in the files envelope and message.
func TestScript(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	manual, err := filepath.Abs("rtls-send.1")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			dir := filepath.Join(env.WorkDir, "taken")
			server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
				return &mailbox{dir: dir}, nil
			}))
			server.Domain = "localhost"
			server.EnableREQUIRETLS = true
			server.EnableSMTPUTF8 = true
			server.ErrorLog = quiet{}
			done := make(chan struct{})
			go func() { // ended by the deferred Close
				defer close(done)
				_ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
			}()
			env.Defer(func() { server.Close(); <-done })

			_, port, _ := net.SplitHostPort(l.Addr().String())
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("HOME", home)
			env.Setenv("PORT", port)
			env.Setenv("MANUAL", manual)
			for file, text := range map[string]string{
				"ca.pem":   string(ca.PEM()),
				"password": "secret\n",
				"home/.config/rtls/rtls.toml": fmt.Sprintf("[send.account.test]\nfrom = \"me@example.org\"\nhost = \"localhost\"\nport = %s\nca_file = %q\nuser = \"me\"\npassword_file = %q\n",
					port, filepath.Join(env.WorkDir, "ca.pem"), filepath.Join(env.WorkDir, "password")),
			} {
				path := filepath.Join(env.WorkDir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					return err
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					return err
				}
			}
			return os.Mkdir(dir, 0o700)
		},
		Condition: func(condition string) (bool, error) {
			if condition != "root" {
				return false, fmt.Errorf("there is no condition %q", condition)
			}
			return os.Getuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"taken":    taken,
			"reported": reported,
		},
	})
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// mailbox is a session of the server; it writes each message to a directory.
type mailbox struct {
	dir      string
	loggedIn bool
	envelope strings.Builder
}

var _ smtp.AuthSession = (*mailbox)(nil)

func (m *mailbox) AuthMechanisms() []string { return []string{sasl.Plain} }

func (m *mailbox) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "me" || password != "secret" {
			return smtp.ErrAuthFailed
		}
		m.loggedIn = true
		return nil
	}), nil
}

func (m *mailbox) Mail(from string, o *smtp.MailOptions) error {
	if !m.loggedIn {
		return smtp.ErrAuthRequired
	}
	fmt.Fprintf(&m.envelope, "from <%s> requiretls=%v utf8=%v\n", from, o.RequireTLS, o.UTF8)
	return nil
}

func (m *mailbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "who?"}
	}
	fmt.Fprintf(&m.envelope, "to <%s>\n", to)
	return nil
}

func (m *mailbox) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	base := filepath.Join(m.dir, strconv.Itoa(len(entries)/2))
	if err := os.WriteFile(base+".envelope", []byte(m.envelope.String()), 0o600); err != nil {
		return err
	}
	temp := m.dir + ".new"
	if err := os.WriteFile(temp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, base+".message") // whole, for who waits for it
}

func (m *mailbox) Reset()        { m.envelope.Reset() }
func (m *mailbox) Logout() error { return nil }

// exits runs a command that has to end with a code: exits 64 rtls-send ...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [argument...]")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = e.ExitCode()
	}
	if want, err := strconv.Atoi(args[0]); err != nil || code != want {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// reported is taken, once a process in the background is done.
func reported(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: reported count")
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if entries, err := os.ReadDir(ts.MkAbs("taken")); err == nil && strconv.Itoa(len(entries)/2) == args[0] && len(entries)%2 == 0 {
			break
		}
	}
	taken(ts, neg, args)
}

// taken makes sure that the server took so many messages, and copies the last
// one's envelope and text: taken 1
func taken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: taken count")
	}
	entries, err := os.ReadDir(ts.MkAbs("taken"))
	ts.Check(err)
	if count := len(entries) / 2; strconv.Itoa(count) != args[0] {
		ts.Fatalf("%d messages were taken, want %s", count, args[0])
	}
	if len(entries) == 0 {
		return
	}
	base := ts.MkAbs(filepath.Join("taken", strconv.Itoa(len(entries)/2-1)))
	for _, part := range []string{"envelope", "message"} {
		data, err := os.ReadFile(base + "." + part)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(part), data, 0o600))
	}
}
