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
	address
	offer *rtc.Offer
	wait  bool // Prefer: wait
}

// opened is a session that an opener has made.
type opened struct {
	peer    peer
	watched *watched // of viewers
	// onEnd is called once, when the session has ended; deleted says whether its
	// owner ended it on purpose.
	onEnd func(deleted bool)
}

// opener makes the session of a way.
type opener func(c *gin.Context, o *opening) (*opened, error)

// endpoint is one way of signalling: an address that takes offers, and the
// addresses of the sessions made there.
type endpoint struct {
	way  way
	dir  rtc.Direction
	may  func(room, slot string) right
	open opener
}

func mayPublishTo(room, slot string) right {
	return func(cl access.Claims) bool { return cl.MayPublishTo(room, slot) }
}

func mayWatchAny(room, _ string) right { return mayWatch(room) }

// plainPath refuses an address of signalling in which a slash is encoded:
// decoded, it would name another resource than it seems to.
func plainPath(c *gin.Context) error {
	if path := c.Request.URL.Path; !strings.HasPrefix(path, "/whip/") && !strings.HasPrefix(path, "/whep/") {
		return nil
	}
	if strings.Contains(strings.ToLower(c.Request.URL.EscapedPath()), "%2f") {
		return fail(http.StatusBadRequest, "bad_name", sayBadName)
	}
	return nil
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

// readBody reads a body of the given media type and bounded size. What the
// header tells is checked before anything is read, so that a client that waits
// for "100 Continue" sends nothing in vain.
func readBody(c *gin.Context, media string, limit int64) ([]byte, error) {
	if err := wantMedia(c, media); err != nil {
		return nil, err
	}
	if c.Request.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
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

// wantMedia refuses a body of another type, or in a coding (RFC 9110, section
// 15.5.16): none is undone here.
func wantMedia(c *gin.Context, media string) error {
	coding := c.GetHeader("Content-Encoding")
	if mediaType(c.GetHeader("Content-Type")) == media && (coding == "" || strings.EqualFold(coding, "identity")) {
		return nil
	}
	if coding != "" {
		c.Header("Accept-Encoding", "identity")
	}
	if c.Request.Method == http.MethodPatch {
		c.Header("Accept-Patch", media)
	} else {
		c.Header("Accept-Post", media)
	}
	return fail(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be "+media+", not encoded.")
}

// post takes an offer and answers with a session (RFC 9725, section 4.2). What
// is wrong is told in this order: stopping 503, name 400, credential 401, right
// 403, type 415, size 413, offer 400 or 422; then what the room has to say.
func (s *Server) post(e *endpoint) handler {
	return func(c *gin.Context) error {
		if !s.sessions.accepting() {
			return errStopping()
		}
		o := &opening{address: address{way: e.way}, wait: prefersWait(c.Request.Header.Values("Prefer"))}
		var err error
		if o.room, o.slot, err = names(c); err != nil {
			return err
		}
		if err := s.enter(c, e, o); err != nil {
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

// enter lets the person who asks for a session in.
func (s *Server) enter(c *gin.Context, e *endpoint, o *opening) (err error) {
	if o.owner, err = s.admit(c, o.room, e.way); err != nil {
		return err
	}
	if err := permit(o.owner, e.may(o.room, o.slot)); err != nil {
		return err
	}
	o.byURL = c.GetHeader("Authorization") == ""
	if o.owner.Anonymous {
		// Each is somebody: in the room they would be one person otherwise.
		o.owner.Subject = "guest-" + newID()[:12]
	}
	return nil
}

func (s *Server) openSession(c *gin.Context, e *endpoint, o *opening) error {
	sess := &session{address: o.address, client: remoteAddr(c)}
	sess.id = newID()
	if err := s.sessions.reserve(sess.place()); err != nil {
		return err
	}
	made, err := e.open(c, o)
	if err != nil {
		s.sessions.release(sess.place())
		return err
	}
	sess.peer, sess.watched = made.peer, made.watched
	if err := s.sessions.add(sess, made.onEnd); err != nil {
		s.sessions.release(sess.place())
		_ = made.peer.Close(errShutdown) // it was never handed out
		made.onEnd(false)
		return err
	}
	h := c.Writer.Header()
	h.Set("Location", sess.path())
	h.Set("ETag", quoteTag(sess.peer.ETag()))
	h.Set("Accept-Patch", typeSDPFrag)
	s.linkServers(c, sess.name())
	if sess.watched != nil {
		addExtensionLinks(h, sess.path())
	}
	c.Data(http.StatusCreated, typeSDP, sess.peer.Answer())
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

// sessionOf finds the session that the path names, for who may use it: 401 and
// 403 come before 404, so that only those who are let into the room learn
// whether there is such a session.
func (s *Server) sessionOf(c *gin.Context, e *endpoint) (*session, error) {
	sess, ended := s.sessions.find(e.way, c.Param("room"), c.Param("id"))
	at := &address{}
	switch {
	case sess != nil:
		at = &sess.address
	case ended != nil:
		at = &ended.address
	}
	if !at.byURL || credential(c) != "" {
		cl, err := s.admit(c, c.Param("room"), e.way)
		if err != nil {
			return nil, err
		}
		if at.id != "" {
			if err := permit(cl, at.mayUse); err != nil {
				return nil, err
			}
		}
	}
	if sess != nil {
		return sess, nil
	}
	if ended != nil {
		return nil, ended.gone()
	}
	return nil, errNoSession()
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

// remove ends a session (RFC 9725, section 4.2). It returns when the session
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
		err = sess.peer.PatchTrickle(frag)
		var bad *rtc.OfferError
		if errors.As(err, &bad) && bad.Code == rtc.CodeUnknownUfrag {
			// Whatever it was sent as, it is a restart (RFC 9725, section 4.3.3).
			return restartICE(c, sess, frag)
		}
		if err != nil {
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

// patchError tells a session that has ended meanwhile from a bad fragment.
func patchError(err error) error {
	if errors.Is(err, rtc.ErrClosed) {
		return errNoSession()
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
