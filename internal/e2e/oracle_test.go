package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/testmail"
	"rtls/store"
)

// TestDovecotOracle has the same dialogues with Dovecot and with rtls-imapd, over the
// same mail, and compares the answers. Each difference is in a file beside the
// dialogue, with a word that docs/imap-dovecot.md explains. A difference that is not
// there fails, and so does one that is there and not seen any more. ORACLE=update
// writes the files anew; new differences get the word "?", which fails.
//
// A dialogue has a command on each line, without its tag:
//
//	{{text}}   a literal; {{+text}} does not wait, {{~text}} is a literal8. In the text
//	           \n is CRLF, \0 is NUL and \r a bare CR.
//	> text     is sent when the server asks for more
//	2: command is sent on a second connection of the same user
//	!mail x    begins with "corpus" or "small" in INBOX; otherwise it is empty
//	!connect   begins a new connection, !login logs in on it, too
//	!deliver   has another message delivered
//	!mark      remembers UIDVALIDITY as $V and HIGHESTMODSEQ as $M
//	# text     is a comment
//
// $U and $P are the user and the password.
func TestDovecotOracle(t *testing.T) {
	p := newPKI(t)
	files, err := filepath.Glob("testdata/oracle/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	reference, ours := startDovecot(t, p), startIMAPD(t, p)
	why := newOracleReasons(t)
	commands := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		ours.sameUser(t, name)
		o := &oracle{t: t, name: name, sides: [2]*oracleSide{
			{name: "dovecot", user: name, password: strings.ReplaceAll(imapPassword, " ", ""), dial: func() *imapConn { return dialIMAP(t, reference.addr, p, nil) }},
			{name: "ours", user: name, password: imapPassword, dial: func() *imapConn { return ours.dial(t, p, nil) }},
		}}
		o.put = func(n int, raw []byte, date time.Time) {
			reference.put(t, name, n, raw, date)
			ours.putFor(t, name, raw, date)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		o.run(string(text))
		commands += o.commands
		why.compare(t, strings.TrimSuffix(file, ".txt")+".diff", o.differences)
		o.end()
	}
	why.unused(t)
	t.Logf("%d commands in %d dialogues, %d differences", commands, len(files), why.seen)
	if commands < 400 {
		t.Errorf("%d commands are too few", commands)
	}
}

// sameUser makes another user with the password that there is.
func (d *imapd) sameUser(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(d.path("passwd"))
	if err != nil {
		t.Fatal(err)
	}
	_, hash, _ := strings.Cut(strings.SplitN(string(text), "\n", 2)[0], ":")
	swap(t, d.path("passwd"), []byte(string(text)+name+":"+hash+"\n"))
	if err := store.Create(d.path("mail/"+name), nil); err != nil {
		t.Fatal(err)
	}
}

// putFor delivers a message without a tag to a user, and gives it its UID.
func (d *imapd) putFor(t *testing.T, user string, raw []byte, date time.Time) {
	t.Helper()
	a, err := store.Open(d.path("mail/"+user), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	delivery, err := a.Deliver(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer delivery.Abort()
	if _, err := delivery.Write(raw); err != nil {
		t.Fatal(err)
	}
	if _, err := delivery.Commit(store.Meta{Tag: store.TagNone, Origin: store.OriginESMTP, Date: date}); err != nil {
		t.Fatal(err)
	}
	m, err := a.Mailbox(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// oracle has one dialogue with both.
type oracle struct {
	t           *testing.T
	name        string
	sides       [2]*oracleSide // Dovecot, rtls-imapd
	put         func(n int, raw []byte, date time.Time)
	messages    int
	commands    int
	differences []difference
}

// difference is a command that was answered in two ways.
type difference struct {
	command string
	lines   []string // what only one of them said
}

var oracleDate = time.Date(2026, 11, 20, 10, 0, 0, 0, time.Local)

func (o *oracle) deliver(raw []byte) {
	o.messages++
	o.put(o.messages, raw, oracleDate.Add(time.Duration(o.messages)*time.Hour))
}

func (o *oracle) run(text string) {
	o.t.Helper()
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch word, rest, _ := strings.Cut(line, " "); {
		case line == "" || word == "#":
		case word == "!mail":
			o.fill(rest)
		case word == "!deliver":
			o.deliver(fmt.Appendf(nil, "From: late@example.com\nSubject: late %d\nMessage-ID: <late%[1]d@example.com>\n\nlate\n", o.messages+1))
		case word == "!connect", word == "!login":
			for _, s := range o.sides {
				s.connect(0, word == "!login")
			}
		case word == "!mark":
			for _, s := range o.sides {
				s.marked = s.seen
			}
		default:
			var more []string
			for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "> ") {
				i++
				more = append(more, lines[i][2:])
			}
			o.command(line, more)
		}
	}
}

func (o *oracle) fill(what string) {
	o.t.Helper()
	switch what {
	case "corpus":
		corpus, err := testmail.All("../../testdata/mail")
		if err != nil {
			o.t.Fatal(err)
		}
		for _, m := range corpus {
			if len(m.Raw) < 1<<20 {
				o.deliver(m.Raw)
			}
		}
	case "small":
		files, err := filepath.Glob("testdata/oracle/small/*.eml")
		if err != nil {
			o.t.Fatal(err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				o.t.Fatal(err)
			}
			o.deliver(raw)
		}
	default:
		o.t.Fatalf("there is no mail %q", what)
	}
}

func (o *oracle) command(line string, more []string) {
	o.t.Helper()
	o.commands++
	var answers [2][]string
	for i, s := range o.sides {
		from := time.Now()
		answers[i] = s.command(line, more)
		if took := time.Since(from); took > imapTimeout/2 {
			o.t.Errorf("%s: %s takes %s for %q", o.name, s.name, took.Round(time.Second), line)
		}
	}
	if slices.Equal(answers[0], answers[1]) {
		return
	}
	d := difference{command: line}
	for i, other := range []int{1, 0} {
		left := slices.Clone(answers[other])
		for _, said := range answers[i] {
			if at := slices.Index(left, said); at >= 0 {
				left = slices.Delete(left, at, at+1)
				continue
			}
			d.lines = append(d.lines, fmt.Sprintf("%-8s %s", o.sides[i].name+":", said))
		}
	}
	o.differences = append(o.differences, d)
}

func (o *oracle) end() {
	for _, s := range o.sides {
		for _, c := range s.conns {
			if c != nil {
				c.conn.Close()
			}
		}
	}
}

// oracleSide is one of the two.
type oracleSide struct {
	name, user, password string
	dial                 func() *imapConn
	conns                [2]*imapConn
	tags                 int
	seen, marked         struct{ validity, modSeq string }
}

func (s *oracleSide) connect(i int, login bool) {
	if s.conns[i] != nil {
		s.conns[i].conn.Close()
	}
	c := s.dial()
	s.conns[i] = c
	if login {
		c.ok("LOGIN %s %q", s.user, s.password)
	}
}

var (
	oracleLiteral  = regexp.MustCompile(`\{\{([+~]*)(.*?)\}\}`)
	oracleEscapes  = strings.NewReplacer(`\\`, `\`, `\n`, "\r\n", `\0`, "\x00", `\r`, "\r")
	oracleValidity = regexp.MustCompile(`UIDVALIDITY (\d+)`)
	oracleModSeq   = regexp.MustCompile(`HIGHESTMODSEQ (\d+)`)
)

// command has one exchange and returns the answer in its normal form.
func (s *oracleSide) command(line string, more []string) []string {
	at := 0
	if rest, ok := strings.CutPrefix(line, "2: "); ok {
		line, at = rest, 1
	}
	if s.conns[at] == nil {
		s.connect(at, true)
	}
	c := s.conns[at]
	s.tags++
	tag := fmt.Sprintf("t%d", s.tags)
	line = strings.NewReplacer("$U", s.user, "$P", s.password, "$V", s.marked.validity, "$M", s.marked.modSeq).Replace(line)

	// The command in pieces: after each but the last the server is waited for.
	var pieces []string
	piece := tag + " "
	for from := 0; ; {
		m := oracleLiteral.FindStringSubmatchIndex(line[from:])
		if m == nil {
			pieces = append(pieces, piece+line[from:]+"\r\n")
			break
		}
		kind, text := line[from+m[2]:from+m[3]], oracleEscapes.Replace(line[from+m[4]:from+m[5]])
		piece += line[from : from+m[0]]
		if strings.Contains(kind, "~") {
			piece += "~"
		}
		if strings.Contains(kind, "+") {
			piece += fmt.Sprintf("{%d+}\r\n%s", len(text), text)
		} else {
			pieces = append(pieces, piece+fmt.Sprintf("{%d}\r\n", len(text)))
			piece = text
		}
		from += m[1]
	}
	for _, text := range more {
		pieces = append(pieces, text+"\r\n")
	}
	return s.exchange(c, tag, pieces)
}

func (s *oracleSide) exchange(c *imapConn, tag string, pieces []string) []string {
	var untagged []string
	send := func() bool {
		_ = c.conn.SetWriteDeadline(time.Now().Add(imapTimeout))
		_, err := c.conn.Write([]byte(pieces[0]))
		pieces = pieces[1:]
		return err == nil
	}
	if !send() {
		return []string{"closed"}
	}
	for {
		line, err := c.tryRead()
		if err != nil {
			return normalAnswer(untagged, "closed")
		}
		if m := oracleValidity.FindStringSubmatch(line); m != nil {
			s.seen.validity = m[1]
		}
		if m := oracleModSeq.FindStringSubmatch(line); m != nil {
			s.seen.modSeq = m[1]
		}
		switch rest, tagged := strings.CutPrefix(line, tag+" "); {
		case tagged:
			return normalAnswer(untagged, rest)
		case strings.HasPrefix(line, "* BAD"):
			return normalAnswer(untagged, "no tag: "+normalStatus(line[2:]))
		case strings.HasPrefix(line, "+") && len(pieces) == 0:
			return normalAnswer(untagged, "waits for more")
		case strings.HasPrefix(line, "+"):
			if !send() {
				return normalAnswer(untagged, "closed")
			}
		default:
			untagged = append(untagged, line)
		}
	}
}

// oracleReasons are the words that docs/imap-dovecot.md explains.
type oracleReasons struct {
	words map[string]bool // and whether they were used
	seen  int
}

var oracleReason = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|")

func newOracleReasons(t *testing.T) *oracleReasons {
	t.Helper()
	text, err := os.ReadFile("../../docs/imap-dovecot.md")
	if err != nil {
		t.Fatal(err)
	}
	r := &oracleReasons{words: make(map[string]bool)}
	for _, m := range oracleReason.FindAllStringSubmatch(string(text), -1) {
		r.words[m[1]] = false
	}
	return r
}

// compare holds the differences of a dialogue against those in a file. There, each
// begins with a line "word: command".
func (r *oracleReasons) compare(t *testing.T, file string, found []difference) {
	t.Helper()
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	type entry struct{ word, text string }
	var known []entry
	for _, block := range strings.Split(strings.TrimSpace(string(old)), "\n\n") {
		if word, text, ok := strings.Cut(block, ": "); ok {
			known = append(known, entry{word, text})
		}
	}
	var update bytes.Buffer
	for _, d := range found {
		r.seen++
		text := d.command + "\n" + strings.Join(d.lines, "\n")
		word := "?"
		if at := slices.IndexFunc(known, func(e entry) bool { return e.text == text }); at >= 0 {
			word = known[at].word
			known = slices.Delete(known, at, at+1)
		} else {
			t.Errorf("%s: not in it:\n%s", file, text)
		}
		if _, ok := r.words[word]; ok {
			r.words[word] = true
		} else {
			t.Errorf("%s: docs/imap-dovecot.md does not explain %q:\n%s", file, word, text)
		}
		fmt.Fprintf(&update, "%s: %s\n\n", word, text)
	}
	for _, e := range known {
		t.Errorf("%s: there is no such difference any more:\n%s: %s", file, e.word, e.text)
	}
	if os.Getenv("ORACLE") != "update" {
		return
	}
	if update.Len() == 0 {
		err = os.RemoveAll(file)
	} else {
		err = os.WriteFile(file, append(bytes.TrimRight(update.Bytes(), "\n"), '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// unused finds explanations that nothing needs.
func (r *oracleReasons) unused(t *testing.T) {
	t.Helper()
	for word, used := range r.words {
		if !used {
			t.Errorf("docs/imap-dovecot.md explains %q, which does not occur", word)
		}
	}
}
