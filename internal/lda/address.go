package lda

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// maxAddress is generous: RFC 5321 section 4.5.3.1.3 asks for 256 octets, and
// internationalised addresses grow. The fields that hold one stay below the 998
// octets of a line.
const maxAddress = 512

// CheckAddress says whether an address can be written into a header field: it is
// UTF-8, not too long, and nothing in it ends a line or a path. Its syntax is
// otherwise the mail transfer agent's business. Empty is allowed.
func CheckAddress(address string) error {
	if len(address) > maxAddress || !utf8.ValidString(address) {
		return errors.New("address is too long or not UTF-8")
	}
	quoted := false
	for i := 0; i < len(address); i++ {
		switch b := address[i]; {
		case b < ' ' || b == 0x7f:
			return errors.New("address holds a control character")
		case quoted && b == '\\':
			i++
			if i == len(address) || address[i] < ' ' || address[i] == 0x7f {
				return errors.New("address ends in a backslash")
			}
		case b == '"':
			quoted = !quoted
		case !quoted && (b == '<' || b == '>' || b == ' '):
			return errors.New("address holds a space or an angle bracket")
		}
	}
	if quoted {
		return errors.New("address has an open quote")
	}
	return nil
}

// Quote puts quotes around a local part that cannot do without. Programs that hand
// over an address outside of SMTP often leave them out.
func Quote(address string) string {
	if CheckAddress(address) == nil {
		return address
	}
	local, domain := address, ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local, domain = address[:i], address[i:]
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"` + domain
}

// sender is what the message itself says of its reverse-path, for want of a
// better witness: the Return-Path field, which the agent before us may have
// written, else the mbox "From " line. It is the null reverse-path when neither
// makes sense.
func (h *header) sender() string {
	candidate := ""
	if len(h.returnPath) > 0 {
		candidate = h.returnPath[0]
		if strings.HasPrefix(candidate, "<") && strings.HasSuffix(candidate, ">") {
			candidate = candidate[1 : len(candidate)-1]
		}
	} else if h.fromLine != "" {
		candidate, _, _ = strings.Cut(h.fromLine, " ")
	}
	if CheckAddress(candidate) != nil || candidate == "MAILER-DAEMON" {
		return ""
	}
	return candidate
}
