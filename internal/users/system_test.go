package users

import (
	"errors"
	"os/user"
	"testing"
)

func TestSystemUser(t *testing.T) {
	want, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	got, err := systemUser(want.Username)
	if err != nil || got.Uid != want.Uid || got.Gid != want.Gid || got.HomeDir != want.HomeDir {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, name := range []string{"no-such-user-here", "-i", "--help"} {
		if u, err := systemUser(name); !unknownUser(err) {
			t.Errorf("%s is %+v, %v", name, u, err)
		}
	}
}

func unknownUser(err error) bool {
	_, ok := errors.AsType[user.UnknownUserError](err)
	return ok
}

func TestParsePasswd(t *testing.T) {
	got, err := parsePasswd("alice:x:1001:1002:Alice,,,:/home/alice:/bin/sh\n")
	if want := (user.User{Username: "alice", Uid: "1001", Gid: "1002", Name: "Alice,,,", HomeDir: "/home/alice"}); err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, line := range []string{"", "alice", "alice:x:1001:1002:Alice:/home/alice", "a:b:c:d:e:f:g:h\n"} {
		if u, err := parsePasswd(line); err == nil {
			t.Errorf("%q is %+v", line, u)
		}
	}
}
