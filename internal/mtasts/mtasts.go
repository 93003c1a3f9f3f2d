// Package mtasts reads a domain's MTA-STS policy (RFC 8461): which of its mail
// exchangers are genuine, and that they have to be reached over verified TLS.
package mtasts

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Policy is what a domain says.
type Policy struct {
	ID     string // of the TXT record
	Mode   string // "enforce", "testing" or "none"
	MX     []string
	MaxAge time.Duration
}

// Fetcher gets policies.
type Fetcher struct {
	// TXT looks up the texts of a name.
	TXT func(ctx context.Context, name string) ([]string, error)
	// TLS verifies web servers; its ServerName is set for each.
	TLS *tls.Config
	// Dial connects to a web server.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// ErrNone says that a domain has no policy.
var ErrNone = errors.New("the domain has no MTA-STS policy")

const (
	fetchTimeout = 30 * time.Second // RFC 8461 section 3.3 suggests a minute
	maxPolicy    = 64 << 10         // as suggested there
)

// Fetch gets the policy of a domain.
func (f *Fetcher) Fetch(ctx context.Context, domain string) (*Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	texts, err := f.TXT(ctx, "_mta-sts."+domain)
	if err != nil {
		return nil, fmt.Errorf("look up the MTA-STS record: %w", err)
	}
	id, err := recordID(texts)
	if err != nil {
		return nil, err
	}
	body, err := f.get(ctx, "mta-sts."+domain)
	if err != nil {
		return nil, fmt.Errorf("get the MTA-STS policy: %w", err)
	}
	p, err := Parse(body)
	if err != nil {
		return nil, err
	}
	p.ID = id
	return p, nil
}

// recordID finds the one record there may be (RFC 8461 section 3.1).
func recordID(texts []string) (string, error) {
	id, found := "", 0
	for _, text := range texts {
		if text != "v=STSv1" && !strings.HasPrefix(text, "v=STSv1;") && !strings.HasPrefix(text, "v=STSv1 ") {
			continue
		}
		found++
		for field := range strings.SplitSeq(text, ";") {
			if value, ok := strings.CutPrefix(strings.TrimSpace(field), "id="); ok {
				id = value
			}
		}
	}
	if found != 1 || id == "" {
		return "", ErrNone
	}
	return id, nil
}

// get does a GET of HTTP/1.0, which needs no client of HTTP: one host, one path, no
// redirects (RFC 8461 section 3.3), no body in pieces.
func (f *Fetcher) get(ctx context.Context, host string) (string, error) {
	raw, err := f.Dial(ctx, "tcp", net.JoinHostPort(host, "443"))
	if err != nil {
		return "", err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	config := f.TLS.Clone()
	config.ServerName = host
	conn := tls.Client(strictConn{raw}, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "GET /.well-known/mta-sts.txt HTTP/1.0\r\nHost: %s\r\nAccept: text/plain\r\n\r\n", host); err != nil {
		return "", err
	}
	limit := &io.LimitedReader{R: conn, N: 2 * maxPolicy}
	body, err := readAnswer(bufio.NewReader(limit))
	if limit.N == 0 || len(body) > maxPolicy {
		return "", errors.New("the web server's answer is too long")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCutOff
	}
	return body, err
}

var errCutOff = errors.New("the web server's answer is cut off")

// strictConn has an error where a connection ends without the close of TLS: at the end of
// a record, crypto/tls takes that for one.
type strictConn struct{ net.Conn }

func (c strictConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = errCutOff
	}
	return n, err
}

// readAnswer returns the body of an answer if all of it is there: as many octets as the
// header says, else up to the end of TLS, which only the server can have written. What was
// cut off may have lost a mail exchanger, or half of the name of one.
func readAnswer(r *bufio.Reader) (string, error) {
	status, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	if fields := strings.Fields(status); len(fields) < 2 || !strings.HasPrefix(fields[0], "HTTP/1.") || fields[1] != "200" {
		return "", errors.New("the web server does not answer with 200")
	}
	kind, length := "", ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-type":
			kind, _, _ = strings.Cut(value, ";")
		case "content-length":
			if length != "" && length != value {
				return "", errors.New("the web server states two lengths")
			}
			length = value
		case "transfer-encoding", "content-encoding":
			return "", errors.New("the web server answers in an encoding, which was not asked for")
		}
	}
	if !strings.EqualFold(strings.TrimSpace(kind), "text/plain") {
		return "", errors.New("the policy is not text/plain")
	}
	if length == "" {
		body, err := io.ReadAll(r)
		return string(body), err
	}
	n, err := strconv.ParseUint(length, 10, 31)
	if err != nil || n > maxPolicy {
		return "", fmt.Errorf("the policy is too long, or its Content-Length no number: %q", length)
	}
	body := make([]byte, n)
	_, err = io.ReadFull(r, body)
	return string(body), err
}

// Parse reads a policy (RFC 8461 section 3.2). Unknown fields are left out.
func Parse(text string) (*Policy, error) {
	p := &Policy{}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if key != "mx" && seen[key] {
			continue // the first counts
		}
		seen[key] = true
		switch key {
		case "version":
			if value != "STSv1" {
				return nil, errors.New("the policy is of a version that is not known")
			}
		case "mode":
			if value != "enforce" && value != "testing" && value != "none" {
				return nil, errors.New("the policy's mode is not known")
			}
			p.Mode = value
		case "mx":
			p.MX = append(p.MX, value)
		case "max_age":
			seconds, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return nil, errors.New("the policy's max_age is no number")
			}
			p.MaxAge = time.Duration(seconds) * time.Second
		}
	}
	if !seen["version"] || p.Mode == "" || !seen["max_age"] || p.Mode != "none" && len(p.MX) == 0 {
		return nil, errors.New("the policy is not complete")
	}
	return p, nil
}

// Lists says whether the policy has a mail exchanger: by its name, or by a pattern
// whose "*." stands for one label (RFC 8461 section 4.1).
func (p *Policy) Lists(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, parent, _ := strings.Cut(host, ".")
	for _, pattern := range p.MX {
		pattern = strings.ToLower(strings.TrimSuffix(pattern, "."))
		if rest, wild := strings.CutPrefix(pattern, "*."); wild && rest == parent && parent != "" || pattern == host {
			return true
		}
	}
	return false
}
