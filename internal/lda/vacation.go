package lda

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rtls/internal/sieve"
)

// Who has got a vacation answer, and when, is in the account, in one empty file for
// each answer and person; its modification time is when the answer was sent:
//
//	.rtls/vacation/HASH
//
// What is lost of it costs an answer too many.

const (
	mostAnswers  = 4096                // files
	answerForget = 31 * 24 * time.Hour // no script can ask for a longer period
)

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
	a.forgetAnswers(dir, now)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	if err := f.Close(); err != nil {
		return false, err
	}
	return true, os.Chtimes(path, now, now)
}

// forgetAnswers keeps the directory small.
func (a *Agent) forgetAnswers(dir string, now time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < mostAnswers/2 {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && (now.Sub(info.ModTime()) > answerForget || len(entries) >= mostAnswers) {
			os.Remove(filepath.Join(dir, e.Name())) // what cannot be removed stays
		}
	}
}
