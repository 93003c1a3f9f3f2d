package mimetree

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Summary is what can be kept of a message so that listing it does not need the
// message: envelope, tree, and the fields of its header that clients ask for. It
// says the same as the message itself.
type Summary struct {
	Size   int64 // octets of the message
	Header int64 // of these its header, the empty line included
	// Fields are the lines of the header's common fields as they are, in their
	// order; see HasFields.
	Fields string
	// Thread is the message identifier that the message's thread starts with, as
	// far as the message knows: the first in References or else in In-Reply-To or
	// else its own. It is empty where there is none.
	Thread   string
	Envelope *Envelope
	Root     *Part // nil if only the header was read

	hasFields bool
}

const (
	maxHead       = 64 << 10 // octets of a header in which common fields are looked for
	maxKeptFields = 16 << 10
	maxThread     = 998     // octets, a line's most
	maxName       = 8 << 10 // octets of a line in which the colon is looked for
)

// A Summarizer makes summaries. It belongs to one goroutine.
type Summarizer struct{ r *bufio.Reader }

// Summarize reads a message of size octets in wire form: all of it, or if not whole
// only its header. The error is the reader's; there is no other.
func (z *Summarizer) Summarize(r io.Reader, size int64, whole bool) (*Summary, error) {
	if z.r == nil {
		z.r = bufio.NewReaderSize(nil, lineBuffer)
	}
	z.r.Reset(r)
	p := &parser{r: z.r, keepHead: true}
	s := &Summary{Size: size}
	if whole {
		s.Root, _, _ = p.part(1, isMessage)
		s.Envelope, s.Header = s.Root.Envelope, s.Root.Header.End
	} else {
		p.parts++
		stopped, ended := p.header(isMessage)
		s.Envelope, s.Header = p.envelope(), p.at.off
		if ended {
			s.Header = stopped.line.off
		}
		p.thread = p.threadRoot()
	}
	if p.err != nil {
		return nil, fmt.Errorf("read message: %w", p.err)
	}
	s.Thread = p.thread
	if s.Header <= maxHead {
		s.Fields, s.hasFields = commonFields(p.head)
	}
	return s, nil
}

// threadRoot finds the message identifier that a thread starts with.
func (p *parser) threadRoot() string {
	id := firstID(p.text(references))
	if id == "" {
		id = firstID(p.text(inReplyTo))
	}
	own := p.text(messageID)
	if id == "" {
		id = firstID(own)
	}
	if id == "" {
		id = own
	}
	return id[:min(len(id), maxThread)]
}

// firstID is the first text in angle brackets, with them.
func firstID(text string) string {
	start := strings.IndexByte(text, '<')
	if start < 0 {
		return ""
	}
	end := strings.IndexByte(text[start:], '>')
	if end < 0 {
		return ""
	}
	return text[start : start+end+1]
}

// commonNames are the fields whose lines a summary keeps: what Thunderbird, mutt,
// Apple's and Android's mail programs, Roundcube and mbsync ask for to list
// messages. Those that many mails have and that are large, Received, DKIM-Signature
// and their like, are left out: they would make the index several times as large.
// Names that hardly any mail has cost nothing, and spare the file.
var commonNames = nameSet(`
	From Sender Reply-To To Cc Bcc Subject Date Message-ID In-Reply-To References
	Content-Type Content-Description MIME-Version Newsgroups Lines
	Priority X-Priority X-MSMail-Priority Importance Precedence Auto-Submitted
	List-Id List-Post List-Help List-Archive List-Subscribe List-Unsubscribe List-Unsubscribe-Post
	Disposition-Notification-To Return-Receipt-To Return-Path Delivered-To X-Original-To
	X-Label X-Keywords X-Status X-TUID X-Mailer User-Agent X-Draft-Info
	X-K9mail-Identity X-Uniform-Type-Identifier X-Universally-Unique-Identifier
	X-Spam-Flag X-Spam-Status Require-TLS-ESMTP TLS-Required RTLS-Delivery
`)

const longestCommon = 31

func nameSet(names string) map[string]bool {
	set := make(map[string]bool)
	for _, name := range strings.Fields(names) {
		set[strings.ToLower(name)] = true
	}
	return set
}

// IsCommon says whether a header field is among those that summaries keep.
func IsCommon(name string) bool { return commonNames[strings.ToLower(name)] }

// HasFields says whether Fields holds all lines of the common fields. Those of a
// header that is very large are left out.
func (s *Summary) HasFields() bool { return s.hasFields }

// commonFields returns false where the lines are too many to be kept, or too odd.
func commonFields(head []byte) (string, bool) {
	var kept strings.Builder
	wanted := false
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n') + 1
		if end == 0 {
			end = len(head)
		}
		line := head[:end]
		head = head[end:]
		if line[0] != ' ' && line[0] != '\t' {
			name, _, isField := bytes.Cut(line[:min(len(line), maxName)], []byte(":"))
			if !isField && len(line) > maxName {
				return "", false
			}
			wanted = isField && isCommon(name)
		}
		if wanted {
			kept.Write(line)
		}
		if kept.Len() > maxKeptFields {
			return "", false
		}
	}
	return kept.String(), true
}

func isCommon(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	var lower [longestCommon]byte
	if len(name) > len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return commonNames[string(lower[:len(name)])]
}
