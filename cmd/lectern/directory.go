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

// Kinds of refusal of a doorkeeper; each way out has its own for them.
var (
	errUnauthorized = errors.New("lectern: unauthorized")
	errForbidden    = errors.New("lectern: forbidden")
	errNotFound     = errors.New("lectern: not found")
	errUnavailable  = errors.New("lectern: unavailable")
)

// refusal is why a doorkeeper lets a player not in, with words for the player.
type refusal struct {
	kind error
	text string // "": nothing to add
}

// Error implements error.
func (r *refusal) Error() string { return r.kind.Error() + ": " + r.text }

// Unwrap returns the kind.
func (r *refusal) Unwrap() error { return r.kind }

// doorkeeper lets players in: it knows rooms and rights, which ways out do not.
type doorkeeper struct {
	hub       *room.Hub
	authority *access.Authority
	wrong     *guesses
}

// entry is what a player may play.
type entry struct {
	room   *room.Room
	stream *stream.Stream
	claims access.Claims // within the room
}

// open finds the stream of a slot for who makes the attempt. proven says that
// the user has shown to know its password. The error is a *refusal.
func (d doorkeeper) open(ctx context.Context, at access.Attempt, slot string, proven bool) (entry, error) {
	if !proven && d.wrong.spent(at.Remote) && d.guessed(at) {
		return entry{}, &refusal{errUnavailable, "too many wrong credentials from this address"}
	}
	admit := d.authority.Admit
	if proven {
		admit = d.authority.ByUser
	}
	claims, err := admit(ctx, at)
	if errors.Is(err, access.ErrInvalid) {
		d.wrong.count(at.Remote)
	}
	if err != nil {
		return entry{}, refused(err)
	}
	if !claims.MayPlay(at.Room) {
		return entry{}, &refusal{errForbidden, "this credential does not give the right to play here"}
	}
	r, ok := d.hub.Lookup(at.Room)
	if !ok {
		return entry{}, &refusal{errNotFound, "no such room, or nothing was on of late"}
	}
	s, ok := r.LookupStream(slot)
	if !ok || (!s.Live() && r.Snapshot().State == "idle") {
		return entry{}, &refusal{errNotFound, "nothing is on"}
	}
	return entry{room: r, stream: s, claims: claims.Within(at.Room)}, nil
}

// guessed says whether an attempt may be a guess. Others pass while the guesses
// of their address are spent: one who guesses does not lock out a school.
func (d doorkeeper) guessed(at access.Attempt) bool {
	return (at.Credential != "" || at.User != "") && !d.authority.Genuine(at.User, at.Credential)
}

// refused says in words why nobody was admitted.
func refused(err error) error {
	for _, e := range []struct {
		from error
		refusal
	}{
		{access.ErrMissing, refusal{errUnauthorized, "a token, or user and password, is needed"}},
		{access.ErrExpired, refusal{errUnauthorized, "the credential has expired"}},
		{access.ErrNotYet, refusal{errUnauthorized, "the credential is not valid yet"}},
		{access.ErrRevoked, refusal{errUnauthorized, "the credential was revoked"}},
		{access.ErrInvalid, refusal{errUnauthorized, "the credential is not valid"}},
		{access.ErrRoomClosed, refusal{errForbidden, "the room is closed"}},
	} {
		if errors.Is(err, e.from) {
			return &e.refusal
		}
	}
	return &refusal{errUnavailable, "who decides about this credential does not answer"}
}

// watch has ended called when the right to play is over.
func (d doorkeeper) watch(e entry) func(func(error)) func() {
	return func(ended func(error)) func() { return d.authority.Watch(e.claims, ended) }
}

// rtspDirectory is doorkeeper in the words of RTSP.
type rtspDirectory struct{ doorkeeper }

// Open implements rtsp.Directory.
func (d rtspDirectory) Open(ctx context.Context, req rtsp.Request) (rtsp.Playable, error) {
	at := access.Attempt{Credential: req.Credential, User: req.User, Room: req.Room, Way: "rtsp", Remote: req.Remote}
	e, err := d.open(ctx, at, req.Slot, req.Proven)
	if err != nil {
		return rtsp.Playable{}, rtspRefusal(err)
	}
	return rtsp.Playable{
		Stream: e.stream, Join: func() func() { return e.room.AddPlayer("rtsp", req.Slot) }, Done: e.room.ClassOver(),
		Watch: d.watch(e),
	}, nil
}

func rtspRefusal(err error) error {
	out := &rtsp.Refusal{Err: rtsp.ErrNotFound}
	switch {
	case errors.Is(err, errUnauthorized):
		out.Err = rtsp.ErrUnauthorized
	case errors.Is(err, errForbidden):
		out.Err = rtsp.ErrForbidden
	case errors.Is(err, errUnavailable):
		out.Err = rtsp.ErrUnavailable
	}
	out.Text = textOf(err)
	return out
}

// rtmpDirectory is doorkeeper in the words of RTMP.
type rtmpDirectory struct{ doorkeeper }

// Open implements rtmp.Directory.
func (d rtmpDirectory) Open(ctx context.Context, t rtmp.Target) (rtmp.Playable, error) {
	at := access.Attempt{Credential: t.Credential, User: t.User, Room: t.Room, Way: "rtmp", Remote: t.Remote.Addr()}
	e, err := d.open(ctx, at, t.Slot, false)
	if err != nil {
		return rtmp.Playable{}, rtmpRefusal(err)
	}
	return rtmp.Playable{
		Stream: e.stream, Release: e.room.AddPlayer("rtmp", t.Slot), Done: e.room.ClassOver(), Watch: d.watch(e),
	}, nil
}

func rtmpRefusal(err error) error {
	out := &rtmp.Refusal{Err: rtmp.ErrNotFound}
	switch {
	case errors.Is(err, errUnauthorized):
		out.Err = rtmp.ErrUnauthorized
	case errors.Is(err, errForbidden):
		out.Err = rtmp.ErrForbidden
	case errors.Is(err, errUnavailable):
		out.Err = rtmp.ErrUnavailable
	}
	out.Text = textOf(err)
	return out
}

func textOf(err error) string {
	if r := new(refusal); errors.As(err, &r) {
		return r.text
	}
	return "not possible now"
}

// rtspRender makes renditions in the words of RTSP.
func rtspRender(p *transcode.Pool) rtsp.Render {
	return func(ctx context.Context, src *stream.Stream, want rtsp.Want) (*stream.Stream, func(), error) {
		if p.Available() != nil {
			return nil, nil, &rtsp.Refusal{
				Err: rtsp.ErrUnsupported, Text: "ffmpeg, which this stream needs for players, is missing on the server",
			}
		}
		w := transcode.Full
		if want == rtsp.AudioOnly {
			w = transcode.AudioOnly
		}
		r, err := p.Acquire(ctx, src, w)
		if errors.Is(err, transcode.ErrBusy) {
			return nil, nil, &rtsp.Refusal{Err: rtsp.ErrUnavailable, Text: "all encoders of the server are busy"}
		}
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
