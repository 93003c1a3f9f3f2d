package oauth

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rtls/internal/tlsconf"
)

// Keys are the public keys of an issuer of tokens, a JWK set (RFC 7517) in a file or
// behind an https URL. What was fetched is good for an hour. A token that names a key
// which is not there has the set fetched again, at most once a minute: issuers rotate
// their keys. Where that fails, the old set is good for a day. It is safe for concurrent
// use.
type Keys struct {
	from   string
	client *http.Client     // nil for a file
	clock  func() time.Time // time.Now, or a test's

	mu      sync.Mutex // guards what follows; held while the set is fetched
	set     jose.JSONWebKeySet
	fetched time.Time // when set was read; zero: never
	tried   time.Time
}

const (
	keysFresh = time.Hour
	keysStale = 24 * time.Hour
	keysRetry = time.Minute
	keysWait  = 10 * time.Second
	maxKeys   = 1 << 20 // octets
)

// OpenKeys names a file or an https URL. Its certificate is verified by roots, nil for
// the system's. Nothing is read yet.
func OpenKeys(from string, roots *x509.CertPool) (*Keys, error) {
	k := &Keys{from: from, clock: time.Now}
	if strings.HasPrefix(from, "/") {
		return k, nil
	}
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("keys are in a file, by its absolute path, or behind an https URL, not %q", from)
	}
	k.client = &http.Client{
		Timeout:   keysWait,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsconf.ForRoots(roots), DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a redirect is not followed; write where it leads")
		},
	}
	return k, nil
}

// find returns the keys of that name, or all if it is empty.
func (k *Keys) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	found := k.foundLocked(id)
	fresh := !k.fetched.IsZero() && now.Sub(k.fetched) < keysFresh
	if (!fresh || len(found) == 0) && now.Sub(k.tried) >= keysRetry {
		k.tried = now
		set, err := k.read(ctx)
		if err == nil {
			k.set, k.fetched = set, now
			return k.foundLocked(id), nil
		}
		if k.fetched.IsZero() || now.Sub(k.fetched) >= keysStale {
			return nil, fmt.Errorf("keys of tokens: %w", err)
		}
	}
	if k.fetched.IsZero() || now.Sub(k.fetched) >= keysStale {
		return nil, fmt.Errorf("keys of tokens: %s could not be read a short while ago", k.from)
	}
	return found, nil
}

// foundLocked must be called with mu held.
func (k *Keys) foundLocked(id string) []jose.JSONWebKey {
	if id == "" {
		return k.set.Keys
	}
	return k.set.Key(id)
}

func (k *Keys) read(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	text, err := k.text(ctx)
	if err != nil {
		return set, err
	}
	// Keys of kinds that we do not know are no reason to do without the others.
	var raw struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(text, &raw); err != nil {
		return set, fmt.Errorf("%s is not a JWK set: %w", k.from, err)
	}
	for _, one := range raw.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(one) == nil {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return set, fmt.Errorf("%s has no keys", k.from)
	}
	return set, nil
}

func (k *Keys) text(ctx context.Context) ([]byte, error) {
	if k.client == nil {
		return os.ReadFile(k.from)
	}
	// Other logins wait for this one: it is not to end with its client.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysWait)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.from, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := k.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", k.from, response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxKeys+1))
	if err == nil && len(text) > maxKeys {
		err = fmt.Errorf("%s is too large", k.from)
	}
	return text, err
}
