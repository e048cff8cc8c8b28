package api

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
)

// openViewer makes a WHEP session: room, stream, session. A room that is not
// live and one that never was are told apart by nobody.
func (s *Server) openViewer(c *gin.Context, o *opening) (*opened, error) {
	r, live := s.cfg.Hub.Lookup(o.room)
	if live {
		live = watchable(r, o.slot)
	}
	if !live && !o.wait {
		return nil, failLater(http.StatusConflict, "not_live",
			"The class has not begun. Ask again, or send Prefer: wait.", retryNotLive)
	}
	r, err := s.cfg.Hub.Room(o.room)
	if err != nil {
		return nil, fmt.Errorf("entering room: %w", err)
	}
	st, err := r.Stream(o.slot)
	if err != nil {
		return nil, fmt.Errorf("opening stream: %w", err)
	}
	data := newDataSide(s, r, o.owner)
	p, err := s.cfg.WHEP.Open(o.offer, st, data.take)
	if err != nil {
		data.close()
		return nil, err
	}
	if o.wait {
		c.Header("Preference-Applied", "wait")
	}
	leave := r.AddViewer(o.slot)
	return &opened{
		peer:    p,
		watched: &watched{room: r, slot: o.slot, stream: st, layers: p},
		onEnd: func(bool) {
			leave()
			data.close()
		},
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
