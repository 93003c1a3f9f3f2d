package fulltext

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/imap/command"
	"rtls/internal/imap/search"
	"rtls/internal/imap/wire"
	"rtls/store"
)

// corpus is an account with messages, and an index of it.
type corpus struct {
	t       testing.TB
	dir     string
	account *store.Account
	x       *Index

	delivered int
}

func newCorpus(t testing.TB) *corpus {
	c := &corpus{t: t, dir: filepath.Join(t.TempDir(), "alice")}
	if err := store.Create(c.dir, nil); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.account, err = store.Open(c.dir, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.account.Close() })
	c.x = New(c.account, slog.New(slog.DiscardHandler))
	return c
}

// deliver puts a message into INBOX, as another program would.
func (c *corpus) deliver(raw string) {
	c.t.Helper()
	c.delivered++
	path := filepath.Join(c.dir, "Maildir", "new", fmt.Sprintf("1790000000.M%dP1Q1R%016x.host", c.delivered, c.delivered))
	if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Unix(1_790_000_000, 0)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *corpus) box(name string) *store.Mailbox {
	c.t.Helper()
	box, err := c.account.Mailbox(c.t.Context(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { box.Close() })
	return box
}

func (c *corpus) update(box *store.Mailbox) {
	c.t.Helper()
	if _, err := c.x.Update(c.t.Context(), box, atOnce(c.t.Context()), nil); err != nil {
		c.t.Fatal(err)
	}
}

// find searches, with the index or without, and counts the files that were opened.
func (c *corpus) find(box *store.Mailbox, key command.Key, index search.TextIndex) (uids []uint32, opened int) {
	c.t.Helper()
	q := search.Compile(key, search.Env{
		Now:     time.Unix(1_800_000_000, 0),
		UIDs:    func(command.NumSet, bool) []wire.Range { return nil },
		HasFlag: func(string) func(store.Message) bool { return func(store.Message) bool { return false } },
		Recent:  func(uint32) bool { return false },
		Open: func(ctx context.Context, uid uint32) (*store.Content, error) {
			opened++
			return box.Open(ctx, uid)
		},
		Index: index,
	})
	snap := box.Snapshot()
	for at := range snap.Len() {
		m := snap.At(at)
		ok, err := q.Match(c.t.Context(), m, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		if ok && !q.MayMatch(m) {
			c.t.Errorf("%+v: UID %d matches and may not", key, m.UID)
		}
		if ok {
			uids = append(uids, m.UID)
		}
	}
	return uids, opened
}

// same searches for all keys in both ways, and returns how many files were opened
// with the index.
func (c *corpus) same(what string, box *store.Mailbox, keys []command.Key) (opened int) {
	c.t.Helper()
	for _, key := range keys {
		got, n := c.find(box, key, c.x.Reader(box))
		opened += n
		if want, _ := c.find(box, key, nil); !slices.Equal(got, want) {
			c.t.Fatalf("%s: %+v: with the index %v, without %v", what, key, got, want)
		}
	}
	return opened
}

var words = strings.Fields("alpha Beta gamma Grüße МОСКВА straße İstanbul ﬁne 東京都庁 x yz \xff\xfe\x80 a\x00b needle =?utf-8?q?K=C3=A4se?= Ωmega")

func text(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteString([]string{" ", "", "\r\n", "=\r\n", "  "}[r.IntN(5)])
	}
	return b.String()
}

// someMessage makes a message of parts, nested and encoded in all ways, some of them
// wrongly.
func someMessage(r *rand.Rand, depth int) string {
	var b strings.Builder
	line := func(r *rand.Rand) string { return strings.NewReplacer("\r\n", " ", "\n", " ").Replace(text(r, 3)) }
	fmt.Fprintf(&b, "From: %s <a@example.com>\r\nSubject: %s\r\n %s\r\n", line(r), line(r), line(r))
	if r.IntN(3) == 0 {
		fmt.Fprintf(&b, "X-Mark: %s\r\nno colon here\r\n", line(r))
	}
	charset := []string{"utf-8", "iso-8859-1", "koi8-r", "no-such", "utf-16"}[r.IntN(5)]
	encoding := []string{"7bit", "8bit", "quoted-printable", "base64", "unknown"}[r.IntN(5)]
	switch k := r.IntN(4); {
	case k == 0 && depth > 0:
		b.WriteString("Content-Type: multipart/mixed; boundary=b" + fmt.Sprint(depth) + "\r\n\r\n")
		for range r.IntN(3) {
			fmt.Fprintf(&b, "--b%d\r\n%s\r\n", depth, someMessage(r, depth-1))
		}
	case k == 1 && depth > 0:
		b.WriteString("Content-Type: message/rfc822\r\n\r\n" + someMessage(r, depth-1))
	default:
		typ := []string{"text/plain", "text/html", "application/pdf"}[r.IntN(3)]
		fmt.Fprintf(&b, "Content-Type: %s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s", typ, charset, encoding, text(r, r.IntN(60)))
	}
	raw := b.String()
	if depth == 2 && r.IntN(2) == 0 {
		raw = strings.ReplaceAll(raw, "\r\n", "\n")
	}
	return raw
}

// someKeys makes keys of texts, and pieces of texts, that messages have or nearly have.
func someKeys(r *rand.Rand, n int) (keys []command.Key) {
	for range n {
		t := []rune(text(r, 1+r.IntN(2)))
		from := r.IntN(len(t) + 1)
		needle := strings.TrimSpace(string(t[from:min(len(t), from+r.IntN(9))]))
		key := command.Key{Op: []command.Op{command.InBody, command.InText, command.HeaderField}[r.IntN(3)], Text: needle}
		if key.Op == command.HeaderField {
			key.Field = []string{"Subject", "From", "X-Mark", "Content-Type"}[r.IntN(4)]
		}
		switch r.IntN(6) {
		case 0:
			key = command.Key{Op: command.Not, Keys: []command.Key{key}}
		case 1:
			key = command.Key{Op: command.Or, Keys: []command.Key{key, {Op: command.InBody, Text: "needle"}}}
		case 2:
			key = command.Key{Op: command.And, Keys: []command.Key{key, {Op: command.Larger, Number: 200}}}
		}
		keys = append(keys, key)
	}
	return keys
}

// The answer is the same, whatever there is of the index and whatever has become of it
// and of the files.
func TestSameAnswer(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			c := newCorpus(t)
			for range 40 {
				c.deliver(someMessage(r, 2))
			}
			box := c.box("INBOX")
			keys := someKeys(r, 60)
			without := c.same("no index", box, keys)
			c.update(box)
			if with := c.same("index", box, keys); with >= without {
				t.Errorf("%d files were opened with the index, %d without", with, without)
			}
			c.testLater(r, box, keys)
			c.testForeign(r, box, keys)
			c.testDamage(r, box, keys)
		})
	}
}

// testLater lets messages come, be copied and go.
func (c *corpus) testLater(r *rand.Rand, box *store.Mailbox, keys []command.Key) {
	c.t.Helper()
	for range 10 {
		for range 3 {
			c.deliver(someMessage(r, 2))
		}
		if _, err := box.Sync(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		c.same("half an index", box, keys[:10])
		c.update(box) // merges, after the eighth
	}
	if n := len(c.segments()); n > fanIn {
		c.t.Errorf("there are %d segments", n)
	}
	c.same("merged", box, keys)
	if err := c.account.CreateMailbox(c.t.Context(), "copies", ""); err != nil {
		c.t.Fatal(err)
	}
	if _, _, err := box.Copy(c.t.Context(), []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9}, "copies"); err != nil {
		c.t.Fatal(err)
	}
	copies := c.box("copies")
	docs := c.x.current().docs
	c.same("copies", copies, keys)
	c.update(copies)
	if got := c.x.current().docs; got != docs {
		c.t.Errorf("copies came into the index: %d, then %d messages", docs, got)
	}
}

func (c *corpus) files(box *store.Mailbox) []string {
	c.t.Helper()
	list, err := filepath.Glob(filepath.Join(c.dir, "Maildir", "cur", "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

func (c *corpus) segments() (list []string) {
	c.t.Helper()
	names, err := os.ReadDir(filepath.Join(c.dir, ".rtls", "text"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range names {
		if _, ok := idOf(name.Name()); ok {
			list = append(list, filepath.Join(c.dir, ".rtls", "text", name.Name()))
		}
	}
	return list
}

// testForeign has another program alter, exchange and remove files.
func (c *corpus) testForeign(r *rand.Rand, box *store.Mailbox, keys []command.Key) {
	c.t.Helper()
	files := c.files(box)
	for range 5 {
		path := files[r.IntN(len(files))]
		if err := os.WriteFile(path, []byte(someMessage(r, 2)), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	c.same("altered files", box, keys)
	for _, path := range files[:3] {
		if err := os.Remove(path); err != nil {
			c.t.Fatal(err)
		}
	}
	c.same("files are gone", box, keys)
	a, b := files[10], files[11]
	for _, step := range [][2]string{{a, a + "x"}, {b, a}, {a + "x", b}} {
		if err := os.Rename(step[0], step[1]); err != nil {
			c.t.Fatal(err)
		}
	}
	c.same("exchanged files", box, keys)
	if _, err := box.Sync(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.update(box)
	c.same("after the next update", box, keys)
}

// testDamage damages the index in all ways.
func (c *corpus) testDamage(r *rand.Rand, box *store.Mailbox, keys []command.Key) {
	c.t.Helper()
	for range 20 {
		c.x = New(c.account, slog.New(slog.DiscardHandler))
		c.x.current() // what is read now may be damaged later
		list := c.segments()
		if len(list) == 0 {
			c.update(box)
			continue
		}
		path := list[r.IntN(len(list))]
		raw, err := os.ReadFile(path)
		if err != nil {
			c.t.Fatal(err)
		}
		switch r.IntN(4) {
		case 0:
			raw = raw[:r.IntN(len(raw))]
		case 1:
			for i := range raw {
				raw[i] = byte(r.Uint32())
			}
		default:
			for range 1 + r.IntN(20) {
				raw[r.IntN(len(raw))] ^= 1 << r.IntN(8)
			}
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			c.t.Fatal(err)
		}
		c.same("damaged under a reader", box, keys[:15])
		c.x = New(c.account, slog.New(slog.DiscardHandler))
		c.same("damaged", box, keys[:15])
		c.update(box)
		c.same("mended", box, keys[:15])
	}
	if err := os.RemoveAll(filepath.Join(c.dir, ".rtls", "text")); err != nil {
		c.t.Fatal(err)
	}
	c.same("removed", box, keys)
	c.update(box)
	if c.x.current().docs == 0 {
		c.t.Error("the index does not come back")
	}
	c.same("new", box, keys)
}

// Entries of messages that are gone are dropped once they are most.
func TestDropUnused(t *testing.T) {
	c := newCorpus(t)
	c.deliver("Subject: stays\n\nthe needle\n")
	box := c.box("INBOX")
	c.update(box)
	b := batch{}
	for i := range uint64(3000) { // as if they had been there
		b.add(doc{identity: 1<<40 + i}, []term{1, 2, 3}, i%2 == 0)
	}
	if err := os.MkdirAll(c.x.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.write(c.x.dir); err != nil {
		t.Fatal(err)
	}
	if docs := c.x.reload().docs; docs != 3001 {
		t.Fatalf("%d messages", docs)
	}
	if err := c.x.dropUnused(t.Context(), atOnce(t.Context())); err != nil {
		t.Fatal(err)
	}
	if docs := c.x.current().docs; docs != 1 {
		t.Errorf("%d messages are left", docs)
	}
	if opened := c.same("dropped", box, []command.Key{{Op: command.InBody, Text: "nowhere"}}); opened != 0 {
		t.Errorf("%d files were opened", opened)
	}
}

// What is written at the same time, by two who do not know of each other, stays whole.
// A writer that is cut off leaves nothing that is taken for a segment.
func TestWritersCutOff(t *testing.T) {
	c := newCorpus(t)
	for i := range 20 {
		c.deliver(fmt.Sprintf("Subject: %d\n\nword%d\n", i, i))
	}
	box := c.box("INBOX")
	cut := errors.New("cut off")
	for n := range 25 {
		left := n
		_, err := c.x.Update(t.Context(), box, func(bool) error {
			if left--; left < 0 {
				return cut
			}
			return nil
		}, nil)
		if err != nil && !errors.Is(err, cut) {
			t.Fatal(err)
		}
		part := filepath.Join(c.x.dir, partPrefix+"0123456789abcdef")
		if err := os.WriteFile(part, []byte("half a segm"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.same("cut off", box, []command.Key{{Op: command.InBody, Text: fmt.Sprintf("word%d", n)}})
	}
	if _, err := c.x.lock(); err != nil {
		t.Fatal(err)
	}
	other := New(c.account, slog.New(slog.DiscardHandler))
	if _, err := other.Update(t.Context(), box, atOnce(t.Context()), nil); !errors.Is(err, ErrBusy) {
		t.Errorf("while another writes: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.x.dir, partPrefix+"*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// A text that is in a message has all its terms in the index, whatever the message.
func FuzzTexts(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 10 {
		f.Add(someMessage(r, 2), text(r, 1))
	}
	f.Add("Subject: =?utf-8?q?K=C3=A4se?=\n =?utf-8?b?IGFuIGFsbGU=?=\n\nx", "käse an")
	f.Add("X\xff: y\xfe\r\n\r\n", "y\xfe")
	c := newCorpus(f)
	f.Fuzz(func(t *testing.T, raw, needle string) {
		if len(raw) == 0 || len(needle) > 100 {
			t.Skip()
		}
		c.t = t
		c.deliver(raw)
		box := c.box("INBOX")
		c.update(box)
		snap := box.Snapshot()
		keys := []command.Key{{Op: command.InBody, Text: needle}, {Op: command.InText, Text: needle}}
		for name := range strings.SplitSeq(raw[:min(len(raw), 200)], "\n") {
			if name, _, ok := strings.Cut(name, ":"); ok {
				keys = append(keys, command.Key{Op: command.HeaderField, Field: name, Text: needle})
			}
		}
		c.same("fuzz", box, keys)
		if err := box.Expunge(t.Context(), []uint32{snap.At(snap.Len() - 1).UID}); err != nil {
			t.Fatal(err)
		}
	})
}
