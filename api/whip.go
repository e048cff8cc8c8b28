package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/ingest/whip"
	"github.com/lectern/lectern/room"
)

// openPublisher makes a WHIP session: room, hold of the stream, session. The
// hold comes first: an offer that may not be published costs no sockets.
func (s *Server) openPublisher(c *gin.Context, o *opening) (*opened, error) {
	takeOver, err := wantsTakeOver(c)
	if err != nil {
		return nil, err
	}
	r, err := s.cfg.Hub.RoomToPublish(o.room)
	if err != nil {
		return nil, fmt.Errorf("entering room: %w", err)
	}
	data := newDataSide(s, r, o.owner)
	p := whip.New(whip.Config{Endpoint: s.cfg.Endpoint, Log: s.log, OnDataChannel: data.take}, o.offer)
	hold, err := r.Publish(identity(o.owner), o.slot, p.Source(), room.TakeOver(takeOver))
	if err != nil {
		data.close()
		return nil, fmt.Errorf("publishing: %w", err)
	}
	if err := p.Start(hold.Publication()); err != nil {
		data.close()
		hold.Release(false) // a class that went on before goes on
		return nil, err
	}
	return &opened{peer: p, onEnd: func(deleted bool) {
		hold.Release(deleted)
		data.close()
	}}, nil
}

// wantsTakeOver says whether the request asks to take the stream from whoever
// has it: ?takeover=1. In the address rather than in a header, since that is
// what an encoder lets people type.
func wantsTakeOver(c *gin.Context) (bool, error) {
	v, there := c.GetQuery("takeover")
	if !there {
		return false, nil
	}
	yes, err := strconv.ParseBool(v)
	if err != nil {
		return false, fail(http.StatusBadRequest, "bad_query", "takeover is 1 or 0.")
	}
	return yes, nil
}
