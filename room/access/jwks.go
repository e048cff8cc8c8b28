package access

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

const (
	fetchTimeout = 5 * time.Second
	fetchRetry   = 15 * time.Second // after a fetch that failed
	maxKeySet    = 256 << 10        // bytes
	maxSetKeys   = 64

	// An unknown key id has the set fetched anew, but not at anybody's pace.
	askedEvery = 10 * time.Second
	askedBurst = 3
)

// keySet is a JWK set (RFC 7517) that is fetched now and then. Keys stay good
// while the set cannot be fetched.
type keySet struct {
	a       *Authority
	url     string
	refresh time.Duration
	client  *http.Client
	asked   *rate.Limiter
	wake    chan struct{} // capacity 1: fetch now

	mu     sync.Mutex // guards what follows
	keys   map[string]keyfunc.Keyfunc
	all    []keyfunc.Keyfunc
	failed bool          // the last fetch
	done   chan struct{} // closed by the end of the next fetch, then replaced
}

func newKeySet(a *Authority, url string, refresh time.Duration, client *http.Client) *keySet {
	return &keySet{
		a: a, url: url, refresh: refresh, client: client,
		asked: rate.NewLimiter(rate.Every(askedEvery), askedBurst),
		wake:  make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// run fetches the set until ctx ends.
func (s *keySet) run(ctx context.Context) {
	for {
		err := s.fetch(ctx)
		wait := s.refresh
		if err != nil && ctx.Err() == nil {
			wait = min(wait, fetchRetry)
			s.a.logger().Warn("key set not fetched", "err", err)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.wake:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// fetch replaces the keys, and tells those who wait.
func (s *keySet) fetch(ctx context.Context) error {
	keys, all, err := s.get(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = err != nil; !s.failed {
		s.keys, s.all = keys, all
	}
	close(s.done)
	s.done = make(chan struct{})
	return err
}

func (s *keySet) get(ctx context.Context) (map[string]keyfunc.Keyfunc, []keyfunc.Keyfunc, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("asking for keys: %w", withoutURL(err))
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("asking for keys: %w", withoutURL(err))
	}
	defer resp.Body.Close() // read only
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("asking for keys: status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading keys: %w", err)
	}
	return parseKeys(body)
}

// parseKeys reads the public keys for signatures of a set. Others are left out:
// secrets above all, with which anybody who reads the set could sign.
func parseKeys(body []byte) (map[string]keyfunc.Keyfunc, []keyfunc.Keyfunc, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(body) > maxKeySet {
		return nil, nil, fmt.Errorf("%w: key set of more than %d bytes", ErrBadClaims, maxKeySet)
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, nil, fmt.Errorf("reading keys: %w", err)
	}
	keys := make(map[string]keyfunc.Keyfunc)
	var all []keyfunc.Keyfunc
	for _, raw := range set.Keys[:min(len(set.Keys), maxSetKeys)] {
		var head struct {
			Kind string `json:"kty"`
			ID   string `json:"kid"`
			Use  string `json:"use"`
		}
		if json.Unmarshal(raw, &head) != nil || head.Kind == "oct" || head.Use == "enc" {
			continue
		}
		k, err := keyfunc.NewJWKJSON(raw)
		if err != nil {
			continue // of a kind that nobody knows yet
		}
		if head.ID != "" {
			keys[head.ID] = k
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("%w: no public key in the set", ErrBadClaims)
	}
	return keys, all, nil
}

// key returns the key, or keys, that may have signed the token. When it does not
// know the key it has the set fetched and waits, unless that was done too often
// of late. Errors: ErrUnavailable, ErrInvalid, or the cause of ctx.
func (s *keySet) key(ctx context.Context, token *jwt.Token) (any, error) {
	kid, _ := token.Header["kid"].(string)
	now := s.look(kid)
	if now.keys == nil && (now.loaded || now.failed) {
		if !s.asked.Allow() {
			return nil, now.unknown()
		}
		select {
		case s.wake <- struct{}{}:
		default: // it is going to be fetched
		}
	}
	if now.keys == nil {
		select {
		case <-now.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		case <-s.a.ctx.Done():
			return nil, ErrUnavailable
		}
		if now = s.look(kid); now.keys == nil {
			return nil, now.unknown()
		}
	}
	if kid != "" {
		return now.keys[0](token)
	}
	var set jwt.VerificationKeySet
	for _, k := range now.keys {
		one, err := keysOf(token, k)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, one...)
	}
	return set, nil
}

// sight is what a keySet knows of a key at one moment.
type sight struct {
	keys           []jwt.Keyfunc // nil: unknown
	loaded, failed bool
	done           <-chan struct{} // closed by the end of the next fetch
}

// unknown says why a key is not there.
func (s sight) unknown() error {
	if s.failed || !s.loaded {
		return ErrUnavailable
	}
	return ErrInvalid
}

// look finds the key of an id, or all for "".
func (s *keySet) look(kid string) sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := sight{loaded: len(s.all) > 0, failed: s.failed, done: s.done}
	if k, ok := s.keys[kid]; ok {
		now.keys = []jwt.Keyfunc{k.Keyfunc}
	} else if kid == "" {
		for _, k := range s.all {
			now.keys = append(now.keys, k.Keyfunc)
		}
	}
	return now
}

// keysOf are the keys of one entry of the set, for a token without key id.
func keysOf(token *jwt.Token, k jwt.Keyfunc) ([]jwt.VerificationKey, error) {
	got, err := k(token)
	if err != nil {
		return nil, err
	}
	if set, ok := got.(jwt.VerificationKeySet); ok {
		return set.Keys, nil
	}
	return []jwt.VerificationKey{got}, nil
}
