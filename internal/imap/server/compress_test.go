package server

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"rtls/store"
)

// squeezed is the client's end of a connection after COMPRESS.
type squeezed struct{ w *flate.Writer }

func (s squeezed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.w.Flush()
	}
	return n, err
}

// compress says COMPRESS and goes on compressed, with the library on this side.
func (c *client) compress() {
	c.t.Helper()
	c.do("COMPRESS DEFLATE")
	if n := c.r.Buffered(); n > 0 {
		c.t.Fatalf("%d octets behind the reply", n)
	}
	w, err := flate.NewWriter(c.conn, flate.DefaultCompression)
	if err != nil {
		c.t.Fatal(err)
	}
	c.w = squeezed{w}
	c.r = bufio.NewReader(flate.NewReader(c.conn))
}

func offerCompress(srv *Server) { srv.Compress = true }

func TestCompress(t *testing.T) {
	s := newSite(t, offerCompress)
	s.deliverN(2)
	c := s.connect()
	c.script(`
		C: a COMPRESS DEFLATE
		S: a BAD COMPRESS is not possible before login
	`)
	if text := c.text("LOGIN alice secret"); !strings.Contains(text, " COMPRESS=DEFLATE]") {
		t.Errorf("not announced: %s", text)
	}
	c.script(`
		C: b COMPRESS
		S: b BAD expected ' ', found the end of the command
		C: c COMPRESS LZ4
		S: c NO [CANNOT] there is DEFLATE and no other
	`)
	c.do("SELECT INBOX")
	c.compress()
	c.script(`
		C: e NOOP
		S: e OK NOOP completed
		C: f COMPRESS DEFLATE
		S: f NO [COMPRESSIONACTIVE] DEFLATE is active already
		C: g FETCH 1:2 (UID)
		S: * 1 FETCH (UID 1)
		S: * 2 FETCH (UID 2)
		S: g OK FETCH completed
		C: h APPEND INBOX {3}
		S: + go ahead
		C: abc
		S: * 3 EXISTS
		S: * 3 RECENT
		S: h OK [APPENDUID <*> 3] APPEND completed
		C: i UNAUTHENTICATE
		S: i OK UNAUTHENTICATE completed
		C: j LOGIN alice wrong
		S: j NO [AUTHENTICATIONFAILED] user name or password is wrong
		C: k LOGOUT
		S: * BYE see you
		S: k OK LOGOUT completed
	`)
}

// RFC 4978 section 3: the news of IDLE are flushed one by one.
func TestCompressIdle(t *testing.T) {
	s := newSite(t, offerCompress)
	c := s.login("INBOX")
	c.compress()
	c.send("a IDLE\r\n")
	c.expect("+ idling")
	for n := range 3 {
		s.deliver("INBOX", message(n), store.Meta{})
		c.expect(fmt.Sprintf("* %d EXISTS", n+1))
		c.expect("* <*> RECENT")
	}
	c.script("C: DONE\nS: a OK IDLE completed\nC: b NOOP\nS: b OK NOOP completed")
}

// Large answers and messages come through whole.
func TestCompressLarge(t *testing.T) {
	s := newSite(t, offerCompress)
	c := s.login("INBOX")
	c.compress()
	body := "Subject: large\r\n\r\n" + strings.Repeat("0123456789 lorem ipsum\r\n", 40_000)
	c.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(body), body))
	c.send("b FETCH 1 BODY.PEEK[]\r\n")
	c.expect(fmt.Sprintf("* 1 FETCH (BODY[] {%d}", len(body)))
	got := make([]byte, len(body))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != body {
		t.Fatalf("another body, %v", err)
	}
	c.script("S: )\nS: b OK FETCH completed")
	c.do("NOOP")
}

// What comes in clear behind COMPRESS is not run.
func TestCompressInjection(t *testing.T) {
	s := newSite(t, offerCompress)
	c := s.login("")
	c.send("a COMPRESS DEFLATE\r\nb CREATE injected\r\n")
	if rest := c.rest(); strings.Contains(rest, " OK ") {
		t.Errorf("got %q", rest)
	}
	s.waitLog("octets behind COMPRESS")

	c = s.login("")
	c.do("COMPRESS DEFLATE")
	c.send("b CREATE injected\r\n") // not DEFLATE
	if rest := c.rest(); strings.Contains(rest, "b ") {
		t.Errorf("got %q", rest)
	}
	s.waitLog("compressed data is corrupt")
	if _, err := s.account.Mailbox(t.Context(), "injected"); err == nil {
		t.Error("it was run")
	}
}

// rest is what comes up to the end of the stream.
func (c *client) rest() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	rest, err := io.ReadAll(c.r)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		c.t.Fatalf("the connection is not closed; got %q", rest)
	}
	return string(rest)
}

// I22: it is off unless asked for.
func TestCompressIsOff(t *testing.T) {
	s := newSite(t)
	s.login("").script(`
		C: a COMPRESS DEFLATE
		S: a NO [CANNOT] compression is switched off
		C: b NOOP
		S: b OK NOOP completed
	`)
}

// A small upload that becomes much is bounded like any other, and takes no memory:
// this one is a line of 64 MiB.
func TestCompressBomb(t *testing.T) {
	s := newSite(t, offerCompress)
	c := s.login("")
	c.compress()
	var bomb bytes.Buffer
	w, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 64 {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, "\r\na NOOP\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.conn.Write(bomb.Bytes()); err != nil {
		t.Fatal(err)
	}
	if line := c.line(); !strings.Contains(line, "BAD") {
		t.Errorf("got %q", line)
	}
	c.expect("a OK NOOP completed")
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 8<<20 {
		t.Errorf("64 MiB from %d octets took %d octets of memory", bomb.Len(), grown)
	}
}
