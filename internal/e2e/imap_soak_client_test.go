package e2e

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rtls/store"
)

// soakClient is a client that keeps a view of its mailbox, by what it is told, and
// notices when it is told what cannot be.
type soakClient struct {
	c       *imapConn
	user    string
	qresync bool
	uids    []uint32 // by sequence number; 0 is not known yet
	flags   map[uint32]string
	tags    int

	validity, modSeq uint64
}

var (
	soakNumber   = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|FETCH)`)
	soakVanished = regexp.MustCompile(`^\* VANISHED (?:\(EARLIER\) )?([\d:,]+)$`)
	soakFlags    = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	soakModSeq   = regexp.MustCompile(`HIGHESTMODSEQ (\d+)`) // that of a FETCH may be ahead of an expunge
	soakValidity = regexp.MustCompile(`UIDVALIDITY (\d+)`)
)

// do sends a command and takes in what the server says. renumbers says whether
// EXPUNGE may be part of the answer (RFC 9051 section 7.5.1).
func (s *soakClient) do(renumbers bool, format string, args ...any) ([]string, error) {
	s.tags++
	tag := fmt.Sprintf("s%d", s.tags)
	command := fmt.Sprintf(format, args...)
	_ = s.c.conn.SetWriteDeadline(time.Now().Add(imapTimeout))
	if _, err := io.WriteString(s.c.conn, tag+" "+command+"\r\n"); err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	lines, err := s.until(tag, renumbers)
	if err != nil {
		err = fmt.Errorf("%.100s: %w", command, err)
	}
	return lines, err
}

// until reads up to the tagged reply, which may be OK or NO.
func (s *soakClient) until(tag string, renumbers bool) (lines []string, err error) {
	for {
		line, err := s.c.tryRead()
		if err != nil {
			return nil, fmt.Errorf("%w after %.200q", err, line)
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			if strings.HasPrefix(rest, "BAD") {
				return nil, fmt.Errorf("%s", rest)
			}
			return append(lines, rest), nil
		}
		if strings.HasPrefix(line, "* BYE") {
			return nil, fmt.Errorf("%s", line)
		}
		if err := s.take(line, renumbers); err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
}

// take changes the view by an untagged response.
func (s *soakClient) take(line string, renumbers bool) error {
	if m := soakModSeq.FindStringSubmatch(line); m != nil && s.qresync {
		n, _ := strconv.ParseUint(m[1], 10, 64)
		s.modSeq = max(s.modSeq, n)
	}
	if m := soakValidity.FindStringSubmatch(line); m != nil {
		s.validity, _ = strconv.ParseUint(m[1], 10, 64)
	}
	if m := soakVanished.FindStringSubmatch(line); m != nil {
		if !renumbers && !strings.Contains(line, "EARLIER") {
			return fmt.Errorf("it must not renumber now: %s", line)
		}
		return s.vanish(soakSet(m[1]), strings.Contains(line, "EARLIER"))
	}
	m := soakNumber.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	n, _ := strconv.Atoi(m[1])
	switch m[2] {
	case "EXISTS":
		if n < len(s.uids) {
			return fmt.Errorf("%s, but there are %d", line, len(s.uids))
		}
		s.uids = append(s.uids, make([]uint32, n-len(s.uids))...)
	case "EXPUNGE":
		if n < 1 || n > len(s.uids) || !renumbers {
			return fmt.Errorf("%s of %d, may renumber: %t", line, len(s.uids), renumbers)
		}
		delete(s.flags, s.uids[n-1])
		s.uids = slices.Delete(s.uids, n-1, n)
	case "FETCH":
		return s.takeFetch(n, line)
	}
	return nil
}

// vanish takes messages out of the view. Each of them was there, if maybe without
// its UID being known: then it stands where UIDs that rise have room for it.
func (s *soakClient) vanish(gone map[uint32]bool, earlier bool) error {
	for uid := range gone {
		if at := slices.Index(s.uids, uid); at >= 0 {
			s.uids = slices.Delete(s.uids, at, at+1)
			delete(s.flags, uid)
			continue
		}
		if earlier {
			continue
		}
		at := slices.IndexFunc(s.uids, func(known uint32) bool { return known > uid })
		if at < 0 {
			at = len(s.uids)
		}
		if at == 0 || s.uids[at-1] != 0 {
			return fmt.Errorf("UID %d has vanished, and was not there", uid)
		}
		s.uids = slices.Delete(s.uids, at-1, at)
	}
	return nil
}

func (s *soakClient) takeFetch(n int, line string) error {
	if n < 1 || n > len(s.uids) {
		return fmt.Errorf("%.100s, but there are %d", line, len(s.uids))
	}
	head, _, _ := strings.Cut(line, "BODY[")
	if m := imapUID.FindStringSubmatch(head); m != nil {
		uid, _ := strconv.ParseUint(m[1], 10, 32)
		if known := s.uids[n-1]; known != 0 && known != uint32(uid) {
			return fmt.Errorf("number %d was UID %d and is %d", n, known, uid)
		}
		s.uids[n-1] = uint32(uid)
	}
	if m := soakFlags.FindStringSubmatch(head); m != nil && s.uids[n-1] != 0 {
		s.flags[s.uids[n-1]] = soakPlain(m[1])
	}
	return nil
}

// soakPlain are the flags that both sides know: no \Recent, and no tag.
func soakPlain(flags string) string {
	words := slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return f == `\Recent` || strings.Contains(f, "TLS") })
	slices.Sort(words)
	return strings.Join(words, " ")
}

func soakSet(s string) map[uint32]bool {
	set := make(map[uint32]bool)
	for _, part := range strings.Split(s, ",") {
		from, to, isRange := strings.Cut(part, ":")
		if !isRange {
			to = from
		}
		a, _ := strconv.Atoi(from)
		b, _ := strconv.Atoi(to)
		for uid := a; uid <= b; uid++ {
			set[uint32(uid)] = true
		}
	}
	return set
}

// open selects INBOX. With QRESYNC, what was known before is brought up to date.
func (s *soakClient) open() error {
	s.flags = make(map[uint32]string)
	s.uids = nil
	if s.qresync {
		if _, err := s.do(true, "ENABLE QRESYNC"); err != nil {
			return err
		}
	}
	_, err := s.do(true, "SELECT INBOX")
	return err
}

// again leaves INBOX and comes back, with what is known (RFC 7162 section 3.2.5).
func (s *soakClient) again() error {
	if err := s.learn(); err != nil {
		return err
	}
	known := slices.Clone(s.uids)
	if at := slices.Index(known, 0); at >= 0 {
		known = known[:at] // it went before its UID was told; what is behind it is learned anew
	}
	flags := maps.Clone(s.flags)
	validity, modSeq := s.validity, s.modSeq
	if _, err := s.do(true, "UNSELECT"); err != nil {
		return err
	}
	s.uids = nil
	s.tags++
	tag := fmt.Sprintf("s%d", s.tags)
	_ = s.c.conn.SetWriteDeadline(time.Now().Add(imapTimeout))
	if _, err := fmt.Fprintf(s.c.conn, "%s SELECT INBOX (QRESYNC (%d %d))\r\n", tag, validity, modSeq); err != nil {
		return err
	}
	// VANISHED (EARLIER) comes after EXISTS and before FETCH: the old list less what
	// has vanished is the beginning of the new one. News may follow.
	s.flags = flags
	adopted := false
	for {
		line, err := s.c.tryRead()
		if err != nil {
			return err
		}
		rest, ended := strings.CutPrefix(line, tag+" ")
		if ended && !strings.HasPrefix(rest, "OK") {
			return fmt.Errorf("SELECT with QRESYNC: %s", rest)
		}
		m := soakVanished.FindStringSubmatch(line)
		if m != nil && strings.Contains(line, "EARLIER") {
			gone := soakSet(m[1])
			known = slices.DeleteFunc(known, func(uid uint32) bool { return gone[uid] })
			maps.DeleteFunc(s.flags, func(uid uint32, _ string) bool { return gone[uid] })
			continue
		}
		if !adopted && (ended || m != nil || strings.Contains(line, " FETCH (")) {
			if len(known) > len(s.uids) {
				return fmt.Errorf("after QRESYNC %d are known of %d", len(known), len(s.uids))
			}
			adopted = true
			copy(s.uids, known)
		}
		if ended {
			return nil
		}
		if err := s.take(line, true); err != nil {
			return err
		}
	}
}

// learn fetches the UIDs and flags that are not known.
func (s *soakClient) learn() error {
	if at := slices.Index(s.uids, 0); at >= 0 {
		_, err := s.do(false, "FETCH %d:* (UID FLAGS)", at+1)
		return err
	}
	return nil
}

// agrees compares the view with the store's.
func (s *soakClient) agrees(all []store.Message) error {
	if len(all) != len(s.uids) {
		return fmt.Errorf("%d messages, the store has %d", len(s.uids), len(all))
	}
	for i, m := range all {
		var words []string
		for _, f := range []struct {
			flag store.Flags
			name string
		}{{store.Seen, `\Seen`}, {store.Answered, `\Answered`}, {store.Flagged, `\Flagged`}, {store.Deleted, `\Deleted`}, {store.Draft, `\Draft`}} {
			if m.Flags&f.flag != 0 {
				words = append(words, f.name)
			}
		}
		slices.Sort(words)
		if want := strings.Join(words, " "); s.uids[i] != m.UID || s.flags[m.UID] != want {
			return fmt.Errorf("message %d is UID %d with %q, the store has UID %d with %q", i+1, s.uids[i], s.flags[m.UID], m.UID, want)
		}
	}
	return nil
}
