package api

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
)

// openViewer makes a WHEP session: room, stream, session.
func (s *Server) openViewer(c *gin.Context, o *opening) (peer, func(bool), error) {
	r, live := s.cfg.Hub.Lookup(o.room)
	if live {
		live = watchable(r, o.slot)
	}
	if !live && !o.wait {
		return nil, nil, failLater(http.StatusConflict, "not_live",
			"The class has not begun. Ask again, or send Prefer: wait.", retryNotLive)
	}
	r, err := s.cfg.Hub.Room(o.room)
	if err != nil {
		return nil, nil, fmt.Errorf("entering room: %w", err)
	}
	st, err := r.Stream(o.slot)
	if err != nil {
		return nil, nil, fmt.Errorf("opening stream: %w", err)
	}
	data := newDataSide(s, r, o.owner)
	p, err := s.cfg.WHEP.Open(o.offer, st, data.take)
	if err != nil {
		data.close()
		return nil, nil, err
	}
	if o.wait {
		c.Header("Preference-Applied", "wait")
	}
	leave := r.AddViewer(o.slot)
	return p, func(bool) {
		leave()
		data.close()
	}, nil
}

// watchable says whether a viewer of the stream sees something now or soon: it
// has a publisher, or its class goes on while the publisher is away.
func watchable(r *room.Room, slot string) bool {
	st, ok := r.LookupStream(slot)
	if !ok {
		return false
	}
	if st.Live() {
		return true
	}
	_, on := r.Class()
	return on && len(st.Tracks()) > 0
}
