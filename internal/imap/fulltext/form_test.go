package fulltext

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"testing"

	"rtls/internal/imap/command"
	"rtls/internal/imap/search"
)

// hashed is a search.Sink.
type hashed struct{ hash.Hash }

func (h hashed) Begin(at search.Place) { h.Write([]byte{0xff, byte(at)}) }

func (h hashed) Add(piece []byte) bool {
	h.Write(piece)
	return true
}

// Texts are read as they were when textForm was last raised.
func TestForm(t *testing.T) {
	const want = "2cff9acd997ad5565b751e527ccb9787"
	c := newCorpus(t)
	r := rand.New(rand.NewPCG(11, 11))
	for range 60 {
		c.deliver(someMessage(r, 2))
	}
	h := hashed{sha256.New()}
	box := c.box("INBOX")
	snap := box.Snapshot()
	for at := range snap.Len() {
		content, err := box.Open(t.Context(), snap.At(at).UID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := search.Texts(t.Context(), content, h); err != nil {
			t.Fatal(err)
		}
		content.Close()
	}
	if got := hex.EncodeToString(h.Sum(nil)[:16]); got != want {
		t.Errorf("texts are read in another way than before (%s): raise textForm, and change what this test wants", got)
	}
}

// A segment that another version has made is not used, and not kept.
func TestOtherForm(t *testing.T) {
	c := newCorpus(t)
	c.deliver("Subject: x\n\nthe needle\n")
	box := c.box("INBOX")
	c.update(box)
	path := c.segments()[0]
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	trailer := raw[len(raw)-trailerLen:]
	trailer[len(magic)+16] ^= 1
	footer := raw[binary.LittleEndian.Uint64(trailer[len(magic)+8:]) : len(raw)-crc32.Size]
	binary.LittleEndian.PutUint32(raw[len(raw)-crc32.Size:], crc32.Checksum(footer, castagnoli()))
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c.x = New(c.account, c.x.log)
	if c.x.current().docs != 0 {
		t.Error("it is used")
	}
	if len(c.segments()) != 0 {
		t.Error("it is kept")
	}
	c.update(box)
	if opened := c.same("again", box, []command.Key{{Op: command.InBody, Text: "nowhere"}}); opened != 0 {
		t.Errorf("%d files were opened", opened)
	}
}
