package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

const (
	tickEvery  = time.Second
	batchUnits = 256
	// maxPanics is how many access units may make a writer panic before the slot
	// is given up.
	maxPanics = 10
	// warnEvery bounds how often a slot complains, in access units refused.
	warnEvery = 1000
)

// slot records one stream: one goroutine reads, assembles and writes.
type slot struct {
	r      *Recording
	name   string
	st     *stream.Stream
	reader *stream.Reader
	base   time.Duration // of PTS 0, on the timeline of the lecture

	asm     *frame.Assembler
	video   videoTrack
	audio   audioTrack
	away    absence
	panics  int
	refused uint64
	ticked  time.Time
}

// AddStream records the stream of a slot from now on, until End. A slot that is
// recorded already is left as it is if st is the same, else it is an error. It
// returns ErrEnded or ErrBadName.
func (r *Recording) AddStream(name string, st *stream.Stream) error {
	if !validName(name, maxName) {
		return fmt.Errorf("recording slot %q: %w", name, ErrBadName)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending {
		return fmt.Errorf("recording slot %s: %w", name, ErrEnded)
	}
	if old, ok := r.slots[name]; ok {
		if old.st == st {
			return nil
		}
		return fmt.Errorf("recording slot %s: another stream is recorded under this name", name)
	}
	now := r.now()
	reader, err := st.NewReader(stream.ReaderOptions{
		Name: "recording", Queue: r.store.cfg.Queue, KeyframeEvery: r.store.cfg.KeyframeEvery,
		PerFrame: true, Linger: r.store.cfg.WriteEvery,
		// What came since the lecture began belongs to it.
		Backlog: max(now, 0),
	})
	if err != nil {
		return fmt.Errorf("recording slot %s: %w", name, err)
	}
	s := &slot{r: r, name: name, st: st, reader: reader, base: st.Origin().Sub(r.man.StartedAt), asm: frame.NewAssembler()}
	s.video = videoTrack{r: r, slot: name, line: r.lineLocked(name, stream.Video, s)}
	s.audio = audioTrack{r: r, slot: name, line: r.lineLocked(name, stream.Audio, s)}
	r.slots[name] = s
	ctx, cancel := context.WithCancel(context.Background())
	r.writers.Go(func() { s.run(); cancel() }) // ended by shut, which closes the reader
	r.writers.Go(func() { s.watch(ctx) })      // ended by the one before
	return nil
}

// lineLocked begins to follow a kind where a recording before a crash left it.
func (r *Recording) lineLocked(name string, kind stream.Kind, s *slot) line {
	l := line{slot: name, kind: kind, away: &s.away, dropped: s.reader.Dropped}
	for _, t := range r.man.Tracks {
		if t.Stream == name && t.Kind == kind.String() {
			l.resumed = true
			l.end = max(l.end, time.Duration((t.OffsetMS+t.DurationMS)*float64(time.Millisecond)))
		}
	}
	return l
}

// watch notes when the slot has a publisher and when not.
func (s *slot) watch(ctx context.Context) {
	for {
		changed := s.st.Changed()
		s.presence()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// presence notes whether the slot has a publisher, as of when that began: this
// goroutine may come to it late.
func (s *slot) presence() {
	live, since := s.st.State()
	s.away.set(live, since.Sub(s.r.begin))
}

// run writes until the reader is closed and read, waits for the end of the
// lecture and finishes the files.
func (s *slot) run() {
	if err := s.copy(); err != nil {
		s.r.fail(fmt.Errorf("recording slot %s: %w", s.name, err))
	}
	s.reader.Close()
	<-s.r.ended  // sets endAt
	s.presence() // watch may not have come to it yet
	err := errors.Join(s.video.finish(s.r.endAt), s.audio.finish(s.r.endAt))
	if err != nil {
		s.r.fail(fmt.Errorf("finishing slot %s: %w", s.name, err))
	}
}

func (s *slot) copy() error {
	batch := make([]*stream.Unit, batchUnits)
	s.ticked = time.Now()
	for {
		n, err := s.readBatch(batch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if n > 0 {
			s.presence() // these units may be here before watch has seen their publisher
		}
		for _, u := range batch[:n] {
			if err := s.push(u); err != nil {
				return err
			}
		}
		clear(batch[:n])
		if now := time.Now(); now.Sub(s.ticked) >= tickEvery {
			s.ticked = now
			if err := s.tick(); err != nil {
				return err
			}
		}
	}
}

// readBatch waits for units, but no longer than to the next tick.
func (s *slot) readBatch(batch []*stream.Unit) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tickEvery)
	defer cancel()
	return s.reader.ReadBatch(ctx, batch)
}

func (s *slot) tick() error {
	return errors.Join(s.video.tick(), s.audio.tick(s.r.now()))
}

// push hands one unit on. An access unit that a writer cannot take is lost and
// counted; only an error of the disk is returned.
func (s *slot) push(u *stream.Unit) (err error) {
	// A packet from the network must not end the process, whatever the libraries
	// that parse it do.
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
	}()
	au, ok := s.asm.Push(u)
	for ok {
		if err := s.write(au); err != nil {
			return err
		}
		au, ok = s.asm.Next()
	}
	return nil
}

func (s *slot) write(au *frame.AccessUnit) error {
	at := s.base + au.PTS
	var err error
	switch au.Track.Codec {
	case stream.VP8, stream.VP9, stream.AV1, stream.H264:
		err = s.video.push(au, at)
	case stream.Opus:
		err = s.audio.push(au, at)
	default:
		err = fmt.Errorf("%w: codec cannot be recorded", errBadFrame)
	}
	if !errors.Is(err, errBadFrame) {
		return err
	}
	s.refused++
	if s.refused%warnEvery == 1 {
		s.r.log.Warn("access unit not recorded", "stream", s.name, "codec", au.Track.Codec,
			"refused", s.refused, "err", err)
	}
	return nil
}

// panicked forgets what the parsers hold. The frame that was being put together
// is dropped; what is on disk is whole.
func (s *slot) panicked(p any) error {
	s.panics++
	s.r.log.Error("recording panicked", "stream", s.name, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	if s.panics > maxPanics {
		return fmt.Errorf("%d panics, the last: %v", s.panics, p)
	}
	s.asm = frame.NewAssembler()
	if s.video.cur != nil {
		s.video.cur.media.drop()
		if err := s.video.close(s.video.last); err != nil {
			return err
		}
	}
	if s.audio.cur != nil {
		s.audio.cur.media.drop()
	}
	s.st.RequestKeyframe()
	return nil
}
