package session

import (
	"rtls/internal/mimetree"
)

// writeEnvelope writes an ENVELOPE: the header's own values, decoded nowhere.
func (s *Session) writeEnvelope(e *mimetree.Envelope) {
	s.w.Raw("(")
	s.textOrNil(e.Date)
	s.w.Raw(" ")
	s.textOrNil(e.Subject)
	for _, list := range [][]mimetree.Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		s.w.Raw(" ")
		s.writeAddresses(list)
	}
	s.w.Raw(" ")
	s.textOrNil(e.InReplyTo)
	s.w.Raw(" ")
	s.textOrNil(e.MessageID)
	s.w.Raw(")")
}

func (s *Session) textOrNil(text *string) {
	if text == nil {
		s.w.Raw("NIL")
	} else {
		s.w.String(*text)
	}
}

// stringOrNil writes NIL for the empty string.
func (s *Session) stringOrNil(text string) {
	if text == "" {
		s.w.Raw("NIL")
	} else {
		s.w.String(text)
	}
}

func (s *Session) writeAddresses(list []mimetree.Address) {
	if len(list) == 0 {
		s.w.Raw("NIL")
		return
	}
	s.w.Raw("(")
	for _, a := range list {
		switch a.Kind {
		case mimetree.GroupStart:
			s.w.Raw("(NIL NIL ")
			s.w.String(a.Mailbox)
			s.w.Raw(" NIL)")
		case mimetree.GroupEnd:
			s.w.Raw("(NIL NIL NIL NIL)")
		default:
			s.w.Raw("(")
			s.stringOrNil(a.Name)
			s.w.Raw(" ")
			s.stringOrNil(a.Route)
			s.w.Raw(" ")
			s.w.String(a.Mailbox)
			s.w.Raw(" ")
			s.w.String(a.Host)
			s.w.Raw(")")
		}
	}
	s.w.Raw(")")
}

// writeStructure writes a BODYSTRUCTURE, or a BODY if not extended.
func (s *Session) writeStructure(p *mimetree.Part, extended bool) {
	s.w.Raw("(")
	if p.IsMultipart() {
		s.writeMultipart(p, extended)
	} else {
		s.writeSingle(p, extended)
	}
	if extended {
		s.writeExtension(p)
	}
	s.w.Raw(")")
}

// writeMultipart: the grammar knows no multipart without parts, so one that has
// none is shown with an empty text.
func (s *Session) writeMultipart(p *mimetree.Part, extended bool) {
	for _, child := range p.Children {
		s.writeStructure(child, extended)
	}
	if len(p.Children) == 0 {
		s.writeStructure(&mimetree.Part{Type: "text", Subtype: "plain"}, extended)
	}
	s.w.Raw(" ")
	s.w.String(p.Subtype)
	if extended {
		s.w.Raw(" ")
		s.writeParams(p.Params)
	}
}

func (s *Session) writeSingle(p *mimetree.Part, extended bool) {
	s.w.String(p.Type)
	s.w.Raw(" ")
	s.w.String(p.Subtype)
	s.w.Raw(" ")
	params := p.Params
	if p.Is("text", "") && p.Param("charset") == "" {
		params = append(params[:len(params):len(params)], mimetree.Param{Name: "charset", Value: "us-ascii"}) // RFC 2045 section 5.2
	}
	s.writeParams(params)
	s.w.Raw(" ")
	s.stringOrNil(p.ID)
	s.w.Raw(" ")
	s.stringOrNil(p.Description)
	s.w.Raw(" ")
	if p.Encoding == "" {
		s.w.Raw(`"7bit"`)
	} else {
		s.w.String(p.Encoding)
	}
	s.w.Raw(" ")
	s.w.Num(uint64(p.Body.Size()))
	switch {
	case s.showsMessage(p):
		child := p.Children[0]
		s.w.Raw(" ")
		s.writeEnvelope(child.Envelope)
		s.w.Raw(" ")
		s.writeStructure(child, extended)
		s.w.Raw(" ")
		s.w.Num(uint64(p.Lines))
	case p.Is("text", ""):
		s.w.Raw(" ")
		s.w.Num(uint64(p.Lines))
	}
	if extended {
		s.w.Raw(" ")
		s.stringOrNil(p.MD5)
	}
}

// showsMessage: only clients that expect UTF-8 know how to read message/global
// (RFC 9051 section 9, media-message).
func (s *Session) showsMessage(p *mimetree.Part) bool {
	return p.IsMessage() && len(p.Children) > 0 && (p.Is("message", "rfc822") || s.enabled.utf8 || s.enabled.rev2)
}

func (s *Session) writeParams(params []mimetree.Param) {
	params = joined(params)
	if len(params) == 0 {
		s.w.Raw("NIL")
		return
	}
	for i, p := range params {
		if i == 0 {
			s.w.Raw("(")
		} else {
			s.w.Raw(" ")
		}
		s.w.String(p.Name)
		s.w.Raw(" ")
		s.w.String(p.Value)
	}
	s.w.Raw(")")
}

// writeExtension writes disposition, language and location.
func (s *Session) writeExtension(p *mimetree.Part) {
	if p.Disposition == "" {
		s.w.Raw(" NIL")
	} else {
		s.w.Raw(" (")
		s.w.String(p.Disposition)
		s.w.Raw(" ")
		s.writeParams(p.DispositionParams)
		s.w.Raw(")")
	}
	switch len(p.Language) {
	case 0:
		s.w.Raw(" NIL")
	case 1:
		s.w.Raw(" ")
		s.w.String(p.Language[0])
	default:
		for i, tag := range p.Language {
			s.w.Raw([]string{" (", " "}[min(i, 1)])
			s.w.String(tag)
		}
		s.w.Raw(")")
	}
	s.w.Raw(" ")
	s.stringOrNil(p.Location)
}
