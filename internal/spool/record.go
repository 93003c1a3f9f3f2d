package spool

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rtls/internal/compose"
	"rtls/internal/requiretls"
)

// Record is everything about a message but its text and its fate.
type Record struct {
	ID   string    `json:"id"`
	Time time.Time `json:"time"` // when it was added, UTC
	UID  int       `json:"uid"`  // who added it

	From string          `json:"from"` // reverse-path; empty is the null reverse-path
	To   []string        `json:"to"`   // at least one
	Wish requiretls.Wish `json:"-"`    // "requiretls" in the file

	Return     string   `json:"ret,omitempty"` // RFC 3461, as in submit.DSN
	EnvelopeID string   `json:"envid,omitempty"`
	Notify     []string `json:"notify,omitempty"`

	Route Route `json:"route"`

	Size      int64  `json:"size"` // octets of the message
	EightBit  bool   `json:"eight_bit"`
	UTF8      bool   `json:"utf8"`
	MessageID string `json:"message_id,omitempty"`
}

// Route is which way a message was to take: an account of the configuration, and
// what was said in place of its settings.
type Route struct {
	Account string `json:"account,omitempty"`
	Host    string `json:"host,omitempty"`
	Port    int    `json:"port,omitempty"`
	TLS     string `json:"tls,omitempty"`
}

// wire is a Record in JSON.
type wire struct {
	Record
	Wish string `json:"requiretls"`
}

// maxHeader bounds the JSON. 50,000 recipients fit.
const maxHeader = 4 << 20

// Damage is the error for a file that is not what it should be.
type Damage struct{ Reason string }

func (d *Damage) Error() string { return "the file is damaged: " + d.Reason }

func damaged(format string, args ...any) error { return &Damage{fmt.Sprintf(format, args...)} }

// ErrVersion is for a file of a newer version, which is left alone.
var ErrVersion = errors.New("the file was written by a newer version of rtls-send")

const (
	messageWord = "rtls-spool"
	stateWord   = "rtls-state"
	endWord     = "rtls-end"
	endLen      = int64(len(endWord) + 1 + 2*sha256.Size + 1)
)

// seal writes the two lines that message files and state files begin with.
func seal(word string, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(text) >= maxHeader {
		return nil, fmt.Errorf("an envelope of %d octets is too large", len(text))
	}
	sum := sha256.Sum256(text)
	return fmt.Appendf(nil, "%s 1 %x\n%s\n", word, sum, text), nil
}

// unseal reads what seal wrote into v, and says how many octets it was. Reading is
// strict: what comes out is what was put in, or an error. One that is neither
// *Damage nor ErrVersion is of r.
func unseal(word string, r io.Reader, v any) (int64, error) {
	in := bufio.NewReader(io.LimitReader(r, maxHeader+1024))
	line, err := in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	version, sum, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, word+" "), "\n"), " ")
	switch {
	case !strings.HasPrefix(line, word+" ") || !strings.HasSuffix(line, "\n"):
		return 0, damaged("it does not begin with %q", word)
	case version != "1" && version != "" && strings.Trim(version, "0123456789") == "":
		return 0, ErrVersion
	case version != "1":
		return 0, damaged("the version is %.20q", version)
	}
	text, err := in.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	text, whole := bytes.CutSuffix(text, []byte("\n"))
	if got := sha256.Sum256(text); !whole || hex.EncodeToString(got[:]) != sum {
		return 0, damaged("the checksum of its second line is wrong")
	}
	if err := json.Unmarshal(text, v); err != nil {
		return 0, damaged("%v", err)
	}
	return int64(len(line) + len(text) + 1), nil
}

// encode writes the head of a message's file.
func (r *Record) encode() ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	return seal(messageWord, wire{*r, r.Wish.String()})
}

// decode reads the head of a message's file, and where its text begins.
func decode(in io.Reader) (*Record, int64, error) {
	var w wire
	var raw bytes.Buffer
	start, err := unseal(messageWord, io.TeeReader(in, &raw), &w)
	if err != nil {
		return nil, 0, err
	}
	if w.Record.Wish, err = requiretls.ParseWish(w.Wish); err != nil {
		return nil, 0, damaged("%v", err)
	}
	// What is not written as this package writes it was not written by it: JSON has
	// names in other cases, names twice, names that nobody knows.
	again, err := w.Record.encode()
	if err != nil {
		return nil, 0, damaged("%v", err)
	}
	if !bytes.Equal(again, raw.Bytes()[:start]) {
		return nil, 0, damaged("it is not written as rtls-send writes it")
	}
	return &w.Record, start, nil
}

// validate holds for every record, also one that a stranger wrote: all that goes
// into commands is checked again.
func (r *Record) validate() error {
	switch {
	case !ValidID(r.ID):
		return fmt.Errorf("%.40q is no identifier", r.ID)
	case r.Time.IsZero() || r.Time.Location() != time.UTC || r.Time.Year() < 1970 || r.Time.Year() > 9999:
		return errors.New("the time makes no sense")
	case r.UID < 0 || r.Size < 2 || r.Wish > requiretls.No:
		return errors.New("a number makes no sense")
	case len(r.To) == 0:
		return errors.New("there is no recipient")
	case r.Route.Port < 0 || r.Route.Port > 65535:
		return fmt.Errorf("%d is no port", r.Route.Port)
	case r.Return != "" && r.Return != "FULL" && r.Return != "HDRS":
		return fmt.Errorf("RET=%.20q", r.Return)
	}
	if err := validAddress(r.From, true); err != nil {
		return err
	}
	for _, to := range r.To {
		if err := validAddress(to, false); err != nil {
			return err
		}
	}
	for _, word := range r.Notify {
		if !slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, word) {
			return fmt.Errorf("NOTIFY=%.20q", word)
		}
	}
	for _, s := range []string{r.EnvelopeID, r.MessageID, r.Route.Account, r.Route.Host, r.Route.TLS} {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return fmt.Errorf("%.40q holds a control character", s)
		}
	}
	return nil
}

// validAddress takes what compose makes of an address, in the one form that it
// makes.
func validAddress(s string, null bool) error {
	if s == "" && null {
		return nil
	}
	parsed, err := compose.ParseAddress(s)
	if err != nil {
		return err
	}
	if s == "" || parsed != s || !utf8.ValidString(s) {
		return fmt.Errorf("%.60q is no address", s)
	}
	return nil
}

// idAlphabet is that of RFC 4648 section 7 in lower case, which sorts as it counts.
const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

const idLen = 26

// ValidID says whether a name could be a message's.
func ValidID(s string) bool {
	return len(s) == idLen && strings.Trim(s, idAlphabet) == ""
}
