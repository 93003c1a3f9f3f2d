package command

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"rtls/internal/imap/wire"
)

var testLimits = wire.Limits{Line: 16 << 10, Held: 64 << 10, Discard: 1 << 20}

func parse(p *Parser, state State, input string) (tag, name string, cmd Command, l *wire.Lexer, err error) {
	l = wire.NewLexer(strings.NewReader(input), testLimits, func() error { return nil })
	if err := l.Next(); err != nil {
		return "", "", nil, l, err
	}
	tag, name, cmd, err = p.Parse(l, state)
	return tag, name, cmd, l, err
}

func set(ranges ...uint32) NumSet {
	var s wire.Set
	for i := 0; i < len(ranges); i += 2 {
		s = append(s, wire.Range{Lo: ranges[i], Hi: ranges[i+1]})
	}
	return NumSet{Set: s}
}

func all(keys ...Key) Key { return Key{Keys: keys} }

func TestParse(t *testing.T) {
	initial := "AGEAYg=="
	date := time.Date(1994, 2, 1, 0, 0, 0, 0, time.UTC)
	for input, want := range map[string]Command{
		"NOOP":                            Noop{},
		"login user \"pass word\"":        Login{"user", "pass word"},
		"LOGIN {4}\r\nuser {4+}\r\npa\"s": Login{"user", "pa\"s"},
		"AUTHENTICATE plain":              Authenticate{Mechanism: "PLAIN"},
		"AUTHENTICATE PLAIN AGEAYg==":     Authenticate{Mechanism: "PLAIN", Initial: &initial},
		"ENABLE condstore QRESYNC":        Enable{[]string{"CONDSTORE", "QRESYNC"}},
		"ID NIL":                          ID{},
		`ID ("name" "x" "version" NIL)`:   ID{[][2]string{{"name", "x"}}},
		"SELECT inbox":                    Select{Mailbox: "INBOX"},
		"EXAMINE InBox/Sub (CONDSTORE)":   Select{Mailbox: "INBOX/Sub", ReadOnly: true, CondStore: true},
		"SELECT a (QRESYNC (67890007 20050715194045000 41,43:211 (1:3 4:6)))": Select{Mailbox: "a", CondStore: true, QResync: &QResync{
			67890007, 20050715194045000, set(41, 41, 43, 211).Set, set(1, 3).Set, set(4, 6).Set}},
		"SELECT a (QRESYNC (1 2))":            Select{Mailbox: "a", CondStore: true, QResync: &QResync{UIDValidity: 1, ModSeq: 2}},
		`CREATE Entw&APw-rfe (USE (\Drafts))`: Create{"Entwürfe", []string{"Drafts"}},
		"DELETE \"a b\"":                      Delete{"a b"},
		"RENAME a b":                          Rename{"a", "b"},
		"UNSUBSCRIBE a":                       Subscribe{"a", false},
		"STATUS a (messages SIZE)":            Status{"a", []string{"MESSAGES", "SIZE"}},
		`LIST "" ""`:                          List{},
		`LIST "" "*"`:                         List{Patterns: []string{"*"}},
		`LIST a/ %`:                           List{Reference: "a/", Patterns: []string{"%"}},
		`LSUB "" *`:                           List{LSub: true, Subscribed: true, Patterns: []string{"*"}},
		`LIST (SUBSCRIBED RECURSIVEMATCH) "" (a "b*") RETURN (CHILDREN STATUS (MESSAGES))`: List{Extended: true, Subscribed: true, RecursiveMatch: true,
			Patterns: []string{"a", "b*"}, ReturnChildren: true, ReturnStatus: []string{"MESSAGES"}},
		`FETCH 1:* FAST`: Fetch{Set: set(1, 0), Items: []Item{{Kind: Flags}, {Kind: InternalDate}, {Kind: Size}}},
		`UID FETCH 5,3 (UID BODY.PEEK[] BODY[1.2.MIME]<0.10>)`: Fetch{UID: true, Set: set(5, 5, 3, 3), Items: []Item{
			{Kind: UID}, {Kind: BodySection, Section: &Section{Peek: true}}, {Kind: BodySection, Section: &Section{Part: []uint32{1, 2}, Text: MIME, Partial: true, Length: 10}}}},
		`FETCH $ BODY[HEADER.FIELDS.NOT (From "X Y")]`: Fetch{Set: NumSet{Saved: true}, Items: []Item{
			{Kind: BodySection, Section: &Section{Text: HeaderFieldsNot, Fields: []string{"From", "X Y"}}}}},
		`FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[2.3] BODY)`: Fetch{Set: set(1, 1), Items: []Item{
			{Kind: BinarySize, Section: &Section{Part: []uint32{1}}}, {Kind: Binary, Section: &Section{Part: []uint32{2, 3}, Peek: true}}, {Kind: Body}}},
		`UID FETCH 1:* FLAGS (CHANGEDSINCE 12345 VANISHED)`:   Fetch{UID: true, Set: set(1, 0), Items: []Item{{Kind: Flags}}, Changed: true, ChangedSince: 12345, Vanished: true},
		`STORE 1 +FLAGS.SILENT (\seen $x)`:                    Store{Set: set(1, 1), Op: Add, Silent: true, Flags: []string{`\Seen`, "$x"}},
		`UID STORE 1 (UNCHANGEDSINCE 0) -FLAGS \Deleted Junk`: Store{UID: true, Set: set(1, 1), Op: Remove, Flags: []string{`\Deleted`, "Junk"}, Conditional: true},
		`STORE 1 FLAGS ()`: Store{Set: set(1, 1), Flags: []string{}},
		`UID MOVE 1 a`:     Copy{UID: true, Move: true, Set: set(1, 1), Mailbox: "a"},
		`EXPUNGE`:          Expunge{},
		`SEARCH RETURN (CONTEXT COUNT) UNDELETED`: Search{Return: &Return{Context: true, Count: true}, Key: all(not(Key{Op: Keyword, Flag: `\Deleted`}))},
		`SEARCH RETURN (UPDATE) ALL`:              Search{Return: &Return{All: true, Update: &Update{}}, Key: all(Key{})},
		`SEARCH RETURN (COUNT UPDATE (UID BODY[HEADER.FIELDS (TO)])) ALL`: Search{Return: &Return{Count: true, Update: &Update{Items: []Item{
			{Kind: UID}, {Kind: BodySection, Section: &Section{Text: HeaderFields, Fields: []string{"TO"}}}}}}, Key: all(Key{})},
		`SEARCH RETURN (UPDATE(FLAGS) MIN) ALL`: Search{Return: &Return{Min: true, Update: &Update{Items: []Item{{Kind: Flags}}}}, Key: all(Key{})},
		`ESEARCH unseen`:                        MultiSearch{Search: Search{UID: true, Key: all(not(Key{Op: Keyword, Flag: `\Seen`}))}},
		`ESEARCH IN (mailboxes "folder1" subtree (folder2 f3) personal) RETURN (COUNT) CHARSET UTF-8 ALL`: MultiSearch{
			[]Filter{{Mailboxes, []string{"folder1"}}, {Subtree, []string{"folder2", "f3"}}, {Kind: Personal}},
			Search{UID: true, Return: &Return{Count: true}, Charset: "UTF-8", Key: all(Key{})}},
		`NOTIFY NONE`: Notify{},
		`NOTIFY SET STATUS (Selected (MessageNew (uid body.peek[header]) messageExpunge)) (subtree Lists (MailboxName)) (personal NONE)`: Notify{Status: true, Groups: []EventGroup{
			{Filter{Kind: SelectedNow}, MessageNew | MessageExpunge, []Item{{Kind: UID}, {Kind: BodySection, Section: &Section{Text: Header, Peek: true}}}},
			{Filter{Subtree, []string{"Lists"}}, MailboxName, nil}, {Filter: Filter{Kind: Personal}}}},
		`NOTIFY SET (mailboxes (a b) (AnnotationChange MessageNew) x {3+`: Notify{Unknown: true},
		`CANCELUPDATE "B01" "B02"`:                                        CancelUpdate{[]string{"B01", "B02"}},
		`SEARCH ALL`:                                                      Search{Key: all(Key{})},
		`SEARCH CHARSET utf-8 SUBJECT {2}` + "\r\né":                      Search{Charset: "UTF-8", Key: all(Key{Op: HeaderField, Field: "SUBJECT", Text: "é"})},
		`UID SEARCH RETURN (MIN SAVE) 1:3 (UID * OR UNSEEN NOT LARGER 5)`: Search{UID: true, Return: &Return{Min: true, Save: true}, Key: all(
			Key{Op: SeqSet, Set: set(1, 3)},
			all(Key{Op: UIDSet, Set: set(0, 0)}, Key{Op: Or, Keys: []Key{not(Key{Op: Keyword, Flag: `\Seen`}), not(Key{Op: Larger, Number: 5})}}))},
		`SEARCH RETURN () KEYWORD $RequireTLS`:                                     Search{Return: &Return{All: true}, Key: all(Key{Op: Keyword, Flag: "$RequireTLS"})},
		`SEARCH SINCE 1-Feb-1994 SENTON "01-Feb-1994"`:                             Search{Key: all(Key{Op: Since, Date: date}, Key{Op: SentOn, Date: date})},
		`SEARCH SAVEDON 1-Feb-1994 NOT SAVEDSINCE "01-Feb-1994" SAVEDATESUPPORTED`: Search{Key: all(Key{Op: SavedOn, Date: date}, not(Key{Op: SavedSince, Date: date}), Key{})},
		"FETCH 1 (SAVEDATE)":                           Fetch{Set: set(1, 1), Items: []Item{{Kind: SaveDate}}},
		`SEARCH MODSEQ "/flags/\\draft" all 620162338`: Search{Key: all(Key{Op: ModSeqFrom, Number: 620162338})},
		"SEARCH EMAILID M6d99 threadid T-a_":           Search{Key: all(Key{Op: IsEmail, Text: "M6d99"}, Key{Op: InThread, Text: "T-a_"})},
		"FETCH 1 (EMAILID THREADID)":                   Fetch{Set: set(1, 1), Items: []Item{{Kind: EmailID}, {Kind: ThreadID}}},
		"SORT (SUBJECT REVERSE DATE) utf-8 ALL":        Sort{Search{Charset: "UTF-8", Key: all(Key{})}, []Criterion{{By: BySubject}, {By: ByDate, Reverse: true}}},
		`UID SORT RETURN (COUNT ALL) (displayfrom) "US-ASCII" 1:3 SEEN`: Sort{Search{UID: true, Return: &Return{Count: true, All: true}, Charset: "US-ASCII",
			Key: all(Key{Op: SeqSet, Set: set(1, 3)}, Key{Op: Keyword, Flag: `\Seen`})}, []Criterion{{By: ByDisplayFrom}}},
		"THREAD references UTF-8 ALL":                      Thread{Search{Charset: "UTF-8", Key: all(Key{})}, References},
		`UID THREAD ORDEREDSUBJECT "us-ascii" UID 5 DRAFT`: Thread{Search{UID: true, Charset: "US-ASCII", Key: all(Key{Op: UIDSet, Set: set(5, 5)}, Key{Op: Keyword, Flag: `\Draft`})}, OrderedSubject},
		"FETCH 1 PREVIEW":                                  Fetch{Set: set(1, 1), Items: []Item{{Kind: Preview}}},
		"FETCH 1 PREVIEW (CHANGEDSINCE 1)":                 Fetch{Set: set(1, 1), Items: []Item{{Kind: Preview}}, Changed: true, ChangedSince: 1},
		"FETCH 1 preview (lazy) (CHANGEDSINCE 1)":          Fetch{Set: set(1, 1), Items: []Item{{Kind: Preview, Lazy: true}}, Changed: true, ChangedSince: 1},
		"FETCH 1 (PREVIEW (LAZY) PREVIEW UID)":             Fetch{Set: set(1, 1), Items: []Item{{Kind: Preview, Lazy: true}, {Kind: Preview}, {Kind: UID}}},
		"SEARCH RETURN (PARTIAL -1:-100 COUNT) ALL":        Search{Return: &Return{Count: true, Partial: Partial{1, 100, true}}, Key: all(Key{})},
		"UID FETCH 1 UID (PARTIAL 9:5 CHANGEDSINCE 3)":     Fetch{UID: true, Set: set(1, 1), Items: []Item{{Kind: UID}}, Changed: true, ChangedSince: 3, Partial: Partial{9, 5, false}},
		`UID REPLACE * Drafts (\Seen) {3}`:                 &ReplaceMessage{UID: true, Set: set(0, 0), Append: Append{"Drafts", Message{Flags: []string{`\Seen`}, Literal: wire.Literal{Size: 3, Sync: true}}}},
		`GETMETADATA "" /shared/comment`:                   GetMetadata{EntryQuery: EntryQuery{Names: []string{"/shared/comment"}}},
		`GETMETADATA inbox (MAXSIZE 1024) (/shared/comment /private/comment)`: GetMetadata{"INBOX", EntryQuery{
			Names: []string{"/shared/comment", "/private/comment"}, Limited: true, MaxSize: 1024}},
		`GETMETADATA (DEPTH 1 MAXSIZE 0) a "/private/filters/values"`:   GetMetadata{"a", EntryQuery{Names: []string{"/private/filters/values"}, Depth: Children, Limited: true}},
		`GETMETADATA a (depth Infinity) ({7}` + "\r\n/shared)":          GetMetadata{"a", EntryQuery{Names: []string{"/shared"}, Depth: Descendants}},
		`GETMETADATA "INBOX" /private/comment /shared/comment`:          GetMetadata{"INBOX", EntryQuery{Names: []string{"/private/comment", "/shared/comment"}}},
		`SETMETADATA a (/private/comment "x" /Shared/Vendor/a/b NIL)`:   SetMetadata{Mailbox: "a", Entries: []EntryValue{{Name: "/private/comment", Value: "x"}, {Name: "/Shared/Vendor/a/b", Remove: true}}},
		`SETMETADATA "" (/private/comment ~{3+}` + "\r\na\x00b)":        SetMetadata{Entries: []EntryValue{{Name: "/private/comment", Value: "a\x00b"}}},
		`SETMETADATA "" (/private/a "" /private/b {999999999}` + "\r\n": SetMetadata{Entries: []EntryValue{{Name: "/private/a"}}, TooBig: true},
		`LIST "" % RETURN (METADATA ("/shared/vendor/cmu/cyrus-imapd/color") CHILDREN)`: List{Extended: true, Patterns: []string{"%"}, ReturnChildren: true,
			ReturnMetadata: &EntryQuery{Names: []string{"/shared/vendor/cmu/cyrus-imapd/color"}}},
		`LIST "" % RETURN (METADATA (DEPTH 1) (/shared))`: List{Extended: true, Patterns: []string{"%"}, ReturnMetadata: &EntryQuery{Names: []string{"/shared"}, Depth: Children}},
		`GETQUOTA ""`:                           GetQuota{},
		`GETQUOTAROOT inbox`:                    GetQuotaRoot{"INBOX"},
		`SETQUOTA "" (STORAGE 512 MESSAGE 100)`: SetQuota{"", []QuotaLimit{{"STORAGE", 512}, {"MESSAGE", 100}}},
		`SEARCH MODSEQ 5 $`:                     Search{Key: all(Key{Op: ModSeqFrom, Number: 5}, Key{Op: SeqSet, Set: NumSet{Saved: true}})},
		`APPEND a (\Seen) "17-Jul-1996 02:44:25 -0700" {310}`: &Append{"a", Message{Flags: []string{`\Seen`},
			Date: time.Date(1996, 7, 17, 2, 44, 25, 0, time.FixedZone("", -7*3600)), Literal: wire.Literal{Size: 310, Sync: true}}},
		`APPEND a (\Seen) CATENATE (URL "/x"`: &Append{"a", Message{Flags: []string{`\Seen`}, Catenate: true}},
		`APPEND a UTF8 (~{3+}`:                &Append{"a", Message{UTF8: true, Literal: wire.Literal{Size: 3, Binary: true}}},
	} {
		state := Selected
		if strings.HasPrefix(strings.ToUpper(input), "LOGIN") || strings.HasPrefix(input, "AUTH") {
			state = NotAuthenticated
		}
		tag, _, got, _, err := parse(&Parser{}, state, "a1 "+input+"\r\n")
		if err != nil || tag != "a1" {
			t.Errorf("%s: %v", input, err)
			continue
		}
		if !same(got, want) {
			t.Errorf("%s:\n got %#v\nwant %#v", input, got, want)
		}
	}
}

// same compares commands, times by what they say.
func same(a, b Command) bool {
	x, ok := a.(*Append)
	y, ok2 := b.(*Append)
	if ok && ok2 && x.First.Date.Format(time.RFC3339) == y.First.Date.Format(time.RFC3339) {
		xx, yy := *x, *y
		xx.First.Date, yy.First.Date = time.Time{}, time.Time{}
		return reflect.DeepEqual(xx, yy)
	}
	r, ok := a.(*ReplaceMessage)
	s, ok2 := b.(*ReplaceMessage)
	if ok && ok2 {
		return r.UID == s.UID && reflect.DeepEqual(r.Set, s.Set) && same(&r.Append, &s.Append)
	}
	return reflect.DeepEqual(a, b)
}

func TestParseRejects(t *testing.T) {
	deep := strings.Repeat("(", 200) + "ALL" + strings.Repeat(")", 200)
	nots := strings.Repeat("NOT ", 200) + "ALL"
	many := strings.TrimSpace(strings.Repeat("BODY x ", maxKeys+1))
	for _, input := range []string{
		"", " ", "FOO", "UID", "UID NOOP", "UID CLOSE", "NOOP x", "NOOP ", "STARTTLS",
		"SELECT", "SELECT ", "SELECT a b", "SELECT a (FOO)", "SELECT a (QRESYNC (0 1))", "SELECT a (QRESYNC (1 1 1:*))", "SELECT &", "SELECT \"a\x01b\"",
		"SELECT {2000000}", "CREATE a (USE (Drafts))", "STATUS a ()", "STATUS a (FOO)", "STATUS a MESSAGES",
		`LIST (FOO) "" *`, `LIST (RECURSIVEMATCH) "" *`, `LIST "" * RETURN (FOO)`, `LIST "" * FOO ()`, `LIST "" ()`, `LIST ""`,
		"FETCH", "FETCH 0 FLAGS", "FETCH 1", "FETCH 1 ()", "FETCH 1 FOO", "FETCH 1 (FAST)", "FETCH 1 BODY[", "FETCH 1 BODY[0]", "FETCH 1 BODY[MIME]", "FETCH 1 BODY[1.]",
		"FETCH 1 BODY[]<0.0>", "FETCH 1 BODY[]<0>", "FETCH 1 BODY[]<1.9223372036854775808>", "FETCH 1 BODY[HEADER.FIELDS ()]", "FETCH 1 BODY[HEADER.FIELDS]", "FETCH 1 BINARY[TEXT]",
		"FETCH 1 BINARY.SIZE.PEEK[1]", "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", "UID FETCH 1 FLAGS (VANISHED)", "FETCH 1 FLAGS (FOO)", "FETCH 1 BODY.PEEK", "FETCH 1 BODY[1.FOO]",
		`STORE 1 FLAGS`, `STORE 1 FOO ()`, `STORE 1 FLAGS (\Recent)`, `STORE 1 FLAGS (\*)`, `STORE 1 FLAGS \Foo`, `STORE 1 (FOO 1) FLAGS ()`, `STORE 1:x FLAGS ()`, `STORE 1 FLAGS (a b`,
		`STORE 1 FLAGS (` + strings.Repeat("k", maxKeyword+1) + `)`,
		`ESEARCH`, `ESEARCH IN (foo) ALL`, `ESEARCH IN ("selected") ALL`, `ESEARCH IN (selected-delayed) ALL`, `ESEARCH IN (subtree) ALL`, `ESEARCH IN (subtree-one (a) ) ALL`, `ESEARCH IN (personal)`, `CANCELUPDATE`, `CANCELUPDATE a`,
		`NOTIFY`, `NOTIFY FOO`, `NOTIFY NONE x`, `NOTIFY SET`, `NOTIFY SET STATUS`, `NOTIFY SET (personal)`, `NOTIFY SET (personal ())`, `NOTIFY SET (personal FOO)`, `NOTIFY SET (foo NONE)`, `NOTIFY SET (subtree-one a NONE)`,
		`NOTIFY SET (selected MessageNew MessageExpunge)`, `NOTIFY SET (selected (MessageNew))`, `NOTIFY SET (personal (MessageExpunge))`, `NOTIFY SET (personal (FlagChange))`, `NOTIFY SET (personal (MessageNew MessageExpunge (UID)))`,
		`NOTIFY SET (selected NONE) (selected-delayed NONE)`, `NOTIFY SET (selected (MessageNew MessageExpunge MailboxName))`, `NOTIFY SET (personal NONE) `, `NOTIFY SET (personal (MessageNew (FOO) MessageExpunge))`,
		"COPY 1", "MOVE 1 a b", "UID EXPUNGE", "EXPUNGE 1",
		"SEARCH", "SEARCH FOO", "SEARCH ()", "SEARCH (ALL", "SEARCH OR ALL", "SEARCH NOT", "SEARCH RETURN (FOO) ALL", "SEARCH RETURN (MIN)", "SEARCH SINCE 32-Feb-1994", "SEARCH SINCE 1-2-1994",
		"SEARCH SAVEDBEFORE", "SEARCH SAVEDON 1994", "FETCH 1 (SAVEDATE[])", "SEARCH LARGER -1", "SEARCH OLDER 0", "SEARCH KEYWORD \\Seen", "SEARCH UID x", "SEARCH HEADER a", "SEARCH EMAILID", `SEARCH THREADID ""`, "SEARCH MODSEQ", `SEARCH MODSEQ "x" foo 1`, "SEARCH CHARSET UTF-8",
		"SEARCH " + deep, "SEARCH " + nots, "SEARCH " + many,
		`APPEND a`, `APPEND a "x"`, `APPEND a (\Seen) "32-Jul-1996 02:44:25 -0700" {3+}` + "\r\nabc", `APPEND a "1996-07-17" {3}`, `APPEND a UTF8 ({3}`, `APPEND a FOO {3}`, `APPEND a CATENATE`, `APPEND a CATENATE URL x`, `APPEND a {x}`,
		"GETMETADATA", "GETMETADATA a", "GETMETADATA a ()", "GETMETADATA a (DEPTH 1)", "GETMETADATA a (DEPTH 2) /shared/a", "GETMETADATA a (FOO) /shared/a", "GETMETADATA (DEPTH 1)a /shared/a",
		"GETMETADATA a comment", "GETMETADATA a /comment", "GETMETADATA a /sharedx/a", `GETMETADATA a "/shared/*"`, `GETMETADATA a "/shared/a%"`, "GETMETADATA a /shared/", "GETMETADATA a /shared//a",
		"GETMETADATA a {9}\r\n/shared/é", "GETMETADATA a \"/shared/\x01\"", "GETMETADATA a (/shared/" + strings.Repeat("a", maxEntryName) + ")",
		"SETMETADATA", "SETMETADATA a", "SETMETADATA a ()", "SETMETADATA a (/private/a)", "SETMETADATA a (/private \"x\")", "SETMETADATA a (/private/vendor/a NIL)", "SETMETADATA a (/private/a x)", "SETMETADATA a /private/a NIL",
		`LIST "" % RETURN (METADATA)`, `LIST "" % RETURN (METADATA ())`, `LIST "" % RETURN (METADATA (a))`,
		"GETQUOTA", "GETQUOTAROOT", `SETQUOTA ""`, `SETQUOTA "" (STORAGE)`, `SETQUOTA "" (STORAGE x)`, `SETQUOTA "" STORAGE 1`,
		"SORT", "SORT ALL", "SORT () UTF-8 ALL", "SORT (REVERSE) UTF-8 ALL", "SORT (REVERSE REVERSE DATE) UTF-8 ALL", "SORT (FOO) UTF-8 ALL", "SORT (DATE) ALL", "SORT (DATE) UTF-8", "SORT RETURN (FOO) (DATE) UTF-8 ALL",
		"SORT (" + strings.TrimSpace(strings.Repeat("DATE ", maxCriteria+1)) + ") UTF-8 ALL",
		"THREAD", "THREAD UTF-8 ALL", "THREAD REFS UTF-8 ALL", "THREAD REFERENCES UTF-8", "THREAD REFERENCES ALL", "THREAD RETURN () REFERENCES UTF-8 ALL",
		"FETCH 1 PREVIEW (FOO)", "FETCH 1 (PREVIEW (FOO))", "FETCH 1 (PREVIEW ())", "FETCH 1 (PREVIEW (LAZY LAZY))", "FETCH 1 (PREVIEW(LAZY))", "FETCH 1 (FLAGS (LAZY))",
		"SEARCH RETURN (PARTIAL) ALL", "SEARCH RETURN (PARTIAL 1) ALL", "SEARCH RETURN (PARTIAL 1:0) ALL", "SEARCH RETURN (PARTIAL -1:2) ALL", "SEARCH RETURN (PARTIAL 1:-2) ALL", "SEARCH RETURN (PARTIAL 1:*) ALL",
		"SEARCH RETURN (ALL PARTIAL 1:2) ALL", "SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL", "UID FETCH 1 UID (PARTIAL 0:1)", "UID FETCH 1 UID (PARTIAL 1:2 PARTIAL 3:4)",
		"REPLACE", "REPLACE 1", "REPLACE 1 a", "REPLACE 1,2 a {3}", "REPLACE 1:2 a {3}", "REPLACE $ a {3}",
		"ENABLE", "LOGIN a b",
	} {
		tag, _, cmd, l, err := parse(&Parser{}, Selected, "a1 "+input+"\r\nb NOOP\r\n")
		if _, ok := errors.AsType[*wire.SyntaxError](err); !ok || tag != "a1" {
			t.Errorf("%.60q: got %#v, error %v, tag %q", input, cmd, err, tag)
			continue
		}
		// The next command has to be found again.
		if err := l.Finish(); err != nil {
			t.Errorf("%.60q: %v", input, err)
			continue
		}
		if err := l.Next(); err != nil {
			t.Errorf("%.60q: %v", input, err)
			continue
		}
		if tag, err := l.Tag(); tag != "b" || err != nil {
			t.Errorf("%.60q: then tag %q, %v", input, tag, err)
		}
	}
}

func TestParseStates(t *testing.T) {
	for _, test := range []struct {
		input string
		in    State
	}{
		{"NOOP", anyState}, {"CAPABILITY", anyState}, {"LOGOUT", anyState}, {"ID NIL", anyState},
		{"LOGIN a b", beforeLogin}, {"AUTHENTICATE PLAIN", beforeLogin}, {"STARTTLS", Clear},
		{"SELECT a", loggedIn}, {"LIST \"\" *", loggedIn}, {"IDLE", loggedIn}, {"APPEND a {1}", loggedIn}, {"ENABLE X", loggedIn}, {"NOTIFY NONE", loggedIn}, {"ESEARCH IN (personal) ALL", loggedIn},
		{"FETCH 1 FLAGS", Selected}, {"UID SEARCH ALL", Selected}, {"CLOSE", Selected}, {"UNSELECT", Selected}, {"EXPUNGE", Selected}, {`CANCELUPDATE "a"`, Selected},
	} {
		for _, state := range []State{Clear, NotAuthenticated, Authenticated, Selected} {
			_, _, _, _, err := parse(&Parser{}, state, "a "+test.input+"\r\n")
			if (err == nil) != (test.in&state != 0) {
				t.Errorf("%s in state %d: %v", test.input, state, err)
			}
		}
	}
}

func TestMailboxNamesUTF8(t *testing.T) {
	for _, test := range []struct {
		utf8           bool
		in, want, fail string
	}{
		{false, `"Tom &- J"`, "Tom & J", ""},
		{true, `"Tom & J"`, "Tom & J", ""},
		{true, `"C&-D"`, "C&-D", ""},
		{true, `"Entwürfe"`, "Entwürfe", ""},
		{false, `"Entwürfe"`, "", "UTF-7"},
		{true, "{2+}\r\n\xff\xfe", "", "UTF-8"},
	} {
		_, _, cmd, _, err := parse(&Parser{UTF8: test.utf8}, Authenticated, "a DELETE "+test.in+"\r\n")
		switch {
		case test.fail != "" && (err == nil || !strings.Contains(err.Error(), test.fail)):
			t.Errorf("%s: got %v, %v", test.in, cmd, err)
		case test.fail == "" && (err != nil || cmd != Command(Delete{test.want})):
			t.Errorf("%s: got %v, %v", test.in, cmd, err)
		}
	}
}

func TestMultiAppend(t *testing.T) {
	p := &Parser{}
	_, _, cmd, l, err := parse(p, Authenticated, "a APPEND x {3+}\r\nabc (\\Seen) {2+}\r\nde UTF8 (~{1+}\r\nf)\r\n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for m := &cmd.(*Append).First; m != nil; {
		r, err := l.OpenLiteral()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b)+strings.Join(m.Flags, ""))
		if err := l.CloseLiteral(); err != nil {
			t.Fatal(err)
		}
		if m, err = p.NextMessage(l, *m); err != nil {
			t.Fatal(err)
		}
	}
	if s := strings.Join(got, ","); s != `abc,de\Seen,f` {
		t.Errorf("got %s", s)
	}
}

// A parsed command, printed and parsed again, is the same command.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`a FETCH 1:*,3 (FLAGS BODY.PEEK[1.HEADER.FIELDS (From)]<0.10> BINARY[1])`, `a UID FETCH 1 ALL (CHANGEDSINCE 5 VANISHED)`,
		`a SEARCH RETURN (MIN) CHARSET UTF-8 OR (FROM "x" NOT BODY y) 1:5 SINCE 1-Jan-2020 MODSEQ 5`, `a STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\Seen x)`,
		`a LIST (SUBSCRIBED) "" (a b) RETURN (STATUS (MESSAGES))`, `a SELECT x (QRESYNC (1 2 3:4 (1 2)))`, `a APPEND x (\Seen) "17-Jul-1996 02:44:25 -0700" UTF8 (~{3+}`,
		"a LOGIN {1+}\r\nx y", `a ID ("a" "b")`, `a CREATE &AOk- (USE (\Sent))`, `a UID MOVE $ y`, `a UID EXPUNGE 5`, `a AUTHENTICATE PLAIN =`, `a ENABLE X`, `a STATUS x (SIZE)`,
		`a UID SORT RETURN (MIN) (REVERSE SUBJECT DISPLAYTO) UTF-8 SEEN OR 1 2`,
		`a UID THREAD REFERENCES UTF-8 SEEN`,
		`a FETCH 1 (PREVIEW (LAZY) PREVIEW)`,
		`a SEARCH RETURN (PARTIAL 1:2) ALL`, `a UID FETCH 1 (UID) (PARTIAL -3:-4)`,
		`a UID REPLACE 1 x (\Draft) "17-Jul-1996 02:44:25 -0700" {3}`,
		`a GETMETADATA (DEPTH 1 MAXSIZE 5) x (/shared/a "/private/b c")`, "a SETMETADATA \"\" (/private/a NIL /shared/vendor/b/c ~{3+}\r\nabc)", `a LIST "" x RETURN (METADATA (/shared/a))`,
		`a FETCH 1 (SAVEDATE)`, `a SEARCH SAVEDBEFORE 1-Jan-2020 SAVEDON 1-Jan-2020 SAVEDSINCE 1-Jan-2020 SAVEDATESUPPORTED`,
		`a UID SORT RETURN (UPDATE (UID BODY.PEEK[HEADER.FIELDS (To)]) CONTEXT PARTIAL 1:5) (DATE) UTF-8 ALL`, `a CANCELUPDATE "B01" "B02"`,
		`a NOTIFY SET STATUS (selected-delayed (MessageNew (UID FLAGS) MessageExpunge FlagChange)) (mailboxes (a b) (MailboxName)) (inboxes NONE)`, `a NOTIFY NONE`, `a NOTIFY SET (personal (AnnotationChange))`,
		`a ESEARCH IN (selected subtree-one ("a" b) inboxes subscribed mailboxes &AOk-) RETURN (MIN) CHARSET UTF-8 SUBJECT x`,
		`a APPEND x (\Seen) catenate (TEXT {3+}`, `a UID REPLACE 1 x CATENATE (URL "/x/;UID=1")`,
		`a SETQUOTA "" (STORAGE 1)`, `a GETQUOTA x`, `a GETQUOTAROOT x`,
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, input string, utf8 bool) {
		p := &Parser{UTF8: utf8}
		for _, state := range []State{NotAuthenticated, Selected} {
			tag, name, cmd, l, err := parse(p, state, input+"\r\n")
			if err != nil {
				_ = l.Finish()
				continue
			}
			printed := tag + " " + print(p, name, cmd)
			tag2, name2, again, _, err := parse(p, state, printed+"\r\n")
			if err != nil || tag2 != tag || name2 != name || !same(again, cmd) {
				t.Errorf("%q\nprinted %q\nerror %v\n got %#v\nwant %#v", input, printed, err, again, cmd)
			}
		}
	})
}

// RFC 4469 section 5, RFC 6855 section 4.
func TestNextPart(t *testing.T) {
	for input, want := range map[string]string{
		"TEXT {3+}\r\nabc URL \"/x\" text ~{1+}\r\nx UTF8 (~{2+}\r\nab))": "3 /x 1b 2u",
		"URL /x)":              "/x",
		"URL {2+}\r\n/x URL )": "/x error",
		"":                     "error", ")": "error", "TEXT x)": "error", "FOO x)": "error", "UTF8 ({1+}\r\nx))": "error", `URL "")`: "error",
		"URL x": "x error", "UTF8 (~{1+}\r\nx )": "1u error", "TEXT {1+}\r\nxURL a)": "1 error", "URL a  URL b)": "a error",
	} {
		p := &Parser{}
		_, _, cmd, l, err := parse(p, Selected, "a APPEND x CATENATE ("+input+"\r\n")
		if c, ok := cmd.(*Append); err != nil || !ok || !c.First.Catenate {
			t.Fatalf("%q: %#v, %v", input, cmd, err)
		}
		var got []string
		for part, err := p.NextPart(l, nil); part != nil || err != nil; part, err = p.NextPart(l, part) {
			if err != nil {
				got = append(got, "error")
				break
			}
			if part.URL != "" {
				got = append(got, part.URL)
				continue
			}
			got = append(got, fmt.Sprint(part.Literal.Size)+map[[2]bool]string{{true, false}: "b", {true, true}: "u"}[[2]bool{part.Literal.Binary, part.UTF8}])
			if _, err := l.OpenLiteral(); err != nil {
				t.Fatal(err)
			}
			if err := l.CloseLiteral(); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q: %s, want %s", input, got, want)
		}
	}
}
