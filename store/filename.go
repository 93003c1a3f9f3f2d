package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A message's file name, apart from flags in "cur":
//
//	1790000000.M123456P4711Q1Rd1c2f3a4b5968778.mx.example.org,S=2048,W=2103,T=re,H=5bd1a02c7e93f468:2,FS
//	└──────────────────── key ──────────────────────────────┘                                    └ info
//	└──────────────────── base ────────────────────────────────────────────────────────────────┘
//
// Seconds, microseconds, process and a count make names tell something to people;
// 64 random bits alone make them unique, since clocks can stand still or go back.
// A copy has the original's, as its identity, and X with others behind them.
// S is the size of the file, W that of the message on the wire, T tag and origin.
// H binds the tag to the octets of the message (see bind): a tag without it is unknown.

// Key names a message: the base name of its file up to the first "," or ":".
type Key string

// namer makes the names of one account.
type namer struct {
	clock func() time.Time
	host  string // escaped
	pid   string
	count atomic.Uint64
}

// hostEscape is for what a host's name cannot have in a file's.
var hostEscape = strings.NewReplacer("/", `\057`, ":", `\072`, ",", `\054`)

func newNamer(clock func() time.Time, host string) *namer {
	const hostMax = 64 // so that there is always room for the rest
	host = hostEscape.Replace(host)
	return &namer{clock: clock, host: host[:min(len(host), hostMax)], pid: strconv.Itoa(os.Getpid())}
}

func (n *namer) key() Key { return n.keyOf("") }

// copyKey makes the key of a copy: one of its own with the identity of the original.
func (n *namer) copyKey(original Key) Key { return n.keyOf(identityOf(original)) }

func (n *namer) keyOf(identity string) Key {
	var random [8]byte
	rand.Read(random[:]) // does not fail
	now := n.clock()
	b := make([]byte, 0, 64)
	b = strconv.AppendInt(b, now.Unix(), 10)
	b = append(b, ".M"...)
	b = strconv.AppendInt(b, int64(now.Nanosecond()/1000), 10)
	b = append(b, 'P')
	b = append(b, n.pid...)
	b = append(b, 'Q')
	b = strconv.AppendUint(b, n.count.Add(1), 10)
	b = append(b, 'R')
	if identity != "" {
		b = append(b, identity...)
		b = append(b, 'X')
	}
	b = hex.AppendEncode(b, random[:])
	b = append(b, '.')
	b = append(b, n.host...)
	return Key(b)
}

// identityOf is what a message and its copies have in common: 64 random bits, or,
// where another program has made up the key, a digest of it.
func identityOf(key Key) string { return fmt.Sprintf("%016x", key.Identity()) }

// Identity is the number in the ObjectID of the message.
func (k Key) Identity() uint64 {
	if id, ok := k.ownIdentity(); ok {
		return id
	}
	sum := sha256.Sum256([]byte(k))
	return binary.BigEndian.Uint64(sum[:])
}

// ownIdentity reads the identity in a key of our making.
func (k Key) ownIdentity() (id uint64, ok bool) {
	rest := string(k)
	for _, mark := range [...]string{".M", "P", "Q", "R"} {
		digits := 0
		for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
			digits++
		}
		if rest, ok = strings.CutPrefix(rest[digits:], mark); digits == 0 || !ok {
			return 0, false
		}
	}
	if id, rest, ok = cutHex(rest); !ok {
		return 0, false
	}
	if copied, isCopy := strings.CutPrefix(rest, "X"); isCopy {
		if _, rest, ok = cutHex(copied); !ok {
			return 0, false
		}
	}
	return id, strings.HasPrefix(rest, ".")
}

// cutHex reads the 16 digits, with small letters, of a number.
func cutHex(s string) (n uint64, rest string, ok bool) {
	if len(s) < 16 {
		return 0, s, false
	}
	for i := range 16 {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			n = n<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		default:
			return 0, s, false
		}
	}
	return n, s[16:], true
}

// baseName is the base name of a message that we store ourselves.
func baseName(key Key, c contentSum, tag Tag, origin Origin) string {
	return string(appendBase(make([]byte, 0, len(key)+64), key, c.fileSize, c.wireSize, tag, origin, c.bind(tag, origin)))
}

func appendBase(b []byte, key Key, fileSize, wireSize int64, tag Tag, origin Origin, bond uint64) []byte {
	return appendTag(appendSizes(b, key, fileSize, wireSize), tag, origin, bond)
}

func appendTag(b []byte, tag Tag, origin Origin, bond uint64) []byte {
	b = append(b, ",T="...)
	b = append(b, tagLetters[tag], originLetters[origin])
	b = append(b, ",H="...)
	return hex.AppendEncode(b, binary.BigEndian.AppendUint64(nil, bond))
}

// unboundName is the base name of a message whose octets are not those that its tag
// was bound to.
func unboundName(key Key, c contentSum) string {
	return string(appendSizes(nil, key, c.fileSize, c.wireSize))
}

func appendSizes(b []byte, key Key, fileSize, wireSize int64) []byte {
	b = append(b, key...)
	b = append(b, ",S="...)
	b = strconv.AppendInt(b, fileSize, 10)
	b = append(b, ",W="...)
	return strconv.AppendInt(b, wireSize, 10)
}

// parsedName is what a file name says.
type parsedName struct {
	key      Key
	base     string
	info     string // behind the separator; empty if there is none
	hasInfo  bool
	fileSize int64 // -1 where the name does not say
	wireSize int64
	tag      Tag // unknown unless it is bound
	origin   Origin
	bond     uint64
	bound    bool // there is a tag, and a bond with it
	flags    Flags
	extra    string // letters of info that are none of ours, sorted as found
}

// parseName reads a file name of anybody's making. Whatever is missing or makes
// no sense is unknown.
func parseName(name string) parsedName {
	p := parsedName{fileSize: -1, wireSize: -1}
	p.base = name
	if i := strings.IndexByte(name, ':'); i >= 0 {
		p.base, p.info, p.hasInfo = name[:i], name[i+1:], true
	}
	rest := ""
	p.key = Key(p.base)
	if i := strings.IndexByte(p.base, ','); i >= 0 {
		p.key, rest = Key(p.base[:i]), p.base[i:]
	}
	tags, bonds := 0, 0
	for rest != "" {
		field := rest[1:]
		rest = ""
		if i := strings.IndexByte(field, ','); i >= 0 {
			field, rest = field[:i], field[i:]
		}
		if len(field) < 2 || field[1] != '=' {
			continue
		}
		switch field[0] {
		case 'S':
			p.fileSize = parseSize(field[2:])
		case 'W':
			p.wireSize = parseSize(field[2:])
		case 'T':
			tags++
			p.tag, p.origin = parseTag(field[2:])
		case 'H':
			bonds++
			p.bond, p.bound = parseBond(field[2:])
		}
	}
	if tags != 1 || bonds != 1 || !p.bound { // incomplete, or somebody tampered with it
		p.tag, p.origin, p.bond, p.bound = TagUnknown, OriginUnknown, 0, false
	}
	if letters, ok := strings.CutPrefix(p.info, "2,"); ok {
		p.flags, p.extra = parseLetters(letters)
	}
	return p
}

func parseSize(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func parseTag(s string) (Tag, Origin) {
	if len(s) != 2 {
		return TagUnknown, OriginUnknown
	}
	tag := strings.IndexByte(tagLetters, s[0])
	origin := strings.IndexByte(originLetters, s[1])
	if tag < 0 || origin < 0 {
		return TagUnknown, OriginUnknown
	}
	return Tag(tag), Origin(origin)
}

func parseBond(s string) (bond uint64, ok bool) {
	var raw [8]byte
	if len(s) != hex.EncodedLen(len(raw)) || strings.ContainsFunc(s, func(r rune) bool { return r >= 'A' && r <= 'F' }) {
		return 0, false
	}
	if _, err := hex.Decode(raw[:], []byte(s)); err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw[:]), true
}

// flagLetters in the order in which they stand in a name, which is that of ASCII.
const flagLetters = "DFPRST"

var letterFlags = [...]Flags{Draft, Flagged, Passed, Answered, Seen, Deleted}

func parseLetters(letters string) (flags Flags, extra string) {
	for i := 0; i < len(letters); i++ {
		if at := strings.IndexByte(flagLetters, letters[i]); at >= 0 {
			flags |= letterFlags[at]
		} else {
			extra += letters[i : i+1]
		}
	}
	return flags, extra
}

// appendInfo writes separator and info.
func appendInfo(b []byte, flags Flags, extra string) []byte {
	b = append(b, ":2,"...)
	for i, f := range letterFlags {
		if flags&f != 0 {
			b = append(b, flagLetters[i])
		}
	}
	return append(b, extra...)
}

// canonical says whether name is, to the letter, what fileName would make of what
// it says.
func (p *parsedName) canonical(name string) bool {
	if p.fileSize < 0 || p.wireSize < 0 || !p.hasInfo || !p.bound || !letters(p.extra) {
		return false
	}
	var buf [nameLen]byte
	b := appendBase(buf[:0], p.key, p.fileSize, p.wireSize, p.tag, p.origin, p.bond)
	return string(b) == p.base && string(appendInfo(b, p.flags, p.extra)) == name
}

// letters says whether extra is nothing but letters that can be those of keywords,
// each once and in their order.
func letters(extra string) bool {
	last := byte('a' - 1)
	for i := range len(extra) {
		if extra[i] <= last || extra[i] > 'z' {
			return false
		}
		last = extra[i]
	}
	return true
}

// nameMax is how many octets a file name can have.
const nameMax = 255

// fit returns a name that a file can have: the one given, or, where another program's
// part of it leaves no room, one with a key of our own, the identity of the message, and
// nothing but the fields and letters that we read.
func (n *namer) fit(name string) string {
	if len(name) <= nameMax {
		return name
	}
	p := parseName(name)
	b := []byte(n.copyKey(p.key))
	if p.fileSize >= 0 && p.wireSize >= 0 {
		b = appendSizes(b, "", p.fileSize, p.wireSize)
	}
	if p.bound {
		b = appendTag(b, p.tag, p.origin, p.bond)
	}
	var extra []byte
	for _, c := range []byte(p.extra) {
		if c >= 'a' && c <= 'z' && !slices.Contains(extra, c) {
			extra = append(extra, c)
		}
	}
	return string(appendInfo(b, p.flags, string(extra)))
}

// nameLen is room for any file name.
const nameLen = 320
