//go:build !plain

package lda

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"rtls/internal/sieve"
	"rtls/store"
)

// answer is what a script wants to be sent back.
type answer = sieve.Vacation

// Who has got a vacation answer, and when, is in the account, in one empty file for
// each answer and person; its modification time is when the answer was sent:
//
//	.rtls/vacation/HASH
//
// What is lost of it costs an answer too many.

const mostAnswers = 4096 // files

// answerDue says whether an answer is to be sent, and notes that it is.
func (a *Agent) answerDue(u User, v *sieve.Vacation) (bool, error) {
	dir := filepath.Join(u.Dir, ".rtls", "vacation")
	sum := sha256.Sum256([]byte(v.Key + "\x00" + v.To))
	path := filepath.Join(dir, hex.EncodeToString(sum[:]))
	now := a.cfg.Clock()
	info, err := os.Lstat(path)
	switch {
	case err == nil && now.Sub(info.ModTime()) < v.Period:
		a.explain("filter: %s has got this answer before", v.To)
		return false, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	forgetAnswers(dir)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	if err := f.Close(); err != nil {
		return false, err
	}
	return true, os.Chtimes(path, now, now)
}

// forgetAnswers keeps the directory small: of too many files the later half stays.
func forgetAnswers(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < mostAnswers {
		return
	}
	var all []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			all = append(all, info)
		}
	}
	slices.SortFunc(all, func(x, y fs.FileInfo) int { return y.ModTime().Compare(x.ModTime()) })
	for _, info := range all[min(len(all), mostAnswers/2):] {
		_ = os.Remove(filepath.Join(dir, info.Name())) // what cannot be removed stays
	}
}

// sendAnswer sends a vacation answer, unless this sender got it a short while ago.
// To a message that came with REQUIRETLS it goes the same way and says nothing of
// it, not even its subject.
func (j *job) sendAnswer(ctx context.Context, s sending) error {
	v := *s.answer
	due, err := j.a.answerDue(s.user, &v)
	if err != nil || !due {
		return err
	}
	if j.v.tag == store.TagRequire {
		v.Subject = "Automatic reply"
	}
	id := fmt.Sprintf("<%s.vacation@%s>", j.env.ID, j.a.cfg.Hostname)
	// RFC 5230 section 5.1: the null reverse-path, or answers would be answered.
	return j.a.cfg.Send(ctx, Onward{To: v.To, Wish: j.wish(), Message: bytes.NewReader(v.Message(j.start, id))})
}
