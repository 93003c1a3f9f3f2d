package config

import (
	"fmt"
	"time"

	"github.com/BurntSushi/toml"
)

// Span is a time that something may take. In the file it is a string like "90s" or
// "10m", in the form of time.ParseDuration.
type Span time.Duration

var _ toml.Unmarshaler = (*Span)(nil)

// UnmarshalTOML reads a value of the file. A number without a unit is none, nor is one below 0.
func (s *Span) UnmarshalTOML(value any) error {
	text, _ := value.(string)
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf(`a time is a string like "90s" or "10m", not %#v`, value)
	}
	*s = Span(d)
	return nil
}
