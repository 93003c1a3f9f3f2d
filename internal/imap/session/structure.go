package session

import (
	"slices"
	"unicode/utf8"

	"rtls/internal/imap/wire"
	"rtls/internal/mimetree"
)

// describer writes envelopes and structures.
type describer struct {
	w      *wire.Writer
	global bool // the client knows how to read message/global
}

// describer is the one for what is sent. Only clients that expect UTF-8 know how to
// read message/global (RFC 9051 section 9, media-message).
func (s *Session) describer() describer {
	return describer{s.w, s.enabled.utf8 || s.enabled.rev2}
}

// structureMaker makes BODYSTRUCTUREs that can be kept.
type structureMaker struct {
	w *wire.Writer
	b beginning
}

// make returns the BODYSTRUCTURE that every client is sent, or "" if it depends on the
// client, or is too long to be kept.
func (m *structureMaker) make(root *mimetree.Part) string {
	if m.w == nil {
		m.w = wire.NewWriter(&m.b)
	}
	m.b = m.b[:0]
	describer{w: m.w}.structure(root, true)
	if m.w.Flush() != nil || len(m.b) > mimetree.MaxStructure || holdsGlobal(root) {
		return ""
	}
	for _, c := range m.b {
		if c >= utf8.RuneSelf { // it depends on whether the client has enabled UTF-8
			return ""
		}
	}
	return string(m.b)
}

// beginning keeps what is written to it until that is too long for a structure.
type beginning []byte

func (b *beginning) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), mimetree.MaxStructure+1-len(*b))]...)
	return len(p), nil
}

func holdsGlobal(p *mimetree.Part) bool {
	return p.Is("message", "global") || slices.ContainsFunc(p.Children, holdsGlobal)
}

// envelope writes an ENVELOPE: the header's own values, decoded nowhere.
func (d describer) envelope(e *mimetree.Envelope) {
	d.w.Raw("(")
	d.textOrNil(e.Date)
	d.w.Raw(" ")
	d.textOrNil(e.Subject)
	for _, list := range [][]mimetree.Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		d.w.Raw(" ")
		d.addresses(list)
	}
	d.w.Raw(" ")
	d.textOrNil(e.InReplyTo)
	d.w.Raw(" ")
	d.textOrNil(e.MessageID)
	d.w.Raw(")")
}

func (d describer) textOrNil(text *string) {
	if text == nil {
		d.w.Raw("NIL")
	} else {
		d.w.String(*text)
	}
}

// stringOrNil writes NIL for the empty string.
func (d describer) stringOrNil(text string) {
	if text == "" {
		d.w.Raw("NIL")
	} else {
		d.w.String(text)
	}
}

func (d describer) addresses(list []mimetree.Address) {
	if len(list) == 0 {
		d.w.Raw("NIL")
		return
	}
	d.w.Raw("(")
	for _, a := range list {
		switch a.Kind {
		case mimetree.GroupStart:
			d.w.Raw("(NIL NIL ")
			d.w.String(a.Mailbox)
			d.w.Raw(" NIL)")
		case mimetree.GroupEnd:
			d.w.Raw("(NIL NIL NIL NIL)")
		default:
			d.w.Raw("(")
			d.stringOrNil(a.Name)
			d.w.Raw(" ")
			d.stringOrNil(a.Route)
			d.w.Raw(" ")
			d.w.String(a.Mailbox)
			d.w.Raw(" ")
			d.w.String(a.Host)
			d.w.Raw(")")
		}
	}
	d.w.Raw(")")
}

// structure writes a BODYSTRUCTURE, or a BODY if not extended.
func (d describer) structure(p *mimetree.Part, extended bool) {
	d.w.Raw("(")
	if p.IsMultipart() {
		d.multipart(p, extended)
	} else {
		d.single(p, extended)
	}
	if extended {
		d.extension(p)
	}
	d.w.Raw(")")
}

// multipart: the grammar knows no multipart without parts, so one that has
// none is shown with an empty text.
func (d describer) multipart(p *mimetree.Part, extended bool) {
	for _, child := range p.Children {
		d.structure(child, extended)
	}
	if len(p.Children) == 0 {
		d.structure(&mimetree.Part{Type: "text", Subtype: "plain"}, extended)
	}
	d.w.Raw(" ")
	d.w.String(p.Subtype)
	if extended {
		d.w.Raw(" ")
		d.params(p.Params)
	}
}

func (d describer) single(p *mimetree.Part, extended bool) {
	d.w.String(p.Type)
	d.w.Raw(" ")
	d.w.String(p.Subtype)
	d.w.Raw(" ")
	params := p.Params
	if p.Is("text", "") && p.Param("charset") == "" {
		params = append(params[:len(params):len(params)], mimetree.Param{Name: "charset", Value: "us-ascii"}) // RFC 2045 section 5.2
	}
	d.params(params)
	d.w.Raw(" ")
	d.stringOrNil(p.ID)
	d.w.Raw(" ")
	d.stringOrNil(p.Description)
	d.w.Raw(" ")
	if p.Encoding == "" {
		d.w.Raw(`"7bit"`)
	} else {
		d.w.String(p.Encoding)
	}
	d.w.Raw(" ")
	d.w.Num(uint64(p.Body.Size()))
	switch {
	case d.showsMessage(p):
		child := p.Children[0]
		d.w.Raw(" ")
		d.envelope(child.Envelope)
		d.w.Raw(" ")
		d.structure(child, extended)
		d.w.Raw(" ")
		d.w.Num(uint64(p.Lines))
	case p.Is("text", ""):
		d.w.Raw(" ")
		d.w.Num(uint64(p.Lines))
	}
	if extended {
		d.w.Raw(" ")
		d.stringOrNil(p.MD5)
	}
}

func (d describer) showsMessage(p *mimetree.Part) bool {
	return p.IsMessage() && len(p.Children) > 0 && (d.global || !p.Is("message", "global"))
}

func (d describer) params(params []mimetree.Param) {
	params = joined(params)
	if len(params) == 0 {
		d.w.Raw("NIL")
		return
	}
	for i, p := range params {
		if i == 0 {
			d.w.Raw("(")
		} else {
			d.w.Raw(" ")
		}
		d.w.String(p.Name)
		d.w.Raw(" ")
		d.w.String(p.Value)
	}
	d.w.Raw(")")
}

// extension writes disposition, language and location.
func (d describer) extension(p *mimetree.Part) {
	if p.Disposition == "" {
		d.w.Raw(" NIL")
	} else {
		d.w.Raw(" (")
		d.w.String(p.Disposition)
		d.w.Raw(" ")
		d.params(p.DispositionParams)
		d.w.Raw(")")
	}
	switch len(p.Language) {
	case 0:
		d.w.Raw(" NIL")
	case 1:
		d.w.Raw(" ")
		d.w.String(p.Language[0])
	default:
		for i, tag := range p.Language {
			d.w.Raw([]string{" (", " "}[min(i, 1)])
			d.w.String(tag)
		}
		d.w.Raw(")")
	}
	d.w.Raw(" ")
	d.stringOrNil(p.Location)
}
