package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/stream"
)

// The events extension of WHEP (its events draft, section "Server Sent Events
// extension"): a viewer makes an event stream at its session and reads it.
const (
	eventActive      = "active"
	eventInactive    = "inactive"
	eventLayers      = "layers"
	eventViewerCount = "viewercount"
	eventReconnect   = "reconnect"

	urnEvents = "urn:ietf:params:whep:ext:core:server-sent-events"
	typeSSE   = "text/event-stream"
)

const (
	// maxEventStreams bounds those of one session. A page needs one; a second
	// may be left over from a connection that broke.
	maxEventStreams = 4

	// eventEvery is how often counts and layers are looked at, and so the least
	// time between two events of these kinds.
	eventEvery = time.Second
	// heartbeat is how long a reader may hear nothing. Proxies cut connections
	// that are silent for 30 to 60 s.
	heartbeat = 15 * time.Second
	// layersEvery is how often bitrates are told when nothing else changes.
	layersEvery = 5 * time.Second
	// reconnectAfter is what readers are told to wait before they come again.
	reconnectAfter = 3 * time.Second
)

// allEvents are those announced.
func allEvents() []string {
	return []string{eventActive, eventInactive, eventLayers, eventViewerCount, eventReconnect}
}

// watched is what a viewer watches.
type watched struct {
	room   *room.Room
	slot   string
	stream *stream.Stream
	layers layered
}

// layered is a viewer whose video can come in layers.
type layered interface {
	Layers() []whep.Layer
	Stats() whep.Stats
	Select(c whep.LayerChoice) error
}

// eventStreams are those of one session. The zero value is ready.
type eventStreams struct {
	mu   sync.Mutex // guards what follows
	list []*eventStream
}

// eventStream is one stream of events. What has happened is not queued but
// compared: a reader is told how things stand now where that differs from what
// it was told last. A reader that is slow, or away, misses what has passed by
// meanwhile, and memory is bounded whatever happens.
type eventStream struct {
	id    string
	wants []string
	gone  chan struct{} // closed by DELETE, or to make place

	turn chan struct{} // held by the reader; guards told
	told told

	mu    sync.Mutex    // guards what follows
	leave chan struct{} // closed to make the reader leave; nil: none reads
}

// told is what the reader knows.
type told struct {
	active   bool
	viewers  int // -1: nothing yet
	layers   []layerView
	layersAt time.Time // zero: nothing yet
}

func newEventStream(wants []string) *eventStream {
	return &eventStream{
		id: newID(), wants: wants, gone: make(chan struct{}), turn: make(chan struct{}, 1),
		told: told{viewers: -1},
	}
}

// add enters a new stream. In place of one too many, the oldest that nobody
// reads goes.
func (l *eventStreams) add(wants []string) (*eventStream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) >= maxEventStreams {
		i := slices.IndexFunc(l.list, func(es *eventStream) bool { return !es.read() })
		if i < 0 {
			return nil, failLater(http.StatusTooManyRequests, "busy", "The session has as many event streams as it may.", later)
		}
		close(l.list[i].gone)
		l.list = slices.Delete(l.list, i, i+1)
	}
	es := newEventStream(wants)
	l.list = append(l.list, es)
	return es, nil
}

func (l *eventStreams) find(id string) (*eventStream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, es := range l.list {
		if es.id == id {
			return es, nil
		}
	}
	return nil, fail(http.StatusNotFound, "no_such_events", "There is no such event stream, or it has ended.")
}

// remove ends a stream. It returns an error if somebody else did.
func (l *eventStreams) remove(es *eventStream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.list, es)
	if i < 0 {
		return fail(http.StatusNotFound, "no_such_events", "There is no such event stream, or it has ended.")
	}
	l.list = slices.Delete(l.list, i, i+1)
	close(es.gone)
	return nil
}

// read says whether somebody reads the stream.
func (es *eventStream) read() bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	return es.leave != nil
}

// attach makes the caller the reader, in place of the one before: that may be
// the remains of a connection that broke. leave is closed when the caller must
// go; it must call detach.
func (es *eventStream) attach(ctx context.Context) (leave <-chan struct{}, detach func(), err error) {
	mine := make(chan struct{})
	es.mu.Lock()
	if es.leave != nil {
		close(es.leave)
	}
	es.leave = mine
	es.mu.Unlock()
	forget := func() {
		es.mu.Lock()
		if es.leave == mine {
			es.leave = nil
		}
		es.mu.Unlock()
	}
	select {
	case es.turn <- struct{}{}:
		return mine, func() { forget(); <-es.turn }, nil
	case <-mine:
	case <-es.gone:
	case <-ctx.Done():
	}
	forget()
	return nil, nil, fail(http.StatusConflict, "superseded", "Somebody else reads the event stream.")
}

// postEvents makes an event stream.
func (s *Server) postEvents(e *endpoint) handler {
	return func(c *gin.Context) error {
		sess, err := s.sessionOf(c, e)
		if err != nil {
			return err
		}
		wants, err := readWants(c)
		if err != nil {
			return err
		}
		es, err := sess.events.add(wants)
		if err != nil {
			return err
		}
		c.Header("Location", sess.path()+"/sse/"+es.id)
		c.Header("Content-Length", "0")
		c.Status(http.StatusCreated)
		return nil
	}
}

// readWants reads which events are wanted: an array of their names, or no body
// for all.
func readWants(c *gin.Context) ([]string, error) {
	if c.Request.ContentLength == 0 && c.GetHeader("Content-Type") == "" {
		return allEvents(), nil
	}
	body, err := readBody(c, typeJSON, maxJSON)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return allEvents(), nil
	}
	var wants []string
	if err := json.Unmarshal(body, &wants); err != nil || wants == nil {
		return nil, fail(http.StatusBadRequest, "bad_json", "The body must be an array of names of events.")
	}
	for _, name := range wants {
		if !slices.Contains(allEvents(), name) {
			return nil, fail(http.StatusUnprocessableEntity, "unknown_event", "The events are "+strings.Join(allEvents(), ", ")+".")
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(wants))), nil
}

// deleteEvents ends an event stream.
func (s *Server) deleteEvents(e *endpoint) handler {
	return func(c *gin.Context) error {
		sess, err := s.sessionOf(c, e)
		if err != nil {
			return err
		}
		es, err := sess.events.find(c.Param("events"))
		if err != nil {
			return err
		}
		if err := sess.events.remove(es); err != nil {
			return err
		}
		c.Header("Content-Length", "0")
		c.Status(http.StatusOK)
		return nil
	}
}

// getEvents sends the events of a stream until it or the session ends, or
// somebody else reads it.
func (s *Server) getEvents(e *endpoint) handler {
	return func(c *gin.Context) error {
		sess, err := s.sessionOf(c, e)
		if err != nil {
			return err
		}
		es, err := sess.events.find(c.Param("events"))
		if err != nil {
			return err
		}
		leave, detach, err := es.attach(c.Request.Context())
		if err != nil {
			return err
		}
		defer detach()
		h := c.Writer.Header()
		h.Set("Content-Type", typeSSE)
		h.Set("X-Accel-Buffering", "no") // nginx would hold events back
		c.Status(http.StatusOK)
		defer s.mind(c)()
		r := &reader{es: es, sess: sess, now: s.now, w: newMovingWriter(c.Writer, leashOf(c)), over: leashOf(c).ended()}
		// An error is that of a reader that has gone; there is nobody to tell.
		_ = r.run(c.Request.Context(), leave)
		return nil
	}
}

// reader writes an event stream to one connection.
type reader struct {
	es   *eventStream
	sess *session
	now  func() time.Time
	w    *movingWriter
	over <-chan struct{} // closed when the reader's own right has ended
	buf  bytes.Buffer
	last time.Time // that something was written
}

// run writes until the reader must go.
func (r *reader) run(ctx context.Context, leave <-chan struct{}) error {
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	fmt.Fprintf(&r.buf, "retry: %d\n\n", reconnectAfter.Milliseconds())
	look := true
	for {
		changed := r.sess.watched.stream.Changed() // before looking, so that nothing is missed
		r.tellActive()
		if look {
			r.tellRest()
		}
		if err := r.flush(); err != nil {
			return err
		}
		look = false
		select {
		case <-changed:
		case <-tick.C:
			look = true
		case <-ctx.Done():
			return nil
		case <-leave:
			return nil
		case <-r.over:
			return nil
		case <-r.es.gone:
			return nil
		case <-r.sess.peer.Done():
			return r.goodbye()
		}
	}
}

// goodbye tells a player whose session ends with the server to come again.
func (r *reader) goodbye() error {
	if errors.Is(r.sess.peer.Err(), errShutdown) {
		r.event(eventReconnect, struct{}{})
	}
	return r.flush()
}

// tellActive tells whether there is something to see. A stream that was never
// active is not told to be inactive.
func (r *reader) tellActive() {
	active := r.sess.watched.stream.Flowing()
	if active == r.es.told.active {
		return
	}
	r.es.told.active = active
	name := eventInactive
	if active {
		name = eventActive
	}
	r.event(name, struct{}{})
}

// tellRest tells how many watch, and the layers.
func (r *reader) tellRest() {
	t := &r.es.told
	if n := r.sess.watched.room.Viewers(r.sess.slot); n != t.viewers {
		t.viewers = n
		r.event(eventViewerCount, map[string]int{eventViewerCount: n})
	}
	layers := viewLayers(r.sess.watched.layers)
	now := r.now()
	if sameLayers(layers, t.layers) && (slices.Equal(layers, t.layers) || now.Sub(t.layersAt) < layersEvery) {
		return
	}
	t.layers, t.layersAt = layers, now
	r.event(eventLayers, byLine(layers))
}

// event puts an event into the buffer, its data on one line, if it is wanted.
func (r *reader) event(name string, data any) {
	if !slices.Contains(r.es.wants, name) {
		return
	}
	line, err := json.Marshal(data)
	if err != nil {
		return // of types of ours: cannot happen
	}
	fmt.Fprintf(&r.buf, "event: %s\ndata: %s\n\n", name, line)
}

// flush writes what is in the buffer, or after a long silence a comment.
func (r *reader) flush() error {
	now := r.now()
	if r.buf.Len() == 0 {
		if now.Sub(r.last) < heartbeat {
			return nil
		}
		r.buf.WriteString(":\n\n")
	}
	_, err := io.Copy(r.w, &r.buf)
	r.buf.Reset()
	r.last = now
	r.w.Flush()
	return err
}
