package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rtls/internal/cli"
	"rtls/internal/compose"
	"rtls/internal/spool"
)

// fullDisk takes as many files as it has room for.
type fullDisk struct {
	spool.OS
	room int
}

func (d *fullDisk) Create(dir, name string, mode os.FileMode) (spool.Draft, error) {
	if d.room == 0 {
		return nil, unix.ENOSPC
	}
	d.room--
	return d.OS.Create(dir, name, mode)
}

// A message counts as kept only if the queue has it for all whom it did not reach. Else
// -oem would write no dead.letter, and -oee would exit with 0.
func TestKeptForSome(t *testing.T) {
	m, err := compose.Read(strings.NewReader("Subject: s\n\nbody\n"), compose.Options{Identity: "me@example.org", Recipients: []string{"a@x", "b@x"}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	never, later := cli.Errorf(cli.DataErr, "no such user"), cli.Errorf(cli.TempFail, "try again")
	bury := func(q *queue) { q.bury(m, m.To[:1], never) }
	keep := func(q *queue) {
		if _, err := q.settle(t.Context(), m, later); err != nil && cli.ExitCode(err) != cli.TempFail {
			t.Error(err)
		}
	}
	for _, tc := range []struct {
		name  string
		room  int
		steps []func(*queue)
		kept  bool
	}{
		{"room for all", 2, []func(*queue){bury, keep}, true},
		{"no room for the rest", 1, []func(*queue){bury, keep}, false},
		{"no room for the second who is refused", 1, []func(*queue){bury, bury}, false},
		{"no room", 0, []func(*queue){bury}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			disk := &fullDisk{room: 99} // the spool is made
			sp, err := spool.Open(filepath.Join(dir, "spool"), true, spool.Config{FS: disk})
			if err != nil {
				t.Fatal(err)
			}
			disk.room = tc.room
			o := new(options)
			o.errors = errorsMailedZero
			o.config = filepath.Join(dir, "none") // so that the flush it starts ends at once
			q := &queue{env: cli.Env{Stderr: new(bytes.Buffer)}, o: o, s: &settings{}, spool: sp}
			for _, step := range tc.steps {
				step(q)
			}
			if q.kept() != tc.kept {
				t.Errorf("kept: %t", q.kept())
			}
		})
	}
}
