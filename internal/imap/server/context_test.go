package server

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// RFC 5267 sections 4.3.2 to 4.3.5, its dialogues with smaller numbers.
func TestContextSearch(t *testing.T) {
	s := newSite(t)
	s.deliverN(6)
	c := s.login("INBOX")
	c.do(`STORE 1:2 +FLAGS.SILENT (\Deleted $Junk)`)
	c.script(`
		C: A01 SEARCH RETURN (CONTEXT COUNT) UNDELETED UNKEYWORD $Junk
		S: * ESEARCH (TAG "A01") COUNT 4
		S: A01 OK SEARCH completed
		C: B01 UID SEARCH RETURN (UPDATE COUNT) DELETED KEYWORD $Junk
		S: * ESEARCH (TAG "B01") UID COUNT 2
		S: B01 OK UID SEARCH completed
		C: B02 STORE 4:5 +FLAGS.SILENT (\Deleted)
		S: B02 OK STORE completed
		C: B03 STORE 4:5 +FLAGS.SILENT ($Junk)
		S: * ESEARCH (TAG "B01") UID ADDTO (0 4:5)
		S: B03 OK STORE completed
		C: B04 STORE 1 -FLAGS ($Junk)
		S: * 1 FETCH (FLAGS (\Deleted \Recent))
		S: * ESEARCH (TAG "B01") UID REMOVEFROM (0 1)
		S: B04 OK STORE completed
		C: B05 UID EXPUNGE 1:2
		S: * ESEARCH (TAG "B01") UID REMOVEFROM (0 2)
		S: * 2 EXPUNGE
		S: * 1 EXPUNGE
		S: B05 OK UID EXPUNGE completed
		C: B01 UID SEARCH RETURN (UPDATE) ALL
		S: B01 BAD the tag belongs to a search that is kept up to date
		C: B06 CANCELUPDATE "B01"
		S: B06 OK CANCELUPDATE completed
		C: B07 STORE 3 -FLAGS.SILENT ($Junk)
		S: B07 OK STORE completed
		C: B01 UID SEARCH RETURN (UPDATE) DELETED
		S: * ESEARCH (TAG "B01") UID ALL 4:5
		S: B01 OK UID SEARCH completed
		C: B08 CANCELUPDATE "B01" "never"
		S: B08 OK CANCELUPDATE completed
		C: B09 CANCELUPDATE
		S: B09 BAD expected ' ', found the end of the command
	`)
}

// Changes are told under IDLE as well, new messages behind EXISTS, and sequence
// numbers are those before EXPUNGE (RFC 5267 sections 4.3.2 to 4.3.4).
func TestContextNumbers(t *testing.T) {
	s := newSite(t)
	s.deliverN(4)
	c, other := s.login("INBOX"), s.login("INBOX")
	c.script(`
		C: a SEARCH RETURN (UPDATE ALL) OR SUBJECT 4 SUBJECT 5
		S: * ESEARCH (TAG "a") ALL 4
		S: a OK SEARCH completed
		C: b UID SEARCH RETURN (UPDATE (UID BODY[HEADER.FIELDS (Subject)]) COUNT) UID 3:*
		S: * ESEARCH (TAG "b") UID COUNT 2
		S: b OK UID SEARCH completed
		C: c IDLE
		S: + idling`)
	other.do(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	c.expect(`* 1 FETCH (FLAGS (\Deleted \Recent))`)
	other.do("EXPUNGE")
	c.expect("* 1 EXPUNGE")
	s.deliver("INBOX", message(5), deliverMeta)
	c.script(`
		S: * 4 EXISTS
		S: * 4 RECENT
		S: * ESEARCH (TAG "a") ADDTO (0 4)
		S: * 4 FETCH (UID 5 BODY[HEADER.FIELDS (Subject)] {22}
		S: Subject: message 5
		S:
		S: )
		S: * ESEARCH (TAG "b") UID ADDTO (0 5)
		C: DONE
		S: c OK IDLE completed
		C: d STORE 3:4 +FLAGS.SILENT (\Deleted)
		S: d OK STORE completed
		C: e EXPUNGE
		S: * ESEARCH (TAG "a") REMOVEFROM (0 3:4)
		S: * ESEARCH (TAG "b") UID REMOVEFROM (0 4:5)
		S: * 4 EXPUNGE
		S: * 3 EXPUNGE
		S: e OK EXPUNGE completed
		C: f NOOP
		S: f OK NOOP completed
	`)
	// What was asked for sets no \Seen.
	if lines := c.do("FETCH 1:* FLAGS"); strings.Contains(strings.Join(lines, ""), "Seen") {
		t.Error(lines)
	}
}

// RFC 5267 section 4.3.3: positions in what is sorted.
func TestContextSort(t *testing.T) {
	s := newSite(t)
	for _, n := range []int{1, 3, 5, 7} {
		s.deliver("INBOX", message(n), deliverMeta)
		s.sync("INBOX")
	}
	c := s.login("INBOX")
	c.script(`
		C: C01 UID SORT RETURN (UPDATE ALL) (REVERSE SUBJECT) UTF-8 UNDELETED
		S: * ESEARCH (TAG "C01") UID ALL 4,3,2,1
		S: C01 OK UID SORT completed
	`)
	s.deliver("INBOX", message(6), deliverMeta)
	s.sync("INBOX")
	s.deliver("INBOX", message(0), deliverMeta)
	s.sync("INBOX")
	c.script(`
		C: C02 NOOP
		S: * 6 EXISTS
		S: * 6 RECENT
		S: * ESEARCH (TAG "C01") UID ADDTO (2 5 6 6)
		S: C02 OK NOOP completed
		C: C03 STORE 2:4 +FLAGS.SILENT (\Deleted)
		S: * ESEARCH (TAG "C01") UID REMOVEFROM (3 3,2 1 4)
		S: C03 OK STORE completed
		C: C04 STORE 4 -FLAGS.SILENT (\Deleted)
		S: * ESEARCH (TAG "C01") UID ADDTO (1 4)
		S: C04 OK STORE completed
	`)
}

// RFC 5267 section 4.3.1: what is too much is refused, and the search answered.
func TestContextLimit(t *testing.T) {
	s := newSite(t)
	s.deliverN(1)
	c := s.login("INBOX")
	refused := 0
	for i := range 21 {
		c.send(fmt.Sprintf("B%02d UID SEARCH RETURN (UPDATE COUNT) ALL\r\n", i))
		line := c.line()
		if strings.HasPrefix(line, fmt.Sprintf(`* NO [NOUPDATE "B%02d"] `, i)) {
			refused, line = refused+1, c.line()
		}
		if line != fmt.Sprintf("* ESEARCH (TAG \"B%02d\") UID COUNT 1\r\n", i) {
			t.Error(line)
		}
		c.expect(fmt.Sprintf("B%02d OK UID SEARCH completed", i))
	}
	if refused != 1 {
		t.Errorf("%d of 21 were refused, want 1", refused)
	}
	// They end with the mailbox.
	c.do("UNSELECT")
	c.do("SELECT INBOX")
	c.script(`
		C: B00 UID SEARCH RETURN (UPDATE COUNT) ALL
		S: * ESEARCH (TAG "B00") UID COUNT 1
		S: B00 OK UID SEARCH completed
		C: x ENABLE UIDONLY
		S: * ENABLED UIDONLY
		S: x OK ENABLE completed
	`)
}

// What is kept of a result is bounded, also when the result grows.
func TestContextTooLarge(t *testing.T) {
	s := newSite(t)
	long := strings.Repeat("x", 2000)
	deliver := func(n int) {
		for i := range n {
			s.deliver("INBOX", fmt.Sprintf("Subject: %d%s\r\n\r\n", i, long), deliverMeta)
		}
	}
	deliver(30)
	c := s.login("INBOX")
	// Each criterion keeps a text of its own, about 1000 octets.
	sort := "UID SORT RETURN (UPDATE COUNT) (" + strings.TrimSpace(strings.Repeat("SUBJECT ", 20)) + ") UTF-8 ALL"
	c.script(`
		C: a ` + sort + `
		S: * ESEARCH (TAG "a") UID COUNT 30
		S: a OK UID SORT completed`)
	deliver(60)
	c.send("b NOOP\r\n")
	lines := c.until("b OK")
	if n := len(lines); !strings.HasPrefix(lines[n-2], `* NO [NOUPDATE "a"] the result has become too large`) {
		t.Errorf("%q", lines)
	}
	c.script(`
		C: c ` + sort + `
		S: * NO [NOUPDATE "c"] the result is too large to be kept up to date
		S: * ESEARCH (TAG "c") UID COUNT 90
		S: c OK UID SORT completed
		C: d UID SEARCH RETURN (UPDATE COUNT) ALL
		S: * ESEARCH (TAG "d") UID COUNT 90
		S: d OK UID SEARCH completed
	`)
}

// follower keeps a result by what it is told, and by nothing else.
type follower struct {
	t    *testing.T
	tag  string
	sort bool
	uids []int
}

var (
	updateLine = regexp.MustCompile(`^\* ESEARCH \(TAG "(\w+)"[^)]*\) UID( [AR].*)$`)
	updateItem = regexp.MustCompile(` (ADDTO|REMOVEFROM) \(([^)]*)\)`)
)

func (f *follower) learn(line string) {
	m := updateLine.FindStringSubmatch(line)
	if m == nil || m[1] != f.tag {
		return
	}
	for _, item := range updateItem.FindAllStringSubmatch(m[2], -1) {
		words := strings.Fields(item[2])
		for i := 0; i < len(words); i += 2 {
			f.apply(line, item[1] == "ADDTO", atoi(words[i]), expandSet(words[i+1]))
		}
	}
}

func (f *follower) apply(line string, add bool, position int, uids []int) {
	if f.sort != (position > 0) {
		f.t.Fatalf("%s: a position that is none", line)
	}
	switch {
	case add && position > 0:
		if position > len(f.uids)+1 {
			f.t.Fatalf("%s with %d", line, f.uids)
		}
		f.uids = slices.Insert(f.uids, position-1, uids...)
	case add:
		f.uids = append(f.uids, uids...)
		slices.Sort(f.uids)
	case position > 0:
		end := position - 1 + len(uids)
		if end > len(f.uids) || !slices.Equal(f.uids[position-1:end], uids) {
			f.t.Fatalf("%s with %d", line, f.uids)
		}
		f.uids = slices.Delete(f.uids, position-1, end)
	default:
		for _, uid := range uids {
			i := slices.Index(f.uids, uid)
			if i < 0 {
				f.t.Fatalf("%s with %d", line, f.uids)
			}
			f.uids = slices.Delete(f.uids, i, i+1)
		}
	}
}

func expandSet(set string) (numbers []int) {
	for r := range strings.SplitSeq(set, ",") {
		lo, hi, ok := strings.Cut(r, ":")
		if !ok {
			hi = lo
		}
		for n := atoi(lo); n <= atoi(hi); n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// Whatever happens to a mailbox, who follows the updates of a result has it.
func TestContextFollowed(t *testing.T) {
	s := newSite(t)
	s.deliverN(5)
	c, other := s.login("INBOX"), s.login("INBOX")
	r := rand.New(rand.NewPCG(5267, 0))
	searches := map[string]string{
		"s1": "UID SEARCH RETURN (%s) UNSEEN", "s2": "UID SEARCH RETURN (%s) OR SUBJECT 3 FLAGGED",
		"o1": "UID SORT RETURN (%s) (SUBJECT) UTF-8 UNSEEN", "o2": "UID SORT RETURN (%s) (REVERSE SIZE FROM) UTF-8 NOT FLAGGED",
		"m1": "ESEARCH IN (personal) RETURN (%s) UNFLAGGED",
	}
	var followers []*follower
	var told []string
	result := func(tag, command string) (uids []int) {
		c.send(tag + " " + command + "\r\n")
		for line := c.line(); !strings.HasPrefix(line, tag+" "); line = c.line() {
			line = strings.TrimSpace(line)
			if _, set, ok := strings.Cut(line, " ALL "); ok {
				uids = expandSet(set)
			}
			told = append(told, line)
		}
		return uids
	}
	for tag, command := range searches {
		followers = append(followers, &follower{t, tag, tag[0] == 'o', result(tag, fmt.Sprintf(command, "UPDATE ALL"))})
	}
	learn := func() {
		for _, f := range followers {
			for _, line := range told {
				f.learn(line)
			}
		}
		told = nil
	}
	for step := range 150 {
		who := []*client{c, other}[r.IntN(2)]
		lines := who.do(randomChange(s, r))
		if who == c {
			told = append(told, lines...)
		}
		told = append(told, c.do("NOOP")...)
		learn()
		for _, f := range followers {
			want := result("x", fmt.Sprintf(searches[f.tag], "ALL")) // there can be news behind it
			if !slices.Equal(f.uids, want) {
				t.Fatalf("step %d, %s: followed %d, is %d", step, f.tag, f.uids, want)
			}
			learn()
		}
	}
}

// randomChange is a command that changes INBOX, or one that finds a new message.
func randomChange(s *site, r *rand.Rand) string {
	switch r.IntN(6) {
	case 0:
		s.deliver("INBOX", message(r.IntN(40)), deliverMeta)
		return "NOOP"
	case 1:
		return "UID EXPUNGE 1:*"
	case 2:
		return fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted)`, 1+r.IntN(60))
	}
	lo := 1 + r.IntN(60)
	return fmt.Sprintf("UID STORE %d:%d %sFLAGS (\\%s)", lo, lo+r.IntN(6), []string{"+", "-"}[r.IntN(2)], []string{"Seen", "Flagged"}[r.IntN(2)])
}
