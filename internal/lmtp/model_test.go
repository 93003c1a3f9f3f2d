package lmtp

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// model follows a dialogue from both sides' words, slowly and simply: it knows which
// replies each command takes, and ends the test when the server has said more,
// less or something that is not so.
type model struct {
	t       *testing.T
	in      string // what the client says, from here on
	out     string // what the server says
	backend *fake

	rcpts    int // accepted in this transaction
	chunking bool
	content  string // of the chunks so far
	told     int    // successes reported
}

// RFC 2034 section 4: a status code of the same class in all replies but these.
var replyLine = regexp.MustCompile(`^(?:2[0-9][0-9] 2\.[0-9]\.[0-9]{1,2} [^\r\n]+|4[0-9][0-9] 4\.[0-9]\.[0-9]{1,2} [^\r\n]+|5[0-9][0-9] 5\.[0-9]\.[0-9]{1,2} [^\r\n]+|` +
	`220 localhost LMTP rtls-lda ready|250 (?:STARTTLS|REQUIRETLS)|354 [^\r\n]+)\r\n$`)

// reply takes the next reply, without the lines before its last. It is empty when
// the server has nothing more to say.
func (m *model) reply() string {
	m.t.Helper()
	for {
		line, rest, ok := strings.Cut(m.out, "\n")
		if !ok {
			if m.out != "" {
				m.t.Fatalf("%q is not a line", m.out)
			}
			return ""
		}
		m.out = rest
		line += "\n"
		if strings.HasPrefix(line, "250-") {
			continue
		}
		if !replyLine.MatchString(line) {
			m.t.Fatalf("%q is not a reply", line)
		}
		return line
	}
}

// ended makes sure that the server has said nothing more, but perhaps why.
func (m *model) ended(at string) {
	m.t.Helper()
	if last := m.reply(); last != "" && !strings.HasPrefix(last, "421 ") || m.out != "" {
		m.t.Fatalf("at %.60q the server says %q and %q", at, last, m.out)
	}
}

// run goes through the dialogue. It returns early when the server has closed the
// connection with notice.
func (m *model) run() {
	m.t.Helper()
	for more := m.reply() != ""; more; {
		line, rest, ok := strings.Cut(m.in, "\n")
		if !ok {
			m.ended("the end")
			return
		}
		m.in = rest
		more = m.command(line + "\n")
	}
}

// command says whether the dialogue goes on.
func (m *model) command(line string) bool {
	m.t.Helper()
	text, ok := strings.CutSuffix(line, "\r\n")
	verb, args, _ := strings.Cut(text, " ")
	verb = strings.ToUpper(verb)
	if len(line) > maxLine || !ok || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		verb = ""
	}
	if verb == "BDAT" {
		return m.bdat(line, strings.TrimRight(args, " "))
	}
	reply := m.reply()
	switch {
	case reply == "":
		m.t.Fatalf("no reply to %.60q", line)
	case strings.HasPrefix(reply, "421 "), verb == "QUIT":
		m.out += m.reply() // nothing, or ended will tell
		m.ended(line)
		return false
	case verb == "":
		if reply[0] != '5' {
			m.t.Fatalf("%.60q is answered with %q", line, reply)
		}
	case verb == "STARTTLS" && reply[0] == '2':
		return false // what follows is a handshake
	case verb == "DATA" && reply[0] == '3':
		content, rest, ok := naiveDot(m.in)
		if !ok {
			m.ended(line)
			return false
		}
		m.in = rest
		m.results(content)
	case reply[0] == '2' && (verb == "MAIL" || verb == "LHLO" || verb == "RSET"):
		m.rcpts, m.chunking, m.content = 0, false, ""
	case reply[0] == '2' && verb == "RCPT":
		m.rcpts++
	}
	return true
}

func (m *model) bdat(line, args string) bool {
	m.t.Helper()
	fields := strings.Fields(args)
	last := len(fields) == 2 && strings.EqualFold(fields[1], "LAST")
	size := uint64(0)
	ok := len(fields) == 1 || last
	if ok {
		var err error
		size, err = strconv.ParseUint(fields[0], 10, 63)
		ok = err == nil && len(fields[0]) <= 18
	}
	if !ok || size > uint64(len(m.in)) {
		if reply := m.reply(); ok && reply != "" || !ok && reply[0] != '5' && !strings.HasPrefix(reply, "421 ") {
			m.t.Fatalf("%.60q is answered with %q", line, reply)
		}
		m.ended(line)
		return false
	}
	chunk := m.in[:size]
	// The server may have had enough before it read this.
	if strings.HasPrefix(m.out, "421 ") {
		m.ended(line)
		return false
	}
	m.in = m.in[size:]
	m.content += chunk
	switch {
	case last && m.rcpts > 0:
		m.results(m.content)
	case !last:
		want := byte('5')
		if m.rcpts > 0 {
			want, m.chunking = '2', true
		}
		if reply := m.reply(); reply == "" || reply[0] != want {
			m.t.Fatalf("a chunk is answered with %q", reply)
		}
	}
	if m.rcpts == 0 || last {
		m.content = ""
	}
	if last {
		m.rcpts, m.chunking = 0, false
	}
	return true
}

var delivered = regexp.MustCompile(`^250 2\.0\.0 delivered as ([A-Z2-7]+)\r\n$`)

// results takes a reply for each recipient. Success is said of what the backend
// has stored for this recipient, whole, and of nothing else.
func (m *model) results(content string) {
	m.t.Helper()
	for i := range m.rcpts {
		reply := m.reply()
		switch {
		case reply == "":
			m.t.Fatalf("%d of %d recipients have a reply", i, m.rcpts)
		case reply[0] == '4', reply[0] == '5':
			continue
		}
		id := delivered.FindStringSubmatch(reply)
		if id == nil {
			m.t.Fatalf("recipient %d: %q", i, reply)
		}
		at := slices.IndexFunc(m.backend.stored, func(s stored) bool { return s.env.ID == id[1] })
		if at < 0 {
			m.t.Fatalf("%q, and nothing is stored", reply)
		}
		if s := m.backend.stored[at]; len(s.rcpts) != m.rcpts || s.results[i] != nil || s.data != content {
			m.t.Fatalf("%q, and %v is stored, %v; the message was %q", reply, s, s.results[i], content)
		}
		m.told++
	}
	m.rcpts, m.chunking, m.content = 0, false, ""
}

// states are what a connection can be in when the fuzzer's words begin.
var states = []struct {
	tls, local bool
	said       string
}{
	{said: ""},
	{said: "LHLO x\r\n"},
	{said: "LHLO x\r\n", local: true},
	{said: "LHLO x\r\n", tls: true},
	{said: transactionSaid},
	{said: transactionSaid, tls: true},
	{said: transactionSaid + "DATA\r\nSubject: x\r\n"},
	{said: transactionSaid + "DATA\r\nSubject: x\r"},
	{said: transactionSaid + "BDAT 10\r\nSubject:"},
	{said: transactionSaid + "BDAT 10\r\nSubject: x"},
}

const transactionSaid = "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<full@d>\r\nRCPT TO:<e>\r\n"

// FuzzServer is about what must hold whatever a client says, in whatever state: the
// model agrees, the server does not panic, waits for the client before it sends
// and holds no more than it may, and no tag comes from nothing.
func FuzzServer(f *testing.F) {
	for _, in := range []string{
		"MAIL FROM:<a@b> REQUIRETLS\r\nRCPT TO:<c@d>\r\nRCPT TO:<full@d>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n",
		"RCPT TO:<unknown>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\ndeNOOP\r\n",
		"BDAT 3\r\nabcRSET\r\nMAIL FROM:<>\r\nBDAT 1 LAST\r\nx",
		"RCPT TO:<panic>\r\nBDAT 3 LAST\r\nabc",
		"RSET\r\nDATA\r\n.\r\nRSET\r\nDATA\r\n",
		"\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<deaf@d>\r\nDATA\r\n..\r\n.\r\n",
		" x\r\n.\r\n.\r\nEHLO x\r\nSTARTTLS\r\nLHLO y\r\n",
		" xBDAT 0 LAST\r\nVRFY\r\nHELP\r\nNOOP\r\nBDAT 1 LAST\r\nx",
		"\n.\r\r\n.\r\nBDAT x\r\nBDAT 300 LAST\r\n" + strings.Repeat("x", 300),
		"MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nBDAT 200\r\n" + strings.Repeat("x", 200) + "BDAT 1 LAST\r\nx",
		strings.Repeat("\r\n", 60),
	} {
		for state := range states {
			f.Add(in, uint8(state), state%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, in string, state uint8, slow bool) {
		from := states[int(state)%len(states)]
		in = from.said + in
		var log bytes.Buffer
		backend := &fake{}
		server := (&Server{Hostname: "localhost", TLS: &tls.Config{}, Backend: backend, MaxSize: 200, MaxRecipients: 4, Logger: slog.New(slog.NewTextHandler(&log, nil))}).withDefaults()
		tr := &transcript{in: strings.NewReader(in)}
		if slow {
			tr.in = iotest.OneByteReader(tr.in)
		}
		c := newConn(server, t.Context(), tr)
		c.local = from.local
		if from.tls {
			c.tls = &tls.ConnectionState{Version: tls.VersionTLS13}
		}
		c.serve()

		m := &model{t: t, in: in, out: tr.out.String(), backend: backend}
		m.run()
		panics := strings.Contains(strings.ToLower(in), "panic")
		if m.told != backend.copies && !panics {
			t.Fatalf("%d deliveries reported, %d made", m.told, backend.copies)
		}
		if strings.Contains(log.String(), `msg=panic `) {
			t.Fatal(log.String())
		}
		if tr.writes > tr.reads+1+tr.out.Len()/maxReplies {
			t.Fatalf("%d writes for %d reads", tr.writes, tr.reads)
		}
		for _, s := range backend.stored {
			if s.env.RequireTLS && (!from.tls && !from.local || !strings.Contains(strings.ToUpper(in), "REQUIRETLS")) {
				t.Fatal("a tag from nothing")
			}
			if len(s.data) > 200 || len(s.rcpts) > 4 {
				t.Fatalf("%v is stored", s)
			}
		}
	})
}

// What a client sends without end is not kept.
func TestMemory(t *testing.T) {
	const size = 64 << 20
	for _, begin := range []string{"", "DATA\r\n", "BDAT 999999999999999999\r\n"} {
		in := io.MultiReader(strings.NewReader(transactionSaid+begin), io.LimitReader(endless{}, size))
		server := (&Server{Hostname: "localhost", Backend: &fake{discard: true}, MaxSize: 1 << 40}).withDefaults()
		c := newConn(server, t.Context(), &transcript{in: in})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.serve()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%q: %d octets for %d", begin, n, size)
		}
	}
}

// endless is a client that does not stop.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
