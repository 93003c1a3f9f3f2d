package main

import (
	"strings"
	"testing"

	"rtls/store"
)

// Progress is drawn on a terminal only, and is out of the way of lines.
func TestProgress(t *testing.T) {
	var out, terminal strings.Builder
	r := &report{w: &out, terminal: &terminal, account: "alice", action: "check"}
	r.progress(0, 0)
	r.progress(64, 128)
	r.progress(64, 128)
	if err := r.found(store.Finding{Path: "Maildir/cur/\x1b[31m", Text: "is no file"}); err != nil {
		t.Fatal(err)
	}
	r.progress(128, 128)
	if err := r.end(nil); err != nil {
		t.Fatal(err)
	}
	want := "\r[" + strings.Repeat("#", 15) + strings.Repeat("-", 15) + "] 64 of 128 messages\x1b[K\r\x1b[K" +
		"\r[" + strings.Repeat("#", 30) + "] 128 of 128 messages\x1b[K\r\x1b[K"
	if terminal.String() != want {
		t.Errorf("drawn: %q, want %q", terminal.String(), want)
	}
	if want := "Maildir/cur/?[31m: is no file\nalice: found 1\n"; out.String() != want {
		t.Errorf("written: %q, want %q", out.String(), want)
	}
	silent := &report{w: &out}
	silent.progress(1, 2) // draws nowhere
}
