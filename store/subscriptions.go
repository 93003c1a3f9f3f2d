package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"rtls/store/internal/index"
)

// subscriptionsFile is Dovecot's: a name a line, written as its directory is, or,
// behind a header, with tabs between levels. The first is what is written here.
const (
	subscriptionsFile   = "subscriptions"
	subscriptionsHeader = "V\t2\n"
)

// Subscribe sets or clears a subscription; the mailbox need not exist.
func (a *Account) Subscribe(ctx context.Context, name string, on bool) error {
	name, err := cleanName(name)
	if err != nil {
		return err
	}
	return a.relist(ctx, func(index.Tx) error {
		list, err := a.subscriptions()
		if err != nil {
			return err
		}
		if slices.Contains(list, name) == on {
			return nil
		}
		if on {
			list = append(list, name)
		} else {
			list = slices.DeleteFunc(list, func(s string) bool { return s == name })
		}
		var b strings.Builder
		for _, s := range list {
			b.WriteString(strings.TrimPrefix(folderDir(s), "."))
			if s == inbox {
				b.WriteString(inbox)
			}
			b.WriteByte('\n')
		}
		if err := a.fs.WriteFile(filepath.Join(a.maildir(), subscriptionsFile), []byte(b.String())); err != nil {
			return fmt.Errorf("write subscriptions: %w", err)
		}
		return nil
	})
}

func (a *Account) subscriptions() ([]string, error) {
	raw, err := a.fs.ReadFile(filepath.Join(a.maildir(), subscriptionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	text, levels := strings.CutPrefix(string(raw), subscriptionsHeader)
	var list []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if levels {
			line = strings.ReplaceAll(strings.ReplaceAll(line, ".", "&AC4-"), "\t", ".")
		}
		name, err := folderName("." + line)
		if err != nil {
			a.log.Warn("subscription makes no sense", "line", line)
			continue
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list, nil
}
