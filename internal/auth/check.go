package auth

// Check returns what is wrong with lines of the file, an error each, as users.File.Check
// does: also what keeps a user from logging in with a password that is right. The second
// error is that of Known.
func (u *Users) Check() (wrong []error, err error) {
	return u.File.Check(func(name, rest string) error {
		e := parseEntry(name, rest)
		if hashed := e.hashed(); hashed != "" {
			if _, err := parseHash(hashed); err != nil {
				return err
			}
		}
		if _, err := e.scram(); err != nil {
			return err
		}
		_, err := e.apps()
		return err
	})
}
