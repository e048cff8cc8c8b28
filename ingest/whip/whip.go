// Package whip is the way in from browsers: publishers that came by WHIP (RFC
// 9725). It joins the WebRTC session of a publisher to the stream.
package whip

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pion/rtcp"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
)

// Config configures a Session.
type Config struct {
	Endpoint *rtc.Endpoint
	Log      *slog.Logger // nil: slog.DiscardHandler

	// OnDataChannel gets each channel that the publisher opens; it must not
	// block. Nil refuses them.
	OnDataChannel func(*rtc.DataChannel)
}

// ErrNotStarted says that Start was not called, or failed.
var ErrNotStarted = errors.New("whip: session not started")

// Session is a publisher. Its methods may be called from any goroutine, but
// nothing except Source before Start has returned without an error.
type Session struct {
	cfg       Config
	log       *slog.Logger
	offer     *rtc.Offer
	publisher *ingest.Publisher
	formats   [128]*ingest.Format // by payload type
	peer      *rtc.Session        // nil before Start
	done      chan struct{}
}

// New prepares the session of an offer that was parsed for rtc.Publish. Publish
// its Source, then Start it with the publication. A Session that is not started
// need not be closed.
func New(cfg Config, offer *rtc.Offer) *Session {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Session{cfg: cfg, log: cfg.Log, offer: offer, done: make(chan struct{})}
	var kinds []stream.Kind
	for _, kind := range []stream.Kind{stream.Audio, stream.Video} {
		codecs := offer.Codecs(kind.String())
		if len(codecs) == 0 {
			continue
		}
		kinds = append(kinds, kind)
		for _, c := range codecs {
			s.formats[c.PayloadType&0x7f] = &ingest.Format{
				Codec:     stream.Codec(c.MimeType),
				ClockRate: c.ClockRate,
				Channels:  c.Channels,
				FMTP:      c.FMTP,
			}
		}
	}
	s.publisher = ingest.NewPublisher(ingest.Config{
		Kinds:    kinds,
		Layers:   offer.Layers(),
		Feedback: s.feedback,
		// Browsers repair video; they do not offer it for sound.
		NACK: [2]bool{stream.Video: true},
	})
	return s
}

// Source is what to publish: the kinds of the offer, and the way to ask for a
// keyframe.
func (s *Session) Source() stream.Source { return s.publisher.Source() }

// Start answers the offer and writes what comes to pub, which stays the
// caller's to close after Done. When pub ends first, so does the session, and
// Err returns stream.ErrReplaced or stream.ErrClosed.
func (s *Session) Start(pub *stream.Publication) error {
	peer, err := s.cfg.Endpoint.NewSession(rtc.SessionConfig{
		Offer:         s.offer,
		Log:           s.log,
		OnRTP:         s.onRTP,
		OnRTCP:        s.publisher.PushRTCP,
		OnDataChannel: s.cfg.OnDataChannel,
	})
	if err != nil {
		return fmt.Errorf("open publisher session: %w", err)
	}
	ssrc := peer.SSRC(rtc.Video)
	if ssrc == 0 {
		ssrc = peer.SSRC(rtc.Audio)
	}
	s.peer = peer
	// Nothing has come yet: the publisher does not have the answer.
	if err := s.publisher.Start(pub, ssrc); err != nil {
		s.peer = nil
		return errors.Join(fmt.Errorf("start publisher: %w", err), peer.Close(err))
	}
	go s.watch(time.Now()) // ended by the end of the session; Close waits for it
	return nil
}

// watch joins the ends of session and publication.
func (s *Session) watch(began time.Time) {
	defer close(s.done)
	select {
	case <-s.publisher.Done():
		s.peer.End(s.publisher.Err())
	case <-s.peer.Done():
	}
	<-s.peer.Done()
	s.publisher.Close()
	st := s.Stats()
	s.log.Info("publisher session ended",
		"err", s.Err(),
		"dur_ms", time.Since(began).Milliseconds(),
		"bytes", st.Audio.Bytes+st.Video.Bytes,
		"lost", st.Audio.Lost+st.Video.Lost,
		"repaired", st.Video.Repaired)
}

func (s *Session) onRTP(p rtc.Inbound) {
	if f := s.formats[p.Codec.PayloadType&0x7f]; f != nil {
		s.publisher.Push(p.Layer, ingest.Packet{Packet: p.Packet, Format: f, Arrival: p.Arrival, Descriptor: p.Descriptor})
	}
}

// feedback is called between Start and the end of the publisher only.
func (s *Session) feedback(pkts []rtcp.Packet) {
	if err := s.peer.WriteRTCP(pkts); err != nil {
		s.log.Debug("feedback not sent", "err", err)
	}
}

// Answer returns the SDP answer with all candidates. Do not change it.
func (s *Session) Answer() []byte { return s.peer.Answer() }

// ETag returns the entity tag of the present ICE session, with its quotes.
func (s *Session) ETag() string { return s.peer.ETag() }

// HasData says whether data channels were negotiated.
func (s *Session) HasData() bool { return s.offer.HasData() }

// Connected says whether media can flow.
func (s *Session) Connected() bool { return s.peer != nil && s.peer.Connected() }

// PatchTrickle adds the candidates of an ICE fragment (RFC 8840). See
// rtc.Session.PatchTrickle.
func (s *Session) PatchTrickle(frag []byte) error { return s.peer.PatchTrickle(frag) }

// Restart restarts ICE. See rtc.Session.Restart.
func (s *Session) Restart(frag []byte) (answer []byte, etag string, err error) {
	return s.peer.Restart(frag)
}

// Close ends the session and waits until nothing of it is left. Err will return
// reason, or rtc.ErrClosed if reason is nil. It must not be called from
// OnDataChannel.
func (s *Session) Close(reason error) error {
	if s.peer == nil {
		return ErrNotStarted
	}
	err := s.peer.Close(reason)
	<-s.done
	return err
}

// Done is closed when the session is over, for whatever reason, and nothing
// more is written to the publication.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session ended; nil as long as it has not.
func (s *Session) Err() error { return s.peer.Err() }

// Stats are the counters of a Session.
type Stats struct {
	Peer         rtc.SessionStats
	Audio, Video ingest.Stats
	Layers       []ingest.Stats // of the video; nil for a single quality
}

// Stats returns the counters.
func (s *Session) Stats() Stats {
	return Stats{
		Peer:   s.peer.Stats(),
		Audio:  s.publisher.Stats(stream.Audio),
		Video:  s.publisher.Stats(stream.Video),
		Layers: s.publisher.LayerStats(),
	}
}
