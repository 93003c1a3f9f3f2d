package server

import (
	"strings"
	"testing"

	"rtls/store"
)

// RFC 8970 sections 3 and 4.
func TestPreview(t *testing.T) {
	s := newSite(t)
	for _, m := range []string{
		"Subject: x\n\nThis is the first line of text from the first text part.\n",
		"Content-Type: text/plain; charset=utf-8\n\nGrüße\n",
		"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n",
		"Subject: x\n\n" + strings.Repeat("all work ", 100) + "\n",
	} {
		s.deliver("INBOX", m, store.Meta{})
		s.sync("INBOX")
	}
	c := s.login("INBOX")
	c.do("ENABLE CONDSTORE")
	for range 2 { // without a summary, and with one
		c.script(`
			C: A2 FETCH 1 (RFC822.SIZE PREVIEW)
			S: * 1 FETCH (RFC822.SIZE 72 PREVIEW "This is the first line of text from the first text part.")
			S: A2 OK FETCH completed
			C: a FETCH 2 PREVIEW
			S: * 2 FETCH (PREVIEW {7}
			S: Grüße)
			S: a OK FETCH completed
			C: b UID FETCH 3 (PREVIEW FLAGS)
			S: * 3 FETCH (UID 3 PREVIEW "" FLAGS (\Recent))
			S: b OK UID FETCH completed
			C: c FETCH 4 (PREVIEW (LAZY) PREVIEW)
			S: * 4 FETCH (PREVIEW NIL PREVIEW "` + strings.TrimSpace(strings.Repeat("all work ", 22)) + ` al")
			S: c OK FETCH completed
			C: B1 FETCH 1:3 PREVIEW (LAZY)
			S: * 1 FETCH (PREVIEW NIL)
			S: * 2 FETCH (PREVIEW NIL)
			S: * 3 FETCH (PREVIEW NIL)
			S: B1 OK FETCH completed
			C: d FETCH 1 PREVIEW (CHANGEDSINCE 1)
			S: * 1 FETCH (PREVIEW "This is the first line of text from the first text part." MODSEQ (<*>))
			S: d OK FETCH completed
		`)
	}
}
