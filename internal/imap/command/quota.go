package command

import "rtls/internal/imap/wire"

// GetQuota is GETQUOTA (RFC 9208 section 4.1.1).
type GetQuota struct{ Root string }

// GetQuotaRoot is GETQUOTAROOT (RFC 9208 section 4.1.2).
type GetQuotaRoot struct{ Mailbox string }

// SetQuota is SETQUOTA (RFC 9208 section 4.1.3).
type SetQuota struct {
	Root   string
	Limits []QuotaLimit
}

// QuotaLimit is a limit that a client wants for a resource.
type QuotaLimit struct {
	Resource string // as written
	Limit    uint64
}

func parseGetQuota(_ *Parser, l *wire.Lexer) (Command, error) {
	var c GetQuota
	err := spaced(l, func() (err error) {
		c.Root, err = l.AString()
		return err
	})
	return c, err
}

func parseGetQuotaRoot(p *Parser, l *wire.Lexer) (Command, error) {
	var c GetQuotaRoot
	err := spaced(l, p.into(l, &c.Mailbox))
	return c, err
}

func parseSetQuota(_ *Parser, l *wire.Lexer) (Command, error) {
	var c SetQuota
	err := spaced(l, func() (err error) {
		c.Root, err = l.AString()
		return err
	}, func() error {
		return l.List(func() error {
			name, err := l.Atom()
			if err != nil {
				return err
			}
			limit := QuotaLimit{Resource: name}
			err = spaced(l, func() (err error) {
				limit.Limit, err = l.Number64()
				return err
			})
			c.Limits = append(c.Limits, limit)
			return err
		})
	})
	return c, err
}
