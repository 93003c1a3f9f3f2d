package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pieces writes itself in pieces of a few octets.
type pieces string

func (p pieces) WriteTo(w io.Writer) (int64, error) {
	for rest := []byte(p); len(rest) > 0; {
		n := min(3, len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return int64(len(p)), nil
}

// What is appended to an mbox is one message more, however it looks.
func FuzzAppendLetter(f *testing.F) {
	for _, s := range []string{"", "S: x\n\nb\n", "From a\nS: x\r\n\r\nFrom b\r\n>From c", "\nFrom ", "From ", "\r\r\n", "x\n\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		path := filepath.Join(t.TempDir(), "dead.letter")
		for range 2 {
			if err := appendLetter(path, pieces(in), time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		const separator = "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"
		if n := strings.Count("\n"+string(raw), "\nFrom "); n != 2 || strings.Count(string(raw), separator) < 2 {
			t.Fatalf("%q becomes %d messages: %q", in, n, raw)
		}
		half := raw[:len(raw)/2]
		if !bytes.Equal(half, raw[len(raw)/2:]) || !bytes.HasPrefix(half, []byte(separator)) || !bytes.HasSuffix(half, []byte("\n\n")) && in != "" && in[0] != 'F' {
			t.Errorf("%q becomes %q", in, raw)
		}
	})
}

// A letter that cannot be written whole leaves the file as it was.
func TestAppendLetterFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.letter")
	if err := appendLetter(path, pieces("S: x\n\nb\n"), time.Now()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := appendLetter(path, broken{}, time.Now()); err == nil {
		t.Fatal("half a letter")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%q, %v", after, err)
	}
}

// broken writes more than fits into a buffer, and fails.
type broken struct{}

func (broken) WriteTo(w io.Writer) (int64, error) {
	for range 1000 {
		if _, err := w.Write([]byte(strings.Repeat("x", 100) + "\n")); err != nil {
			return 0, err
		}
	}
	return 0, os.ErrClosed
}
