package command

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestParseMessageURL(t *testing.T) {
	header := Section{Text: Header}
	for raw, want := range map[string]MessageURL{
		"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER": {Rooted: true, Mailbox: "Drafts", UIDValidity: 385759045, UID: 20, Section: header},
		"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME": {Rooted: true, Mailbox: "Drafts", UIDValidity: 385759045, UID: 20, Section: Section{Part: []uint32{1}, Text: MIME}},
		"/inbox/;UID=5": {Rooted: true, Mailbox: "INBOX", UID: 5},
		"/;UID=5/;SECTION=HEADER.FIELDS%20(From%20To)":                        {Rooted: true, UID: 5, Section: Section{Text: HeaderFields, Fields: []string{"From", "To"}}},
		";UID=5/;PARTIAL=7":                                                   {UID: 5, Section: Section{Partial: true, Offset: 7, Length: math.MaxInt64}},
		";uid=5/;section=1.2/;partial=0.10":                                   {UID: 5, Section: Section{Part: []uint32{1, 2}, Partial: true, Length: 10}},
		"a%20b/c%3Bd%C3%A4/;UID=1":                                            {Mailbox: "a b/c;dä", UID: 1},
		"imap://mail.example.org/INBOX/;UID=1":                                {Host: "mail.example.org", Rooted: true, Mailbox: "INBOX", UID: 1},
		"IMAP://a%40b;AUTH=*@mail.example.org:993/INBOX;UIDVALIDITY=2/;UID=1": {User: "a@b", Host: "mail.example.org", Port: "993", Rooted: true, Mailbox: "INBOX", UIDValidity: 2, UID: 1},
		"//[::1]/INBOX/;UID=1":                                                {Host: "[::1]", Rooted: true, Mailbox: "INBOX", UID: 1},
	} {
		got, err := ParseMessageURL(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", raw, got, err, want)
		}
	}
	for _, raw := range []string{
		"", "/", "/INBOX", "INBOX", "/INBOX;UIDVALIDITY=1", "/INBOX/;UID=0", "/INBOX/;UID=x", "/INBOX/;UID=1/", "/INBOX/;UID=4294967296", "/INBOX/;UID", "/a b/;UID=1", "/%zz/;UID=1", "/%00/;UID=1", "/%FF/;UID=1", "/é/;UID=1",
		"/a/;UID=1/;UIDVALIDITY=1", "/a/;UID=1/;UID=1", "/a/;UID=1/;SECTION=", "/a/;UID=1/;SECTION=FOO", "/a/;UID=1/;SECTION=1.", "/a/;UID=1/;SECTION=1%5D", "/a/;UID=1/;SECTION=0", "/a/;UID=1/;SECTION=MIME", "/a/;UID=1/;SECTION=HEADER.FIELDS%20(%7B1%7D%0D%0Aa)",
		"/a/;UID=1/;PARTIAL=", "/a/;UID=1/;PARTIAL=1.0", "/a/;UID=1/;PARTIAL=1.2.3", "/a/;UID=1/;PARTIAL=-1", "/a/;UID=1/;PARTIAL=1/;SECTION=1",
		"/a/;UID=1;EXPIRE=2030-01-01T00:00:00Z;URLAUTH=anonymous:internal:00", "/a/;UID=1?x", "/a/;UID=1#x",
		"http://mail.example.org/INBOX/;UID=1", "imap:/INBOX/;UID=1", "imap:INBOX/;UID=1", "imap://mail.example.org", "imap:///INBOX/;UID=1", "imap://a@b@c/x/;UID=1", "imap://a:b/x/;UID=1", "imap://u%zz@h/INBOX/;UID=1", "a:b/;UID=1",
	} {
		if got, err := ParseMessageURL(raw); err == nil {
			t.Errorf("%s: taken for %+v", raw, got)
		}
	}
}

// printURL writes a URL for the round trip of FuzzMessageURL.
func printURL(u MessageURL) string {
	encode := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		return b.String()
	}
	var b strings.Builder
	if u.Host != "" {
		b.WriteString("imap://")
		if u.User != "" {
			b.WriteString(encode(u.User) + "@")
		}
		b.WriteString(u.Host)
		if u.Port != "" {
			b.WriteString(":" + u.Port)
		}
	}
	if u.Rooted {
		b.WriteString("/")
	}
	b.WriteString(encode(u.Mailbox))
	if u.UIDValidity != 0 {
		fmt.Fprintf(&b, ";UIDVALIDITY=%d", u.UIDValidity)
	}
	if u.Mailbox != "" || u.UIDValidity != 0 {
		b.WriteString("/")
	}
	fmt.Fprintf(&b, ";UID=%d", u.UID)
	if s := u.Section.brackets(); s != "[]" {
		b.WriteString("/;SECTION=" + encode(s[1:len(s)-1]))
	}
	if s := u.Section; s.Partial {
		fmt.Fprintf(&b, "/;PARTIAL=%d.%d", s.Offset, s.Length)
	}
	return b.String()
}

func FuzzMessageURL(f *testing.F) {
	for _, seed := range []string{"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", "imap://a%40b;AUTH=*@h:993/x/;UID=1/;SECTION=1.HEADER.FIELDS%20(From)/;PARTIAL=1.2", "//h/a/;UID=1", ";UID=1/;PARTIAL=3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseMessageURL(raw)
		if err != nil {
			return
		}
		printed := printURL(u)
		again, err := ParseMessageURL(printed)
		if err != nil || !reflect.DeepEqual(again, u) {
			t.Errorf("%q\nprinted %q\nerror %v\n got %+v\nwant %+v", raw, printed, err, again, u)
		}
	})
}
