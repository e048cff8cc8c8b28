package api

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
)

// problem is the body of every error answer (RFC 9457). Programs decide by
// Code, which never changes its meaning; people read Detail.
type problem struct {
	Type   string `json:"type"` // always about:blank: Code tells them apart
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
	// Reason tells why a session has ended: see endReason.
	Reason string `json:"reason,omitempty"`
	// NotBefore is when what is not valid yet will be.
	NotBefore *time.Time `json:"not_before,omitempty"`
	// Request names the request in the log of the server. Only on errors of
	// status 500, where the log says more than the answer may.
	Request string `json:"request,omitempty"`
}

// apiError is an error that knows its answer. Its text is safe to show.
type apiError struct {
	status     int
	code       string
	detail     string        // a sentence without its full stop is fine; never a path or a secret
	reason     string        // why a session has ended; else ""
	notBefore  time.Time     // when what is not valid yet will be; else zero
	retryAfter time.Duration // 0: no Retry-After
	cause      error         // for errors.Is and the log; may be nil
}

// Error implements error.
func (e *apiError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %v", e.code, e.cause)
	}
	return e.code + ": " + e.detail
}

// Unwrap gives the cause.
func (e *apiError) Unwrap() error { return e.cause }

// fail makes an apiError.
func fail(status int, code, detail string) *apiError {
	return &apiError{status: status, code: code, detail: detail}
}

// failLater makes an apiError that tells the client when to come again.
func failLater(status int, code, detail string, after time.Duration) *apiError {
	return &apiError{status: status, code: code, detail: detail, retryAfter: after}
}

// known maps an error of a lower floor to its answer.
type known struct {
	err    error
	answer *apiError
}

// classify turns any error into an answer: the only place where errors become
// status codes. The second result is false for an error that nobody foresaw.
func classify(err error) (*apiError, bool) {
	var own *apiError
	if errors.As(err, &own) {
		return own, true
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fail(http.StatusRequestEntityTooLarge, "too_large",
			fmt.Sprintf("The body is larger than %d bytes.", tooLarge.Limit)), true
	}
	var rate *room.RateError
	if errors.As(err, &rate) {
		return failLater(http.StatusTooManyRequests, "rate_limited", saySlow, rate.RetryAfter), true
	}
	if e := classifySignalling(err); e != nil {
		return e, true
	}
	for _, k := range knownErrors() {
		if errors.Is(err, k.err) {
			e := *k.answer
			e.cause = err
			return &e, true
		}
	}
	return &apiError{
		status: http.StatusInternalServerError,
		code:   "internal",
		detail: "Internal error. The log of the server knows more.",
		cause:  err,
	}, false
}

// writeError answers with the problem that err amounts to.
func (s *Server) writeError(c *gin.Context, err error) {
	e, foreseen := classify(err)
	if !foreseen && !s.sessions.accepting() {
		// Parts below are closed one after the other.
		e, foreseen = errStopping(), true
	}
	p := problem{
		Type:      "about:blank",
		Title:     http.StatusText(e.status),
		Status:    e.status,
		Code:      e.code,
		Detail:    e.detail,
		Reason:    e.reason,
		NotBefore: orNull(e.notBefore),
	}
	if !foreseen {
		p.Request = requestID(c)
		s.log.Error("request failed", slog.String("request", p.Request),
			slog.String("route", c.FullPath()), slog.Any("err", err))
	}
	if c.Writer.Written() {
		// Too late for another status: cut the connection so that the client
		// does not take half an answer for a whole one.
		panic(http.ErrAbortHandler)
	}
	h := c.Writer.Header()
	if e.status == http.StatusUnauthorized || e.code == codeNoRight {
		h.Set("WWW-Authenticate", challenge(e.code))
	}
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retryAfter.Seconds()))))
	}
	for _, name := range []string{"ETag", "Content-Disposition", "Content-Length", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	c.Abort()
	c.Render(e.status, problemBody{p})
}
