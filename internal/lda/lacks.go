package lda

import (
	"slices"
	"strings"

	"rtls/store"
)

// Lacks says what it takes to deliver to r that a program built with the tag plain has
// not: an index or a filter. Empty is nothing. Who asks may not have read any of the
// message.
func (a *Agent) Lacks(r Recipient) string {
	if a.anyScript([]Recipient{r}) {
		return "a filter"
	}
	for _, t := range r.Targets() {
		// What is wrong with a user, the delivery will say.
		if u, ok, err := a.cfg.Lookup(t.User); err == nil && ok && u.Quota != (store.Quota{}) {
			return "a quota"
		}
	}
	named := func(t Target) bool { return t.Folder != "" && !strings.EqualFold(t.Folder, inbox) }
	if a.cfg.CreateFolders && slices.ContainsFunc(r.Targets(), named) {
		return "a mailbox to be made"
	}
	return ""
}
