package peer

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

const (
	layerMTU = 1150 // bytes of payload, below Ethernet with all headers

	// RFC 8843, section 15, and RFC 8852, section 4.
	midURI = "urn:ietf:params:rtp-hdrext:sdes:mid"
	ridURI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
)

// Layer is one quality of a simulcast publisher (RFC 8853). All are of one codec,
// VP8 or H.264.
type Layer struct {
	RID  string
	Clip *Clip
}

// LayerPublisher goes live by WHIP in several qualities at once.
type LayerPublisher struct {
	*session
	Plain  bool // without stamps; to be set before Play
	audio  *webrtc.TrackLocalStaticSample
	layers []*layerTrack
	mid    string
	ids    struct{ mid, rid uint8 } // of the header extensions
}

type layerTrack struct {
	Layer
	track  *webrtc.TrackLocalStaticRTP
	keys   chan struct{} // capacity 1: a keyframe is wanted
	asked  atomic.Int64  // requests for keyframes
	paused atomic.Bool
	pack   rtp.Packetizer
	frame  int
}

// PublishLayers connects a publisher of one picture in several qualities, and
// Opus. Whether the gateway takes more than one is told by Accepted.
func PublishLayers(ctx context.Context, opts Options, layers []Layer) (*LayerPublisher, error) {
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	p := &LayerPublisher{session: s}
	if err := p.addTracks(layers); err != nil {
		return nil, errors.Join(err, s.close(false))
	}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.close(true))
	}
	return p, nil
}

func (p *LayerPublisher) addTracks(layers []Layer) error {
	var err error
	if p.audio, err = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "peer"); err != nil {
		return err
	}
	var sender *webrtc.RTPSender
	for _, l := range layers {
		capability := webrtc.RTPCodecCapability{MimeType: l.Clip.MIME, ClockRate: 90000}
		track, err := webrtc.NewTrackLocalStaticRTP(capability, "video", "peer", webrtc.WithRTPStreamID(l.RID))
		if err != nil {
			return err
		}
		p.layers = append(p.layers, &layerTrack{
			Layer: l, track: track, keys: make(chan struct{}, 1),
			pack: rtp.NewPacketizer(layerMTU, 0, 0, l.Clip.payloader(), rtp.NewRandomSequencer(), 90000),
		})
		if sender == nil {
			sender, err = p.pc.AddTrack(track)
		} else {
			err = sender.AddEncoding(track)
		}
		if err != nil {
			return err
		}
	}
	if _, err := p.pc.AddTrack(p.audio); err != nil {
		return err
	}
	for _, l := range p.layers {
		p.readers.Go(func() { l.feedback(sender) }) // ended by the close of the peer connection
	}
	return nil
}

func (c *Clip) payloader() rtp.Payloader {
	if c.MIME == webrtc.MimeTypeH264 {
		return &codecs.H264Payloader{}
	}
	return &codecs.VP8Payloader{EnablePictureID: true}
}

func (l *layerTrack) feedback(sender *webrtc.RTPSender) {
	for {
		pkts, _, err := sender.ReadSimulcastRTCP(l.RID)
		if err != nil {
			return
		}
		for _, pkt := range pkts {
			switch pkt.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				l.asked.Add(1)
				select {
				case l.keys <- struct{}{}:
				default:
				}
			}
		}
	}
}

// Accepted says whether the answer takes the layers.
func (p *LayerPublisher) Accepted() bool {
	return strings.Contains(p.pc.RemoteDescription().SDP, "\r\na=simulcast:")
}

// Pause stops a layer, or lets it go on, as a browser does whose uplink is poor.
func (p *LayerPublisher) Pause(rid string, paused bool) {
	for _, l := range p.layers {
		if l.RID == rid {
			l.paused.Store(paused)
		}
	}
}

// KeyframesAsked is how many requests for keyframes of a layer have come.
func (p *LayerPublisher) KeyframesAsked(rid string) int {
	for _, l := range p.layers {
		if l.RID == rid {
			return int(l.asked.Load())
		}
	}
	return 0
}

// Play sends all layers in a loop, in real time and, unless Plain, stamped with
// the first letter of their rid, until ctx ends.
func (p *LayerPublisher) Play(ctx context.Context) error {
	p.findExtensions()
	start := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	sent, heard := 0, 0
	sound := p.layers[0].Clip.audio
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Since(start)
		for ; sent < int(now*clipFPS/time.Second); sent++ {
			for _, l := range p.layers {
				if err := p.picture(l, uint32(sent)*(90000/clipFPS)); err != nil {
					return err
				}
			}
		}
		for ; heard < int(now/(20*time.Millisecond)); heard++ {
			if err := p.audio.WriteSample(media.Sample{Data: sound[heard%len(sound)], Duration: 20 * time.Millisecond}); err != nil {
				return err
			}
		}
	}
}

// findExtensions looks up what the answer calls mid and rid.
func (p *LayerPublisher) findExtensions() {
	for _, tr := range p.pc.GetTransceivers() {
		if tr.Kind() != webrtc.RTPCodecTypeVideo {
			continue
		}
		p.mid = tr.Mid()
		for _, e := range tr.Sender().GetParameters().HeaderExtensions {
			switch e.URI {
			case midURI:
				p.ids.mid = uint8(e.ID)
			case ridURI:
				p.ids.rid = uint8(e.ID)
			}
		}
	}
}

func (p *LayerPublisher) picture(l *layerTrack, timestamp uint32) error {
	select {
	case <-l.keys:
		l.frame = l.Clip.nextKey(l.frame)
	default:
	}
	frame := l.Clip.frames[l.frame]
	if !p.Plain {
		frame = stamped(frame, l.RID[0], time.Now())
	}
	l.frame = (l.frame + 1) % len(l.Clip.frames)
	if l.paused.Load() {
		return nil
	}
	for _, pkt := range l.pack.Packetize(frame, 0) {
		pkt.Timestamp = timestamp
		if p.ids.rid != 0 && p.ids.mid != 0 {
			if err := pkt.SetExtension(p.ids.mid, []byte(p.mid)); err != nil {
				return err
			}
			if err := pkt.SetExtension(p.ids.rid, []byte(l.RID)); err != nil {
				return err
			}
		}
		if err := l.track.WriteRTP(pkt); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the publisher with DELETE.
func (p *LayerPublisher) Close() error { return p.close(true) }
