package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Override sets single keys, each written as "table.key=value". What is not a TOML
// value is taken for a string.
func (f *File) Override(settings []string) error {
	for _, setting := range settings {
		key, value, ok := strings.Cut(setting, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" || strings.ContainsAny(value, "\r\n") {
			return fmt.Errorf("%q is not a setting; write one like lda.quota_full=reject", setting)
		}
		meta, err := toml.Decode(key+" = "+value, f)
		if _, syntax := errors.AsType[toml.ParseError](err); syntax {
			meta, err = toml.Decode(fmt.Sprintf("%s = %s", key, Quote(value)), f)
		}
		if err != nil {
			text := err.Error()
			if _, _, complaint, ok := typeError(err); ok {
				text = inWords(complaint)
			}
			return fmt.Errorf("setting %q: %s", setting, text)
		}
		if len(meta.Undecoded()) > 0 {
			return fmt.Errorf("setting %q: unknown key; see rtls.toml(5) for the keys there are", setting)
		}
	}
	return nil
}

// Quote writes a basic string of TOML.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
