package access

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Outside is what is trusted besides our own credentials.
type Outside struct {
	Issuers []Issuer
	Hook    Hook
	Log     *slog.Logger // nil: slog.DiscardHandler
}

// Issuer is another system whose tokens (JWT, RFC 7519) let people in. One of
// Secret, PublicKeyFile and JWKSURL is set.
type Issuer struct {
	Name     string // unique; begins the subjects of its people
	Issuer   string // claim iss
	Audience string // claim aud must hold it; "": not looked at

	// Algorithms are those of RFC 7518 that are accepted, of the kind that the
	// key is of. Empty: all of that kind.
	Algorithms    []string
	Secret        string        // of HS256, HS384, HS512: 32 bytes or more
	PublicKeyFile string        // PEM, of RS*, PS*, ES*, EdDSA
	JWKSURL       string        // of a JWK set (RFC 7517)
	Refresh       time.Duration // how often the set is fetched; 0: 15 min

	Claims      ClaimPaths
	Roles       map[string]Role // values of the role claim; empty: the names of ours but admin
	DefaultRole Role            // of who has no role that is known; "": refused
	RoomPattern string          // form of the values of the room claim, as "course-{room}"; "": the room
	Rooms       []string        // globs of the rooms that it may let people into; empty: all
	MaxLife     time.Duration   // longest life of a token; 0: 24 h
}

// ClaimPaths say where in the claims of a token what is. A dot goes down into an
// object. The values of Role and Room may be lists.
type ClaimPaths struct {
	Role    string // "": "role"
	Room    string // "": "room"; "*": none, tokens are good for all of Issuer.Rooms
	Name    string // "": "name"
	Subject string // "": "sub"
}

// Hook is asked about credentials that are neither ours nor of an issuer.
type Hook struct {
	URL     string        // "": none
	Secret  string        // signs what it is asked; "": unsigned
	Timeout time.Duration // 0: 3 s
	Cache   time.Duration // how long its yes holds; 0: 30 s. A no holds for a sixth of it
}

// Trust lets in people by what o says, from now on. It is called once. It does
// not wait for anybody: a key set that is not there yet makes its tokens
// ErrUnavailable until it is. Errors: ErrBadClaims for what contradicts itself,
// or that of reading a key file.
func (a *Authority) Trust(_ context.Context, o Outside) error {
	out := &outside{issuers: make(map[string]*trusted)}
	client := newClient()
	names := make(map[string]bool)
	var sets []*keySet
	for _, cfg := range o.Issuers {
		t, set, err := a.newTrusted(cfg, client)
		if err != nil {
			return fmt.Errorf("issuer %s: %w", cfg.Name, err)
		}
		if out.issuers[cfg.Issuer] != nil || names[cfg.Name] {
			return fmt.Errorf("%w: two issuers %s", ErrBadClaims, cfg.Name)
		}
		out.issuers[cfg.Issuer], names[cfg.Name] = t, true
		if set != nil {
			sets = append(sets, set)
		}
	}
	if o.Hook.URL != "" {
		out.hook = a.newHook(o.Hook, client)
	}
	a.mu.Lock()
	if o.Log != nil {
		a.log = o.Log
	}
	a.outside = out
	a.mu.Unlock()
	for _, set := range sets {
		a.begin(func() { set.run(a.ctx) }) // ended by Close
	}
	context.AfterFunc(a.ctx, client.CloseIdleConnections)
	return nil
}

// newClient makes the client for key sets and the hook. It follows no redirect:
// what a hook is told must not go elsewhere.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			MaxIdleConnsPerHost:   maxAsking,
			IdleConnTimeout:       time.Minute,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: fetchTimeout,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// withoutURL is an error of the client without the address, which may hold a
// secret of the operator's: it is logged.
func withoutURL(err error) error {
	if u := new(url.Error); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// outside is what decides about credentials that are not ours.
type outside struct {
	issuers map[string]*trusted // by claim iss
	hook    *hook               // nil: none
}

// identify asks the issuer that the credential names, or else the hook. Errors:
// ErrInvalid, ErrExpired, ErrNotYet, ErrUnavailable, or the cause of ctx.
func (o *outside) identify(ctx context.Context, at Attempt, iss string, isToken bool) (Claims, error) {
	if t := o.issuers[iss]; isToken && t != nil {
		return t.identify(ctx, at)
	}
	if o.hook != nil {
		return o.hook.identify(ctx, at)
	}
	return Claims{}, ErrInvalid
}

// peekIssuer reads the issuer that a token says to be of; nothing of it is
// verified. ok is false for what is no JWT.
func peekIssuer(credential string) (iss string, ok bool) {
	parts := strings.Split(credential, ".")
	if len(parts) != 3 {
		return "", false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", false
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return "", false
	}
	return claims.Issuer, true
}
