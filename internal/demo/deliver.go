package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"rtls/internal/requiretls"
	"rtls/internal/testmail"
	"rtls/internal/tlsconf"
	"rtls/store"
)

// reader is a mail client that waits under IDLE.
type reader struct {
	client *imapclient.Client
	tls    string
	exists chan uint32
	seen   uint32
}

func (s *site) newReader() (*reader, error) {
	config, err := tlsconf.Client(s.path("ca.pem"), "localhost")
	if err != nil {
		return nil, err
	}
	conn, err := tls.Dial("tcp", s.imap, config)
	if err != nil {
		return nil, fmt.Errorf("connect to rtls-imapd: %w", err)
	}
	r := &reader{tls: describe(conn.ConnectionState()), exists: make(chan uint32, 1024)}
	r.client = imapclient.New(conn, &imapclient.Options{
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			Mailbox: func(data *imapclient.UnilateralDataMailbox) {
				if data.NumMessages != nil {
					r.exists <- *data.NumMessages
				}
			},
		},
	})
	if err := r.client.Login(user, password).Wait(); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	selected, err := r.client.Select("INBOX", nil).Wait()
	if err != nil {
		return nil, fmt.Errorf("select: %w", err)
	}
	r.seen = selected.NumMessages
	return r, nil
}

// arrived is a message as the mail client got it.
type arrived struct {
	uid      uint32
	keywords []string
	raw      []byte
}

// next does something that makes a message arrive, waits for it under IDLE and
// fetches it.
func (r *reader) next(ctx context.Context, do func() error) (*arrived, error) {
	idle, err := r.client.Idle()
	if err != nil {
		return nil, err
	}
	err = do()
	for timeout := time.After(20 * time.Second); err == nil; {
		select {
		case n := <-r.exists:
			if n <= r.seen {
				continue
			}
			r.seen = n
		case <-timeout:
			err = fmt.Errorf("no news of a message under IDLE")
		case <-ctx.Done():
			err = ctx.Err()
		}
		break
	}
	if cerr := idle.Close(); err == nil {
		err = cerr
	}
	if werr := idle.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return nil, err
	}
	section := &imap.FetchItemBodySection{Peek: true}
	found, err := r.client.Fetch(imap.SeqSetNum(r.seen), &imap.FetchOptions{
		UID: true, Flags: true, BodySection: []*imap.FetchItemBodySection{section},
	}).Collect()
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("fetch message %d: %d found: %w", r.seen, len(found), err)
	}
	a := &arrived{uid: uint32(found[0].UID), raw: found[0].FindBodySection(section)}
	for _, flag := range found[0].Flags {
		if strings.HasPrefix(string(flag), "$") {
			a.keywords = append(a.keywords, string(flag))
		}
	}
	return a, nil
}

// row is what became of one message.
type row struct {
	name, wish                string
	relay, tag, keyword, hops string
	bytes                     string
	wrong                     []string
}

func (r *row) expect(what, got, want string) {
	if got != want {
		r.wrong = append(r.wrong, fmt.Sprintf("%s is %s, should be %s", what, got, want))
	}
}

// deliverAll sends the corpus and prints a row a message. It returns whether all
// rows were right.
func (s *site) deliverAll(ctx context.Context, w io.Writer) (bool, error) {
	corpus, err := testmail.All("testdata/mail")
	if err != nil {
		return false, err
	}
	r, err := s.newReader()
	if err != nil {
		return false, err
	}
	defer r.client.Close()
	account, err := store.Open(s.path("mail/"+user), nil)
	if err != nil {
		return false, err
	}
	defer account.Close()
	inbox, err := account.Mailbox(ctx, "INBOX")
	if err != nil {
		return false, err
	}
	defer inbox.Close()

	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "message\twish\trelay saw\tstored tag\tIMAP keyword\tTLS: submission\tLMTP\tIMAP\tbody\t")
	good := true
	var offset int64
	for i, m := range corpus {
		wish := []requiretls.Wish{requiretls.Yes, requiretls.No, requiretls.Auto}[i%3]
		var line row
		if m.Refused {
			line, err = s.refusedRow(ctx, m, wish, offset)
		} else {
			line, offset, err = s.deliveredRow(ctx, r, inbox, m, wish, offset)
		}
		if err != nil {
			table.Flush()
			return false, fmt.Errorf("%s: %w", m.Name, err)
		}
		verdict := ""
		if len(line.wrong) > 0 {
			good = false
			verdict = "WRONG: " + strings.Join(line.wrong, "; ")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", line.name, line.wish, line.relay, line.tag, line.keyword, line.hops, line.bytes, verdict)
	}
	return good, table.Flush()
}

func (s *site) deliveredRow(ctx context.Context, r *reader, inbox *store.Mailbox, m testmail.Message, wish requiretls.Wish, offset int64) (row, int64, error) {
	line := row{name: m.Name, wish: wish.String()}
	a, err := r.next(ctx, func() error {
		code, said, err := s.send(ctx, m.Raw, "--requiretls="+wish.String(), "-i", user)
		if err == nil && code != 0 {
			err = fmt.Errorf("rtls-send exited %d: %s", code, said)
		}
		return err
	})
	if err != nil {
		return line, offset, err
	}
	e, next, err := s.lastMessage(offset)
	if err != nil {
		return line, offset, err
	}
	snapshot, err := inbox.Sync(ctx)
	if err != nil {
		return line, offset, err
	}
	at, ok := snapshot.Find(a.uid)
	if !ok {
		return line, offset, fmt.Errorf("UID %d is not in the store", a.uid)
	}
	stored := snapshot.At(at)

	line.relay = relaySaw(e)
	line.tag = stored.Tag.String() + "/" + stored.Origin.String()
	line.keyword = strings.Join(a.keywords, " ")
	line.hops = strings.Join([]string{e.In, e.Out, r.tls}, "\t")
	want := expectation(m.Raw, wish)
	line.expect("the relay's view", line.relay, want.relay)
	line.expect("the tag", line.tag, want.tag)
	line.expect("the keyword", line.keyword, want.keyword)
	for _, hop := range []string{e.In, e.Out, r.tls} {
		if !strings.HasPrefix(hop, "1.2 ") && !strings.HasPrefix(hop, "1.3 ") {
			line.wrong = append(line.wrong, "a hop without TLS")
		}
	}
	line.bytes = "equal"
	sent, got := wireBody(m.Raw), bodyOf(a.raw)
	line.expect("the relay's body", e.BodySHA256[:12], digest(got)[:12])
	if tooLong(m.Raw) {
		line.bytes = "equal, encoded"
		if got, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(got))); err != nil {
			return line, next, err
		}
	}
	line.expect("the client's body", digest(got)[:12], digest(sent)[:12])
	if !bytes.Equal(got, sent) {
		line.bytes = "DIFFERENT"
	}
	return line, next, nil
}

// tooLong says whether a message has a line that no server has to take (RFC 5321
// section 4.5.3.1.6), which rtls-send therefore encodes.
func tooLong(raw []byte) bool {
	for line := range bytes.Lines(wireBody(raw)) {
		if len(line) > 1000 {
			return true
		}
	}
	return false
}

// refusedRow is for a message that rtls-send must not take.
func (s *site) refusedRow(ctx context.Context, m testmail.Message, wish requiretls.Wish, offset int64) (row, error) {
	code, _, err := s.send(ctx, m.Raw, "--requiretls="+wish.String(), "-i", user)
	if err != nil {
		return row{}, err
	}
	line := row{name: m.Name, wish: wish.String(), relay: fmt.Sprintf("refused, exit %d", code), hops: "\t\t"}
	line.expect("the exit code", fmt.Sprint(code), "65")
	events, _, err := lines(s.path("relay.log"), offset)
	if err != nil {
		return line, err
	}
	line.expect("what the relay saw", fmt.Sprint(len(events)), "0")
	return line, nil
}

// lastMessage reads the relay's log from an offset up to a message's event.
func (s *site) lastMessage(offset int64) (event, int64, error) {
	found, next, err := lines(s.path("relay.log"), offset)
	if err != nil {
		return event{}, offset, err
	}
	for _, text := range slices.Backward(found) {
		var e event
		if err := json.Unmarshal(text, &e); err != nil {
			return event{}, offset, err
		}
		if e.What == "message" {
			return e, next, nil
		}
	}
	return event{}, offset, fmt.Errorf("the relay saw no message")
}

func relaySaw(e event) string {
	switch {
	case e.RequireTLS && e.Optional:
		return "REQUIRETLS, TLS-Required: No"
	case e.RequireTLS:
		return "REQUIRETLS"
	case e.Optional:
		return "TLS-Required: No"
	}
	return "no wish"
}

// expectation is what RFC 8689 makes of a wish and of the header a message
// brings along.
func expectation(raw []byte, wish requiretls.Wish) row {
	header, _ := splitMessage(raw)
	optional := hasOptional(header)
	switch {
	case wish == requiretls.Yes && optional: // section 4.1: the parameter wins
		return row{relay: "REQUIRETLS, TLS-Required: No", tag: "require/esmtp", keyword: "$RequireTLS"}
	case wish == requiretls.Yes:
		return row{relay: "REQUIRETLS", tag: "require/esmtp", keyword: "$RequireTLS"}
	case wish == requiretls.No || optional:
		return row{relay: "TLS-Required: No", tag: "optional/header", keyword: "$TLSOptional"}
	}
	return row{relay: "no wish", tag: "none/esmtp"}
}

// wireBody is the body that must arrive: line ends are CRLF, the last one too.
func wireBody(raw []byte) []byte {
	_, body := splitMessage(raw)
	body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	body = bytes.ReplaceAll(body, []byte("\r"), []byte("\n"))
	body = bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))
	if len(body) > 0 && !bytes.HasSuffix(body, []byte("\r\n")) {
		body = append(body, "\r\n"...)
	}
	return body
}

// bodyOf is what stands behind the first empty line.
func bodyOf(raw []byte) []byte {
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return body
}

// splitMessage splits at the first empty line, whatever the line ends.
func splitMessage(raw []byte) (header, body []byte) {
	for at := 0; at < len(raw); {
		end := bytes.IndexByte(raw[at:], '\n')
		if end < 0 {
			break
		}
		if line := bytes.TrimRight(raw[at:at+end], "\r"); len(line) == 0 {
			return raw[:at], raw[at+end+1:]
		}
		at += end + 1
	}
	return raw, nil
}
