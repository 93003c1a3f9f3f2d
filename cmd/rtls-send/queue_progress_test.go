package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rtls/internal/cli"
)

// terminal is a terminal, and its other end.
func terminal(t *testing.T) (slave, master *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return slave, master
}

// Progress is shown for a large text on a terminal, and only then; the text is the
// same.
func TestProgress(t *testing.T) {
	slave, master := terminal(t)
	text := strings.Repeat("0123456789abcde\r\n", 1<<17)
	var out strings.Builder
	n, err := withProgress(cli.Env{Stderr: slave}, &options{}, strings.NewReader(text), int64(len(text))).WriteTo(&out)
	if err != nil || n != int64(len(text)) || out.String() != text {
		t.Fatalf("%d octets, %v", n, err)
	}
	slave.Close()
	shown, _ := io.ReadAll(master) // which ends with an error when nobody has the slave
	if s := string(shown); !strings.HasPrefix(s, "\rrtls-send: ") || !strings.Contains(s, " of 2.2 MB (") || !strings.HasSuffix(s, "\r\x1b[K") {
		t.Errorf("the terminal got %q", s)
	}
	slave, _ = terminal(t)
	defer slave.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, e := range map[string]io.Writer{"small": slave, "a file": null, "a buffer": &strings.Builder{}} {
		size := int64(len(text))
		if name == "small" {
			size = 100
		}
		in := strings.NewReader(text)
		if got := withProgress(cli.Env{Stderr: e}, &options{}, in, size); got != io.WriterTo(in) {
			t.Errorf("%s: progress is shown", name)
		}
	}
}
