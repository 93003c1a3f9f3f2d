package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"rtls/bench/report"
)

// texts searches for texts with an index of them, which Dovecot has none of by
// default, and says on standard error what the index takes.
func (b *bench) texts() error {
	dir := filepath.Dir(b.ours.root)
	if err := withTextIndex(filepath.Join(dir, "passwd"), "alice"); err != nil {
		return err
	}
	start := time.Now()
	out, err := exec.CommandContext(b.ctx, filepath.Join(dir, "rtls-imapd"), "store", "index", "--rebuild", "--json", filepath.Join(b.ours.root, "alice")).Output()
	if err != nil {
		return fmt.Errorf("store index: %w", err)
	}
	took := time.Since(start).Seconds()
	var size struct{ Messages, Octets int64 }
	if err := json.Unmarshal(out, &size); err != nil {
		return err
	}
	mail := octetsBelow(b.ours.maildir)
	fmt.Fprintf(os.Stderr, "text index: %d messages in %.1f s, %.0f a second; %d MiB, %.0f %% of %d MiB of mail\n",
		size.Messages, took, float64(size.Messages)/took, size.Octets>>20, 100*float64(size.Octets)/float64(mail), mail>>20)
	for _, q := range []question{
		{"SEARCH BODY, text index", "UID SEARCH BODY nobody-has-this"},
		{"SEARCH TEXT, text index", "UID SEARCH TEXT nobody-has-this"},
	} {
		again := func(s *site) (time.Duration, error) { return s.ask(q.command) }
		if err := b.measure(b.rounds(9), report.Row{Scenario: q.name, Goal: 0.05}, again); err != nil {
			return err
		}
	}
	return nil
}

// withTextIndex says in a passwd file that a user has an index of texts.
func withTextIndex(path, user string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := bytes.Split(raw, []byte("\n"))
	for i, line := range lines {
		if bytes.HasPrefix(line, []byte(user+":")) {
			for bytes.Count(line, []byte(":")) < 7 {
				line = append(bytes.Clone(line), ':')
			}
			lines[i] = append(line, " userdb_fts_autoindex=yes"...)
		}
	}
	next := path + ".next"
	if err := os.WriteFile(next, bytes.Join(lines, []byte("\n")), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
