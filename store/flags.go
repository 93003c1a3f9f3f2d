package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"rtls/store/internal/index"
)

// Flags are the system flags of a message. They are kept in the file's name.
type Flags uint8

// The flags, in the order of their names.
const (
	Answered Flags = 1 << iota
	Deleted
	Draft
	Flagged
	Passed // $Forwarded
	Seen
)

// FlagOp says what a FlagChange does with its flags and keywords.
type FlagOp uint8

// The operations of RFC 9051 section 6.4.6.
const (
	FlagsAdd FlagOp = iota
	FlagsRemove
	FlagsReplace
)

// FlagChange is a change of flags and keywords.
type FlagChange struct {
	UIDs     []uint32 // those that are not there are passed over
	Op       FlagOp
	Flags    Flags
	Keywords []string

	// With Conditional set, messages whose ModSeq is above UnchangedSince are
	// left alone (RFC 7162 section 3.1.3).
	Conditional    bool
	UnchangedSince uint64
}

// SetFlags changes flags and keywords; it is durable when it returns. It returns
// the UIDs, in order, of messages that a condition kept from being changed. The
// tag is not a keyword and is out of its reach.
func (m *Mailbox) SetFlags(ctx context.Context, fc FlagChange) (modified []uint32, err error) {
	keywords, err := cleanKeywords(fc.Keywords)
	if err != nil {
		return nil, err
	}
	v, done := m.v, dealt(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	err = v.change(ctx, func(_ index.Tx, c *change) error {
		modified = nil
		s := v.snap.Load()
		letters, err := v.lettersFor(s.usedLetters, given(fc.Op, keywords))
		if err != nil {
			return err
		}
		renamed := false
		for _, uid := range sorted(fc.UIDs) {
			done.Add(1)
			at, ok := s.Find(uid)
			if !ok {
				continue
			}
			msg := s.At(at)
			if fc.Conditional && msg.ModSeq > fc.UnchangedSince {
				modified = append(modified, uid)
				continue
			}
			next := s.message(at)
			flags := combine(fc.Op, msg.Flags, fc.Flags)
			words := combineKeywords(fc.Op, msg.Keywords, keywords)
			next.Keywords = strings.Join(words, " ")
			rewords := next.Keywords != strings.Join(msg.Keywords, " ")
			if extra := parseName(next.Name).extra; flags != msg.Flags || (rewords && letters.letters(extra, words) != extra) {
				known := &letters
				if !rewords {
					known = &letterTable{} // and so the letters stay as they are
				}
				if err := v.rename(&next, msg.Key, flags, words, known); errors.Is(err, ErrNoMessage) {
					continue // somebody has just removed it
				} else if err != nil {
					return err
				}
				renamed = true
			} else if !rewords {
				continue
			}
			next.ModSeq = c.next(s)
			c.put = append(c.put, next)
		}
		if !renamed {
			return nil
		}
		return v.a.fs.SyncDir(v.sub("cur"))
	})
	if err != nil {
		return nil, fmt.Errorf("change flags: %w", err)
	}
	return modified, nil
}

func sorted(uids []uint32) []uint32 {
	if slices.IsSorted(uids) {
		return slices.Compact(slices.Clone(uids))
	}
	uids = slices.Clone(uids)
	slices.Sort(uids)
	return slices.Compact(uids)
}

func combine(op FlagOp, old, change Flags) Flags {
	switch op {
	case FlagsAdd:
		return old | change
	case FlagsRemove:
		return old &^ change
	}
	return change
}

func combineKeywords(op FlagOp, old, change []string) []string {
	switch op {
	case FlagsAdd:
		all := slices.Concat(old, change)
		slices.Sort(all)
		return slices.Compact(all)
	case FlagsRemove:
		return slices.DeleteFunc(slices.Clone(old), func(k string) bool { return slices.Contains(change, k) })
	}
	return change
}

// cleanKeywords sorts keywords and refuses what is none. The tag is none: it is not
// to be set (D08).
func cleanKeywords(keywords []string) ([]string, error) {
	keywords = slices.Clone(keywords)
	slices.Sort(keywords)
	keywords = slices.Compact(keywords)
	for _, k := range keywords {
		if !validKeyword(k) {
			return nil, fmt.Errorf("keyword %q is not allowed", k)
		}
	}
	return keywords, nil
}

// given are the keywords that a change may bring to messages.
func given(op FlagOp, keywords []string) []string {
	if op == FlagsRemove {
		return nil
	}
	return keywords
}

// rename gives the file of msg the name that says flags and keywords, and msg that
// name. If somebody else has renamed it meanwhile, it is looked for.
func (v *view) rename(msg *index.Message, key Key, flags Flags, keywords []string, letters *letterTable) error {
	from := file{msg.Name, msg.New}
	const tries = 3
	for range tries {
		p := parseName(from.name)
		to := v.a.names.fit(string(appendInfo([]byte(p.base), flags, letters.letters(p.extra, keywords))))
		err := v.renameFile(from, file{name: to})
		if err == nil {
			msg.Name, msg.New = to, false
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if from, err = v.findFile(key); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s", ErrNoMessage, key)
}
