package submit

import (
	"context"
	"errors"
	"slices"

	"rtls/internal/cli"
	"rtls/internal/tlsconf"
)

// lookUpDANE finds the TLSA records to verify the target by. Records that DNSSEC
// does not prove do not count, nor do those that SMTP cannot use; the authorities
// have to do then. If there is no telling whether there are records, nothing is sent
// (RFC 7672 section 2.1).
func (s *session) lookUpDANE(ctx context.Context) error {
	if s.o.Resolver == nil {
		return cli.Errorf(cli.Config, "DANE without a resolver")
	}
	records, proven, err := s.o.Resolver.TLSA(ctx, s.target.Host, s.target.Port)
	if err != nil {
		return cli.Errorf(cli.TempFail, "the host's TLSA records cannot be looked up, nothing was sent: %w", bare(err)).WithStatus("4.7.5")
	}
	if proven && slices.ContainsFunc(records, tlsconf.TLSA.Usable) {
		s.records = records
	}
	return nil
}

// bare keeps the text of an error and hides its type, so that it is not taken for the
// failure of another step.
func bare(err error) error { return errors.New(err.Error()) }
