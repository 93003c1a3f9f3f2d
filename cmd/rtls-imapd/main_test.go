package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rtls/internal/testpki"
	"rtls/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rtls-imapd": main})
}

// Each script finds a directory with a whole configuration: rtls.toml, mail/ and a
// certificate. $BUSY is an address on which somebody listens.
func TestScripts(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			busy, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { busy.Close() })
			env.Setenv("BUSY", busy.Addr().String())
			env.Values[inUse{}] = &usedAccount{}
			cert, key, err := ca.WriteFiles(env.WorkDir, "localhost", testpki.Leaf{Names: []string{"localhost"}})
			if err != nil {
				return err
			}
			if err := os.Mkdir(env.Getenv("WORK")+"/mail", 0o700); err != nil {
				return err
			}
			text := fmt.Sprintf("[store]\nroot = %q\nusers = %q\n\n[imapd]\nlisten = [%q]\ncert = %q\nkey = %q\n",
				filepath.Join(env.WorkDir, "mail"), filepath.Join(env.WorkDir, "passwd"), "127.0.0.1:0", cert, key)
			return os.WriteFile(filepath.Join(env.WorkDir, "rtls.toml"), []byte(text), 0o600)
		},
		Condition: func(condition string) (bool, error) {
			if condition != "root" {
				return false, fmt.Errorf("there is no condition %q", condition)
			}
			return os.Getuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cert":  func(ts *testscript.TestScript, neg bool, args []string) { cmdCert(ts, ca, args) },
			"exits": cmdExits,
			"mode":  cmdMode,
			"use":   cmdUse,
		},
	})
}

// cmdExits runs rtls-imapd and holds its exit code against the first argument.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE [ARGS...]")
	}
	code := "0"
	if err := ts.Exec("rtls-imapd", args[1:]...); err != nil {
		code = exitCode(err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func exitCode(err error) string {
	if e, ok := err.(interface{ ExitCode() int }); ok {
		return fmt.Sprint(e.ExitCode())
	}
	return err.Error()
}

// cmdCert writes a certificate for a server, NAME.pem and NAME.key, that was made ten
// days ago and is valid for some days from now.
func cmdCert(ts *testscript.TestScript, ca *testpki.CA, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: cert NAME DAYS SERVER")
	}
	days, err := strconv.Atoi(args[1])
	ts.Check(err)
	const day = 24 * time.Hour
	_, _, err = ca.WriteFiles(ts.MkAbs("."), args[0], testpki.Leaf{
		Names:     []string{args[2]},
		NotBefore: time.Now().Add(-10 * day),
		NotAfter:  time.Now().Add(time.Duration(days)*day + time.Hour),
	})
	ts.Check(err)
}

// cmdMode holds a file's permissions against the first argument.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode PERMISSIONS FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// inUse is the key of a script's usedAccount.
type inUse struct{}

type usedAccount struct{ *store.Account }

// cmdUse opens the index of an account, and closes it when the script ends or says
// ! use.
func cmdUse(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Check(ts.Value(inUse{}).(*usedAccount).Close())
		return
	}
	if len(args) != 1 {
		ts.Fatalf("usage: use ACCOUNT")
	}
	a, err := store.Open(ts.MkAbs(args[0]), nil)
	ts.Check(err)
	ts.Defer(func() { a.Close() })
	_, _, err = a.Usage(context.Background())
	ts.Check(err)
	ts.Value(inUse{}).(*usedAccount).Account = a
}
