package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// Bounds of what a client may send.
const (
	maxSDP      = 64 << 10 // bytes; Chromium's largest offers are about 10 KiB
	maxFragment = 64 << 10
	defaultSlot = "main"
)

const sayBadName = "Names of rooms and streams are 1 to 64 of a-z A-Z 0-9 . _ - and do not begin with a dot."

// opening is a request for a session that has passed the checks which both
// ways have in common.
type opening struct {
	room  string
	slot  string
	owner access.Claims
	offer *rtc.Offer
	wait  bool // Prefer: wait
}

// opener makes the session of a way. onEnd is called once, when the session
// has ended; its argument says whether its owner deleted it.
type opener func(c *gin.Context, o *opening) (p peer, onEnd func(deleted bool), err error)

// endpoint is one way of signalling: an address that takes offers, and the
// addresses of the sessions made there.
type endpoint struct {
	way  way
	dir  rtc.Direction
	may  func(room string) right
	open opener
}

// names reads room and slot from the path.
func names(c *gin.Context) (roomName, slot string, err error) {
	roomName, slot = c.Param("room"), c.Param("slot")
	if slot == "" {
		slot = defaultSlot
	}
	for _, name := range []string{roomName, slot} {
		if err := room.ValidName(name); err != nil {
			return "", "", &apiError{
				status: http.StatusBadRequest, code: "bad_name", cause: err,
				detail: sayBadName,
			}
		}
	}
	return roomName, slot, nil
}

// readBody reads a body of the given media type and bounded size.
func readBody(c *gin.Context, media string, limit int64) ([]byte, error) {
	if mediaType(c.GetHeader("Content-Type")) != media {
		if c.Request.Method == http.MethodPatch {
			c.Header("Accept-Patch", media)
		} else {
			c.Header("Accept-Post", media)
		}
		return nil, fail(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be "+media+".")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, &apiError{
			status: http.StatusBadRequest, code: "incomplete_body",
			detail: "The body did not arrive in whole.", cause: err,
		}
	}
	return body, nil
}

// post takes an offer and answers with a session (RFC 9725, section 4.2).
func (s *Server) post(e *endpoint) handler {
	return func(c *gin.Context) error {
		if !s.sessions.accepting() {
			return errStopping()
		}
		o := &opening{wait: prefersWait(c.Request.Header.Values("Prefer"))}
		var err error
		if o.room, o.slot, err = names(c); err != nil {
			return err
		}
		if o.owner, err = s.authorise(c, e.may(o.room)); err != nil {
			return err
		}
		body, err := readBody(c, typeSDP, maxSDP)
		if err != nil {
			return err
		}
		if o.offer, err = rtc.ParseOffer(body, e.dir); err != nil {
			return err
		}
		return s.openSession(c, e, o)
	}
}

func (s *Server) openSession(c *gin.Context, e *endpoint, o *opening) error {
	if err := s.sessions.reserve(e.way, o.room); err != nil {
		return err
	}
	p, onEnd, err := e.open(c, o)
	if err != nil {
		s.sessions.release(e.way, o.room)
		return err
	}
	sess := &session{way: e.way, room: o.room, slot: o.slot, owner: o.owner, peer: p}
	if err := s.sessions.add(sess, onEnd); err != nil {
		s.sessions.release(e.way, o.room)
		_ = p.Close(errShutdown) // it was never handed out
		onEnd(false)
		return err
	}
	h := c.Writer.Header()
	h.Set("Location", sess.path())
	h.Set("ETag", quoteTag(p.ETag()))
	h.Set("Accept-Patch", typeSDPFrag)
	c.Data(http.StatusCreated, typeSDP, p.Answer())
	return nil
}

// quoteTag makes a strong entity tag of an opaque name.
func quoteTag(name string) string {
	if strings.HasPrefix(name, `"`) {
		return name
	}
	return `"` + name + `"`
}

// describe answers GET and HEAD on the address that takes offers: a success
// without content. Players find out by HEAD that this is WHEP. It discloses
// nothing about the room, so that it needs no token.
func (s *Server) describe(e *endpoint) handler {
	return func(c *gin.Context) error {
		if _, _, err := names(c); err != nil {
			return err
		}
		c.Header("Accept-Post", typeSDP)
		c.Header("Content-Type", typeSDP)
		c.Header("Content-Length", "0")
		c.Status(http.StatusOK)
		return nil
	}
}

// options answers OPTIONS: what may be sent here. The headers that a browser's
// preflight asks for are set before (see crossOrigin).
func options(c *gin.Context) error {
	h := c.Writer.Header()
	if c.Param("id") == "" {
		h.Set("Accept-Post", typeSDP)
		h.Set("Allow", "GET, HEAD, OPTIONS, POST")
	} else {
		h.Set("Accept-Patch", typeSDPFrag)
		h.Set("Allow", "DELETE, GET, HEAD, OPTIONS, PATCH")
	}
	h.Set("Content-Length", "0")
	c.Status(http.StatusOK)
	return nil
}

// sessionOf finds the session that the path names, for a token that may use it.
func (s *Server) sessionOf(c *gin.Context, e *endpoint) (*session, error) {
	cl, err := s.claims(c)
	if err != nil {
		return nil, err
	}
	sess, err := s.sessions.find(e.way, c.Param("room"), c.Param("id"))
	if err != nil {
		return nil, err
	}
	if !sess.mayUse(cl) {
		return nil, fail(http.StatusForbidden, "forbidden", "This token does not give the right to use that session.")
	}
	return sess, nil
}

// state answers GET and HEAD on a session: it lives.
func (s *Server) state(e *endpoint) handler {
	return func(c *gin.Context) error {
		sess, err := s.sessionOf(c, e)
		if err != nil {
			return err
		}
		c.Header("ETag", quoteTag(sess.peer.ETag()))
		c.Status(http.StatusNoContent)
		return nil
	}
}

// remove ends a session (RFC 9725, section 4.4). It returns when the session
// is gone, so that the next offer finds the stream free.
func (s *Server) remove(e *endpoint) handler {
	return func(c *gin.Context) error {
		sess, err := s.sessionOf(c, e)
		if err != nil {
			return err
		}
		if err := s.sessions.remove(c.Request.Context(), sess); err != nil {
			// It is ended all the same; the client can do nothing about it.
			s.log.Warn("session closed with an error", slog.String("session", sess.name()), slog.Any("err", err))
		}
		c.Header("Content-Length", "0")
		c.Status(http.StatusOK)
		return nil
	}
}

// patch takes candidates or restarts ICE (RFC 9725, section 4.3).
func (s *Server) patch(e *endpoint) handler {
	return func(c *gin.Context) error {
		sess, err := s.sessionOf(c, e)
		if err != nil {
			return err
		}
		frag, err := readBody(c, typeSDPFrag, maxFragment)
		if err != nil {
			return err
		}
		cond := parseIfMatch(c.Request.Header.Values("If-Match"))
		if cond.missing {
			return fail(http.StatusPreconditionRequired, "precondition_required",
				"PATCH needs If-Match: the ETag of the session, or * for an ICE restart.")
		}
		sess.restarting.Lock()
		defer sess.restarting.Unlock()
		if cond.any {
			return restartICE(c, sess, frag)
		}
		if !cond.matches(quoteTag(sess.peer.ETag())) {
			return fail(http.StatusPreconditionFailed, "stale_etag", "The ICE session has been restarted since.")
		}
		if err := sess.peer.PatchTrickle(frag); err != nil {
			return patchError(err)
		}
		c.Status(http.StatusNoContent)
		return nil
	}
}

func restartICE(c *gin.Context, sess *session, frag []byte) error {
	answer, etag, err := sess.peer.Restart(frag)
	if err != nil {
		return patchError(err)
	}
	c.Header("ETag", quoteTag(etag))
	c.Data(http.StatusOK, typeSDPFrag, answer)
	return nil
}

// patchError tells a session that has ended meanwhile, or has not begun, from a
// bad fragment.
func patchError(err error) error {
	switch {
	case errors.Is(err, rtc.ErrClosed):
		return fail(http.StatusNotFound, "no_such_session", "The session has ended.")
	case errors.Is(err, rtc.ErrNotConnected):
		return failLater(http.StatusConflict, "not_connected",
			"The session has not been connected yet, so that there is nothing to restart.", time.Second)
	}
	return fmt.Errorf("patching session: %w", err)
}

// classifySignalling maps the refusals of an offer or a fragment; nil for
// other errors.
func classifySignalling(err error) *apiError {
	var bad *rtc.OfferError
	if !errors.As(err, &bad) {
		return nil
	}
	status := http.StatusUnprocessableEntity
	if strings.HasPrefix(bad.Code, "malformed") || strings.HasPrefix(bad.Code, "bad_") {
		status = http.StatusBadRequest
	}
	return &apiError{status: status, code: bad.Code, detail: bad.Message, cause: err}
}

// retryNotLive is when a viewer of a room without class should ask again.
const retryNotLive = 5 * time.Second
