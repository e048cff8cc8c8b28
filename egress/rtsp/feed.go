package rtsp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"github.com/lectern/lectern/stream"
)

// feedKey names a feed: a stream, and the rendition of it (0: as it is).
type feedKey struct {
	src  *stream.Stream
	want Want
}

// feeds are the feeds in use, at most one for each key.
type feeds struct {
	s  *Server
	wg sync.WaitGroup // of the goroutines of all feeds

	mu     sync.Mutex // guards what follows, and refs and idle of each feed
	byKey  map[feedKey]*feed
	closed bool
}

func newFeeds(s *Server) *feeds {
	return &feeds{s: s, byKey: make(map[feedKey]*feed)}
}

func (fs *feeds) count() int64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return int64(len(fs.byKey))
}

// acquire returns the feed of a key when it is ready to be described; it starts
// it if need be, to end with done at the latest. The caller must release it.
func (fs *feeds) acquire(ctx context.Context, key feedKey, done <-chan struct{}) (*feed, error) {
	fs.mu.Lock()
	if fs.closed {
		fs.mu.Unlock()
		return nil, errClosing
	}
	f := fs.byKey[key]
	if f == nil {
		f = newFeed(fs.s, key, done)
		fs.byKey[key] = f
		// Ended by the stream, by a change of its tracks, by release after the
		// last player, or by the server; close waits.
		fs.wg.Go(f.run)
	}
	f.refs++
	if f.idle != nil {
		f.idle.Stop()
		f.idle = nil
	}
	fs.mu.Unlock()
	select {
	case <-f.ready:
	case <-ctx.Done():
		fs.release(f)
		return nil, context.Cause(ctx)
	}
	if f.err != nil {
		fs.release(f)
		return nil, f.err
	}
	return f, nil
}

// release gives a feed back. The last to do so lets it linger.
func (fs *feeds) release(f *feed) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.refs--
	if f.refs > 0 || fs.byKey[f.key] != f {
		return
	}
	f.idle = time.AfterFunc(fs.s.cfg.Linger, func() {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		if f.refs == 0 {
			fs.removeLocked(f)
			f.cancel(errUnused)
		}
	})
}

// remove takes f out, so that the next player starts another.
func (fs *feeds) remove(f *feed) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.removeLocked(f)
}

func (fs *feeds) removeLocked(f *feed) {
	if fs.byKey[f.key] == f {
		delete(fs.byKey, f.key)
	}
	if f.idle != nil {
		f.idle.Stop()
		f.idle = nil
	}
}

// close waits for all feeds. The context of the server must have ended.
func (fs *feeds) close() {
	fs.mu.Lock()
	fs.closed = true
	fs.mu.Unlock()
	fs.wg.Wait()
}

// lane is one track of a feed.
type lane struct {
	track *stream.Track
	media *description.Media
	h264  *format.H264 // nil for other codecs
	pt    uint8
	ssrc  uint32

	// What follows is guarded by feed.mu.
	last       *stream.Unit // sent; nil before the first
	packets    uint32
	octets     uint32
	lastReport time.Time
}

// feed reads one stream and sends it to all players of one choice of codecs.
type feed struct {
	s      *Server
	key    feedKey
	ctx    context.Context // of the feed's life
	cancel context.CancelCauseFunc
	done   <-chan struct{} // closed when the players must go; may be nil

	refs int         // guarded by feeds.mu
	idle *time.Timer // guarded by feeds.mu; runs while refs is 0

	ready chan struct{} // closed when what follows is set
	err   error
	src   *stream.Stream // the stream of the key, or its rendition
	st    *gortsplib.ServerStream
	lanes [2]*lane // by stream.Kind; nil: no such track

	reader *stream.Reader
	queued []*stream.Unit // read while preparing

	mu    sync.Mutex // held by the pump as it sends, and by a joiner from PLAY to its response
	gop   gop
	fresh chan struct{} // closed and renewed at each keyframe
}

func newFeed(s *Server, key feedKey, done <-chan struct{}) *feed {
	f := &feed{s: s, key: key, done: done, ready: make(chan struct{}), fresh: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancelCause(s.ctx)
	return f
}

// run is the life of the feed.
func (f *feed) run() {
	defer f.cancel(io.EOF)
	defer f.s.feeds.remove(f)

	// The context of the rendition lasts as long as the feed; only its
	// beginning is bounded.
	bound := time.AfterFunc(f.s.cfg.ReadyTimeout, func() { f.cancel(errNotLive) })
	release, err := f.prepare()
	defer release()
	if !bound.Stop() && err == nil {
		err = errNotLive
	}
	if err != nil {
		f.err = err
		close(f.ready)
		return
	}
	close(f.ready)

	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(f.watch) // ended by f.ctx
	wg.Go(func() { // ended by f.ctx
		select {
		case <-f.done:
			f.cancel(errOver)
		case <-f.ctx.Done():
		}
	})
	err = f.pump()
	f.s.feeds.remove(f)
	f.cancel(err)
	f.goodbye()
}

// prepare finds the tracks and makes the description. release is never nil.
func (f *feed) prepare() (release func(), err error) {
	var undo []func()
	release = func() {
		for _, u := range slices.Backward(undo) {
			u()
		}
	}
	f.src = f.key.src
	if f.key.want != 0 {
		if f.s.cfg.Render == nil {
			return release, &Refusal{Err: ErrUnsupported, Text: "the server has no encoder for what the publisher sends"}
		}
		r, done, err := f.s.cfg.Render(f.ctx, f.key.src, f.key.want)
		if err != nil {
			return release, fmt.Errorf("%w: %w", errNoRendition, err)
		}
		undo = append(undo, done)
		f.src = r
	}
	tracks, err := f.src.Ready(f.ctx, settle)
	if err != nil {
		return release, err
	}
	f.reader, err = f.src.NewReader(stream.ReaderOptions{Name: "rtsp", Backlog: f.s.cfg.ReadyTimeout, PerFrame: true})
	if err != nil {
		return release, fmt.Errorf("read stream: %w", err)
	}
	undo = append(undo, f.reader.Close)
	for _, t := range tracks {
		if err := f.addLane(t); err != nil {
			return release, err
		}
	}
	if v := f.lanes[stream.Video]; v != nil && v.h264 != nil {
		if err := f.awaitParameterSets(v); err != nil {
			return release, err
		}
	}
	return release, f.initStream()
}

func (f *feed) addLane(t *stream.Track) error {
	m, err := describe(t)
	if err != nil {
		return err
	}
	l := &lane{track: t, media: m, pt: m.Formats[0].PayloadType()}
	l.h264, _ = m.Formats[0].(*format.H264)
	f.lanes[t.Kind] = l
	return nil
}

// awaitParameterSets reads until SPS and PPS are known: some players decode
// nothing without them in the SDP.
func (f *feed) awaitParameterSets(v *lane) error {
	for {
		if sps, pps := v.h264.SafeParams(); sps != nil && pps != nil {
			return nil
		}
		u, err := f.reader.Read(f.ctx)
		if err != nil {
			return err
		}
		f.queued = append(f.queued, u)
		v.learn(u)
	}
}

// learn keeps the parameter sets of H.264 for the SDP of players to come.
func (l *lane) learn(u *stream.Unit) {
	if l.h264 == nil || !u.Keyframe {
		// Parameter sets in a packet of their own come as keyframe units too.
		return
	}
	sps, pps := parameterSets(u.Packet.Payload)
	if sps == nil && pps == nil {
		return
	}
	oldSPS, oldPPS := l.h264.SafeParams()
	if sps == nil {
		sps = oldSPS
	}
	if pps == nil {
		pps = oldPPS
	}
	l.h264.SafeSetParams(slices.Clone(sps), slices.Clone(pps))
}

func (f *feed) initStream() error {
	desc := &description.Session{Title: f.key.src.Name()}
	for _, k := range []stream.Kind{stream.Video, stream.Audio} {
		if l := f.lanes[k]; l != nil {
			desc.Medias = append(desc.Medias, l.media)
		}
	}
	f.st = &gortsplib.ServerStream{Server: f.s.lib, Desc: desc}
	if err := f.st.Initialize(); err != nil {
		return fmt.Errorf("initialize rtsp stream: %w", err)
	}
	stats := f.st.Stats()
	for _, l := range f.lanes {
		if l != nil {
			l.ssrc = stats.Medias[l.media].Formats[l.media.Formats[0]].LocalSSRC
		}
	}
	return nil
}

// watch ends the feed when the publisher came back without one of its kinds: a
// player would wait for the missing one for ever.
func (f *feed) watch() {
	for {
		changed := f.src.Changed()
		if kinds := f.src.Kinds(); len(kinds) > 0 {
			for k, l := range f.lanes {
				if l != nil && !slices.Contains(kinds, stream.Kind(k)) {
					f.cancel(errTracks)
					return
				}
			}
		}
		select {
		case <-changed:
		case <-f.ctx.Done():
			return
		}
	}
}

// codecs names the codecs sent, for logs.
func (f *feed) codecs() string {
	var names []string
	for _, l := range f.lanes {
		if l != nil {
			names = append(names, l.media.Formats[0].Codec())
		}
	}
	return strings.Join(names, "+")
}

// why prefers the reason for which the feed ended to the library's, which says
// only that the session was terminated.
func (f *feed) why(err error) error {
	if cause := context.Cause(f.ctx); cause != nil && !errors.Is(cause, errUnused) {
		return cause
	}
	return err
}
