package search

import (
	"crypto/sha256"
	"encoding/hex"

	"rtls/internal/mimetree"
	"rtls/store"
)

// ThreadID identifies the thread that a message is part of (THREADID, RFC 8474
// section 5.2). It is made of the message identifier that the thread starts with, as
// the message's own header has it: of References the first, or else of In-Reply-To,
// or else the message's own. A message that names none is a thread of its own, with
// its copies.
//
// So it never changes, depends on no other message and on no index, and is the same
// in all mailboxes. In return, a thread whose messages do not agree on how it
// started, as those of programs that shorten References do not, falls into several.
func ThreadID(m store.Message, s *mimetree.Summary) string {
	root := s.Thread
	if root == "" {
		root = m.ObjectID()
	}
	sum := sha256.Sum256([]byte(root))
	return "T" + hex.EncodeToString(sum[:12])
}
