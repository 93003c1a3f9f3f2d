package spool

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"rtls/internal/requiretls"
)

// whole is a message's file.
func whole(t testing.TB, r Record, text string) []byte {
	t.Helper()
	head, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(append(head, text...), "%s %x\n", endWord, sha256.Sum256([]byte(text)))
}

func sample(id string) Record {
	r := letter()
	r.ID, r.Time, r.UID = id, newClock().Now(), os.Geteuid()
	return r
}

const sampleID = "0123456789abcdefghijklmnop"

// The format is a promise to later versions.
func TestFormat(t *testing.T) {
	r := sample(sampleID)
	r.UID = 1000
	head, err := r.encode()
	must(t, err)
	const json = `{"id":"0123456789abcdefghijklmnop","time":"2026-11-24T12:00:00.000012345Z","uid":1000,"from":"me@example.org",` +
		`"to":["bob@example.net","carol@example.com"],"ret":"HDRS","envid":"x y","notify":["FAILURE","DELAY"],` +
		`"route":{"account":"work"},"size":54,"eight_bit":false,"utf8":false,"message_id":"\u003c1@example.org\u003e","requiretls":"yes"}`
	if want := fmt.Sprintf("rtls-spool 1 %x\n%s\n", sha256.Sum256([]byte(json)), json); string(head) != want {
		t.Errorf("the head is\n%s and should be\n%s", head, want)
	}
	got, start, err := decode(bytes.NewReader(append(head, "more"...)))
	if err != nil || start != int64(len(head)) || !reflect.DeepEqual(*got, r) {
		t.Errorf("read back as %+v, %d, %v", got, start, err)
	}
}

// reseal gives a head that was altered a checksum that is right: what a stranger
// could write.
func reseal(head []byte, old, new string) []byte {
	_, json, _ := strings.Cut(strings.TrimSuffix(string(head), "\n"), "\n")
	json = strings.Replace(json, old, new, 1)
	return fmt.Appendf(nil, "rtls-spool 1 %x\n%s\n", sha256.Sum256([]byte(json)), json)
}

func TestStrictReading(t *testing.T) {
	r := sample(sampleID)
	head, err := r.encode()
	must(t, err)
	for _, tc := range [][2]string{
		{`"requiretls":"yes"`, `"requiretls":"YES"`},
		{`"requiretls":"yes"`, `"requiretls":"maybe"`},
		{`,"requiretls":"yes"`, ``},
		{`"requiretls":"yes"`, `"RequireTLS":"yes"`},
		{`"requiretls":"yes"`, `"requiretls":"no","requiretls":"yes"`},
		{`"requiretls":"yes"`, `"requiretls":"yes","x":1`},
		{`"from":"me@example.org"`, `"from":"me@example.org\r\nRSET"`},
		{`"bob@example.net"`, `"bob@example.net> SIZE=1"`},
		{`"bob@example.net"`, `"Bob \u003cbob@example.net\u003e"`},
		{`"bob@example.net"`, `""`},
		{`"envid":"x y"`, `"envid":"x\r\ny"`},
		{`"notify":["FAILURE","DELAY"]`, `"notify":["FAILURE ORCPT=x"]`},
		{`"ret":"HDRS"`, `"ret":"HDRS X"`},
		{`"size":54`, `"size":-1`},
		{`"size":54`, `"size": 54`},
		{`"time":"2026-11-24T12:00:00.000012345Z"`, `"time":"2026-11-24T13:00:00.000012345+01:00"`},
		{sampleID, "../../etc/passwd0000000000"},
	} {
		got, _, err := decode(bytes.NewReader(reseal(head, tc[0], tc[1])))
		if _, bad := errors.AsType[*Damage](err); !bad {
			t.Errorf("%s for %s: %+v, %v", tc[1], tc[0], got, err)
		}
	}
	if _, _, err := decode(bytes.NewReader(reseal(head, "x", "x"))); err != nil {
		t.Errorf("unaltered: %v", err)
	}
}

// A file in which one octet is wrong, or which ends too early or goes on too long, is
// put aside and not sent.
func TestDamage(t *testing.T) {
	s := newSpool(t, Config{})
	to := &server{}
	f := &Flusher{Spool: s, Transport: to}
	id := s.put(t, letter())
	good, err := os.ReadFile(s.path("queue", id))
	must(t, err)
	must(t, s.Remove(id))
	for at := range len(good) + 2 {
		bad := append(bytes.Clone(good), '\n')
		switch {
		case at < len(good):
			bad = bytes.Clone(good)
			bad[at] ^= 1
		case at == len(good):
			bad = good[:len(good)-1]
		}
		must(t, os.WriteFile(s.path("queue", id), bad, 0o600))
		r := flush(t, f)
		if strings.HasPrefix(string(bad), "rtls-spool 0 ") { // of another version
			if !errors.Is(r.Err, ErrVersion) || r.Damaged != 0 || statusOf(t, s, id) != "damaged" {
				t.Errorf("another version: %+v", r)
			}
		} else if r.Damaged != 1 || r.Err != nil {
			t.Errorf("octet %d: %+v", at, r)
		} else if _, err := os.Stat(s.path("failed", id)); err != nil {
			t.Error(err)
		}
		if err := s.Retry(id, true); err == nil && statusOf(t, s, id) == "queued" && at < len(good)-54-75 {
			t.Errorf("octet %d: made due again", at)
		}
		must(t, s.Remove(id))
	}
	if to.tries != 0 {
		t.Errorf("%d attempts", to.tries)
	}
	for name, text := range map[string]string{
		"a NUL": "a\x00\r\n", "LF": "a\nb\r\n", "CR": "a\rb\r\n", "no end": "a\r\nb", "8-bit": "\xc3\xa4\r\n",
	} {
		r := sample(id)
		r.Size = int64(len(text))
		must(t, os.WriteFile(s.path("queue", id), whole(t, r, text), 0o600))
		if r := flush(t, f); r.Damaged != 1 {
			t.Errorf("%s: %+v", name, r)
		}
		must(t, s.Remove(id))
	}
	if to.tries != 0 {
		t.Errorf("%d attempts", to.tries)
	}
}

// Files that are not what they say.
func TestForeignFiles(t *testing.T) {
	s := newSpool(t, Config{})
	to := &server{}
	f := &Flusher{Spool: s, Transport: to}
	at := func(n int) string { return fmt.Sprintf("%026d", n) }
	r := sample(sampleID) // under another name
	must(t, os.WriteFile(s.path("queue", at(1)), whole(t, r, text), 0o600))
	r = sample(at(2)) // of another user
	r.UID++
	must(t, os.WriteFile(s.path("queue", at(2)), whole(t, r, text), 0o600))
	must(t, os.Symlink("/etc/passwd", s.path("queue", at(4))))
	must(t, os.Mkdir(s.path("queue", at(5)), 0o700))
	must(t, os.WriteFile(s.path("queue", "notes"), nil, 0o600)) // none of ours
	if r := flush(t, f); r.Damaged != 4 || r.Err != nil || to.tries != 0 {
		t.Errorf("%+v, %d attempts", r, to.tries)
	}
	if _, err := os.Stat(s.path("queue", "notes")); err != nil {
		t.Error(err)
	}
	// A file that cannot be read is not damaged.
	items, err := s.List()
	if err != nil || len(items) != 4 {
		t.Errorf("%d items, %v", len(items), err)
	}
}

// A damaged state holds the message: it may say that it was sent.
func TestDamagedState(t *testing.T) {
	s := newSpool(t, Config{})
	id := s.put(t, letter())
	must(t, os.WriteFile(s.path("state", id), []byte("rtls-state 1 xyz\n{}\n"), 0o600))
	to := &server{}
	if r := flush(t, &Flusher{Spool: s, Transport: to}); r.Held != 1 || to.tries != 0 || statusOf(t, s, id) != "held" {
		t.Errorf("%+v, %d attempts", r, to.tries)
	}
	must(t, s.Hold(id)) // which must not make it look well
	for verb, err := range map[string]error{"retry": s.Retry(id, false), "release": s.Release(id)} {
		if !errors.Is(err, ErrInDoubt) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	must(t, s.Retry(id, true))
	if r := flush(t, &Flusher{Spool: s, Transport: to}); r.Sent != 1 {
		t.Errorf("%+v", r)
	}
}

// What processes that were killed left is swept away, after an hour.
func TestSweep(t *testing.T) {
	c := &clock{now: time.Now()}
	s := newSpool(t, Config{Now: c.Now})
	id := s.put(t, letter())
	must(t, s.Hold(id))
	for _, path := range []string{s.path("state", sampleID), s.path("state", id+".new"), s.path("queue", "."+sampleID)} {
		must(t, os.WriteFile(path, nil, 0o600))
	}
	count := func() (n int) {
		for _, place := range []string{"queue", "state"} {
			names, err := os.ReadDir(s.path(place, ""))
			must(t, err)
			n += len(names)
		}
		return n
	}
	f := &Flusher{Spool: s, Transport: &server{}}
	if flush(t, f); count() != 5 {
		t.Errorf("%d files are left, want 5", count())
	}
	c.add(2 * orphanAfter)
	if flush(t, f); count() != 2 {
		t.Errorf("%d files are left, want 2", count())
	}
}

// Whatever is in a file, reading it ends and does not panic; what is taken is
// written as we write it, and safe to say in commands.
func FuzzFile(f *testing.F) {
	r := sample(sampleID)
	f.Add(whole(f, r, text))
	r.Wish, r.From, r.To = requiretls.No, "", []string{"jörg@example.org", `"a b"@example.org`}
	r.Route = Route{Host: "h.example.org", Port: 25, TLS: "starttls"}
	f.Add(whole(f, r, text))
	f.Add([]byte("rtls-spool 2 x\n{}\n"))
	f.Add([]byte("rtls-spool 1 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Checksums keep a fuzzer out, so the second line is sealed for it, too.
		if line, rest, ok := bytes.Cut(data, []byte("\n")); ok && bytes.HasPrefix(line, []byte("rtls-spool 1")) {
			if json, rest, ok := bytes.Cut(rest, []byte("\n")); ok {
				sealed := fmt.Appendf(nil, "rtls-spool 1 %x\n%s\n%s", sha256.Sum256(json), json, rest)
				checkFile(t, sealed)
			}
		}
		checkFile(t, data)
		var st State
		_, _ = unseal(stateWord, bytes.NewReader(data), &st)
	})
}

func checkFile(t *testing.T, data []byte) {
	r, start, err := decode(bytes.NewReader(data))
	if err != nil {
		if _, bad := errors.AsType[*Damage](err); !bad && !errors.Is(err, ErrVersion) {
			t.Fatalf("neither damaged nor of another version: %v", err)
		}
		return
	}
	again, err := r.encode()
	if err != nil || !bytes.Equal(again, data[:start]) {
		t.Fatalf("%q is written again as %q, %v", data[:start], again, err)
	}
	for _, s := range append([]string{r.From, r.EnvelopeID, r.MessageID, r.Route.Host}, r.To...) {
		if strings.ContainsAny(s, "\r\n\x00") {
			t.Fatalf("%q holds a line end", s)
		}
	}
}
