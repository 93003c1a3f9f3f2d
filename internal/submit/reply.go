package submit

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"rtls/internal/cli"
)

// Limits on what a server may say. RFC 5321 section 4.5.3.1.5 has 512 octets a
// line; an EHLO reply has a few dozen lines.
const (
	maxReplyLine  = 4096
	maxReplyLines = 512
)

// Reply is a server's reply.
type Reply struct {
	Code   int
	Status string   // enhanced status code of the first line (RFC 2034), or empty
	Lines  []string // the text of each line, printable, with the enhanced status code
}

// String is the reply in one printable line of bounded length.
func (r Reply) String() string {
	text := strings.Join(r.Lines, " / ")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	return strings.TrimRight(fmt.Sprintf("%d %s", r.Code, text), " ")
}

// positive says whether the command succeeded.
func (r Reply) positive() bool { return r.Code/100 == 2 }

// protocolError is for peers that do not speak SMTP.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// readReply reads one reply, of one or more lines.
func readReply(r *bufio.Reader) (Reply, error) {
	var reply Reply
	for range maxReplyLines {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return Reply{}, protocolError("the server's reply has a line that is too long")
		}
		if err != nil {
			return Reply{}, err
		}
		code, text, last, ok := parseReplyLine(strings.TrimRight(string(line), "\r\n"))
		if !ok || reply.Code != 0 && code != reply.Code {
			return Reply{}, protocolError(fmt.Sprintf("the server's reply is not SMTP: %q", clip(string(line))))
		}
		if reply.Code == 0 {
			reply.Code = code
			reply.Status = enhancedStatus(code, text)
		}
		reply.Lines = append(reply.Lines, cli.Printable(text))
		if last {
			return reply, nil
		}
	}
	return Reply{}, protocolError("the server's reply has too many lines")
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80]
	}
	return s
}

// parseReplyLine takes a line apart (RFC 5321 section 4.2): three digits, then
// nothing, a blank or a hyphen.
func parseReplyLine(line string) (code int, text string, last, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, "", false, false
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, "", false, false
		}
		code = code*10 + int(line[i]-'0')
	}
	switch rest := line[3:]; {
	case rest == "":
		return code, "", true, true
	case rest[0] == ' ':
		return code, rest[1:], true, true
	case rest[0] == '-':
		return code, rest[1:], false, true
	}
	return 0, "", false, false
}

// enhancedStatus returns the enhanced status code at the start of a text if its
// class fits the reply (RFC 2034 section 4).
func enhancedStatus(code int, text string) string {
	word, _, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || int(parts[0][0]-'0') != code/100 {
		return ""
	}
	for _, part := range parts[1:] {
		if part == "" || len(part) > 3 || strings.Trim(part, "0123456789") != "" {
			return ""
		}
	}
	return word
}

// refusal is a negative reply to a command.
type refusal struct {
	reply   Reply
	err     *cli.Error
	at      stage
	again   bool // a login that may go better with another secret
	verdict bool // on the message or a recipient; another target would say the same
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// stage is how far a session had come; what a reply means depends on it.
type stage uint8

const (
	stageHello stage = iota
	stageAuth
	stageMail
	stageRcpt
	stageData
)

// refused makes an error of a negative reply. What is the command, for people.
func refused(at stage, what string, r Reply) *refusal {
	e := cli.Errorf(exitCode(at, r), "%s: the server said %s", what, r).WithStatus(r.Status)
	return &refusal{reply: r, err: e, at: at, verdict: e.Code == cli.NoUser || at == stageData && e.Code == cli.DataErr}
}

// exitCode maps a reply to an exit code.
func exitCode(at stage, r Reply) int {
	switch {
	case r.Code/100 == 4:
		return cli.TempFail
	case r.Code/100 != 5:
		return cli.Protocol
	case r.Status == "5.7.10" || r.Status == "5.7.30" || r.Code == 523:
		return cli.Unavailable
	case at == stageAuth || r.Code == 530 || r.Code == 534 || r.Code == 535 || r.Code == 538:
		return cli.NoPerm
	case at == stageHello:
		return cli.Unavailable
	case at == stageRcpt && unknownUser(r):
		return cli.NoUser
	}
	return cli.DataErr
}

func unknownUser(r Reply) bool {
	switch r.Status {
	case "5.1.1", "5.1.10": // no such mailbox; the domain takes no mail (RFC 7505)
		return true
	case "":
		return r.Code == 550
	}
	return false
}
