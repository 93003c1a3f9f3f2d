package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"rtls/internal/auth"
	"rtls/internal/cli"
)

// readQuotaCommand reads what stands behind quota.
func (o *options) readQuotaCommand(words []string) error {
	if len(words) != 1 {
		return errors.New("whose? write quota USER")
	}
	o.mode, o.user = modeQuota, words[0]
	return auth.ValidName(o.user)
}

// resource is what is used of one (RFC 9208), and how much may be; 0: no limit.
type resource struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit,omitempty"`
}

// showQuota says what a user's mail takes, and may.
func showQuota(ctx context.Context, env cli.Env, o *options) error {
	a, limit, err := openAccount(env, o)
	if err != nil {
		return err
	}
	octets, messages, err := a.Usage(ctx)
	if err = errors.Join(err, a.Close()); err != nil {
		return cli.Errorf(cli.TempFail, "%w", err)
	}
	storage, count := resource{octets, limit.Bytes}, resource{messages, limit.Messages}
	if o.json {
		return sayJSON(env.Stdout, map[string]resource{"octets": storage, "messages": count})
	}
	return table(env.Stdout, func(w io.Writer) {
		for _, r := range []struct {
			unit string
			resource
		}{{"octets", storage}, {"messages", count}} {
			of := "no limit"
			if r.Limit != 0 {
				of = fmt.Sprintf("of %d", r.Limit)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\n", r.unit, r.Used, of)
		}
	})
}
