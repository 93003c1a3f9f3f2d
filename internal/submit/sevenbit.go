package submit

import "rtls/internal/cli"

// encode replaces the text by one in 7 bits, for this server and those after it.
func (m *Mail) encode() error {
	if m.SevenBit == nil {
		return cli.Errorf(cli.DataErr, "the message has 8-bit text and the server does not offer 8BITMIME, nothing was sent").
			WithStatus("5.6.3").WithHint("write the message in 7 bits: quoted-printable or base64, and encoded words in the header")
	}
	text, size, err := m.SevenBit()
	if err != nil {
		return err
	}
	m.Content, m.Size, m.EightBit = text, size, false
	return nil
}
