package users

import (
	"bytes"
	"errors"
	"fmt"

	"rtls/internal/config"
)

// Check returns what is wrong with lines of the file, an error each, which names file and
// line. Mail for a user whose line is wrong is refused or deferred, and that of all others
// is delivered, so only an administrator who asks learns of it. What stands behind a name,
// hash and all, is for more to judge as well, if it is not nil. The second error is that
// of Known.
func (u *File) Check(more func(name, rest string) error) (wrong []error, err error) {
	text, _, err := u.Text()
	if err != nil {
		return nil, err
	}
	first := map[string]int{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := checkLine(line, n, first, more); err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: %w", u.path, n, err))
		}
	}
	return wrong, nil
}

// checkLine looks at the line of that number. The names that were seen are in first.
func checkLine(line []byte, number int, first map[string]int, more func(name, rest string) error) error {
	name, rest, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return errors.New("there is no colon behind the name of a user")
	}
	if err := config.ValidUser(string(name)); err != nil {
		return err
	}
	if first[string(name)] != 0 {
		return fmt.Errorf("the user stands in line %d already, which counts", first[string(name)])
	}
	first[string(name)] = number
	r := Record{UID: -1, GID: -1}
	if err := r.parse(rest); err != nil {
		return err
	}
	if more == nil {
		return nil
	}
	return more(string(name), string(rest))
}
