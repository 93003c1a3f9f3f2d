package store

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseName(t *testing.T) {
	for name, want := range map[string]parsedName{
		"1.x.h": {key: "1.x.h", base: "1.x.h", fileSize: -1, wireSize: -1},
		"1.x.h,S=5,W=6,T=re,H=00000000000000ff:2,FS":      {key: "1.x.h", base: "1.x.h,S=5,W=6,T=re,H=00000000000000ff", info: "2,FS", hasInfo: true, fileSize: 5, wireSize: 6, tag: TagRequire, origin: OriginESMTP, bond: 255, bound: true, flags: Flagged | Seen},
		"1.x.h,W=6,H=8000000000000000,T=oh,S=5,U=3:2,Sab": {key: "1.x.h", base: "1.x.h,W=6,H=8000000000000000,T=oh,S=5,U=3", info: "2,Sab", hasInfo: true, fileSize: 5, wireSize: 6, tag: TagOptional, origin: OriginHeader, bond: 1 << 63, bound: true, flags: Seen, extra: "ab"},
		// A tag without its bond, or with one too many, is unknown.
		"1.x.h,T=re:2,":                                       {key: "1.x.h", base: "1.x.h,T=re", info: "2,", hasInfo: true, fileSize: -1, wireSize: -1},
		"1.x.h,T=re,H=00000000000000FF:2,":                    {key: "1.x.h", base: "1.x.h,T=re,H=00000000000000FF", info: "2,", hasInfo: true, fileSize: -1, wireSize: -1},
		"1.x.h,T=re,H=ff:2,":                                  {key: "1.x.h", base: "1.x.h,T=re,H=ff", info: "2,", hasInfo: true, fileSize: -1, wireSize: -1},
		"1.x.h,H=00000000000000ff:2,":                         {key: "1.x.h", base: "1.x.h,H=00000000000000ff", info: "2,", hasInfo: true, fileSize: -1, wireSize: -1},
		"1.x.h,T=re,H=00000000000000ff,T=ne:2,":               {key: "1.x.h", base: "1.x.h,T=re,H=00000000000000ff,T=ne", info: "2,", hasInfo: true, fileSize: -1, wireSize: -1},
		"1.x.h,T=re,H=00000000000000ff,H=00000000000000ff:2,": {key: "1.x.h", base: "1.x.h,T=re,H=00000000000000ff,H=00000000000000ff", info: "2,", hasInfo: true, fileSize: -1, wireSize: -1},
		"1.x.h,T=xx:1,S":                                      {key: "1.x.h", base: "1.x.h,T=xx", info: "1,S", hasInfo: true, fileSize: -1, wireSize: -1},
		"1.x.h,S=-5,W=999999999999999999999":                  {key: "1.x.h", base: "1.x.h,S=-5,W=999999999999999999999", fileSize: -1, wireSize: -1},
	} {
		if got := parseName(name); got != want {
			t.Errorf("%s is %+v, should be %+v", name, got, want)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"1.x.h,S=5,W=6,T=re,H=00000000000000ff:2,FSab", "1.x.h,S=5,W=6,T=re,H=00000000000000ff:2,ba", "", ":", ",", ":2,", "a,T=", "a,T=re:2,SS", "a,S=05,W=6,T=re,H=00000000000000ff:2,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p := parseName(name)
		if !strings.HasPrefix(name, p.base) || !strings.HasPrefix(p.base, string(p.key)) {
			t.Fatalf("%q has base %q and key %q", name, p.base, p.key)
		}
		if p.tag == TagUnknown && p.canonical(name) && !strings.Contains(name, ",T=u") {
			t.Fatalf("%q passes as ours", name)
		}
		// Changing flags to and fro loses nothing.
		to := parseName(string(appendInfo([]byte(p.base), p.flags|Flagged, p.extra)))
		if to.key != p.key || to.flags != p.flags|Flagged || to.extra != p.extra || to.tag != p.tag || to.origin != p.origin {
			t.Fatalf("%q with a flag is %+v", name, to)
		}
	})
}

// Clocks stand still, go back and run over; names stay different and in the order
// in which they were made.
func TestNames(t *testing.T) {
	start := time.Date(2038, 1, 19, 3, 14, 0, 0, time.UTC)
	for what, clock := range map[string]func(i int) time.Time{
		"frozen":    func(int) time.Time { return start },
		"1970":      func(int) time.Time { return time.Unix(0, 0) },
		"over 2038": func(i int) time.Time { return start.Add(time.Duration(i) * time.Millisecond) },
		"back":      func(i int) time.Time { return start.Add(-time.Duration(i) * time.Second) },
	} {
		t.Run(what, func(t *testing.T) {
			i := 0
			n := newNamer(func() time.Time { i++; return clock(i) }, "a/b:c,d")
			seen := make(map[Key]bool)
			var names []string
			for range 100_000 {
				key := n.key()
				if seen[key] {
					t.Fatalf("%s was given twice", key)
				}
				seen[key] = true
				names = append(names, string(key))
			}
			if p := parseName(names[0] + ",S=1"); string(p.key) != names[0] || strings.Contains(names[0], "/") {
				t.Errorf("key %s is read as %s", names[0], p.key)
			}
			if what != "back" && !slices.IsSortedFunc(names, compareNames) {
				t.Error("names are not in order")
			}
		})
	}
}

// A copy of a copy is still the same message, whoever named the first.
func TestIdentity(t *testing.T) {
	n := newNamer(time.Now, "host")
	for _, key := range []Key{n.key(), "1700000000.42_0.host", "x", ""} {
		once := n.copyKey(key)
		twice := n.copyKey(once)
		if identityOf(once) != identityOf(key) || identityOf(twice) != identityOf(key) || once == twice || once == key {
			t.Errorf("%s, %s, %s: %s, %s, %s", key, once, twice, identityOf(key), identityOf(once), identityOf(twice))
		}
		if len(twice) > len(once)+2 {
			t.Errorf("keys grow: %s, %s", once, twice)
		}
	}
	if identityOf(n.key()) == identityOf(n.key()) {
		t.Error("two messages have one identity")
	}
}

// An identity is read as it is written.
func TestOwnIdentity(t *testing.T) {
	for key, want := range map[Key]uint64{
		"1.M2P3Q4R00000000000000ff.host":                  0xff,
		"1.M2P3Q4R0123456789abcdefX0123456789abcdee.host": 0x0123456789abcdef,
	} {
		if got, ok := key.ownIdentity(); !ok || got != want {
			t.Errorf("%s: %x, %v", key, got, ok)
		}
	}
	for _, key := range []Key{
		"", "1", "1.M2P3Q4R", ".M2P3Q4R00000000000000ff.host", "1.M2P3Q4R00000000000000FF.host", "1.M2P3Q4R00000000000000ff",
		"1.M2P3Q4R00000000000000ff0.host", "1.M2P3Q4R00000000000000ffX00.host", "1.M2PQ4R00000000000000ff.host",
	} {
		if got, ok := key.ownIdentity(); ok {
			t.Errorf("%s: %x", key, got)
		}
	}
}
