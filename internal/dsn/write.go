package dsn

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rtls/internal/requiretls"
)

// dateFormat is that of RFC 5322.
const dateFormat = "Mon, 2 Jan 2006 15:04:05 -0700"

// writer writes lines. It keeps the first error to itself until the end, as its
// bufio.Writer does.
type writer struct {
	*bufio.Writer
	n counter
}

func (w *writer) line(parts ...string) {
	for _, p := range parts {
		w.n += counter(len(p))
		_, _ = w.WriteString(p)
	}
	w.n += 2
	_, _ = w.WriteString("\r\n")
}

// field writes a header field or a status field, folded. The value is printable
// already, but for its length.
func (w *writer) field(name, value string) {
	if value == "" {
		return
	}
	w.line(fold(name + ": " + value))
}

func (w *writer) date(name string, t time.Time) {
	if !t.IsZero() {
		w.field(name, t.Format(dateFormat))
	}
}

// WriteTo writes the report with CRLF line ends. It can be called again, and writes
// the same.
func (r *Report) WriteTo(out io.Writer) (int64, error) {
	w := &writer{Writer: bufio.NewWriter(out)}
	r.writeHeader(w)
	w.line("This is a report in the form of RFC 3464.")
	w.line()
	w.line("--", r.boundary)
	r.writeText(w)
	w.line()
	w.line("--", r.boundary)
	r.writeStatus(w)
	if len(r.header.content) > 0 {
		w.line()
		w.line("--", r.boundary)
		w.field("Content-Type", r.header.contentType)
		if r.header.encoded {
			w.field("Content-Transfer-Encoding", "quoted-printable")
		}
		w.line()
		w.n += counter(len(r.header.content))
		_, _ = w.Write(r.header.content)
	}
	w.line()
	w.line("--", r.boundary, "--")
	return int64(w.n), w.Flush()
}

// words for an action: Subject, and the sentence of the text.
var words = map[Action][2]string{
	ActionFailed:    {"Undelivered mail", "Your message could not be delivered to:"},
	ActionDelayed:   {"Delayed mail", "Your message has not been delivered yet, and will be tried again, to:"},
	ActionDelivered: {"Delivered mail", "Your message was delivered to:"},
	ActionRelayed:   {"Relayed mail", "Your message was handed on to a server that sends no reports itself, for:"},
}

// actions are those that occur, the worst first.
func (r *Report) actions() []Action {
	return slices.DeleteFunc([]Action{ActionFailed, ActionDelayed, ActionRelayed, ActionDelivered}, func(a Action) bool {
		return !slices.ContainsFunc(r.due, func(rcpt Recipient) bool { return rcpt.Action == a })
	})
}

func (r *Report) writeHeader(w *writer) {
	subject := ""
	if a := r.actions(); len(a) > 0 {
		subject = words[a[0]][0]
	}
	w.line("From: Mail Delivery System <", oneLine(r.o.From), ">")
	w.line("To: <", oneLine(r.f.From), ">") // not folded: a quoted local part can hold blanks
	w.field("Subject", subject)
	w.date("Date", r.now)
	w.field("Message-ID", r.messageID)
	w.field("In-Reply-To", messageID(r.f.MessageID))
	w.field("Auto-Submitted", "auto-replied")
	if r.Wish() == requiretls.No {
		w.field(requiretls.HeaderName, requiretls.HeaderNo)
	}
	w.field("MIME-Version", "1.0")
	w.line("Content-Type: multipart/report; report-type=delivery-status;")
	w.line("\tboundary=\"", r.boundary, "\"")
	w.line()
}

// writeText is for people. Lines that hold words of others are indented.
func (r *Report) writeText(w *writer) {
	w.field("Content-Type", "text/plain; charset=us-ascii")
	w.line()
	for i, a := range r.actions() {
		if i > 0 {
			w.line()
		}
		w.line(words[a][1])
		w.line()
		for _, rcpt := range r.due {
			if rcpt.Action != a {
				continue
			}
			w.line("    ", escapeAddress(rcpt.Address))
			if r.form == WithHeader {
				w.line(fold("        " + statusOf(&rcpt) + " " + ascii(rcpt.Remote+" "+said(&rcpt))))
			} else {
				w.line("        ", statusOf(&rcpt))
			}
		}
	}
	w.line()
	if id := messageID(r.f.MessageID); id != "" {
		w.line("The message has the Message-ID")
		w.line()
		w.line("    ", id)
		w.line()
	}
	switch {
	case r.form == Minimal && r.f.Wish == requiretls.Yes:
		w.line("It was sent with REQUIRETLS (RFC 8689), which the way back to you does not")
		w.line("support. Therefore this report has nothing else of it.")
	case r.form == Minimal:
		w.line("A report with more of it was refused on its way to you.")
	default:
		w.line("Its header is below.")
	}
}

func said(rcpt *Recipient) string {
	if rcpt.Reply != "" {
		return "said: " + rcpt.Reply
	}
	return rcpt.Reason
}

// writeStatus writes the part for programs.
func (r *Report) writeStatus(w *writer) {
	w.field("Content-Type", "message/delivery-status")
	w.line()
	w.field("Reporting-MTA", "dns; "+ascii(r.o.Hostname))
	if id := ascii(r.f.EnvelopeID); id != "" {
		w.line("Original-Envelope-Id: ", id)
	}
	if r.form == WithHeader {
		w.date("Arrival-Date", r.f.Arrived)
	}
	for _, rcpt := range r.due {
		w.line()
		r.writeRecipient(w, &rcpt)
	}
}

func (r *Report) writeRecipient(w *writer, rcpt *Recipient) {
	if r.form == WithHeader {
		w.field("Original-Recipient", originalRecipient(rcpt.Original))
	}
	w.field("Final-Recipient", typedAddress(rcpt.Address))
	w.field("Action", string(rcpt.Action))
	w.field("Status", statusOf(rcpt))
	if r.form == Minimal {
		return
	}
	if remote := ascii(rcpt.Remote); remote != "" {
		w.field("Remote-MTA", "dns; "+remote)
	}
	switch {
	case rcpt.Reply != "":
		w.field("Diagnostic-Code", "smtp; "+ascii(rcpt.Reply))
	case rcpt.Reason != "":
		w.field("Diagnostic-Code", "X-RTLS; "+ascii(rcpt.Reason))
	}
	w.date("Last-Attempt-Date", rcpt.LastAttempt)
	if rcpt.Action == ActionDelayed {
		w.date("Will-Retry-Until", rcpt.RetryUntil)
	}
}

// statusOf is the status if it is one (RFC 3463 section 2) of a class that the action
// can have, else the least that can be said.
func statusOf(rcpt *Recipient) string {
	classes, fallback := "45", "5.0.0"
	switch rcpt.Action {
	case ActionDelayed:
		classes, fallback = "4", "4.0.0"
	case ActionRelayed, ActionDelivered:
		classes, fallback = "2", "2.0.0"
	}
	parts := strings.Split(rcpt.Status, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || !strings.Contains(classes, parts[0]) {
		return fallback
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return fallback
		}
	}
	return rcpt.Status
}

// escapeAddress writes an address in ASCII: as it is, or as utf-8-addr-xtext of RFC
// 6533 section 3.
func escapeAddress(addr string) string {
	if isASCII(addr) {
		return ascii(addr)
	}
	var b strings.Builder
	for _, c := range addr {
		if b.Len() > maxText {
			break // no address is that long
		}
		switch {
		case c <= ' ' || c >= 0x7f || c == '+' || c == '=' || c == '\\':
			fmt.Fprintf(&b, "\\x{%X}", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func typedAddress(addr string) string {
	if isASCII(addr) {
		return "rfc822; " + escapeAddress(addr)
	}
	return "utf-8; " + escapeAddress(addr)
}

// originalRecipient takes ORCPT, which has its type with it.
func originalRecipient(s string) string {
	kind, addr, ok := strings.Cut(s, ";")
	if !ok || kind == "" || ascii(kind) != kind || strings.ContainsAny(kind, " \t") {
		return ""
	}
	addr = strings.TrimSpace(addr)
	if !isASCII(addr) {
		return typedAddress(addr)
	}
	return kind + "; " + ascii(addr)
}

// messageID returns an identifier that can stand in a header, or nothing.
func messageID(s string) string {
	inner, ok := strings.CutPrefix(s, "<")
	inner, closed := strings.CutSuffix(inner, ">")
	if !ok || !closed || inner == "" || len(inner) > 900 || ascii(inner) != inner || strings.ContainsAny(inner, " <>") {
		return ""
	}
	return s
}
