package submit

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rtls/internal/cli"
	"rtls/internal/requiretls"
	"rtls/internal/testpki"
	"rtls/internal/tlsconf"
)

var (
	noRequire = step{hello.want, "250-localhost\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"}
	whole     = []step{hello, {auth + mail + rcpt + "DATA\r\n", "235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"}, {data + "QUIT\r\n", "250 2.0.0 taken\r\n221 bye\r\n"}, theEnd}
	client    = Options{Hostname: "client.example.org"}
)

// dead is a target that nobody listens at.
func dead() *Target {
	return &Target{Host: "localhost", Port: 1, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}}
}

// untouched is a target that must not be called.
func untouched(t *testing.T) *Target {
	return &Target{Host: "localhost", Port: 2, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("a target was tried that should not have been")
		return nil, errors.New("refused")
	}}
}

// The dialogues are all that each server hears: nothing of the message, no login and
// no MAIL where it is not in them.
func TestTargetsInOrder(t *testing.T) {
	login535 := []step{hello, {auth + mail + rcpt + "DATA\r\n", "535 5.7.8 no\r\n530 no\r\n530 no\r\n503 no\r\n"}, goodbye, theEnd}
	later := []step{hello, {auth + mail + rcpt + "DATA\r\n", "235 ok\r\n451 4.3.0 later\r\n503 no\r\n503 no\r\n"}, goodbye, theEnd}
	greylisted := []step{hello, {auth + mail + rcpt + "DATA\r\n", "235 ok\r\n250 ok\r\n450 4.2.0 later\r\n503 no\r\n"}, goodbye, theEnd}
	noSupport := []step{hello, {auth + mail + rcpt + "DATA\r\n", "235 ok\r\n550 5.7.30 no\r\n503 no\r\n503 no\r\n"}, goodbye, theEnd}
	for name, first := range map[string][]step{
		"no REQUIRETLS": {noRequire, goodbye, theEnd},
		"hangs up":      {{hello.want, ""}},
		"login":         login535,
		"later":         later,
		"greylisted":    greylisted,
		"5.7.30":        noSupport,
	} {
		t.Run(name, func(t *testing.T) {
			targets := []*Target{serveDialogues(t, first), dead(), serveDialogues(t, whole), untouched(t)}
			receipt, err := NewSession(targets, client).SendLast(t.Context(), message())
			if err != nil || receipt.Target != targets[2].addr() || !receipt.Announced || !receipt.RequireTLS || receipt.Mechanism != "PLAIN" || receipt.KeyPin == "" || len(receipt.Chain) != 2 {
				t.Errorf("%+v, %v", receipt, err)
			}
		})
	}
}

// What a server says of the message is final; and what may have arrived is not sent
// again.
func TestVerdict(t *testing.T) {
	for name, tc := range map[string]struct {
		steps []step
		code  int
		maybe bool
	}{
		"unknown recipient": {[]step{hello, {auth + mail + rcpt + "DATA\r\n", "235 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n503 no\r\n"}, goodbye, theEnd}, cli.NoUser, false},
		"text":              {[]step{hello, whole[1], {data + "QUIT\r\n", "554 5.6.0 spam\r\n221 bye\r\n"}, theEnd}, cli.DataErr, false},
		"lost":              {[]step{hello, whole[1], {data + "QUIT\r\n", ""}}, cli.TempFail, true},
		"no SMTP":           {[]step{hello, whole[1], {data + "QUIT\r\n", "what?\r\n"}}, cli.TempFail, true},
		"no verdict":        {[]step{hello, whole[1], {data + "QUIT\r\n", "354 go on\r\n"}}, cli.TempFail, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewSession([]*Target{serveDialogues(t, tc.steps), untouched(t)}, client).SendLast(t.Context(), message())
			if cli.ExitCode(err) != tc.code || MaybeSent(err) != tc.maybe || Unreached(err) {
				t.Errorf("%v, maybe sent %v; want %d, %v", err, MaybeSent(err), tc.code, tc.maybe)
			}
		})
	}
	m := message()
	m.Content = brokenContent{}
	start := []step{hello, whole[1], theEnd}
	if _, err := NewSession([]*Target{serveDialogues(t, start), untouched(t)}, client).SendLast(t.Context(), m); cli.ExitCode(err) != cli.TempFail || MaybeSent(err) {
		t.Errorf("unreadable: %v", err)
	}
}

// One reason a target, and the code of the one that was closest; temporary if any is.
func TestAllTargetsFail(t *testing.T) {
	unsupported := func() *Target { return serveDialogues(t, []step{noRequire, goodbye, theEnd}) }
	for name, tc := range map[string]struct {
		targets []*Target
		code    int
		status  string
	}{
		"best of two":         {[]*Target{inClear(), unsupported()}, cli.Unavailable, requiretls.StatusNoSupport},
		"best of two, turned": {[]*Target{unsupported(), inClear()}, cli.Unavailable, requiretls.StatusNoSupport},
		"temporary":           {[]*Target{unsupported(), dead()}, cli.TempFail, "4.4.2"},
		"temporary first":     {[]*Target{dead(), unsupported()}, cli.TempFail, "4.4.2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewSession(tc.targets, client).SendLast(t.Context(), message())
			u, ok := errors.AsType[*Unsent](err)
			if !ok || len(u.Errors) != len(tc.targets) {
				t.Fatalf("%T: %v", err, err)
			}
			inner, _ := errors.AsType[*cli.Error](err)
			if inner.Code != tc.code || inner.Status != tc.status || u.Temporary() != (tc.code == cli.TempFail) {
				t.Errorf("exit code %d, status %q: %v; want %d, %q", inner.Code, inner.Status, err, tc.code, tc.status)
			}
			for i, line := range strings.Split(err.Error(), "\n") {
				if !strings.Contains(line, tc.targets[i].addr()) {
					t.Errorf("line %d, %q, does not name %s", i, line, tc.targets[i].addr())
				}
			}
		})
	}
	if _, err := NewSession(nil, client).SendLast(t.Context(), message()); cli.ExitCode(err) != cli.Config {
		t.Errorf("no target: %v", err)
	}
	if _, err := NewSession([]*Target{dead(), dead()}, client).SendLast(t.Context(), message()); !Unreached(err) {
		t.Errorf("%v is not unreached", err)
	}
}

// inClear is a target that has no TLS.
func inClear() *Target {
	return &Target{Host: "localhost", Port: 3, StartTLS: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { // ends when the client closes
			defer theirs.Close()
			buf := make([]byte, 1000)
			_, err := theirs.Write([]byte("220 hello\r\n"))
			for err == nil {
				if _, err = theirs.Read(buf); err == nil {
					_, err = theirs.Write([]byte("250 nothing\r\n"))
				}
			}
		}()
		return ours, nil
	}}
}

// A target that could not be reached is tried last for a while.
func TestBreaker(t *testing.T) {
	now := time.Now()
	o := client
	o.Breaker = &Breaker{Dir: filepath.Join(t.TempDir(), "state", "targets"), Now: func() time.Time { return now }}
	first, second := dead(), serveDialogues(t, whole, whole, whole)
	calls := 0
	inner := first.Dial
	first.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		calls++
		return inner(ctx, network, addr)
	}
	send := func(want int) {
		t.Helper()
		if _, err := NewSession([]*Target{first, second}, o).SendLast(t.Context(), message()); err != nil || calls != want {
			t.Errorf("%v, called %d times, want %d", err, calls, want)
		}
	}
	send(1)
	send(1) // the second takes it, so the first is not asked
	now = now.Add(6 * time.Minute)
	send(2)
	// Where it is the last resort, it is asked all the same.
	if _, err := NewSession([]*Target{first, dead()}, o).SendLast(t.Context(), message()); cli.ExitCode(err) != cli.TempFail || calls != 3 {
		t.Errorf("%v, called %d times", err, calls)
	}
	o.Breaker.well(first)
	if got := o.Breaker.order([]*Target{first, second}); got[0] != first {
		t.Error("a target that is well again is last")
	}
}

// A refusal is no reason to think that the target is down, and an unusable memory no
// reason not to send.
func TestBreakerStaysOut(t *testing.T) {
	o := client
	o.Breaker = &Breaker{Dir: t.TempDir()}
	targets := []*Target{serveDialogues(t, []step{noRequire, goodbye, theEnd}), serveDialogues(t, whole)}
	if _, err := NewSession(targets, o).SendLast(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(o.Breaker.Dir); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Breaker = &Breaker{Dir: file}
	if _, err := NewSession([]*Target{dead(), serveDialogues(t, whole)}, o).SendLast(t.Context(), message()); err != nil {
		t.Error(err)
	}
}

// answers is a resolver.
type answers struct {
	srv    map[string][]net.SRV // by service
	tlsa   []tlsconf.TLSA
	proven bool
	err    error
}

func (a answers) SRV(_ context.Context, service, domain string) ([]net.SRV, bool, error) {
	if domain != "example.org" {
		return nil, false, errors.New("who is " + domain)
	}
	return a.srv[service], a.proven, a.err
}

func (a answers) TLSA(context.Context, string, int) ([]tlsconf.TLSA, bool, error) {
	return a.tlsa, a.proven, a.err
}

func TestSRV(t *testing.T) {
	const submissions, submission = "submissions", "submission"
	in := func(host string, port uint16) []net.SRV { return []net.SRV{{Target: host, Port: port}} }
	for name, tc := range map[string]struct {
		answers answers
		want    []string // "host:port" of targets, "!host:port" of refusals
		code    int
	}{
		"implicit TLS first": {answers{srv: map[string][]net.SRV{submission: in("b.example.org.", 587), submissions: in("a.Example.org.", 465)}}, []string{"a.Example.org:465", "b.example.org:587"}, 0},
		"the domain itself":  {answers{srv: map[string][]net.SRV{submission: in("example.org.", 587)}}, []string{"example.org:587"}, 0},
		"not offered":        {answers{srv: map[string][]net.SRV{submissions: in(".", 0), submission: in("b.example.org.", 587)}}, []string{"b.example.org:587"}, 0},
		"outside":            {answers{srv: map[string][]net.SRV{submissions: in("evil.example.net.", 465)}}, []string{"!evil.example.net:465"}, cli.Unavailable},
		"looks alike":        {answers{srv: map[string][]net.SRV{submissions: in("notexample.org.", 465)}}, []string{"!notexample.org:465"}, cli.Unavailable},
		"outside, proven":    {answers{proven: true, srv: map[string][]net.SRV{submissions: in("smtp.example.net.", 465)}}, []string{"smtp.example.net:465"}, 0},
		"outside, allowed":   {answers{srv: map[string][]net.SRV{submissions: in("allowed.example.net.", 465)}}, []string{"allowed.example.net:465"}, 0},
		"nothing":            {answers{}, []string{"!_submissions._tcp.example.org"}, cli.NoHost},
		"neither offered":    {answers{srv: map[string][]net.SRV{submissions: in(".", 0), submission: in(".", 0)}}, []string{"!_submissions._tcp.example.org"}, cli.NoHost},
		"no answer":          {answers{err: &net.DNSError{Err: "SERVFAIL", IsTemporary: true}}, []string{"!_submissions._tcp.example.org"}, cli.TempFail},
	} {
		t.Run(name, func(t *testing.T) {
			domain := &Target{SRV: "example.org", SRVAllow: []string{"Allowed.example.net"}, TLS: tlsConfig(t)}
			o := Options{Resolver: tc.answers}
			targets, refused := domain.expand(t.Context(), &o)
			var got []string
			for _, target := range targets {
				got = append(got, target.addr())
				if target.TLS.ServerName != target.Host || target.StartTLS != (target.Port == 587) {
					t.Errorf("%+v", target)
				}
			}
			for _, e := range refused {
				got = append(got, "!"+e.Target)
				if cli.ExitCode(e) != tc.code {
					t.Errorf("%v has code %d, want %d", e, cli.ExitCode(e), tc.code)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestOrderSRV(t *testing.T) {
	records := []net.SRV{{Target: "c", Priority: 20, Weight: 9}, {Target: "b", Priority: 10, Weight: 10}, {Target: "a", Priority: 10, Weight: 30}, {Target: "z", Priority: 10}}
	for _, tc := range []struct {
		dice []int
		want string
	}{
		{[]int{0, 0, 0, 0}, "zbac"}, // the one without weight has its chance
		{[]int{1, 0, 0, 0}, "bzac"},
		{[]int{40, 10, 0, 0}, "abzc"},
	} {
		n := 0
		var got string
		for _, r := range orderSRV(records, func(int) int { n++; return tc.dice[n-1] }) {
			got += r.Target
		}
		if got != tc.want {
			t.Errorf("%v: %s, want %s", tc.dice, got, tc.want)
		}
	}
}

func tlsConfig(t *testing.T) *tls.Config {
	t.Helper()
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	config, err := tlsconf.Client(writeCA(t, ca), "")
	if err != nil {
		t.Fatal(err)
	}
	return config
}
