package server

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rtls/store"
)

// model is a mail client that believes what it is told, and no more: the messages
// it counts, with their UIDs and flags.
type model struct {
	*client
	uids  []uint32 // by sequence number; 0 if not known yet
	flags map[uint32]string
	told  bool // of news at any time: what it reads may be older than what it has just done
}

var (
	existsLine   = regexp.MustCompile(`^\* (\d+) EXISTS$`)
	expungeLine  = regexp.MustCompile(`^\* (\d+) EXPUNGE$`)
	vanishedLine = regexp.MustCompile(`^\* VANISHED ([0-9:,]+)$`)
	fetchLine    = regexp.MustCompile(`^\* (\d+) FETCH \((.*)\)$`)
	uidItem      = regexp.MustCompile(`\bUID (\d+)`)
	flagsItem    = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
)

// run sends a command and learns from the answer, whatever its outcome.
func (m *model) run(cmd string) {
	m.t.Helper()
	m.send("m " + cmd + "\r\n")
	numbersStay := regexp.MustCompile(`^(FETCH|STORE|SEARCH)`).MatchString(cmd)
	for {
		line := strings.TrimSuffix(m.line(), "\r\n")
		if strings.HasPrefix(line, "m ") {
			if strings.HasPrefix(line, "m BAD") {
				m.t.Fatalf("%s: %s", cmd, line)
			}
			return
		}
		if numbersStay && (expungeLine.MatchString(line) || vanishedLine.MatchString(line)) {
			m.t.Fatalf("%s: %s", cmd, line)
		}
		m.learn(cmd, line)
	}
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func (m *model) learn(cmd, line string) {
	m.t.Helper()
	if g := existsLine.FindStringSubmatch(line); g != nil {
		n := atoi(g[1])
		if n < len(m.uids) {
			m.t.Fatalf("%s: %s with %d messages", cmd, line, len(m.uids))
		}
		m.uids = append(m.uids, make([]uint32, n-len(m.uids))...)
	}
	if g := expungeLine.FindStringSubmatch(line); g != nil {
		n := atoi(g[1])
		if n < 1 || n > len(m.uids) {
			m.t.Fatalf("%s: %s with %d messages", cmd, line, len(m.uids))
		}
		m.uids = slices.Delete(m.uids, n-1, n)
	}
	if g := vanishedLine.FindStringSubmatch(line); g != nil {
		for r := range strings.SplitSeq(g[1], ",") {
			lo, hi, ok := strings.Cut(r, ":")
			if !ok {
				hi = lo
			}
			for uid := atoi(lo); uid <= atoi(hi); uid++ {
				i := slices.Index(m.uids, uint32(uid))
				if i < 0 {
					m.t.Fatalf("%s: %s, which is not among %d", cmd, line, m.uids)
				}
				m.uids = slices.Delete(m.uids, i, i+1)
			}
		}
	}
	if g := fetchLine.FindStringSubmatch(line); g != nil {
		m.fetched(cmd, line, atoi(g[1]), g[2])
	}
}

func (m *model) fetched(cmd, line string, seq int, items string) {
	m.t.Helper()
	if seq < 1 || seq > len(m.uids) {
		m.t.Fatalf("%s: %s with %d messages", cmd, line, len(m.uids))
	}
	if g := uidItem.FindStringSubmatch(items); g != nil {
		uid := uint32(atoi(g[1]))
		if known := m.uids[seq-1]; known != 0 && known != uid {
			m.t.Fatalf("%s: %s, but that is UID %d", cmd, line, known)
		}
		m.uids[seq-1] = uid
	}
	if g := flagsItem.FindStringSubmatch(items); g != nil && m.uids[seq-1] != 0 {
		m.flags[m.uids[seq-1]] = canonical(g[1])
	}
}

// canonical sorts flags; \Recent is no part of the mailbox.
func canonical(flags string) string {
	f := slices.DeleteFunc(strings.Fields(flags), func(s string) bool { return s == `\Recent` })
	slices.Sort(f)
	return strings.Join(f, " ")
}

// meet asks for what is not known of new messages, as clients do.
func (m *model) meet() {
	m.t.Helper()
	for {
		i := slices.Index(m.uids, 0)
		if i < 0 {
			return
		}
		m.run(fmt.Sprintf("FETCH %d:%d (UID FLAGS)", i+1, len(m.uids)))
		if m.uids[i] == 0 {
			m.run("NOOP") // it is gone, and now we may be told
		}
	}
}

// silently is what a client assumes after STORE.SILENT.
func (m *model) silently(lo, hi int, op, flag string) {
	for i := lo; i <= hi; i++ {
		uid := m.uids[i-1]
		f := slices.DeleteFunc(strings.Fields(m.flags[uid]), func(s string) bool { return s == flag })
		if op == "+" {
			f = append(f, flag)
		}
		m.flags[uid] = canonical(strings.Join(f, " "))
	}
}

func (m *model) step(r *rand.Rand) {
	n := len(m.uids)
	if n == 0 {
		m.run("APPEND INBOX {1+}\r\nx")
		m.meet()
		return
	}
	lo := r.IntN(n) + 1
	hi := min(n, lo+r.IntN(4))
	op := []string{"+", "-"}[r.IntN(2)]
	flag := []string{`\Flagged`, `\Deleted`, `\Seen`, "Junk", "$Forwarded"}[r.IntN(5)]
	choice := r.IntN(12)
	if m.told && choice == 1 {
		choice = 0
	}
	switch choice {
	case 0:
		m.run(fmt.Sprintf("STORE %d:%d %sFLAGS (%s)", lo, hi, op, flag))
	case 1:
		m.silently(lo, hi, op, flag) // before: what others did at the same time is told behind it
		m.run(fmt.Sprintf("STORE %d:%d %sFLAGS.SILENT (%s)", lo, hi, op, flag))
	case 2:
		m.run(fmt.Sprintf("UID STORE %d:%d %sFLAGS (%s)", m.uids[lo-1], m.uids[hi-1], op, flag))
	case 3:
		m.run("EXPUNGE")
	case 4:
		m.run("APPEND INBOX (\\Flagged) {1+}\r\nx")
	case 5:
		m.run(fmt.Sprintf("COPY %d:%d INBOX", lo, hi))
	case 6:
		m.run(fmt.Sprintf("MOVE %d other", lo))
	case 7:
		m.run(fmt.Sprintf("FETCH %d:%d (BODY[9] FLAGS)", lo, hi)) // NIL, and \\Seen
	case 8:
		m.run(fmt.Sprintf("UID SEARCH UID %d:*", m.uids[lo-1]))
	case 9:
		m.run(fmt.Sprintf("SEARCH %d:%d", lo, hi))
	case 10:
		m.run("NOOP")
	case 11:
		m.run(fmt.Sprintf("UID FETCH %d:%d (FLAGS)", m.uids[lo-1], m.uids[hi-1]))
	}
	m.meet()
}

// However sessions change a mailbox under each other's hands: each of them ends
// with what is in the store, from what it was told alone.
func TestViewsConverge(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			s := newSite(t)
			s.mailboxes("other")
			s.deliverN(5)
			var models []*model
			for _, setup := range []string{"NOOP", "ENABLE CONDSTORE", "ENABLE QRESYNC", "NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge))"} {
				m := &model{client: s.login(""), flags: make(map[uint32]string), told: strings.HasPrefix(setup, "NOTIFY")}
				m.do(setup)
				m.run("SELECT INBOX")
				m.meet()
				models = append(models, m)
			}
			for range 150 {
				if r.IntN(10) == 0 {
					s.deliver("INBOX", message(r.IntN(100)), store.Meta{Tag: store.TagRequire, Origin: store.OriginESMTP})
				}
				models[r.IntN(len(models))].step(r)
			}
			for _, m := range models {
				m.run("NOOP")
				m.meet()
				m.compare(s.box("INBOX").Snapshot())
			}
		})
	}
}

func (m *model) compare(snap *store.Snapshot) {
	if len(m.uids) != snap.Len() {
		m.t.Fatalf("the client counts %d messages, there are %d", len(m.uids), snap.Len())
	}
	for i := range snap.Len() {
		msg := snap.At(i)
		var flags []string
		for _, f := range []struct {
			bit  store.Flags
			name string
		}{{store.Answered, `\Answered`}, {store.Deleted, `\Deleted`}, {store.Draft, `\Draft`}, {store.Flagged, `\Flagged`}, {store.Seen, `\Seen`}, {store.Passed, "$Forwarded"}} {
			if msg.Flags&f.bit != 0 {
				flags = append(flags, f.name)
			}
		}
		flags = append(flags, msg.Keywords...)
		if msg.Tag == store.TagRequire {
			flags = append(flags, "$RequireTLS")
		}
		if want := canonical(strings.Join(flags, " ")); m.uids[i] != msg.UID || m.flags[msg.UID] != want {
			m.t.Errorf("message %d is UID %d with %q to the client, UID %d with %q in the store", i+1, m.uids[i], m.flags[m.uids[i]], msg.UID, want)
		}
	}
}
