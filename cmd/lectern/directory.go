package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/lectern/lectern/egress/rtmp"
	"github.com/lectern/lectern/egress/rtsp"
	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

// Errors with which doorkeeper refuses; each way out has its own for them.
var (
	errUnauthorized = errors.New("lectern: unauthorized")
	errForbidden    = errors.New("lectern: forbidden")
	errNotFound     = errors.New("lectern: not found")
)

// doorkeeper lets players in: it knows rooms and rights, which ways out do not.
type doorkeeper struct {
	hub       *room.Hub
	authority *access.Authority
}

// open finds the stream of a slot for somebody who bears credential.
func (d doorkeeper) open(name, slot, credential string) (*room.Room, *stream.Stream, error) {
	claims, err := d.authority.Verify(credential)
	if err != nil {
		return nil, nil, errUnauthorized
	}
	if !claims.MayPlay(name) {
		return nil, nil, errForbidden
	}
	r, ok := d.hub.Lookup(name)
	if !ok {
		return nil, nil, errNotFound
	}
	s, ok := r.LookupStream(slot)
	if !ok || (!s.Live() && r.Snapshot().State == "idle") {
		return nil, nil, errNotFound
	}
	return r, s, nil
}

// rtspDirectory is doorkeeper in the words of RTSP.
type rtspDirectory struct{ doorkeeper }

// Open implements rtsp.Directory.
func (d rtspDirectory) Open(_ context.Context, req rtsp.Request) (rtsp.Playable, error) {
	r, s, err := d.open(req.Room, req.Slot, req.Credential)
	switch {
	case errors.Is(err, errUnauthorized):
		return rtsp.Playable{}, rtsp.ErrUnauthorized
	case errors.Is(err, errForbidden):
		return rtsp.Playable{}, rtsp.ErrForbidden
	case err != nil:
		return rtsp.Playable{}, rtsp.ErrNotFound
	}
	return rtsp.Playable{Stream: s, Join: func() func() { return r.AddPlayer("rtsp", req.Slot) }, Done: r.ClassOver()}, nil
}

// rtmpDirectory is doorkeeper in the words of RTMP.
type rtmpDirectory struct{ doorkeeper }

// Open implements rtmp.Directory.
func (d rtmpDirectory) Open(_ context.Context, t rtmp.Target) (rtmp.Playable, error) {
	r, s, err := d.open(t.Room, t.Slot, t.Credential)
	switch {
	case errors.Is(err, errUnauthorized):
		return rtmp.Playable{}, rtmp.ErrUnauthorized
	case errors.Is(err, errForbidden):
		return rtmp.Playable{}, rtmp.ErrForbidden
	case err != nil:
		return rtmp.Playable{}, rtmp.ErrNotFound
	}
	return rtmp.Playable{Stream: s, Release: r.AddPlayer("rtmp", t.Slot), Done: r.ClassOver()}, nil
}

// rtspRender makes renditions in the words of RTSP.
func rtspRender(p *transcode.Pool) rtsp.Render {
	return func(ctx context.Context, src *stream.Stream, want rtsp.Want) (*stream.Stream, func(), error) {
		w := transcode.Full
		if want == rtsp.AudioOnly {
			w = transcode.AudioOnly
		}
		r, err := p.Acquire(ctx, src, w)
		if err != nil {
			return nil, nil, err
		}
		return r.Stream(), r.Release, nil
	}
}

// logMissing says once at start what players will lack.
func logMissing(log *slog.Logger, p *transcode.Pool) {
	if err := p.Available(); err != nil {
		log.Warn("no ffmpeg: rtmp players get no sound, and no picture unless the publisher sends h264; rtsp players lack vp9 and av1", "err", err)
	}
}

// shutdownStep bounds one step of the shutdown, so that no single one can eat
// the time of those after it.
const shutdownStep = 5 * time.Second
