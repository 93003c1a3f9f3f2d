//go:build !plain

package lda

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rtls/internal/sieve"
)

// Of very many answers the latest stay in memory, for as long as a script can ask.
func TestAnswersRemembered(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	a := New(Config{Clock: func() time.Time { return now }})
	u := User{Name: "u1", Dir: t.TempDir()}
	due := func(to string) bool {
		t.Helper()
		ok, err := a.answerDue(u, &sieve.Vacation{Key: "k", To: to, Period: 300 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	dir := filepath.Join(u.Dir, ".rtls", "vacation")
	fill := func(name string, n int) { // older than what follows, and newer than what was before
		t.Helper()
		for i := range n {
			path := filepath.Join(dir, fmt.Sprint(name, i))
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, now, now); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(time.Second)
	}
	if !due("first") {
		t.Fatal("not due")
	}
	now = now.Add(100 * 24 * time.Hour)
	fill("some", 3000)
	if !due("second") || due("first") {
		t.Error("an answer of a hundred days ago is forgotten")
	}
	now = now.Add(time.Second)
	fill("others", mostAnswers-3000)
	if !due("third") || due("second") {
		t.Error("a late answer is forgotten")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > mostAnswers || len(entries) < 1000 {
		t.Error(len(entries), err)
	}
}
