package lda

import (
	"encoding/hex"
	"strings"
)

// mayKnow says whether the message can be known again when it comes again.
func (j *job) mayKnow() bool {
	return j.a.cfg.DeliverOnce && j.queueID() != ""
}

// queueID is the mail transfer agent's name for the message. It writes that into
// its own Received field, the topmost: what it hands over a second time has it again,
// and what it receives a second time gets another.
func (j *job) queueID() string {
	if j.env.QueueID != "" {
		return j.env.QueueID
	}
	return j.h.receivedID
}

// once names a copy's delivery for the store, or is empty. The queue id alone would
// not do: agents use them again. With the digest of the content, the topmost Received
// field included, two messages with one name are the same to the octet.
func (j *job) once(c *storedCopy) string {
	if j.a.cfg.SuppressDuplicates && j.h.messageID != "" {
		return "message-id\x00" + j.h.messageID
	}
	if j.digest == nil {
		return ""
	}
	rcpt := c.content.to.Address
	if c.content.common {
		rcpt = ""
	}
	sum := hex.EncodeToString(j.digest.Sum(nil))
	return strings.Join([]string{"queue", j.queueID(), j.env.Sender, rcpt, sum}, "\x00")
}

// receivedID returns the id of a Received field's value (RFC 5321 section 4.4), or
// nothing.
func receivedID(value string) string {
	var b strings.Builder
	depth, escaped := 0, false
	for _, r := range value {
		switch {
		case escaped:
			escaped = false
			continue
		case r == '\\':
			escaped = true
			continue
		case r == '(':
			depth++
		case r == ')' && depth > 0:
			depth--
			r = ' '
		}
		if depth == 0 {
			b.WriteRune(r)
		}
	}
	clauses, _, _ := strings.Cut(b.String(), ";")
	words := strings.Fields(clauses)
	for i := 0; i+1 < len(words); i++ {
		if strings.EqualFold(words[i], "id") {
			return words[i+1][:min(len(words[i+1]), 250)]
		}
	}
	return ""
}
