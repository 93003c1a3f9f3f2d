package sieve

import (
	"bytes"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"time"
)

const (
	maxSubject    = 400 // octets of the answer's subject; more is cut off
	maxReferences = 20  // Message-IDs
	maxLine       = 78  // octets of a header line, where it can be folded
)

// answer makes the answer to the message, whether it is to be sent or not.
func (c *vacationCommand) answer(r *run) (Vacation, error) {
	to := r.content.Sender
	v := Vacation{To: to, Key: c.key(to), Period: c.period, MIME: c.mime}
	v.Body = strings.ToValidUTF8(r.expand(c.reason), "?")
	if c.mime {
		if err := c.checkEntity(v.Body); err != nil {
			return v, err
		}
	}
	var err error
	if v.From, err = c.sender(r); err != nil {
		return v, err
	}
	if v.Subject, err = c.subjectOf(r); err != nil {
		return v, err
	}
	return v, r.thread(&v)
}

// sender is whom the answer comes from.
func (c *vacationCommand) sender(r *run) ([]*mail.Address, error) {
	if c.from != nil {
		return c.readFrom(r.expand(*c.from))
	}
	for _, s := range []string{r.env.Owner, r.content.Recipient} {
		if a, err := mail.ParseAddress(s); err == nil && plain(s) {
			return []*mail.Address{a}, nil
		}
	}
	return nil, nil
}

// subjectOf is the subject of the answer (RFC 5230 section 5.3).
func (c *vacationCommand) subjectOf(r *run) (string, error) {
	if c.subject != nil {
		return headerText(r.expand(*c.subject)), nil
	}
	values, err := r.content.values(r.ctx, "subject")
	if err != nil {
		return "", err
	}
	if len(values) > 0 {
		if subject := headerText(decodeValue(values[0])); subject != "" {
			return headerText("Auto: " + subject), nil
		}
	}
	return "Automated reply", nil
}

// headerText makes a text fit for a header field.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Trim(truncate(s, maxSubject), " ")
}

// thread fills in In-Reply-To and References (RFC 5322 section 3.6.4).
func (r *run) thread(v *Vacation) error {
	ids := make(map[string][]string)
	for _, name := range []string{"message-id", "references", "in-reply-to"} {
		values, err := r.content.values(r.ctx, name)
		if err != nil {
			return err
		}
		if len(values) > 0 {
			ids[name] = messageIDs(values[0])
		}
	}
	if len(ids["message-id"]) == 0 {
		return nil
	}
	v.InReplyTo = ids["message-id"][0]
	before := ids["references"]
	if before == nil && len(ids["in-reply-to"]) == 1 {
		before = ids["in-reply-to"]
	}
	if len(before) >= maxReferences { // the first starts the thread
		before = slices.Concat(before[:1], before[len(before)-maxReferences+2:])
	}
	v.References = append(slices.Clone(before), v.InReplyTo)
	return nil
}

// messageIDs finds what looks like a Message-ID.
func messageIDs(value string) []string {
	const longest = 250
	var ids []string
	for word := range strings.SplitSeq(value, "<") {
		id, _, ok := strings.Cut(word, ">")
		if ok && len(id) <= longest && strings.Contains(id, "@") && strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0 {
			ids = append(ids, "<"+id+">")
		}
	}
	return ids
}

// splitEntity cuts the reason of :mime into its header fields and its body.
func splitEntity(s string) (fields []string, body string) {
	header, body, _ := strings.Cut("\r\n"+s, "\r\n\r\n")
	for line := range strings.SplitSeq(strings.TrimPrefix(header, "\r\n"), "\r\n") {
		folded := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		switch {
		case line == "":
		case folded && len(fields) > 0:
			fields[len(fields)-1] += "\r\n" + line
		default:
			fields = append(fields, line)
		}
	}
	return fields, body
}

// checkEntity checks the header of a reason with :mime (RFC 5230 section 5).
func (c *vacationCommand) checkEntity(s string) error {
	fields, _ := splitEntity(s)
	for _, f := range fields {
		name, _, ok := strings.Cut(f, ":")
		unfolded := strings.NewReplacer("\r\n", "", "\t", " ").Replace(f)
		switch {
		case !ok || strings.ContainsAny(name, " \t"):
			return c.reason.at.errorf("vacation: with :mime the text starts with header fields and an empty line, but %q is no field", oneLine(f, 80))
		case !plain(unfolded) || strings.IndexFunc(f, func(r rune) bool { return r >= 0x80 }) >= 0:
			return c.reason.at.errorf("vacation: the header fields of the text have to be ASCII, but %s is not", oneLine(name, 80))
		}
	}
	return nil
}

// Message is the whole answer, with lines that end in CRLF, ready for SMTP with
// 8BITMIME. date is when it is made and id its Message-ID, with angle brackets.
// Fields that are to be added go before it.
func (v *Vacation) Message(date time.Time, id string) []byte {
	var b bytes.Buffer
	line := func(name string, words ...string) {
		b.WriteString(name + ":")
		at := len(name) + 1
		for i, word := range words {
			if i > 0 && at+1+len(word) > maxLine {
				b.WriteString("\r\n")
				at = 0
			}
			b.WriteString(" " + word)
			at += 1 + len(word)
		}
		b.WriteString("\r\n")
	}
	line("Date", date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	line("Message-ID", id)
	var from []string
	for _, a := range v.From {
		from = append(from, a.String()+",")
	}
	from[len(from)-1] = strings.TrimSuffix(from[len(from)-1], ",")
	line("From", from...)
	line("To", "<"+v.To+">")
	line("Subject", strings.Fields(mime.QEncoding.Encode("utf-8", v.Subject))...)
	if v.InReplyTo != "" {
		line("In-Reply-To", v.InReplyTo)
		line("References", v.References...)
	}
	line("Auto-Submitted", "auto-replied (vacation)")
	line("MIME-Version", "1.0")
	v.entity(&b)
	return b.Bytes()
}

// entity writes the content fields and the body.
func (v *Vacation) entity(b *bytes.Buffer) {
	if v.MIME {
		fields, body := splitEntity(v.Body)
		for _, f := range fields { // none may replace those of the answer
			if strings.HasPrefix(lower(f), "content-") {
				b.WriteString(f + "\r\n")
			}
		}
		b.WriteString("\r\n" + body)
		return
	}
	if ascii, short := simple(v.Body); ascii && short {
		b.WriteString("Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
		b.WriteString(v.Body)
	} else {
		b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
		w := quotedprintable.NewWriter(b)
		_, _ = w.Write([]byte(v.Body)) // into memory
		_ = w.Close()
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) {
		b.WriteString("\r\n")
	}
}

// simple says whether a text is ASCII that can be shown, in lines of a length that
// SMTP allows.
func simple(s string) (ascii, short bool) {
	short = true
	for line := range strings.SplitSeq(s, "\r\n") {
		short = short && len(line) <= 900
		if strings.IndexFunc(line, func(r rune) bool { return r >= 0x7f || r < ' ' && r != '\t' }) >= 0 {
			return false, short
		}
	}
	return true, short
}
