package rtsp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/lectern/lectern/stream"
)

// settle is how long a kind that was announced may stay silent before a player
// gets the stream without it: a microphone may be muted.
const settle = time.Second

// handler answers the library. OnDescribe runs on the goroutine of a
// connection, OnSetup, OnPlay and OnSessionClose on that of a session; a
// connection waits for its session, so one request is handled at a time.
type handler struct {
	s *Server
}

// player is one session. It is the user data of the library's session.
type player struct {
	feed   *feed
	req    Request
	leave  func()
	unmind func()                // ends the watch over its right to play
	ended  atomic.Pointer[error] // why it must go; nil: it need not
	began  time.Time
	drops  atomic.Int64 // packets lost because it reads too slowly
	played bool
	conn   *gortsplib.ServerConn
}

// OnDescribe answers DESCRIBE with the SDP of the feed.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	f, _, req, err := h.open(ctx.Conn, ctx.Request, ctx.Path, ctx.Query)
	if err != nil {
		res, err := h.refuse(ctx.Conn, req, err)
		return res, nil, err
	}
	h.s.feeds.release(f) // it lingers: SETUP comes at once
	body, err := f.sdp(ctx.Request.URL, ctx.Path, ctx.Query, remoteAddr(ctx.Conn).Is6())
	if err != nil {
		res, err := h.refuse(ctx.Conn, req, err)
		return res, nil, err
	}
	return &base.Response{StatusCode: base.StatusOK, Body: body}, nil, nil
}

// OnSetup takes the player in with its first SETUP.
func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	// The library answers each SETUP of a client named GStreamer 1 s late, for
	// the sake of its publishers; we have none, and its players would wait 2 s.
	delete(ctx.Request.Header, "User-Agent")
	if p, ok := ctx.Session.UserData().(*player); ok {
		return &base.Response{StatusCode: base.StatusOK}, p.feed.st, nil
	}
	f, pl, req, err := h.open(ctx.Conn, ctx.Request, ctx.Path, ctx.Query)
	if err != nil {
		res, err := h.refuse(ctx.Conn, req, err)
		return res, nil, err
	}
	p := &player{feed: f, req: req, began: time.Now(), conn: ctx.Conn}
	if pl.Join != nil {
		p.leave = pl.Join()
	}
	h.s.stats.players.Add(1)
	ctx.Session.SetUserData(p)
	if pl.Watch != nil {
		session := ctx.Session
		p.unmind = pl.Watch(func(reason error) {
			p.ended.Store(&reason)
			session.Close() // and its connections
		})
	}
	return &base.Response{StatusCode: base.StatusOK}, f.st, nil
}

// open finds what the player asks for, and the feed that gives it. The caller
// must release the feed.
func (h *handler) open(c *gortsplib.ServerConn, r *base.Request, path, query string) (*feed, Playable, Request, error) {
	req, choice, err := parseRequest(path, query)
	if err != nil {
		return nil, Playable{}, req, err
	}
	req.Remote = remoteAddr(c)
	if err := h.authenticate(nonceOf(c), r, &req); err != nil {
		return nil, Playable{}, req, err
	}
	ctx, cancel := context.WithTimeoutCause(h.s.ctx, 2*h.s.cfg.ReadyTimeout, errNotLive)
	defer cancel()
	pl, err := h.s.cfg.Directory.Open(ctx, req)
	if err != nil {
		return nil, pl, req, err
	}
	if !pl.Stream.Live() {
		return nil, pl, req, errNotLive
	}
	ready, cancelReady := context.WithTimeoutCause(ctx, h.s.cfg.ReadyTimeout, errNotLive)
	defer cancelReady()
	tracks, err := pl.Stream.Ready(ready, settle)
	if err != nil {
		return nil, pl, req, err
	}
	want, err := choice.resolve(videoCodec(tracks))
	if err != nil {
		return nil, pl, req, err
	}
	f, err := h.s.feeds.acquire(ctx, feedKey{src: pl.Stream, want: want}, pl.Done)
	return f, pl, req, err
}

func videoCodec(tracks []*stream.Track) stream.Codec {
	for _, t := range tracks {
		if t.Kind == stream.Video {
			return t.Codec
		}
	}
	return ""
}

// refuse turns an error into a response. The second wrong credential also ends
// the connection, so that guessing costs connections. Not the first: ffmpeg
// answers every challenge once, and would tell its user of a broken connection.
func (h *handler) refuse(c *gortsplib.ServerConn, req Request, err error) (*base.Response, error) {
	res := &base.Response{Header: base.Header{}}
	switch {
	case errors.Is(err, errStale):
		res.StatusCode = base.StatusUnauthorized
		res.Header["WWW-Authenticate"] = h.challenge(nonceOf(c), true)
		return res, nil
	case errors.Is(err, ErrUnauthorized):
		res.StatusCode = base.StatusUnauthorized
		res.Header["WWW-Authenticate"] = h.challenge(nonceOf(c), false)
		if req.Credential == "" && req.User == "" {
			return res, nil // the challenge that every player begins with
		}
		if nc, ok := c.NetConn().(*conn); ok && !nc.wrong.Swap(true) {
			_ = explain(res, err)
			return res, nil
		}
	case errors.Is(err, ErrForbidden):
		res.StatusCode = base.StatusForbidden
	case errors.Is(err, ErrNotFound), errors.Is(err, errNotLive), errors.Is(err, stream.ErrClosed):
		res.StatusCode = base.StatusNotFound
	case errors.Is(err, errBadQuery):
		res.StatusCode = base.StatusBadRequest
	case errors.Is(err, ErrUnsupported):
		h.s.log.Warn("player refused", "room", req.Room, "stream", req.Slot, "err", err)
		res.StatusCode = base.StatusUnsupportedMediaType
	case errors.Is(err, ErrUnavailable), errors.Is(err, errNoRendition), errors.Is(err, errClosing):
		h.s.log.Warn("player refused", "room", req.Room, "stream", req.Slot, "err", err)
		res.StatusCode = base.StatusServiceUnavailable
		res.Header["Retry-After"] = base.HeaderValue{"5"}
	default:
		h.s.log.Error("player refused", "err", err)
		res.StatusCode = base.StatusInternalServerError
	}
	return res, explain(res, err)
}

// explain adds the words of a Refusal to the status line.
func explain(res *base.Response, err error) error {
	if r := new(Refusal); errors.As(err, &r) {
		res.StatusMessage = base.StatusMessages[res.StatusCode] + ": " + r.Text
	}
	return err
}

// OnRequest notes what the library will refuse without asking.
func (h *handler) OnRequest(c *gortsplib.ServerConn, r *base.Request) {
	if nc, ok := c.NetConn().(*conn); ok {
		nc.publish.Store(r.Method == base.Announce || r.Method == base.Record)
	}
}

// OnPlay gives the player a keyframe and what followed it. It holds the feed
// back until OnResponse, when the library has added the session to the live
// packets: between the two nothing may be sent, or it would be lost.
func (h *handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	p, ok := ctx.Session.UserData().(*player)
	if !ok {
		return &base.Response{StatusCode: base.StatusBadRequest}, errNotLive
	}
	res := &base.Response{StatusCode: base.StatusOK}
	if ctx.Session.State() == gortsplib.ServerSessionStatePlay {
		return res, nil // a keepalive, or a wish to seek
	}
	tcp := *ctx.Session.SetuppedTransport() == gortsplib.TransportTCP
	ctx.Conn.SetUserData(p.feed.join(ctx.Session, tcp))
	setPlaying(ctx.Conn, true)
	if !p.played {
		p.played = true
		h.s.log.Info("player began", "room", p.req.Room, "stream", p.req.Slot, "remote", p.req.Remote,
			"transport", ctx.Session.SetuppedTransport().String(), "codec", p.feed.codecs())
	}
	return res, nil
}

// OnResponse ends what OnPlay began, and says where to publish instead.
func (h *handler) OnResponse(c *gortsplib.ServerConn, res *base.Response) {
	if nc, ok := c.NetConn().(*conn); ok && nc.publish.Load() && res.StatusCode == base.StatusNotImplemented {
		res.StatusCode = base.StatusMethodNotAllowed
		res.StatusMessage = "Method Not Allowed: nobody publishes by RTSP, publish by WHIP"
		res.Header["Allow"] = base.HeaderValue{"OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN"}
	}
	j, ok := c.UserData().(*joining)
	if !ok || j == nil {
		return
	}
	c.SetUserData(nil)
	j.finish(res)
}

// OnPause stops sending to the player; its session stays.
func (h *handler) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	setPlaying(ctx.Conn, false)
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSessionClose lets the player go.
func (h *handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	p, ok := ctx.Session.UserData().(*player)
	if !ok {
		return
	}
	setPlaying(p.conn, false)
	if p.unmind != nil {
		p.unmind()
	}
	if p.leave != nil {
		p.leave()
	}
	h.s.stats.players.Add(-1)
	h.s.feeds.release(p.feed)
	if p.played {
		why := p.feed.why(ctx.Error)
		if p.drops.Load() >= int64(h.s.cfg.MaxDrops) {
			why = errSlow
		}
		if reason := p.ended.Load(); reason != nil {
			why = *reason
		}
		h.s.log.Info("player left", "room", p.req.Room, "stream", p.req.Slot, "remote", p.req.Remote,
			"dur_ms", time.Since(p.began).Milliseconds(), "bytes", ctx.Session.Stats().BytesSent,
			"dropped", p.drops.Load(), "err", why)
	}
}

// OnStreamWriteError counts what a slow player loses, and cuts it in the end.
// It runs on the goroutine of the feed and must not block.
func (h *handler) OnStreamWriteError(ctx *gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
	p, ok := ctx.Session.UserData().(*player)
	if !ok || !errors.As(ctx.Error, new(liberrors.ErrServerWriteQueueFull)) {
		return
	}
	h.s.stats.dropped.Add(1)
	if p.drops.Add(1) != int64(h.s.cfg.MaxDrops) {
		return
	}
	h.s.stats.cut.Add(1)
	ctx.Session.Close()
	if n, ok := h.s.stats.slow.allow(time.Now()); ok {
		h.s.log.Warn("slow players cut", "room", p.req.Room, "stream", p.req.Slot, "remote", p.req.Remote, "times", n)
	}
}

// OnDecodeError takes broken RTCP of players; without it the library prints.
func (h *handler) OnDecodeError(ctx *gortsplib.ServerHandlerOnDecodeErrorCtx) {
	h.s.log.Debug("player sent a broken packet", "err", ctx.Error)
}

func setPlaying(c *gortsplib.ServerConn, playing bool) {
	if nc, ok := c.NetConn().(*conn); ok {
		nc.setPlaying(playing)
	}
}

func nonceOf(c *gortsplib.ServerConn) string {
	if nc, ok := c.NetConn().(*conn); ok {
		return nc.nonce
	}
	return ""
}

func remoteAddr(c *gortsplib.ServerConn) netip.Addr {
	if a, ok := c.NetConn().RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
