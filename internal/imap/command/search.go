package command

import (
	"strings"
	"time"

	"rtls/internal/imap/wire"
)

// Search is SEARCH and UID SEARCH.
type Search struct {
	UID     bool
	Return  *Return // nil if the client gave no RETURN
	Charset string  // upper case, empty if the client gave none
	Key     Key
}

// Return says what of a search's result is wanted (RFC 4731, RFC 5182). RETURN ()
// is All.
type Return struct {
	Min, Max, All, Count, Save bool
	Partial                    Partial // instead of All

	Context bool    // the client means to come back to the result (RFC 5267 section 4.2)
	Update  *Update // nil if the client does not want to hear of changes
}

// Data is what of the result is to be in the answer.
func (r Return) Data() Return {
	r.Context, r.Update = false, nil
	return r
}

// Key is a node of what is searched for. Which fields count depends on Op.
type Key struct {
	Op   Op
	Keys []Key // of And, Or (two) and Not (one)

	Set    NumSet    // of SeqSet and UIDSet
	Flag   string    // of Keyword; system flags have a backslash
	Field  string    // of HeaderField, as written
	Text   string    // of HeaderField, InBody, InText, IsEmail and InThread
	Number uint64    // of Larger, Smaller, Older, Younger and ModSeqFrom
	Date   time.Time // midnight UTC, of the operators with dates
}

// Op is an operator of a search.
type Op uint8

const (
	And Op = iota // of no keys: everything
	Or
	Not
	SeqSet
	UIDSet
	Keyword // a flag or a keyword is set
	Recent
	HeaderField // a header field holds Text; empty Text: the field is there
	InBody
	InText
	IsEmail  // the message's object identifier is Text (RFC 8474 section 5.4)
	InThread // that of its thread is
	Larger
	Smaller
	Older      // than Number seconds (RFC 5032)
	Younger    // at most Number seconds old
	ModSeqFrom // the mod-sequence is at least Number (RFC 7162)
	Before
	On
	Since
	SentBefore
	SentOn
	SentSince
	SavedBefore // by the date on which the message came into the mailbox (RFC 8514)
	SavedOn
	SavedSince
)

// Uses reports whether op occurs in the key.
func (k Key) Uses(op Op) bool {
	if k.Op == op {
		return true
	}
	for _, sub := range k.Keys {
		if sub.Uses(op) {
			return true
		}
	}
	return false
}

const (
	maxDepth = 50
	maxKeys  = 1000
)

func parseSearch(uid bool) func(*Parser, *wire.Lexer) (Command, error) {
	return func(p *Parser, l *wire.Lexer) (Command, error) {
		c := Search{UID: uid}
		if err := l.SP(); err != nil {
			return nil, err
		}
		s := searchParser{l: l, uids: p.UIDOnly}
		word, err := s.prefix(p, &c)
		if err != nil {
			return nil, err
		}
		c.Key, err = s.all(word)
		return c, err
	}
}

type searchParser struct {
	l    *wire.Lexer
	uids bool // no sequence numbers
	keys int
}

// prefix reads RETURN and CHARSET. A word that was read and is neither is
// returned: it begins the first key.
func (s *searchParser) prefix(p *Parser, c *Search) (word string, err error) {
	next := func() error {
		word = ""
		if ch := s.l.Peek(); ch|0x20 >= 'a' && ch|0x20 <= 'z' {
			word, err = s.l.Word("")
			return err
		}
		return nil
	}
	if err := next(); err != nil {
		return "", err
	}
	if word == "RETURN" {
		c.Return = &Return{}
		if err := spaced(s.l, func() error { return s.results(c.Return) }, next); err != nil {
			return "", err
		}
	}
	if word == "CHARSET" {
		if p.NoCharset {
			return "", wire.Syntaxf("no CHARSET after UTF-8 was enabled")
		}
		if err := spaced(s.l, func() (err error) {
			c.Charset, err = s.charset()
			return err
		}, next); err != nil {
			return "", err
		}
	}
	return word, nil
}

func (s *searchParser) charset() (string, error) {
	charset, err := s.l.AString()
	return strings.ToUpper(charset), err
}

// all reads the keys that make up a search. Word, if not empty, was read already and
// begins the first of them.
func (s *searchParser) all(word string) (Key, error) {
	all := Key{Op: And}
	for {
		var key Key
		var err error
		if word != "" {
			key, err = s.named(word, 1)
			word = ""
		} else {
			key, err = s.key(1)
		}
		if err != nil {
			return all, err
		}
		all.Keys = append(all.Keys, key)
		if !s.l.Accept(' ') {
			return all, nil
		}
	}
}

func (s *searchParser) results(r *Return) error {
	err := s.l.List(func() error {
		word, err := s.l.Word("")
		switch word {
		case "MIN":
			r.Min = true
		case "MAX":
			r.Max = true
		case "ALL":
			r.All = true
		case "COUNT":
			r.Count = true
		case "SAVE":
			r.Save = true
		case "PARTIAL":
			return r.Partial.read(s.l)
		case "CONTEXT":
			r.Context = true
		case "UPDATE":
			r.Update = &Update{}
			// The RFC has no space before the list in its grammar, but in its example.
			if s.l.Peek() == '(' || s.l.AcceptBefore(' ', '(') {
				var f Fetch
				err := f.items(s.l)
				r.Update.Items = f.Items
				return err
			}
		default:
			if err == nil {
				err = wire.Syntaxf("unknown result option %s", word)
			}
		}
		return err
	})
	if r.Data() == (Return{}) {
		r.All = true
	}
	if err == nil && r.All && r.Partial != (Partial{}) {
		err = wire.Syntaxf("ALL and PARTIAL exclude each other") // RFC 9394 section 3.1
	}
	return err
}

func (s *searchParser) key(depth int) (Key, error) {
	switch c := s.l.Peek(); {
	case c == '(':
		return s.group(depth)
	case c == '$' || c == '*' || c >= '0' && c <= '9':
		set, err := numSet(s.l)
		if err == nil && s.uids && !set.Saved {
			err = errUIDRequired
		}
		return Key{Op: SeqSet, Set: set}, err
	}
	word, err := s.l.Word("")
	if err != nil {
		return Key{}, err
	}
	return s.named(word, depth)
}

func (s *searchParser) group(depth int) (Key, error) {
	key := Key{Op: And}
	if depth >= maxDepth {
		return key, wire.Syntaxf("search is nested too deeply")
	}
	err := s.l.List(func() error {
		sub, err := s.key(depth + 1)
		key.Keys = append(key.Keys, sub)
		return err
	})
	if err == nil && len(key.Keys) == 0 {
		err = wire.Syntaxf("() is not a search key")
	}
	return key, err
}

func not(key Key) Key { return Key{Op: Not, Keys: []Key{key}} }

var simpleKeys = map[string]Key{
	"ALL":               {},
	"ANSWERED":          {Op: Keyword, Flag: `\Answered`},
	"DELETED":           {Op: Keyword, Flag: `\Deleted`},
	"DRAFT":             {Op: Keyword, Flag: `\Draft`},
	"FLAGGED":           {Op: Keyword, Flag: `\Flagged`},
	"SEEN":              {Op: Keyword, Flag: `\Seen`},
	"UNANSWERED":        not(Key{Op: Keyword, Flag: `\Answered`}),
	"UNDELETED":         not(Key{Op: Keyword, Flag: `\Deleted`}),
	"UNDRAFT":           not(Key{Op: Keyword, Flag: `\Draft`}),
	"UNFLAGGED":         not(Key{Op: Keyword, Flag: `\Flagged`}),
	"UNSEEN":            not(Key{Op: Keyword, Flag: `\Seen`}),
	"RECENT":            {Op: Recent},
	"OLD":               not(Key{Op: Recent}),
	"SAVEDATESUPPORTED": {}, // everywhere
	"NEW":               {Op: And, Keys: []Key{{Op: Recent}, not(Key{Op: Keyword, Flag: `\Seen`})}},
}

var dateKeys = map[string]Op{
	"BEFORE": Before, "ON": On, "SINCE": Since,
	"SENTBEFORE": SentBefore, "SENTON": SentOn, "SENTSINCE": SentSince,
	"SAVEDBEFORE": SavedBefore, "SAVEDON": SavedOn, "SAVEDSINCE": SavedSince,
}

var numberKeys = map[string]Op{"LARGER": Larger, "SMALLER": Smaller, "OLDER": Older, "YOUNGER": Younger}

// named reads the rest of a key that begins with a word.
func (s *searchParser) named(word string, depth int) (key Key, err error) {
	if s.keys++; s.keys > maxKeys || depth > maxDepth {
		return key, wire.Syntaxf("search is too complex")
	}
	if key, ok := simpleKeys[word]; ok {
		return key, nil
	}
	if op, ok := dateKeys[word]; ok {
		key.Op = op
		return key, spaced(s.l, func() (err error) {
			key.Date, err = date(s.l)
			return err
		})
	}
	if op, ok := numberKeys[word]; ok {
		key.Op = op
		err := spaced(s.l, func() (err error) {
			key.Number, err = s.l.Number64()
			return err
		})
		if err == nil && (op == Older || op == Younger) && key.Number == 0 {
			err = wire.Syntaxf("%s takes a number above 0", word)
		}
		return key, err
	}
	switch word {
	case "NOT":
		key.Op, key.Keys = Not, make([]Key, 1)
		return key, spaced(s.l, s.into(&key.Keys[0], depth))
	case "OR":
		key.Op, key.Keys = Or, make([]Key, 2)
		return key, spaced(s.l, s.into(&key.Keys[0], depth), s.into(&key.Keys[1], depth))
	case "UID":
		key.Op = UIDSet
		return key, spaced(s.l, func() (err error) {
			key.Set, err = numSet(s.l)
			return err
		})
	case "KEYWORD", "UNKEYWORD":
		key.Op = Keyword
		if err := spaced(s.l, func() (err error) {
			key.Flag, err = s.l.Atom()
			return err
		}); err != nil {
			return key, err
		}
		if word == "UNKEYWORD" {
			key = not(key)
		}
		return key, nil
	case "EMAILID", "THREADID":
		key.Op = IsEmail
		if word == "THREADID" {
			key.Op = InThread
		}
		return key, spaced(s.l, func() (err error) {
			key.Text, err = s.l.Atom()
			return err
		})
	case "MODSEQ":
		return s.modSeq()
	}
	return s.textKey(word)
}

func (s *searchParser) into(key *Key, depth int) func() error {
	return func() (err error) {
		*key, err = s.key(depth + 1)
		return err
	}
}

func (s *searchParser) textKey(word string) (key Key, err error) {
	text := func() (err error) {
		key.Text, err = s.l.AString()
		return err
	}
	switch word {
	case "BODY":
		key.Op = InBody
	case "TEXT":
		key.Op = InText
	case "FROM", "TO", "CC", "BCC", "SUBJECT":
		key.Op, key.Field = HeaderField, word
	case "HEADER":
		key.Op = HeaderField
		return key, spaced(s.l, func() (err error) {
			key.Field, err = s.l.AString()
			return err
		}, text)
	default:
		return key, wire.Syntaxf("unknown search key %s", word)
	}
	return key, spaced(s.l, text)
}

// modSeq reads the number after MODSEQ and, before it, the name of a flag and
// whose value is meant: there is one mod-sequence for all of a message (RFC 7162
// section 3.1.5 allows that).
func (s *searchParser) modSeq() (Key, error) {
	key := Key{Op: ModSeqFrom}
	if err := s.l.SP(); err != nil {
		return key, err
	}
	if s.l.Peek() == '"' {
		entry, err := s.l.String()
		if err == nil && !strings.HasPrefix(entry, "/flags/") {
			err = wire.Syntaxf("expected the name of a flag's entry, found %q", entry)
		}
		if err != nil {
			return key, err
		}
		if err := s.l.SP(); err != nil {
			return key, err
		}
		word, err := s.l.Word("")
		if err != nil {
			return key, err
		}
		if word != "ALL" && word != "PRIV" && word != "SHARED" {
			return key, wire.Syntaxf("expected all, priv or shared, found %s", word)
		}
		if err := s.l.SP(); err != nil {
			return key, err
		}
	}
	var err error
	key.Number, err = s.l.Number64()
	return key, err
}

// DateLayout is the form of dates in a search; the day may have one digit.
const DateLayout = "2-Jan-2006"

func date(l *wire.Lexer) (time.Time, error) {
	s, err := l.AString()
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(DateLayout, s)
	if err != nil {
		return t, wire.Syntaxf("a date is written %s", DateLayout)
	}
	return t, nil
}
