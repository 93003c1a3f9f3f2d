package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rtls/internal/imap/command"
	"rtls/store"
)

// What is below a name is compared with what a look at all names finds.
func TestBelow(t *testing.T) {
	r := rand.New(rand.NewPCG(5258, 9051))
	for range 300 {
		var infos []store.MailboxInfo
		for _, name := range []string{"INBOX", "INBOX/a", "INBOX/a/b", "a", "a b", "a/b", "a/b/c", "a/b/c/d", "a!", "a!/x", "b/c", "ä/b"} {
			if r.IntN(3) > 0 {
				infos = append(infos, store.MailboxInfo{Name: name, Exists: r.IntN(2) > 0, Subscribed: r.IntN(2) > 0, SpecialUse: []string{"", "Sent"}[r.IntN(2)]})
			}
		}
		c := command.List{
			Patterns:   [][]string{{"%"}, {"*"}, {"a/%", "b*"}, {"INBOX"}}[r.IntN(4)],
			Subscribed: r.IntN(2) > 0, SpecialUse: r.IntN(2) > 0, RecursiveMatch: true, LSub: r.IntN(4) == 0,
		}
		tree := withParents(infos)
		matches := make([]bool, len(tree))
		for i, e := range tree {
			matches[i], _ = matchPatterns(c, e.Name)
		}
		for i, got := range below(tree, matches, c) {
			var want chosen
			for j, e := range tree {
				if strings.HasPrefix(e.Name, tree[i].Name+"/") && selects(c, e.MailboxInfo) && (!matches[j] || c.LSub) {
					want = want.or(chosen{c.Subscribed && e.Subscribed, c.SpecialUse && e.SpecialUse != ""})
				}
			}
			if got != want {
				t.Errorf("%+v of %+v: below %s are %+v, not %+v", c, infos, tree[i].Name, got, want)
			}
		}
	}
}

// A listing that nobody waits for any more ends.
func TestEntriesEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := command.List{Patterns: []string{"%"}, Subscribed: true, RecursiveMatch: true}
	if found, err := entries(ctx, manyNames(10), c); err != nil || len(found) != 1 || !slices.Equal(found[0].childMatch, []string{"SUBSCRIBED"}) {
		t.Errorf("%+v, %v", found, err)
	}
	cancel()
	if _, err := entries(ctx, manyNames(10), c); !errors.Is(err, context.Canceled) {
		t.Errorf("it goes on: %v", err)
	}
}

func manyNames(n int) []store.MailboxInfo {
	infos := []store.MailboxInfo{{Name: "a", Exists: true}}
	for i := range n {
		infos = append(infos, store.MailboxInfo{Name: fmt.Sprintf("a/%d", i), Exists: true, Subscribed: true})
	}
	return infos
}

// BenchmarkRecursiveMatch takes time in proportion to the number of names.
func BenchmarkRecursiveMatch(b *testing.B) {
	for _, n := range []int{1000, 8000} {
		infos := manyNames(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := entries(b.Context(), infos, command.List{Patterns: []string{"*"}, Subscribed: true, RecursiveMatch: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
