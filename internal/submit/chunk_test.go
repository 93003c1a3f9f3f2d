package submit

import (
	"errors"
	"io"
	"strings"
	"testing"

	"rtls/internal/cli"
)

const (
	chunk  = "BDAT 18\r\nSubject: s\r\n\r\n.x\r\n"
	ending = "BDAT 0 LAST\r\n"
)

// lying is content that is not what was announced, or cannot be read to its end.
type lying struct {
	text string
	err  error
}

func (l lying) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, l.text)
	return int64(n), errors.Join(err, l.err)
}

func TestChunks(t *testing.T) {
	offering := step{hello.want, strings.Replace(full, "250 REQ", "250-CHUNKING\r\n250 REQ", 1)}
	plain := step{hello.want, strings.Replace(offering.say, "250-PIPELINING\r\n", "", 1)}
	envelope := step{auth + mail + rcpt, "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n"}
	for _, tc := range []struct {
		name    string
		content io.WriterTo
		steps   []step
		code    int
		doubt   bool
	}{
		{"sent", nil, []step{offering, envelope,
			{chunk + ending + "QUIT\r\n", "250 2.0.0 18 octets\r\n250 2.0.0 taken\r\n221 bye\r\n"}, theEnd}, 0, false},
		{"without PIPELINING", nil, []step{plain, login, {mail, "250 ok\r\n"}, {rcpt, "250 ok\r\n"},
			{chunk + ending, "250 2.0.0 18 octets\r\n250 2.0.0 taken\r\n"}, goodbye, theEnd}, 0, false},
		{"not offered", nil, []step{hello,
			{auth + mail + rcpt + "DATA\r\n", "235 2.7.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			{data + "QUIT\r\n", "250 2.0.0 taken\r\n221 bye\r\n"}, theEnd}, 0, false},
		{"the recipient is refused", nil, []step{offering,
			{envelope.want, "235 2.7.0 ok\r\n250 ok\r\n550 5.1.1 no\r\n"}, goodbye, theEnd}, cli.NoUser, false},
		{"the chunk is refused", nil, []step{offering, envelope,
			{chunk + ending + "QUIT\r\n", "552 5.3.4 too much\r\n503 5.5.1 no\r\n221 bye\r\n"}, theEnd}, cli.DataErr, false},
		{"the end is refused", nil, []step{offering, envelope,
			{chunk + ending + "QUIT\r\n", "250 2.0.0 ok\r\n451 4.3.0 later\r\n221 bye\r\n"}, theEnd}, cli.TempFail, false},
		{"no answer to the end", nil, []step{offering, envelope,
			{chunk + ending + "QUIT\r\n", "250 2.0.0 ok\r\n"}}, cli.TempFail, true},
		// Nothing makes a message of half a text.
		{"unreadable", lying{"Subject: s\r\n", io.ErrUnexpectedEOF}, []step{offering, envelope, theEnd}, cli.TempFail, false},
		{"too short", lying{"Subject: s\r\n", nil}, []step{offering, envelope, theEnd}, cli.Software, false},
		{"too long", lying{strings.Repeat("Subject: s\r\n", 2), nil}, []step{offering, envelope, theEnd}, cli.TempFail, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := message()
			if tc.content != nil {
				m.Content = tc.content
			}
			_, err := playAt(t, t.Context(), func(t *Target) { t.BDAT = true }, m, Options{}, tc.steps...)
			if cli.ExitCode(err) != tc.code || MaybeSent(err) != tc.doubt {
				t.Errorf("%v, exit code %d, maybe sent %v; want %d, %v", err, cli.ExitCode(err), MaybeSent(err), tc.code, tc.doubt)
			}
		})
	}
}
