package mimetree

// parseType reads the value of Content-Type (RFC 2045 section 5.1). It returns
// false if there is no type and subtype in it.
func parseType(value string) (typ, subtype string, params []Param, ok bool) {
	s := scanner{text: value}
	s.skip()
	typ = s.word("/;,(")
	s.skip()
	if typ == "" || !s.accept('/') {
		return "", "", nil, false
	}
	s.skip()
	subtype = s.word("/;,(")
	if subtype == "" {
		return "", "", nil, false
	}
	return typ, subtype, s.params(), true
}

// parseDisposition reads the value of Content-Disposition (RFC 2183 section 2).
func parseDisposition(value string) (string, []Param) {
	disposition := parseToken(value)
	if disposition == "" {
		return "", nil
	}
	s := scanner{text: value}
	return disposition, s.params()
}

// parseToken reads the first word, which is all there should be but comments.
func parseToken(value string) string {
	s := scanner{text: value}
	s.skip()
	return s.word(";,(")
}

// params reads parameters: what stands behind the next semicolon and those after
// it. What has no name or no equals sign is passed over.
func (s *scanner) params() []Param {
	var params []Param
	for s.toSemicolon() {
		s.skip()
		name := s.until("=;(")
		s.skip()
		if name == "" || !s.accept('=') {
			continue
		}
		s.skip()
		params = append(params, Param{name, s.word(";")})
	}
	return params
}

// toSemicolon passes over the next semicolon that is not quoted or in a comment,
// and says whether there was one.
func (s *scanner) toSemicolon() bool {
	for s.more() {
		switch s.peek() {
		case ';':
			s.at++
			return true
		case '"':
			s.quoted()
		case '(':
			s.comment()
		default:
			s.at++
		}
	}
	return false
}
