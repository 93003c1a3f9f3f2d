package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestExitCode(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, OK},
		{errors.New("who knows"), TempFail}, // unknown counts as temporary
		{Errorf(DataErr, "bad"), DataErr},
		{fmt.Errorf("send: %w", Errorf(NoUser, "x").WithStatus("5.1.1")), NoUser},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("ExitCode(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestReportIsPlainText(t *testing.T) {
	var b strings.Builder
	Report(&b, "rtls-x", Errorf(Unavailable, "said \x1b[31m550 no\r\nsecond").WithStatus("5.7.10").WithHint("do this"))
	want := "rtls-x: 5.7.10 said ?[31m550 no\nrtls-x: second\nrtls-x: do this\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
