package clip

import (
	"context"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// Options say how to publish a clip.
type Options struct {
	// AudioDelay is added to the PTS of the audio (may be negative).
	AudioDelay time.Duration
	// Loops is how often the clip is played; 0 means until ctx ends.
	Loops int
	// Drop leaves out frames for which it is true; at is the time since Publish.
	Drop func(f Frame, at time.Duration) bool
	// Kinds are those to announce; nil means those that the clip has.
	Kinds []stream.Kind
}

// Publish publishes c on s in real time and returns when it is over, or ctx is.
func Publish(ctx context.Context, s *stream.Stream, c *Clip, o Options) error {
	if o.Kinds == nil {
		if c.Spec.Audio {
			o.Kinds = append(o.Kinds, stream.Audio)
		}
		if c.Spec.Video != "" {
			o.Kinds = append(o.Kinds, stream.Video)
		}
	}
	pub, err := s.Publish(stream.Source{Kinds: o.Kinds, RequestKeyframe: func() {}})
	if err != nil {
		return err
	}
	defer pub.Close()
	p := newPacketizer(c.Spec.Video)
	began := time.Now()
	for loop := 0; o.Loops == 0 || loop < o.Loops; loop++ {
		for _, f := range c.Frames {
			at := time.Duration(loop)*c.Spec.Length + f.PTS
			if wait := time.Until(began.Add(at)); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			if o.Drop != nil && o.Drop(f, at) {
				continue
			}
			pts := s.Since(began) + at
			if f.Kind == stream.Audio {
				pts = max(pts+o.AudioDelay, 0)
			}
			for _, u := range p.units(f, pts) {
				if err := pub.Write(u); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

type packetizer struct {
	tracks    [2]*stream.Track
	seq       [2]uint16
	payloader rtp.Payloader
}

func newPacketizer(video stream.Codec) *packetizer {
	p := &packetizer{tracks: [2]*stream.Track{
		{ID: "audio", Kind: stream.Audio, Codec: stream.Opus, ClockRate: 48000, Channels: 2},
		{ID: "video", Kind: stream.Video, Codec: video, ClockRate: 90000},
	}}
	switch video {
	case stream.VP8:
		p.payloader = &codecs.VP8Payloader{EnablePictureID: true}
	case stream.VP9:
		p.payloader = &codecs.VP9Payloader{}
	case stream.AV1:
		p.payloader = &codecs.AV1Payloader{}
	case stream.H264:
		p.payloader = &codecs.H264Payloader{}
	}
	return p
}

func (p *packetizer) units(f Frame, pts time.Duration) []*stream.Unit {
	t := p.tracks[f.Kind]
	payloads := [][]byte{append([]byte(nil), f.Data...)}
	if f.Kind == stream.Video {
		payloads = p.payloader.Payload(1200, f.Data)
	}
	var us []*stream.Unit
	for i, b := range payloads {
		p.seq[f.Kind]++
		us = append(us, &stream.Unit{
			Track: t,
			Packet: &rtp.Packet{Header: rtp.Header{
				Version: 2, Marker: i == len(payloads)-1, SequenceNumber: p.seq[f.Kind],
				Timestamp: uint32(pts.Microseconds() * int64(t.ClockRate) / 1e6),
			}, Payload: b},
			PTS: pts, Arrival: time.Now(), Keyframe: frame.KeyframeStart(t.Codec, b),
		})
	}
	return us
}
