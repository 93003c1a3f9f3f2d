package store

import (
	"context"
	"slices"
	"strings"
)

// Update brings to a message that Has knows what its source has changed of its flags and
// keywords since they were seen there last, with Finish. What was changed here stays,
// but where the source has changed the same. A message that is not in the mailbox any
// more stays away. Of one whose flags were not noted before, those of today are.
func (i *Import) Update(ctx context.Context, id string, flags Flags, keywords []string) error {
	more, keywords := cleanWords(keywords)
	now := newSourceFlags(flags|more, keywords)
	before, known := i.journal.flags[id]
	if known && before == now {
		return nil
	}
	uid, there := i.made[i.mark(id)]
	if !known || !there {
		return i.noteFlags(id, now)
	}
	d := before.until(now)
	i.updates[d] = append(i.updates[d], update{id, uid, now})
	if i.waiting++; i.waiting < mostUpdates {
		return nil
	}
	return i.flush(ctx)
}

// mostUpdates are changed at once.
const mostUpdates = 4096

type update struct {
	id    string
	uid   uint32
	flags sourceFlags
}

// Finish brings what Update has found, and counts all messages that other flags and
// keywords have come for in this Import.
func (i *Import) Finish(ctx context.Context) (changed int, err error) {
	err = i.flush(ctx)
	return i.changed, err
}

func (i *Import) flush(ctx context.Context) error {
	for d, list := range i.updates {
		uids := make([]uint32, len(list))
		for n, u := range list {
			uids[n] = u.uid
		}
		for _, change := range []FlagChange{
			{UIDs: uids, Op: FlagsAdd, Flags: d.added.flags, Keywords: d.added.words()},
			{UIDs: uids, Op: FlagsRemove, Flags: d.removed.flags, Keywords: d.removed.words()},
		} {
			if change.Flags == 0 && change.Keywords == nil {
				continue
			}
			if _, err := i.m.SetFlags(ctx, change); err != nil {
				return err
			}
		}
		i.changed += len(list)
		for _, u := range list {
			if err := i.noteFlags(u.id, u.flags); err != nil {
				return err
			}
		}
		delete(i.updates, d)
	}
	i.waiting = 0
	return nil
}

func (i *Import) noteFlags(id string, flags sourceFlags) error {
	return i.journal.note(entry{kind: entryFlags, epoch: i.epoch, id: id, flags: flags, hasFlags: true})
}

// sourceFlags are those of a message in its source.
type sourceFlags struct {
	flags    Flags
	keywords string // sorted, with a space between
}

func newSourceFlags(flags Flags, keywords []string) sourceFlags {
	keywords = slices.Clone(keywords)
	slices.Sort(keywords)
	return sourceFlags{flags, strings.Join(slices.Compact(keywords), " ")}
}

func (s sourceFlags) words() []string { return strings.Fields(s.keywords) }

// String is what a journal has: letters as in names of files, and keywords.
func (s sourceFlags) String() string {
	return strings.TrimPrefix(string(appendInfo(nil, s.flags, "")), ":2,") + " " + s.keywords
}

func parseSourceFlags(text string) (s sourceFlags, ok bool) {
	letters, keywords, ok := strings.Cut(text, " ")
	s.keywords = keywords
	s.flags, letters = parseLetters(letters)
	return s, ok && letters == ""
}

// flagsDelta is a change of them.
type flagsDelta struct{ added, removed sourceFlags }

func (s sourceFlags) until(now sourceFlags) flagsDelta {
	less := func(x, y sourceFlags) sourceFlags {
		gone := y.words()
		return newSourceFlags(x.flags&^y.flags, slices.DeleteFunc(x.words(), func(w string) bool { return slices.Contains(gone, w) }))
	}
	return flagsDelta{added: less(now, s), removed: less(s, now)}
}
