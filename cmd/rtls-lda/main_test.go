package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rtls/internal/commands"
	"rtls/internal/testpki"
	"rtls/internal/testuser"
)

func TestMain(m *testing.M) {
	testscript.Main(inReach{m}, map[string]func(){name: main})
}

// inReach runs tests whose commands other users can reach.
type inReach struct{ *testing.M }

func (m inReach) Run() int {
	command, err := exec.LookPath(name)
	if err == nil {
		err = errors.Join(os.Chmod(filepath.Dir(command), 0o711), os.Chmod(filepath.Dir(filepath.Dir(command)), 0o711), os.Chmod(command, 0o755))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

// TestScript runs the scripts in testdata against the real command, in one program.
func TestScript(t *testing.T) {
	testuser.Become(t)
	runScripts(t, "testdata", "")
}

// TestScriptPlain runs them against the small program with the whole one beside it, and
// those that are about the two.
func TestScriptPlain(t *testing.T) {
	bin := buildBoth(t)
	testuser.Become(t, bin)
	t.Run("as one", func(t *testing.T) { runScripts(t, "testdata", bin) })
	t.Run("apart", func(t *testing.T) { runScripts(t, "testdata/plain", bin) })
}

// TestScriptRoot runs those that take root, against both.
func TestScriptRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Run("one program", func(t *testing.T) { runScripts(t, "testdata/root", "") })
	bin := buildBoth(t)
	if err := os.Chmod(filepath.Dir(bin), 0o711); err != nil {
		t.Fatal(err)
	}
	t.Run("two programs", func(t *testing.T) { runScripts(t, "testdata/root", bin) })
}

// buildBoth builds rtls-lda as it is installed and returns where it is.
func buildBoth(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	if err := commands.BuildLDA(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	return bin
}

// runScripts gives each script a configuration in rtls.toml, with the users alice, bob
// and the address carol@example.org, a certificate, and who runs it in $ME and $GROUP.
// Unless it is empty, bin is where the commands are.
func runScripts(t *testing.T, dir, bin string) {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(strconv.Itoa(os.Getegid()))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			if bin != "" {
				env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			}
			env.Setenv("ME", me.Username)
			env.Setenv("GROUP", group.Name)
			if _, _, err := ca.WriteFiles(env.WorkDir, "cert", testpki.Leaf{Names: []string{"localhost"}}); err != nil {
				return err
			}
			config := fmt.Sprintf("hostname = \"mx.example.org\"\n\n[store]\nroot = %q\nusers = %q\n\n[lda]\ncert = %q\nkey = %q\n",
				filepath.Join(env.WorkDir, "var"), filepath.Join(env.WorkDir, "users"),
				filepath.Join(env.WorkDir, "cert.pem"), filepath.Join(env.WorkDir, "cert.key"))
			for file, text := range map[string]string{"rtls.toml": config, "users": "alice:!\nbob:!\ncarol@example.org:!\n"} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, file), []byte(text), 0o600); err != nil {
					return err
				}
			}
			return os.Mkdir(filepath.Join(env.WorkDir, "var"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"stored": stored,
			"talk":   talk,
			"crlf":   crlf,
		},
	})
}

// exits runs a command that has to end with a code: exits 64 rtls-lda ...
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

// stored finds the messages of a mailbox directory under var/, makes sure
// that there are so many, and writes the last one's name and bytes to the files
// name and message: stored 1 alice/Maildir
func stored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: stored count directory")
	}
	dir := ts.MkAbs(filepath.Join("var", args[1]))
	var files []string // a quota has them moved from new/ to cur/
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			ts.Fatalf("%v", err)
		}
		for _, e := range entries {
			files = append(files, filepath.Join(sub, e.Name()))
		}
	}
	if strconv.Itoa(len(files)) != args[0] {
		ts.Fatalf("%s has %d messages, want %s", args[1], len(files), args[0])
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) > 0 {
		ts.Fatalf("%s was left in tmp/", left[0].Name())
	}
	if len(files) == 0 {
		return
	}
	last := files[len(files)-1]
	data, err := os.ReadFile(filepath.Join(dir, last))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("message"), data, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("name"), []byte(filepath.Base(last)+"\n"), 0o600))
}

// crlf gives files the line ends of the wire: crlf file...
func crlf(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		text := strings.ReplaceAll(ts.ReadFile(file), "\n", "\r\n")
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// talk speaks LMTP on a socket, once it is there, by the lines of a file: "C: "
// is sent, "S: " is expected at the start of a line.
func talk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: talk network address script")
	}
	addr := args[1]
	if args[0] == "unix" {
		addr = ts.MkAbs(addr)
	}
	var conn net.Conn
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err = net.Dial(args[0], addr); err == nil {
			break
		}
	}
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	r := bufio.NewReader(conn)
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		line = strings.TrimSuffix(line, "\n")
		switch kind, text, _ := strings.Cut(line, ": "); kind {
		case "C":
			_, err = fmt.Fprintf(conn, "%s\r\n", text)
			ts.Check(err)
		case "S":
			got, err := r.ReadString('\n')
			ts.Check(err)
			if !strings.HasPrefix(got, text) {
				ts.Fatalf("got %q, want %q", got, text)
			}
		default:
			ts.Fatalf("%s: %q", args[2], line)
		}
	}
}
