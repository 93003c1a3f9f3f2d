package session

import (
	"context"

	"rtls/internal/imap/command"
)

// quotaRoot is the quota root of all mailboxes (RFC 9208 section 3.2), if the account
// has a limit at all: the form of QUOTA has no room for a root without one.
const quotaRoot = ""

func (s *Session) getQuota(ctx context.Context, c command.GetQuota) error {
	if c.Root != quotaRoot || !s.hasQuota() {
		return refuse("NONEXISTENT", "no such quota root")
	}
	return s.writeQuota(ctx)
}

// getQuotaRoot tells the quota root of a mailbox, which need not exist (RFC 9208
// section 4.1.2).
func (s *Session) getQuotaRoot(ctx context.Context, c command.GetQuotaRoot) error {
	s.w.Raw("* QUOTAROOT ")
	s.w.Mailbox(trimSeparator(c.Mailbox))
	if !s.hasQuota() {
		s.w.CRLF()
		return nil
	}
	s.w.Raw(" ")
	s.w.AString(quotaRoot)
	s.w.CRLF()
	return s.writeQuota(ctx)
}

func (s *Session) hasQuota() bool {
	limit := s.account.Quota()
	return limit.Bytes != 0 || limit.Messages != 0
}

// writeQuota writes the QUOTA response: the resources that have a limit.
func (s *Session) writeQuota(ctx context.Context) error {
	octets, messages, err := s.account.Usage(ctx)
	if err != nil {
		return err
	}
	limit := s.account.Quota()
	s.w.Raw("* QUOTA ")
	s.w.AString(quotaRoot)
	sep := " ("
	resource := func(name string, usage, limit int64) {
		if limit == 0 {
			return
		}
		s.w.Raw(sep, name, " ")
		s.w.Num(uint64(usage))
		s.w.Raw(" ")
		s.w.Num(uint64(limit))
		sep = " "
	}
	resource("STORAGE", kibibytes(octets), kibibytes(limit.Bytes))
	resource("MESSAGE", messages, limit.Messages)
	s.w.Line(")")
	return nil
}

// kibibytes is how many units of 1024 octets there are (RFC 9208 section 5.1), of
// which the last need not be full.
func kibibytes(octets int64) int64 { return octets/1024 + min(1, octets%1024) }
