package mtasts

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"rtls/internal/testpki"
)

const good = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmx: *.example.net\r\nmax_age: 604800\r\n"

func TestParse(t *testing.T) {
	p, err := Parse(good)
	if err != nil || p.Mode != "enforce" || p.MaxAge != 168*time.Hour {
		t.Fatalf("%+v, %v", p, err)
	}
	for host, want := range map[string]bool{
		"mail.example.org": true, "MAIL.example.org.": true, "a.example.net": true,
		"example.org": false, "a.b.example.net": false, "example.net": false, "net": false, "xmail.example.org": false,
	} {
		if p.Lists(host) != want {
			t.Errorf("Lists(%q) = %v", host, !want)
		}
	}
	for _, bad := range []string{
		"", "mode: enforce\nmx: a\nmax_age: 1\n", "version: STSv2\nmode: enforce\nmx: a\nmax_age: 1\n",
		"version: STSv1\nmode: maybe\nmx: a\nmax_age: 1\n", "version: STSv1\nmode: enforce\nmax_age: 1\n",
		"version: STSv1\nmode: enforce\nmx: a\n", "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1\n",
	} {
		if p, err := Parse(bad); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

func TestFetch(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	record := []string{"v=spf1 -all", "v=STSv1; id=20260101;"}
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(good))
	more := "#" + strings.Repeat("x", 40<<10)
	for name, tc := range map[string]struct {
		records []string
		cert    string // its name
		answer  string
		ok      bool
	}{
		"good":          {record, "mta-sts.example.org", "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + good, true},
		"redirect":      {record, "mta-sts.example.org", "HTTP/1.1 301 Moved\r\nLocation: https://example.net/\r\n\r\n", false},
		"not text":      {record, "mta-sts.example.org", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + good, false},
		"wrong name":    {record, "example.org", ok + "\r\n" + good, false},
		"no type":       {record, "mta-sts.example.org", "HTTP/1.1 200 OK\r\n\r\n" + good, false},
		"length":        {record, "mta-sts.example.org", ok + length + "\r\n" + good, true},
		"cut off":       {record, "mta-sts.example.org", ok + "content-length: 1000\r\n\r\n" + good, false},
		"more":          {record, "mta-sts.example.org", ok + length + "\r\n" + good + "mode: maybe\r\n", true},
		"two lengths":   {record, "mta-sts.example.org", ok + length + "Content-Length: 7\r\n\r\n" + good, false},
		"no number":     {record, "mta-sts.example.org", ok + "Content-Length: +" + fmt.Sprint(len(good)) + "\r\n\r\n" + good, false},
		"in chunks":     {record, "mta-sts.example.org", ok + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good), false},
		"no body":       {record, "mta-sts.example.org", ok + "\r\n", false},
		"no header end": {record, "mta-sts.example.org", ok + length, false},
		"long header":   {record, "mta-sts.example.org", ok + "X: " + strings.Repeat("x", 100<<10) + "\r\n\r\n" + good + more, false},
		"too long":      {record, "mta-sts.example.org", ok + "\r\n" + good + more + more, false},
		"not HTTP":      {record, "mta-sts.example.org", "220 hello\r\n", false},
		"no record":     {nil, "", "", false},
		"two records":   {append(record, record...), "", "", false},
		"record, no id": {[]string{"v=STSv1;"}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &Fetcher{
				TXT:  func(context.Context, string) ([]string, error) { return tc.records, nil },
				TLS:  &tls.Config{RootCAs: ca.Pool()},
				Dial: serve(t, ca, tc.cert, tc.answer),
			}
			p, err := f.Fetch(t.Context(), "example.org")
			if (err == nil) != tc.ok || err == nil && p.ID != "20260101" {
				t.Errorf("%+v, %v", p, err)
			}
			if errors.Is(err, ErrNone) != (tc.cert == "") {
				t.Errorf("%v", err)
			}
		})
	}
}

// A connection that ends without the close of TLS may have lost the end of the policy. Only
// a length says that nothing of it is missing.
func TestFetchCutOff(t *testing.T) {
	ca, err := testpki.New()
	if err != nil {
		t.Fatal(err)
	}
	const name = "mta-sts.example.org"
	for header, ok := range map[string]bool{"": false, fmt.Sprintf("Content-Length: %d\r\n", len(good)): true} {
		dial := serve(t, ca, name, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"+header+"\r\n"+good)
		f := &Fetcher{
			TXT: func(context.Context, string) ([]string, error) { return []string{"v=STSv1; id=1"}, nil },
			TLS: &tls.Config{RootCAs: ca.Pool()},
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				return withoutLastRecord{conn}, err
			},
		}
		if p, err := f.Fetch(t.Context(), "example.org"); (err == nil) != ok {
			t.Errorf("%q: %+v, %v", header, p, err)
		}
	}
}

// withoutLastRecord drops alerts: in TLS 1.3 they are the records of 19 octets.
type withoutLastRecord struct{ net.Conn }

func (c withoutLastRecord) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	const alert = 5 + 2 + 1 + 16
	if at := n - alert; at >= 0 && bytes.Equal(p[at:at+5], []byte{23, 3, 3, 0, alert - 5}) {
		n = at
		if n == 0 {
			return 0, io.EOF
		}
	}
	return n, err
}

// serve answers each connection with a text.
func serve(t *testing.T, ca *testpki.CA, name, answer string) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	if name == "" {
		return func(context.Context, string, string) (net.Conn, error) {
			t.Error("connected without a record")
			return nil, errors.New("no")
		}
	}
	cert, err := ca.TLS(testpki.Leaf{Names: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() { // ended by the cleanup
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1000)); err == nil {
			_, _ = io.WriteString(conn, answer)
		}
	})
	t.Cleanup(func() { l.Close(); wait.Wait() })
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
}

// A policy comes from the net. What is taken for one is complete.
func FuzzParse(f *testing.F) {
	for _, s := range []string{good, "", "version: STSv1\nmode: none\nmax_age: 0", "mx:\nmx: *.\nversion:STSv1\nmode:testing\nmax_age:1\n"} {
		f.Add(s, "mail.example.org")
	}
	f.Fuzz(func(t *testing.T, text, host string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		if p.Mode != "enforce" && p.Mode != "testing" && p.Mode != "none" || p.Mode != "none" && len(p.MX) == 0 || p.MaxAge < 0 {
			t.Errorf("%q: %+v", text, p)
		}
		if p.Lists(host) && len(p.MX) == 0 {
			t.Errorf("%q is listed by nothing", host)
		}
	})
}
