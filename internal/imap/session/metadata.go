package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rtls/internal/imap/command"
	"rtls/store"
)

// Annotations of ours are below this name, and no client changes them.
const ownEntries = "/shared/vendor/rtls"

// tagEntry counts the messages of a mailbox by tag. It is worked out when it is asked
// for.
const tagEntry = ownEntries + "/requiretls"

// adminEntry is how to reach the administrator of the server (RFC 5464 section 6.2.1),
// who sets it in the configuration.
const adminEntry = "/shared/admin"

// annotated is the mailbox that a command on annotations names, or empty for the
// server.
func annotated(mailbox string) (string, error) {
	name := trimSeparator(mailbox)
	if name == "" && mailbox != "" {
		return "", store.ErrName
	}
	return name, nil
}

// getMetadata is GETMETADATA (RFC 5464 section 4.2).
func (s *Session) getMetadata(ctx context.Context, c command.GetMetadata) error {
	mailbox, err := annotated(c.Mailbox)
	if err != nil {
		return err
	}
	longest, err := s.writeMetadata(ctx, mailbox, c.EntryQuery)
	if err == nil && longest > 0 {
		s.ok("METADATA LONGENTRIES "+strconv.Itoa(longest), "GETMETADATA completed")
	}
	return err
}

// writeMetadata answers a query. longest is the size of the largest value that the
// query asks for and is not told because of its size, 0 if there is none.
func (s *Session) writeMetadata(ctx context.Context, mailbox string, q command.EntryQuery) (longest int, err error) {
	all, err := s.account.Metadata(ctx, mailbox)
	if err == nil && mailbox != "" && slices.ContainsFunc(q.Names, func(name string) bool { return covers(name, tagEntry, q.Depth) }) {
		var counts store.Annotation
		counts, err = s.tagCounts(ctx, mailbox)
		all = append(all, counts)
	}
	if mailbox == "" && s.cfg.Admin != "" {
		all = append([]store.Annotation{{Name: adminEntry, Value: []byte(s.cfg.Admin)}}, all...)
	}
	if err != nil {
		return 0, err
	}
	begun := false
	for _, e := range found(all, q) {
		if q.Limited && uint64(len(e.Value)) > uint64(q.MaxSize) {
			longest = max(longest, len(e.Value))
			continue
		}
		if begun {
			s.w.Raw(" ")
		} else {
			s.w.Raw("* METADATA ")
			s.w.Mailbox(mailbox)
			s.w.Raw(" (")
			begun = true
		}
		s.w.AString(e.Name)
		s.w.Raw(" ")
		if e.Value == nil {
			s.w.Raw("NIL")
		} else {
			s.w.String8(string(e.Value))
		}
	}
	if begun {
		s.w.Line(")")
	}
	return longest, nil
}

// found are the annotations that a query asks for, each once. One that is named has
// the spelling of the query, and no value if it does not exist; with a depth it is
// left out then.
func found(all []store.Annotation, q command.EntryQuery) (list []store.Annotation) {
	seen := make(map[string]bool)
	add := func(e store.Annotation) {
		if key := strings.ToLower(e.Name); !seen[key] {
			seen[key] = true
			list = append(list, e)
		}
	}
	for _, name := range q.Names {
		there := false
		for _, e := range all {
			if strings.EqualFold(e.Name, name) {
				there = true
				add(store.Annotation{Name: name, Value: e.Value})
			}
		}
		if !there && q.Depth == command.ThisEntry {
			add(store.Annotation{Name: name})
		}
		for _, e := range all {
			if covers(name, e.Name, q.Depth) {
				add(e)
			}
		}
	}
	return list
}

// covers reports whether a name of a query, with its depth, means an entry.
func covers(name, entry string, depth command.Depth) bool {
	if len(entry) < len(name) || !strings.EqualFold(entry[:len(name)], name) {
		return false
	}
	below := entry[len(name):]
	switch {
	case below == "":
		return true
	case below[0] != '/' || depth == command.ThisEntry:
		return false
	}
	return depth == command.Descendants || !strings.Contains(below[1:], "/")
}

// tagCounts is the annotation that counts tags.
func (s *Session) tagCounts(ctx context.Context, mailbox string) (store.Annotation, error) {
	box, err := s.account.Mailbox(ctx, mailbox)
	if err != nil {
		return store.Annotation{}, err
	}
	n := box.Snapshot().Tags()
	if err := box.Close(); err != nil {
		s.log.Warn("close mailbox", "mailbox", mailbox, "err", err)
	}
	value := fmt.Sprintf("required=%d optional=%d unknown=%d none=%d", n[store.TagRequire], n[store.TagOptional], n[store.TagUnknown], n[store.TagNone])
	return store.Annotation{Name: tagEntry, Value: []byte(value)}, nil
}

// setMetadata is SETMETADATA (RFC 5464 section 4.3).
func (s *Session) setMetadata(ctx context.Context, c command.SetMetadata) error {
	if c.TooBig {
		return tooBigEntry()
	}
	mailbox, err := annotated(c.Mailbox)
	if err != nil {
		return err
	}
	set := make([]store.Annotation, len(c.Entries))
	for i, e := range c.Entries {
		if err := changeable(mailbox, e); err != nil {
			return err
		}
		set[i].Name = e.Name
		if !e.Remove {
			set[i].Value = []byte(e.Value)
		}
	}
	seq, err := s.account.SetMetadata(ctx, mailbox, set)
	if errors.Is(err, store.ErrAnnotations) {
		return refuse("METADATA TOOMANY", "there is no room for more annotations")
	}
	if err == nil && s.hearsMetadata(mailbox) {
		s.ownMetadata = append(s.ownMetadata, seq)
	}
	return err
}

func tooBigEntry() error {
	return refuse("METADATA MAXSIZE "+strconv.Itoa(store.MaxAnnotation), "a value has at most %d octets", store.MaxAnnotation)
}

// changeable says whether a client may set an entry. The server's shared entries are
// the same for all its users, so no user sets them.
func changeable(mailbox string, e command.EntryValue) error {
	switch {
	case len(e.Value) > store.MaxAnnotation:
		return tooBigEntry()
	case covers(ownEntries, e.Name, command.Descendants):
		return refuse("CANNOT", "%s is read-only", e.Name)
	case mailbox == "" && covers("/shared", e.Name, command.Descendants):
		return refuse("NOPERM", "shared annotations of the server are not set by its users")
	}
	return nil
}

// tellMetadata tells which annotations others have changed, if the client has asked
// for that (RFC 5464 section 4.4).
func (s *Session) tellMetadata() {
	if s.account == nil || !s.enabled.metadata && s.notify == nil {
		return
	}
	changes, last := s.account.MetadataChanges(s.metadataSeq)
	for _, c := range changes {
		if slices.Contains(s.ownMetadata, c.Seq) || !s.hearsMetadata(c.Mailbox) {
			continue
		}
		s.w.Raw("* METADATA ")
		s.w.Mailbox(c.Mailbox)
		for _, name := range c.Names {
			s.w.Raw(" ")
			s.w.AString(name)
		}
		s.w.CRLF()
	}
	s.metadataSeq, s.ownMetadata = last, nil
}
