package access

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Bounds of what is asked of a hook.
const (
	maxAsking    = 32   // questions at once
	maxWaiting   = 1024 // questions that wait for their turn
	maxAnswers   = 8192 // that are remembered
	maxAnswer    = 64 << 10
	defaultAsk   = 3 * time.Second
	defaultCache = 30 * time.Second
	hookLife     = 12 * time.Hour // of an answer that says nothing of it

	// noFraction is by how much shorter a no holds than a yes.
	noFraction = 6
	// sulk is for how long a hook that does not answer is not asked the same.
	sulk = time.Second

	signatureHeader = "X-Lectern-Signature"
)

// question is what a hook is asked.
type question struct {
	Room       string `json:"room"`
	Way        string `json:"way"`
	Credential string `json:"credential"`
	User       string `json:"user"`
	Remote     string `json:"remote"`
}

// reply is what a hook answers.
type reply struct {
	Allow   bool    `json:"allow"`
	Role    Role    `json:"role"`
	Name    string  `json:"name"`
	Subject string  `json:"subject"`
	Expires instant `json:"expires"`
}

// instant is a time in JSON: RFC 3339 text, or seconds since 1970.
type instant struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (i *instant) UnmarshalJSON(b []byte) error {
	if string(b) == "null" || string(b) == `""` {
		return nil
	}
	if seconds, err := strconv.ParseFloat(string(b), 64); err == nil {
		if seconds < 0 || seconds > 1<<40 {
			return errors.New("seconds out of range")
		}
		i.Time = time.Unix(int64(seconds), 0)
		return nil
	}
	return i.Time.UnmarshalJSON(b)
}

// hook asks an HTTP hook about credentials.
type hook struct {
	a      *Authority
	cfg    Hook
	client *http.Client
	asking chan struct{} // as many as may be asked at once

	mu      sync.Mutex          // guards what follows
	answers map[string]*verdict // by a MAC of the question: no credential is kept
	waiting int
}

// verdict is what is known of one question.
type verdict struct {
	done   chan struct{} // closed when what follows is set
	claims Claims
	err    error
	until  time.Time
}

func (a *Authority) newHook(cfg Hook, client *http.Client) *hook {
	setDefault(&cfg.Timeout, defaultAsk)
	setDefault(&cfg.Cache, defaultCache)
	return &hook{
		a: a, cfg: cfg, client: client,
		asking: make(chan struct{}, maxAsking), answers: make(map[string]*verdict),
	}
}

// identify says what the hook says. Equal questions are asked once at a time, and
// answers remembered for a while. Errors: ErrInvalid, ErrUnavailable, or the
// cause of ctx.
func (h *hook) identify(ctx context.Context, at Attempt) (Claims, error) {
	v, err := h.verdict(at, time.Now())
	if err != nil {
		return Claims{}, err
	}
	select {
	case <-v.done:
		return v.claims, v.err
	case <-ctx.Done():
		return Claims{}, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// verdict returns what is known of a question, or has it asked.
func (h *hook) verdict(at Attempt, now time.Time) (*verdict, error) {
	key := string(h.a.mac("hook", at.Room, at.Way, at.Credential, at.User, at.Remote.String()))
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.answers[key]; ok {
		if !v.over(now) {
			return v, nil
		}
		delete(h.answers, key)
	}
	if h.waiting >= maxWaiting {
		return nil, ErrUnavailable
	}
	h.shrinkLocked(now)
	v := &verdict{done: make(chan struct{})}
	// Not the context of who asks first: others wait for the same answer.
	if !h.a.begin(func() { h.answer(v, at) }) { // ended by the time-out, or by Close
		return nil, ErrUnavailable
	}
	h.waiting++
	h.answers[key] = v
	return v, nil
}

// over says whether v is too old to hold. The caller has the lock.
func (v *verdict) over(now time.Time) bool {
	select {
	case <-v.done:
		return !now.Before(v.until)
	default:
		return false
	}
}

// shrinkLocked makes place for a verdict: the old ones go, and if there are none
// any that has been answered.
func (h *hook) shrinkLocked(now time.Time) {
	if len(h.answers) < maxAnswers {
		return
	}
	for key, v := range h.answers {
		if v.over(now) {
			delete(h.answers, key)
		}
	}
	for key, v := range h.answers {
		if len(h.answers) < maxAnswers {
			return
		}
		select {
		case <-v.done:
			delete(h.answers, key)
		default:
		}
	}
}

// answer asks the hook and sets v.
func (h *hook) answer(v *verdict, at Attempt) {
	ctx, cancel := context.WithTimeout(h.a.ctx, h.cfg.Timeout)
	defer cancel()
	r, err := h.ask(ctx, at)
	now := time.Now()
	var c Claims
	if err == nil {
		c, err = h.claims(r, at, now)
	}
	hold := h.cfg.Cache
	switch {
	case errors.Is(err, ErrUnavailable):
		h.a.logger().Warn("hook does not answer", "err", err)
		err, hold = ErrUnavailable, min(hold, sulk)
	case err != nil:
		hold /= noFraction
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
	v.claims, v.err, v.until = c, err, now.Add(hold)
	if err == nil && c.Expires.Before(v.until) {
		v.until = c.Expires
	}
	close(v.done)
}

// ask asks the hook. Errors: ErrUnavailable, ErrInvalid.
func (h *hook) ask(ctx context.Context, at Attempt) (reply, error) {
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-ctx.Done():
		return reply{}, fmt.Errorf("%w: too many questions", ErrUnavailable)
	}
	remote := ""
	if at.Remote.IsValid() {
		remote = at.Remote.String()
	}
	body, err := json.Marshal(question{Room: at.Room, Way: at.Way, Credential: at.Credential, User: at.User, Remote: remote})
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", ErrUnavailable, withoutURL(err))
	}
	req.Header.Set("Content-Type", "application/json")
	if h.cfg.Secret != "" {
		m := hmac.New(sha256.New, []byte(h.cfg.Secret))
		m.Write(body)
		req.Header.Set(signatureHeader, "sha256="+hex.EncodeToString(m.Sum(nil)))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", ErrUnavailable, withoutURL(err))
	}
	defer resp.Body.Close() // read only
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return reply{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests:
		return reply{}, fmt.Errorf("%w: status %d", ErrUnavailable, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return reply{}, ErrInvalid
	}
	return parseReply(text)
}

// parseReply reads an answer. Whatever is not clearly a yes is ErrInvalid.
func parseReply(text []byte) (reply, error) {
	var r reply
	if len(text) > maxAnswer || json.Unmarshal(text, &r) != nil || !r.Allow || !r.Role.Valid() {
		return reply{}, ErrInvalid
	}
	return r, nil
}

// claims are what the hook has said yes to. They are for the room that was asked
// about only. Errors: ErrInvalid.
func (h *hook) claims(r reply, at Attempt, now time.Time) (Claims, error) {
	c := Claims{
		Role: r.Role, Room: at.Room, Name: shown(r.Name), Expires: r.Expires.Time,
		ID: h.a.derivedID("hook", at.Credential, at.User),
	}
	if c.Expires.IsZero() {
		c.Expires = now.Add(hookLife)
	}
	if last := now.Add(MaxLife); c.Expires.After(last) {
		c.Expires = last
	}
	if !now.Before(c.Expires) {
		return Claims{}, ErrInvalid
	}
	// Not to be mistaken for people of ours, or of an issuer.
	c.Subject = "hook:" + r.Subject
	if r.Subject == "" || len(c.Subject) > maxSubject {
		c.Subject = "hook:" + h.a.derivedID("sub", r.Subject, c.ID)
	}
	return c, nil
}
