package api

import (
	"fmt"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/ingest/whip"
)

// openPublisher makes a WHIP session: room, hold of the stream, session. The
// hold comes first: an offer that may not be published costs no sockets.
func (s *Server) openPublisher(_ *gin.Context, o *opening) (peer, func(bool), error) {
	r, err := s.cfg.Hub.Room(o.room)
	if err != nil {
		return nil, nil, fmt.Errorf("entering room: %w", err)
	}
	data := newDataSide(s, r, o.owner)
	p := whip.New(whip.Config{Endpoint: s.cfg.Endpoint, Log: s.log, OnDataChannel: data.take}, o.offer)
	hold, err := r.Publish(identity(o.owner), o.slot, p.Source())
	if err != nil {
		data.close()
		return nil, nil, fmt.Errorf("publishing: %w", err)
	}
	if err := p.Start(hold.Publication()); err != nil {
		data.close()
		hold.Release(false) // a class that went on before goes on
		return nil, nil, err
	}
	return p, func(deleted bool) {
		hold.Release(deleted)
		data.close()
	}, nil
}
