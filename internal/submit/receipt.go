package submit

import (
	"crypto/tls"

	"rtls/internal/requiretls"
	"rtls/internal/tlsconf"
)

// Receipt is what is known of an accepted message.
type Receipt struct {
	Target     string // host:port
	TLSVersion uint16 // 0: a Unix socket without TLS; the next four are empty then
	Cipher     uint16
	Chain      []string // subjects of the verified chain, the server's own first
	KeyPin     string   // of the server's key, see tlsconf.KeyPin
	DANE       bool     // verified by TLSA records, not by an authority
	Mechanism  string   // of the login, or empty
	Announced  bool     // REQUIRETLS was in the EHLO reply inside TLS
	RequireTLS bool     // REQUIRETLS was on MAIL
	Reply      Reply    // to the final dot; of LMTP the last
}

func (s *session) receipt(state tls.ConnectionState, m *Mail, reply Reply) *Receipt {
	pin := ""
	if len(state.PeerCertificates) > 0 {
		pin = tlsconf.KeyPin(state.PeerCertificates[0])
	}
	return &Receipt{
		Target:     s.target.addr(),
		TLSVersion: state.Version,
		Cipher:     state.CipherSuite,
		Chain:      subjects(state),
		KeyPin:     pin,
		DANE:       s.records != nil,
		Mechanism:  s.mechanism,
		Announced:  s.offers(requiretls.Keyword),
		RequireTLS: m.Wish == requiretls.Yes,
		Reply:      reply,
	}
}

// subjects names the chain that was verified; with DANE, what the server sent.
func subjects(state tls.ConnectionState) []string {
	chain := state.PeerCertificates
	if len(state.VerifiedChains) > 0 {
		chain = state.VerifiedChains[0]
	}
	var names []string
	for _, cert := range chain {
		names = append(names, cert.Subject.String())
	}
	return names
}
