package api

import (
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room/access"
)

// leash ends what a request moves when the right to it ends: a download may take
// hours, and a token be revoked meanwhile. The nil leash holds nobody. Safe for
// concurrent use.
type leash struct {
	over chan struct{} // closed when the right has ended

	mu     sync.Mutex              // guards what follows
	set    func(t time.Time) error // the deadline of what is moved
	reason error                   // why the right has ended; nil: it has not
	loose  bool                    // the request is over
}

const (
	admittedKey = "lectern.admitted"
	leashKey    = "lectern.leash"
)

// admitted keeps on the request who it comes from, within the room it is about.
func admitted(c *gin.Context, cl access.Claims, room string) { c.Set(admittedKey, cl.Within(room)) }

// mind has a download, or the events of a session, end with the right to it. The
// caller must call release before it returns.
func (s *Server) mind(c *gin.Context) (release func()) {
	return s.leash(c, http.NewResponseController(c.Writer).SetWriteDeadline)
}

// mindUpload is mind for a body that comes in: it is read no further, and the
// answer can still tell why.
func (s *Server) mindUpload(c *gin.Context) (release func()) {
	return s.leash(c, http.NewResponseController(c.Writer).SetReadDeadline)
}

func (s *Server) leash(c *gin.Context, set func(time.Time) error) (release func()) {
	cl, ok := c.Value(admittedKey).(access.Claims)
	if !ok {
		return func() {} // the address of a session is its own right, and ends with it
	}
	l := &leash{over: make(chan struct{}), set: set}
	c.Set(leashKey, l)
	stop := s.cfg.Authority.Watch(cl, l.pull)
	return func() {
		stop()
		l.mu.Lock()
		l.loose = true // the connection may serve another request
		l.mu.Unlock()
	}
}

// leashOf is the leash of a request, nil without.
func leashOf(c *gin.Context) *leash {
	l, _ := c.Value(leashKey).(*leash)
	return l
}

// pull ends what is moved.
func (l *leash) pull(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loose || l.reason != nil {
		return
	}
	l.reason = reason
	close(l.over)
	_ = l.set(time.Unix(1, 0)) // what is written or read next fails anyway
}

// ended is closed when the right has ended.
func (l *leash) ended() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.over
}

// err is the answer to a request whose right has ended; nil if it has not.
func (l *leash) err() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return authError(l.reason)
}

// renew gives another piece its time, unless the right has ended.
func (l *leash) renew(sets ...func(time.Time) error) error {
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.reason != nil {
			return l.reason
		}
	}
	for _, set := range sets {
		if err := renew(set); err != nil {
			return err
		}
	}
	return nil
}
