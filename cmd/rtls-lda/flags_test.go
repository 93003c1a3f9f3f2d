package main

import (
	"strings"
	"testing"
)

// What is in a unit file or master.cf becomes what we think it does.
func TestParseArgs(t *testing.T) {
	// An empty macro of the mail transfer agent is an empty argument, and does not
	// swallow the flag behind it.
	o, err := parseArgs([]string{"-f", "", "-x", "", "-a", "b@example.org", "-d", "b", "--queue-id", "Q"})
	if err != nil || o.sender == nil || *o.sender != "" || o.extension != "" || o.original != "b@example.org" || o.user != "b" || o.queueID != "Q" {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parseArgs([]string{"--lmtp", "unix:/run/x,mode=0660,group=postfix", "--lmtp", "tcp:[::1]:24", "--lmtp", "systemd"})
	if err != nil || o.mode != modeServe || len(o.lmtp) != 3 {
		t.Fatalf("%+v, %v", o, err)
	}
	want := []listen{{"unix", "/run/x", 0o660, "", "postfix"}, {kind: "tcp", addr: "[::1]:24"}, {kind: "systemd"}}
	for i, l := range o.lmtp {
		if l != want[i] {
			t.Errorf("%+v, want %+v", l, want[i])
		}
	}
}

// Each socket of systemd can be taken once.
func TestSystemdOnce(t *testing.T) {
	for spec, ok := range map[string]bool{"a b": true, "a": true, "a a": false, "a ": false} {
		var args []string
		for _, name := range strings.Split(spec, " ") {
			args = append(args, "--lmtp", strings.TrimSuffix("systemd:"+name, ":"))
		}
		if _, err := parseArgs(args); (err == nil) != ok {
			t.Errorf("%q: %v", args, err)
		}
	}
}
