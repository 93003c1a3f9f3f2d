// Package handover has clients who have logged in served by a process of the user whose
// mail it is, on behalf of a server of root's that touches nobody's files itself.
//
// The server keeps TLS, and with it the client's connection: what it decrypts goes to the
// process, and what comes back is encrypted. A process serves all sessions of its owner,
// so that they share what is in memory and hear of each other's changes at once.
//
// The server and a process have a channel, a socket of packets. The first packet holds the
// settings; each further one is a client, in JSON, with two sockets: that of the dialogue,
// and one on which the process says whether it takes the client, tells how the session
// stands when it is asked, and is told to end it. When the server closes the channel the
// process ends its sessions, and itself.
//
// A process is its user's, who can do with it as with any process: what it says is
// bounded, and counts for that user's sessions alone.
package handover

import (
	"time"

	"rtls/internal/imap/session"
	"rtls/internal/reexec"
)

// Owner is whose process it takes to serve somebody's mail.
type Owner = reexec.User

// Client is a client who has logged in, and what the process has to know of the user.
type Client struct {
	User        string
	Remote      string // address
	TLS, Cipher string // names
	Program     string // what the client says of itself (RFC 2971)

	Dir           string // of the account
	Quota         int64  // octets; 0: none
	QuotaMessages int64  // 0: none
	TextIndex     bool   // searches use an index of texts
}

// request is what the server says about a session.
type request struct{ Do string }

// What a process can be asked to do about a session.
const (
	doShow  = "show"
	doStop  = "stop"
	doExpel = "expel"
	doKick  = "kick"
)

// reply is what the process says of a session: first whether it takes the client, and then
// how it stands whenever that is asked.
type reply struct {
	Refused string `json:",omitempty"`
	Shown   session.Shown
}

// Refusals.
const (
	refusedLimit = "limit"
	refusedError = "error" // the process has logged it
)

// Bounds of what one side believes of the other.
const (
	maxPacket = 64 << 10
	maxReply  = 16 << 10
	prompt    = time.Second // for what takes no work
)
