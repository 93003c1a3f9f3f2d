package command

import (
	"fmt"
	"strings"

	"rtls/internal/imap/wire"
)

// print writes a command the way a client could have, for the round trip of
// FuzzParse.
func print(p *Parser, name string, cmd Command) string {
	w := &printer{utf8: p.UTF8}
	w.add(name)
	switch c := cmd.(type) {
	case Login:
		w.str(c.User)
		w.str(c.Password)
	case Authenticate:
		w.add(c.Mechanism)
		if c.Initial != nil {
			w.add(*c.Initial)
		}
	case Enable:
		w.add(c.Capabilities...)
	case ID:
		var fields []string
		for _, f := range c.Fields {
			fields = append(fields, literal(f[0]), literal(f[1]))
		}
		if fields == nil {
			w.add("NIL")
		} else {
			w.list(fields)
		}
	case Select:
		w.mailbox(c.Mailbox)
		w.selectParams(c)
	case Create:
		w.mailbox(c.Mailbox)
		if c.Uses != nil {
			w.add(`(USE (\` + strings.Join(c.Uses, ` \`) + "))")
		}
	case Delete:
		w.mailbox(c.Mailbox)
	case Rename:
		w.mailbox(c.From)
		w.mailbox(c.To)
	case Subscribe:
		w.mailbox(c.Mailbox)
	case Status:
		w.mailbox(c.Mailbox)
		w.list(c.Items)
	case GetMetadata:
		w.mailbox(c.Mailbox)
		w.entries(c.EntryQuery)
	case SetMetadata:
		w.mailbox(c.Mailbox)
		var entries []string
		for _, e := range c.Entries {
			value := literal(e.Value)
			if e.Remove {
				value = "NIL"
			} else if strings.ContainsRune(e.Value, 0) {
				value = "~" + value
			}
			entries = append(entries, literal(e.Name), value)
		}
		if c.TooBig {
			entries = append(entries, "/private/x", fmt.Sprintf("{%d+}\r\n%s", MaxEntryValue+1, strings.Repeat("x", MaxEntryValue+1)))
		}
		w.list(entries)
	case GetQuota:
		w.str(c.Root)
	case GetQuotaRoot:
		w.mailbox(c.Mailbox)
	case SetQuota:
		w.str(c.Root)
		var limits []string
		for _, l := range c.Limits {
			limits = append(limits, fmt.Sprint(l.Resource, " ", l.Limit))
		}
		w.list(limits)
	case List:
		w.listCommand(c)
	case Store:
		w.add(c.Set.String())
		if c.Conditional {
			w.add(fmt.Sprintf("(UNCHANGEDSINCE %d)", c.UnchangedSince))
		}
		silent := map[bool]string{true: ".SILENT"}[c.Silent]
		w.add(c.Op.String() + "FLAGS" + silent)
		w.list(c.Flags)
	case Copy:
		w.add(c.Set.String())
		w.mailbox(c.Mailbox)
	case Expunge:
		if c.UIDs != nil {
			w.add(c.UIDs.String())
		}
	case Fetch:
		w.add(c.Set.String())
		w.list(printItems(c.Items))
		var modifiers []string
		if c.Changed {
			vanished := map[bool]string{true: " VANISHED"}[c.Vanished]
			modifiers = append(modifiers, fmt.Sprintf("CHANGEDSINCE %d%s", c.ChangedSince, vanished))
		}
		if c.Partial != (Partial{}) {
			modifiers = append(modifiers, "PARTIAL", c.Partial.String())
		}
		if modifiers != nil {
			w.list(modifiers)
		}
	case Search:
		w.search(c)
	case Sort:
		w.returns(c.Return)
		var criteria []string
		for _, o := range c.Criteria {
			if o.Reverse {
				criteria = append(criteria, "REVERSE")
			}
			criteria = append(criteria, o.By.String())
		}
		w.list(criteria)
		w.str(c.Charset)
		w.keys(c.Key)
	case Notify:
		w.notify(c)
	case MultiSearch:
		if c.Sources != nil {
			w.add("IN", paren(w.filters(c.Sources)...))
		}
		w.search(c.Search)
	case CancelUpdate:
		for _, tag := range c.Tags {
			w.str(tag)
		}
	case Thread:
		w.add(c.Algorithm.String())
		w.str(c.Charset)
		w.keys(c.Key)
	case *ReplaceMessage:
		w.add(c.Set.String())
		w.mailbox(c.Mailbox)
		w.message(c.First)
	case *Append:
		w.mailbox(c.Mailbox)
		w.message(c.First)
	}
	return strings.Join(w.words, " ")
}

type printer struct {
	utf8  bool
	words []string
}

func (w *printer) add(words ...string) { w.words = append(w.words, words...) }
func (w *printer) list(items []string) { w.add("(" + strings.Join(items, " ") + ")") }
func (w *printer) str(s string)        { w.add(literal(s)) }
func literal(s string) string          { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }
func paren(words ...string) string     { return "(" + strings.Join(words, " ") + ")" }

func (w *printer) name(s string) string {
	if !w.utf8 {
		s = wire.EncodeUTF7(s)
	}
	return literal(s)
}

func (w *printer) mailbox(s string) { w.add(w.name(s)) }

func (w *printer) entries(q EntryQuery) {
	options := []string{"DEPTH", q.Depth.String()}
	if q.Limited {
		options = append(options, "MAXSIZE", fmt.Sprint(q.MaxSize))
	}
	w.list(options)
	var names []string
	for _, name := range q.Names {
		names = append(names, literal(name))
	}
	w.list(names)
}

func (w *printer) selectParams(c Select) {
	var params []string
	if c.CondStore && c.QResync == nil {
		params = append(params, "CONDSTORE")
	}
	if q := c.QResync; q != nil {
		words := []string{fmt.Sprint(q.UIDValidity), fmt.Sprint(q.ModSeq)}
		if q.Known != nil {
			words = append(words, q.Known.String())
		}
		if q.SeqMatch != nil {
			words = append(words, paren(q.SeqMatch.String(), q.UIDMatch.String()))
		}
		params = append(params, "QRESYNC "+paren(words...))
	}
	if params != nil {
		w.list(params)
	}
}

func (w *printer) listCommand(c List) {
	options := func(on map[string]bool) []string {
		var words []string
		for _, word := range []string{"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "RECURSIVEMATCH"} {
			if on[word] {
				words = append(words, word)
			}
		}
		return words
	}
	if c.Extended {
		w.list(options(map[string]bool{"SUBSCRIBED": c.Subscribed, "SPECIAL-USE": c.SpecialUse, "RECURSIVEMATCH": c.RecursiveMatch}))
	}
	w.mailbox(c.Reference)
	var patterns []string
	for _, p := range c.Patterns {
		patterns = append(patterns, w.name(p))
	}
	switch {
	case c.Extended:
		w.list(patterns)
	case len(patterns) == 0:
		w.add(`""`)
	default:
		w.add(patterns[0])
	}
	if !c.Extended {
		return
	}
	words := options(map[string]bool{"SUBSCRIBED": c.ReturnSubscribed, "CHILDREN": c.ReturnChildren, "SPECIAL-USE": c.ReturnSpecialUse})
	if c.ReturnStatus != nil {
		words = append(words, "STATUS", paren(c.ReturnStatus...))
	}
	if q := c.ReturnMetadata; q != nil {
		sub := &printer{}
		sub.entries(*q)
		words = append(words, "METADATA "+strings.Join(sub.words, " "))
	}
	w.add("RETURN")
	w.list(words)
}

func (w *printer) message(m Message) {
	if m.Flags != nil {
		w.list(m.Flags)
	}
	if !m.Date.IsZero() {
		w.add(`"` + m.Date.Format(DateTimeLayout) + `"`)
	}
	if m.Catenate {
		w.add("CATENATE (")
		return
	}
	if m.UTF8 {
		w.add("UTF8")
	}
	s := fmt.Sprintf("{%d", m.Literal.Size)
	if m.Literal.Binary {
		s = "~" + s
	}
	if m.UTF8 {
		s = "(" + s
	}
	if !m.Literal.Sync {
		s += "+"
	}
	w.add(s + "}")
}

func (w *printer) search(c Search) {
	w.returns(c.Return)
	if c.Charset != "" {
		w.add("CHARSET", literal(c.Charset))
	}
	w.keys(c.Key)
}

func (w *printer) returns(r *Return) {
	if r != nil {
		var words []string
		for _, o := range []struct {
			on   bool
			word string
		}{{r.Min, "MIN"}, {r.Max, "MAX"}, {r.All, "ALL"}, {r.Count, "COUNT"}, {r.Save, "SAVE"}, {r.Context, "CONTEXT"}} {
			if o.on {
				words = append(words, o.word)
			}
		}
		if r.Partial != (Partial{}) {
			words = append(words, "PARTIAL", r.Partial.String())
		}
		if r.Update != nil {
			words = append(words, "UPDATE")
			if r.Update.Items != nil {
				words = append(words, paren(printItems(r.Update.Items)...))
			}
		}
		w.add("RETURN")
		w.list(words)
	}
}

func (w *printer) notify(c Notify) {
	switch {
	case c.Unknown:
		w.add("SET (PERSONAL (Foo))")
		return
	case c.Groups == nil:
		w.add("NONE")
		return
	}
	w.add("SET")
	if c.Status {
		w.add("STATUS")
	}
	for _, g := range c.Groups {
		events := "NONE"
		if g.Events != 0 {
			var names []string
			for i, name := range EventNames {
				if g.Events&(1<<i) == 0 {
					continue
				}
				if names = append(names, name); i == 0 && g.Fetch != nil {
					names = append(names, paren(printItems(g.Fetch)...))
				}
			}
			events = paren(names...)
		}
		w.add(paren(append(w.filters([]Filter{g.Filter}), events)...))
	}
}

func (w *printer) filters(list []Filter) (words []string) {
	for _, f := range list {
		words = append(words, f.Kind.String())
		var names []string
		for _, name := range f.Names {
			names = append(names, w.name(name))
		}
		if names != nil {
			words = append(words, paren(names...))
		}
	}
	return words
}

func printItems(items []Item) (words []string) {
	for _, item := range items {
		words = append(words, item.String())
	}
	return words
}

func (w *printer) keys(all Key) {
	for _, key := range all.Keys {
		w.add(printKey(key))
	}
}

var opNames = map[Op]string{
	Larger: "LARGER", Smaller: "SMALLER", Older: "OLDER", Younger: "YOUNGER", ModSeqFrom: "MODSEQ",
	Before: "BEFORE", On: "ON", Since: "SINCE", SentBefore: "SENTBEFORE", SentOn: "SENTON", SentSince: "SENTSINCE",
	SavedBefore: "SAVEDBEFORE", SavedOn: "SAVEDON", SavedSince: "SAVEDSINCE",
	InBody: "BODY", InText: "TEXT", IsEmail: "EMAILID", InThread: "THREADID",
}

func printKey(k Key) string {
	switch k.Op {
	case And:
		if len(k.Keys) == 0 {
			return "ALL"
		}
		var words []string
		for _, sub := range k.Keys {
			words = append(words, printKey(sub))
		}
		return paren(words...)
	case Or:
		return "OR " + printKey(k.Keys[0]) + " " + printKey(k.Keys[1])
	case Not:
		return "NOT " + printKey(k.Keys[0])
	case SeqSet:
		return k.Set.String()
	case UIDSet:
		return "UID " + k.Set.String()
	case Keyword:
		if name, system := strings.CutPrefix(k.Flag, `\`); system {
			return name
		}
		return "KEYWORD " + k.Flag
	case Recent:
		return "RECENT"
	case HeaderField:
		return "HEADER " + literal(k.Field) + " " + literal(k.Text)
	case IsEmail, InThread:
		return opNames[k.Op] + " " + k.Text
	case InBody, InText:
		return opNames[k.Op] + " " + literal(k.Text)
	case Larger, Smaller, Older, Younger, ModSeqFrom:
		return fmt.Sprintf("%s %d", opNames[k.Op], k.Number)
	}
	return opNames[k.Op] + " " + k.Date.Format(DateLayout)
}
