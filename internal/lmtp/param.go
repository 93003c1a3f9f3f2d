package lmtp

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"rtls/internal/lda"
	"rtls/internal/requiretls"
)

// mailParams is what MAIL said.
type mailParams struct {
	sender     string
	size       int64 // as announced, which binds nobody; 0: not announced
	utf8       bool
	requireTLS bool
	ret        string
	envID      string
}

// rcptParams is what RCPT said.
type rcptParams struct {
	address string
	notify  string
	orcpt   string
}

func badParam(format string) *lda.Error {
	return &lda.Error{Code: 501, Status: "5.5.4", Text: format}
}

// parseMail reads what stands behind MAIL.
func parseMail(args string) (mailParams, error) {
	var m mailParams
	path, rest, ok := cutPath(args, "FROM:")
	if !ok {
		return m, &lda.Error{Code: 501, Status: "5.1.7", Text: "say MAIL FROM:<address>"}
	}
	err := eachParam(rest, func(key, value string, hasValue bool) error { return m.set(key, value, hasValue) })
	if err != nil {
		return mailParams{}, err
	}
	if m.sender, err = path.address(m.utf8, "5.1.7"); err != nil {
		return mailParams{}, err
	}
	return m, nil
}

func (m *mailParams) set(key, value string, hasValue bool) error {
	switch key {
	case "SIZE": // RFC 1870
		if !hasValue || len(value) > 20 || strings.Trim(value, "0123456789") != "" {
			return badParam("SIZE takes a number")
		}
		var err error
		if m.size, err = strconv.ParseInt(value, 10, 64); err != nil {
			m.size = math.MaxInt64
		}
	case "BODY": // RFC 6152; either way the octets are kept
		if !strings.EqualFold(value, "7BIT") && !strings.EqualFold(value, "8BITMIME") {
			return badParam("BODY is 7BIT or 8BITMIME")
		}
	case "SMTPUTF8": // RFC 6531 section 3.4
		m.utf8 = true
		return noValue(key, hasValue)
	case requiretls.Keyword: // RFC 8689 section 2
		m.requireTLS = true
		return noValue(key, hasValue)
	case "RET": // RFC 3461 section 4.3
		m.ret = strings.ToUpper(value)
		if m.ret != "FULL" && m.ret != "HDRS" {
			return badParam("RET is FULL or HDRS")
		}
	case "ENVID": // RFC 3461 section 4.4
		m.envID = value
		if value == "" || len(value) > 100 || !isXtext(value, false) {
			return badParam("ENVID is at most 100 octets of xtext")
		}
	default:
		return unknownParam(key)
	}
	return nil
}

// parseRcpt reads what stands behind RCPT. smtputf8 says whether MAIL had that
// parameter, without which an address is ASCII.
func parseRcpt(args string, smtputf8 bool) (rcptParams, error) {
	var p rcptParams
	path, rest, ok := cutPath(args, "TO:")
	if !ok || path.null() {
		return p, &lda.Error{Code: 501, Status: "5.1.3", Text: "say RCPT TO:<address>"}
	}
	err := eachParam(rest, func(key, value string, _ bool) error {
		switch key {
		case "NOTIFY":
			p.notify = strings.ToUpper(value)
			return checkNotify(p.notify)
		case "ORCPT":
			p.orcpt = value
			return checkORcpt(value, smtputf8)
		}
		return unknownParam(key)
	})
	if err != nil {
		return rcptParams{}, err
	}
	if p.address, err = path.address(smtputf8, "5.1.3"); err != nil {
		return rcptParams{}, err
	}
	return p, nil
}

// checkNotify follows RFC 3461 section 4.1: NEVER stands alone.
func checkNotify(value string) error {
	words := strings.Split(value, ",")
	for i, w := range words {
		known := w == "SUCCESS" || w == "FAILURE" || w == "DELAY" || w == "NEVER" && len(words) == 1
		if !known || slices.Contains(words[:i], w) {
			return badParam("NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY")
		}
	}
	return nil
}

// checkORcpt follows RFC 3461 section 4.2, and RFC 6533 section 3 for UTF-8.
func checkORcpt(value string, smtputf8 bool) error {
	kind, address, ok := strings.Cut(value, ";")
	if !ok || kind == "" || address == "" || len(value) > 500 ||
		strings.Trim(strings.ToLower(kind), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
		!isXtext(address, smtputf8) {
		return badParam("ORCPT is an address type, a semicolon and at most 500 octets of xtext")
	}
	return nil
}

// isXtext follows RFC 3461 section 4.
func isXtext(s string, smtputf8 bool) bool {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b >= utf8.RuneSelf && smtputf8:
		case b <= ' ' || b >= 0x7f || b == '=':
			return false
		case b == '+':
			if i+2 >= len(s) || strings.IndexByte(hex, s[i+1]) < 0 || strings.IndexByte(hex, s[i+2]) < 0 {
				return false
			}
			i += 2
		}
	}
	return utf8.ValidString(s)
}

func noValue(key string, hasValue bool) error {
	if hasValue {
		return badParam(key + " takes no value")
	}
	return nil
}

// unknownParam follows RFC 5321 section 4.1.1.11.
func unknownParam(key string) error {
	return &lda.Error{Code: 555, Status: "5.5.4", Text: "parameter " + key + " is not known here"}
}

// eachParam calls f for each parameter, its name in capitals. Each may stand once.
func eachParam(params string, f func(key, value string, hasValue bool) error) error {
	var seen []string
	for param := range strings.FieldsSeq(params) {
		key, value, hasValue := strings.Cut(param, "=")
		key = strings.ToUpper(key)
		switch {
		case len(key) > 64 || strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" || key == "" || key[0] == '-':
			return badParam("a parameter is KEY or KEY=VALUE")
		case slices.Contains(seen, key):
			return badParam(key + " may stand once")
		}
		seen = append(seen, key)
		if err := f(key, value, hasValue); err != nil {
			return err
		}
	}
	return nil
}
