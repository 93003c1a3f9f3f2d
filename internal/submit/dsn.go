package submit

import (
	"fmt"
	"strings"

	"rtls/internal/requiretls"
)

// DSN is what is asked of delivery reports (RFC 3461). It is used where the server
// offers DSN, and dropped where it does not (section 5.2.2).
type DSN struct {
	Return     string   // "FULL", "HDRS" or nothing
	EnvelopeID string   // at most 100 octets once encoded
	Notify     []string // "NEVER", or some of "SUCCESS", "FAILURE", "DELAY", or nothing
}

// maxEnvelopeID is the limit of RFC 3461 section 4.4, in encoded form.
const maxEnvelopeID = 100

// ValidEnvelopeID says whether an ENVID can be sent: printable, not too long.
func ValidEnvelopeID(id string) error {
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return fmt.Errorf("an envelope identifier is printable ASCII, not %q", id)
		}
	}
	if id == "" || len(xtext(id)) > maxEnvelopeID {
		return fmt.Errorf("an envelope identifier has 1 to %d octets in xtext", maxEnvelopeID)
	}
	return nil
}

// mailDSN is the part of MAIL. With REQUIRETLS a report holds headers at the most,
// whatever was asked for (RFC 8689 section 5), and names the message by ENVID, so
// that even a report without a header can be told apart.
func (m *Mail) mailDSN() string {
	ret, id := m.DSN.Return, m.DSN.EnvelopeID
	if m.Wish == requiretls.Yes {
		ret = "HDRS"
		if id == "" {
			id = strings.Trim(m.MessageID, "<>")
		}
	}
	out := ""
	if ret != "" {
		out += " RET=" + ret
	}
	if ValidEnvelopeID(id) == nil {
		out += " ENVID=" + xtext(id)
	}
	return out
}

// rcptDSN is the part of RCPT. ORCPT is for ASCII addresses only: for others RFC
// 6533 has a form that few servers know.
func (m *Mail) rcptDSN(to string) string {
	if len(m.DSN.Notify) == 0 {
		return ""
	}
	out := " NOTIFY=" + strings.Join(m.DSN.Notify, ",")
	for i := range len(to) {
		if to[i] >= 0x80 {
			return out
		}
	}
	return out + " ORCPT=rfc822;" + xtext(to)
}

// xtext encodes as RFC 3461 section 4 says.
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
