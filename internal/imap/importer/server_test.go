package importer

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/internal/testpki"
)

// badServer is an IMAP server of the least that there is, which does what it is told to
// do wrong. Its fields are set before it serves, or with mu held.
type badServer struct {
	t    *testing.T
	tls  *tls.Config
	addr string

	mu        sync.Mutex // guards what follows
	caps      string
	prefix    string // of the personal namespace
	delim     string
	boxes     map[string]*badMailbox
	clear     string // what it says behind OK to STARTTLS, in clear; - refuses
	useClear  bool
	octets    int            // of literals that it sends before it ends a connection; 0: no end
	down      bool           // it ends connections at once
	sinks     bool           // it is down once it has ended one
	cuts      map[string]int // commands, with what follows them, that it ends the connection at so often; below 0: each time
	changes   int            // how many ends of a connection give all mailboxes another UIDVALIDITY; below 0: each
	conns     int
	login     string // its answer to LOGIN
	silent    bool   // it does not answer UID FETCH
	reported  int64
	refuses   map[int]bool // UIDs that it gives NO for
	dies      map[int]bool // UIDs in the middle of which it ends the connection
	expunges  map[int]bool // UIDs that it has no more when their octets are asked for
	commands  []string
	bigLength int64 // of a message with UID 1 that is made up as it is sent
}

type badMailbox struct {
	validity int
	attrs    string
	messages []badMessage
}

type badMessage struct {
	uid   int
	flags string
	body  string
}

const badDate = "02-Jan-2006 15:04:05 +0000"

// serve starts it. Nobody waits for its connections: they end with the client's.
func (s *badServer) serve(t *testing.T) *Config {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	s.t, s.tls = t, &tls.Config{Certificates: []tls.Certificate{cert}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				s.session(conn)
			})
		}
	})
	s.addr = l.Addr().String()
	return &Config{
		Addr: s.addr, TLS: &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}, StartTLS: s.useClear,
		Login: "alice", Password: "secret", Silence: 20 * time.Second, Pause: -1,
	}
}

func (s *badServer) session(conn net.Conn) {
	if s.useClear {
		in := bufio.NewReader(conn)
		fmt.Fprint(conn, "* OK hello\r\n")
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		s.note(strings.TrimSpace(line))
		if s.clear == "-" {
			fmt.Fprint(conn, "a NO not here\r\n")
			_, _ = in.ReadString('\n')
			return
		}
		fmt.Fprint(conn, "a OK go on\r\n"+s.clear)
	}
	s.mu.Lock()
	down, octets := s.down, s.octets
	s.conns++
	s.mu.Unlock()
	if down {
		return
	}
	secure := tls.Server(conn, s.tls)
	c := &badConn{s: s, octets: octets, in: bufio.NewReader(secure), out: bufio.NewWriter(secure)}
	if !s.useClear {
		fmt.Fprint(c.out, "* OK ["+"CAPABILITY "+s.caps+"] hello\r\n")
	}
	for c.out.Flush() == nil && !c.ended {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		c.command(strings.TrimRight(line, "\r\n"))
	}
}

func (s *badServer) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, line)
}

func (s *badServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// badConn is one connection.
type badConn struct {
	s      *badServer
	in     *bufio.Reader
	out    *bufio.Writer
	box    *badMailbox
	octets int
	ended  bool
}

func (c *badConn) command(line string) {
	c.s.note(line)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	tag, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	name := strings.ToUpper(words[0])
	if name == "UID" {
		name += " " + strings.ToUpper(words[1])
	}
	if c.cut(name, rest) {
		return
	}
	answer := "OK done"
	switch name {
	case "CAPABILITY":
		fmt.Fprintf(c.out, "* CAPABILITY %s\r\n", c.s.caps)
	case "NAMESPACE":
		fmt.Fprintf(c.out, "* NAMESPACE ((%q %q)) ((\"user.\" \".\")) NIL\r\n", c.s.prefix, c.s.delim)
	case "LIST":
		for _, name := range c.s.names() {
			fmt.Fprintf(c.out, "* LIST (%s) %q %q\r\n", c.s.boxes[name].attrs, c.s.delim, name)
		}
	case "STATUS":
		box := c.s.boxes[strings.Trim(words[1], `"`)]
		fmt.Fprintf(c.out, "* STATUS %s (MESSAGES %d)\r\n", words[1], len(box.messages))
	case "EXAMINE":
		answer = c.examine(words[1])
	case "LOGIN":
		answer = cmp.Or(c.s.login, answer)
	case "UID FETCH":
		if c.s.silent {
			return
		}
		answer = c.fetch(words[2], strings.Contains(rest, "BODY"))
	case "UID SEARCH":
		fmt.Fprint(c.out, "* SEARCH")
		for _, m := range c.box.messages {
			if inSet(words[3], m.uid) {
				fmt.Fprintf(c.out, " %d", m.uid)
			}
		}
		fmt.Fprint(c.out, "\r\n")
	}
	if !c.ended { // or it would be taken for the rest of a message
		fmt.Fprintf(c.out, "%s %s\r\n", tag, answer)
	}
}

// cut ends the connection at a command, if it has to. It must be called with mu held.
func (c *badConn) cut(name, rest string) bool {
	for word, n := range c.s.cuts {
		if !strings.HasPrefix(rest, word) && word != name || n == 0 {
			continue
		}
		c.s.cuts[word]--
		c.end()
	}
	return c.ended
}

// end must be called with mu held.
func (c *badConn) end() {
	c.ended = true
	c.s.down = c.s.down || c.s.sinks
	if c.s.changes != 0 {
		c.s.changes--
		for _, box := range c.s.boxes {
			box.validity++
		}
	}
}

func (s *badServer) names() []string {
	var names []string
	for name := range s.boxes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *badConn) examine(name string) string {
	c.box = c.s.boxes[strings.Trim(name, `"`)]
	if c.box == nil || strings.Contains(c.box.attrs, "Refused") {
		return "NO not for you"
	}
	fmt.Fprintf(c.out, "* %d EXISTS\r\n* FLAGS ()\r\n* OK [UIDVALIDITY %d] it\r\n", len(c.box.messages), c.box.validity)
	return "OK [READ-ONLY] done"
}

func (c *badConn) fetch(set string, body bool) string {
	for i, m := range slices.Clone(c.box.messages) {
		if !inSet(set, m.uid) {
			continue
		}
		if !body {
			fmt.Fprintf(c.out, "* %d FETCH (UID %d FLAGS (%s) INTERNALDATE \"%s\" RFC822.SIZE %d)\r\n",
				i+1, m.uid, m.flags, badDate, cmp.Or(c.s.reported, int64(len(m.body))))
			continue
		}
		switch {
		case c.s.refuses[m.uid]:
			return "NO this one is broken"
		case c.s.expunges[m.uid]:
			c.box.messages = slices.DeleteFunc(c.box.messages, func(x badMessage) bool { return x.uid == m.uid })
			return "NO [EXPUNGEISSUED] some of them are gone"
		}
		if !c.literal(i+1, m) {
			c.end()
			return ""
		}
	}
	return "OK done"
}

// literal sends a message, and returns false if it has ended the connection in it.
func (c *badConn) literal(seq int, m badMessage) bool {
	var body io.Reader = strings.NewReader(m.body)
	length := int64(len(m.body))
	if c.s.bigLength > 0 {
		length = c.s.bigLength
		body = io.LimitReader(endless{}, length)
	}
	fmt.Fprintf(c.out, "* %d FETCH (UID %d BODY[] {%d}\r\n", seq, m.uid, length)
	if c.s.dies[m.uid] {
		_, _ = io.CopyN(c.out, body, length/2)
		return false
	}
	if c.octets > 0 {
		if c.octets -= int(length); c.octets <= 0 {
			_, _ = io.CopyN(c.out, body, length+int64(c.octets))
			return false
		}
	}
	_, _ = io.Copy(c.out, body)
	fmt.Fprint(c.out, ")\r\n")
	return true
}

// endless is text without an end.
type endless struct{}

var endlessText = bytes.Repeat([]byte("all of this is one line of seventy-eight octets, or it would be a short mail\r\n"), 400)

func (endless) Read(p []byte) (int, error) { return copy(p, endlessText), nil }

// inSet says whether a UID is in a set such as 1:3,7,9:*.
func inSet(set string, uid int) bool {
	for part := range strings.SplitSeq(set, ",") {
		low, high, isRange := strings.Cut(part, ":")
		from, _ := strconv.Atoi(low)
		to := from
		if isRange {
			if to, _ = strconv.Atoi(high); high == "*" {
				to = 1 << 31
			}
		}
		if from <= uid && uid <= to {
			return true
		}
	}
	return false
}
