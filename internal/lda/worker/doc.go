// Package worker has messages delivered by processes of the users whose mail it is, on
// behalf of a server of root's that touches nobody's files itself.
//
// Each worker has a socket to the server. A request is a line of JSON and, for a delivery,
// as many octets as it says; the answer is a line of JSON. The server has the whole
// message before it begins, so that no worker waits for a slow client, and a message that
// is cut off is never taken for a whole one. A worker serves one request after the other
// until the server closes its side, which also cancels what is being done.
//
// A worker is its user's, who can do with it as with any process: what it says is
// checked, and counts for that user's mail alone.
package worker

import (
	"encoding/json"

	"rtls/internal/lda"
)

// request is what the server asks a worker to do.
type request struct {
	Settings json.RawMessage // of the agent; this package does not know them
	Users    []lda.User      // whose mail it is; the worker looks up nobody else

	Size       int64 // of the message; of what a client announced where it is to be admitted
	Admit      bool  // say only whether there is room for a message to the one recipient
	Envelope   lda.Envelope
	Recipients []lda.Recipient
}

// answer has a result for each recipient.
type answer struct {
	Results []*result
}

// result is an lda.Error as a client may see it; nil stands for success.
type result struct {
	Code         int
	Status, Text string
}

// maxAnswer is how long the answer for a recipient may be.
const maxAnswer = 2000
