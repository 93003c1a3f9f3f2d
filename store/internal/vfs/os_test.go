package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTemp has a file with several names, made both ways: without a name of its
// own, and with one, as file systems need it that know no such thing.
func TestTemp(t *testing.T) {
	for name, start := range map[string]func(dir string) (Temp, error){
		"without a name": func(dir string) (Temp, error) { return OS{}.Temp(dir, "own") },
		"with a name": func(dir string) (Temp, error) {
			path := filepath.Join(dir, "own")
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
			return &temp{f: f, path: path}, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			temp, err := start(dir)
			must(t, err)
			_, err = temp.Write([]byte("content"))
			must(t, err)
			when := time.Unix(1_000_000_000, 0)
			must(t, temp.SetTime(when))
			must(t, temp.Finish())
			for _, link := range []string{"a", "b"} {
				must(t, temp.Link(filepath.Join(dir, link)))
			}
			if err := temp.Link(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("Link to a name that is taken: %v", err)
			}
			f, err := temp.Open()
			must(t, err)
			var read [7]byte
			if _, err := f.ReadAt(read[:], 0); err != nil || string(read[:]) != "content" {
				t.Errorf("read %q, %v", read, err)
			}
			must(t, f.Close())
			must(t, temp.Close())
			a, err := OS{}.Stat(filepath.Join(dir, "a"))
			must(t, err)
			b, err := OS{}.Stat(filepath.Join(dir, "b"))
			must(t, err)
			if a.Inode != b.Inode || a.Links != 2 || !a.ModTime.Equal(when) || a.Mode.Perm() != fileMode {
				t.Errorf("the names lead to %+v and %+v", a, b)
			}
			names, err := OS{}.Names(dir)
			must(t, err)
			if len(names) != 2 {
				t.Errorf("the directory holds %v", names)
			}
		})
	}
}

func TestChmod(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, os.Symlink(path, path+"-link"))
	_ = OS{}.Chmod(path+"-link", 0o777) // whatever it says, the file is not to be reached
	info, err := OS{}.Stat(path)
	must(t, err)
	if info.Mode != 0o644 || info.Owner != uint32(os.Geteuid()) {
		t.Errorf("through a link: %+v", info)
	}
	must(t, OS{}.Chmod(path, 0o600))
	if info, err = (OS{}).Stat(path); err != nil || info.Mode != 0o600 {
		t.Errorf("%+v, %v", info, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
