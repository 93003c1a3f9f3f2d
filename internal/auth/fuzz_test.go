package auth

import (
	"strings"
	"testing"
	"time"
)

// What is read of a throttle's file is written as it was read.
func FuzzThrottleFile(f *testing.F) {
	f.Add(throttleVersion + "\naddress 192.0.2.1\t20\t1700000000\t9999999999\t1\nuser alice\t1\t9999999999\t0\t0\ntrust 192.0.2.1 alice\t9999999999\t1\nlift user x\n")
	f.Fuzz(func(t *testing.T, text string) {
		saved, _ := parseThrottle([]byte(text))
		th := Throttle{records: saved.records, trusted: saved.trusted}
		again, bad := parseThrottle(th.textLocked(time.Unix(1800000000, 0)))
		if bad > 0 {
			t.Errorf("%q: %d lines cannot be read back", text, bad)
		}
		for key, r := range saved.records {
			if time.Unix(1800000000, 0).Before(r.banned) && !again.records[key].banned.Equal(r.banned) {
				t.Errorf("%q: the ban of %q is lost", text, key)
			}
		}
	})
}

// What a client sends for a token has one, and a name that it gave.
func FuzzBearer(f *testing.F) {
	f.Add("n,a=alice,\x01host=h\x01auth=Bearer x\x01\x01")
	f.Add("user=alice\x01auth=Bearer x\x01\x01")
	f.Fuzz(func(t *testing.T, message string) {
		for _, parse := range []func(string) (string, string, bool){parseBearer, parseXOAuth2} {
			if _, token, ok := parse(message); ok && (token == "" || !strings.Contains(message, token)) {
				t.Errorf("%q: token %q", message, token)
			}
		}
	})
}

// Whatever stands behind a name, changing it leaves the other fields as they are, and
// no line is made two.
func FuzzEntry(f *testing.F) {
	f.Add("hash:1:2:gecos:/home:/bin/sh:x=1 rtls_scram=y rtls_app=a,1,b")
	f.Add("")
	f.Fuzz(func(t *testing.T, rest string) {
		if strings.ContainsAny(rest, "\r\n") {
			return
		}
		e := parseEntry("alice", rest)
		if e.String() != "alice:"+rest {
			t.Errorf("%q is written as %q", rest, e)
		}
		_, _ = e.scram()
		_, _ = e.apps()
		_, _ = e.user()
		e.set(fieldHash, "new")
		e.setExtra(keyScram, none, keyScram+"z")
		again := parseEntry("alice", strings.TrimPrefix(e.String(), "alice:"))
		for i := fieldHash + 1; i < fieldExtra; i++ {
			if want := parseEntry("alice", rest).field(i); again.field(i) != want {
				t.Errorf("%q: field %d is %q", rest, i, again.field(i))
			}
		}
		if again.field(fieldHash) != "new" || !strings.HasSuffix(again.field(fieldExtra), keyScram+"z") {
			t.Errorf("%q becomes %q", rest, e)
		}
	})
}
