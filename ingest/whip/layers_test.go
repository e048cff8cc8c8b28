package whip_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/stream"
)

// encoding is one layer of a browser with simulcast.
type encoding struct {
	rid   string
	w, h  byte // in units of 8 pixels
	track *webrtc.TrackLocalStaticRTP
	seq   uint16
	pay   codecs.VP8Payloader
}

// addLayers has p send its video in layers as well.
func (p *publisher) addLayers(rids ...string) ([]*encoding, *webrtc.RTPSender) {
	p.t.Helper()
	var out []*encoding
	var sender *webrtc.RTPSender
	for i, rid := range rids {
		e := &encoding{rid: rid, w: 4 << i, h: 2 << i, pay: codecs.VP8Payloader{EnablePictureID: true}}
		var err error
		e.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "layers", "test", webrtc.WithRTPStreamID(rid))
		if err != nil {
			p.t.Fatal(err)
		}
		if i == 0 {
			sender, err = p.pc.AddTrack(e.track)
		} else {
			err = sender.AddEncoding(e.track)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out, sender
}

// send sends picture n of the layer; every tenth is a keyframe.
func (e *encoding) send(n int, ids map[string]uint8, mid string) {
	data := []byte{0x11, 2, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	if n%10 == 0 {
		data = []byte{0x10, 2, 0, 0x9d, 1, 0x2a, e.w * 8, 0, e.h * 8, 0, 1, 1}
	}
	payloads := e.pay.Payload(1200, data)
	for i, b := range payloads {
		e.seq++
		pkt := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: e.seq, Timestamp: uint32(n) * 900, Marker: i == len(payloads)-1}, Payload: b}
		_ = pkt.SetExtension(ids[sdp.SDESMidURI], []byte(mid))
		_ = pkt.SetExtension(ids[sdp.SDESRTPStreamIDURI], []byte(e.rid))
		_ = e.track.WriteRTP(pkt) // after the end of pc it fails, which is as well
	}
}

func TestSession_Layers(t *testing.T) {
	p := newPublisher(t, "", nil)
	encodings, sender := p.addLayers("q", "h", "f")
	var asked sync.Map // rid of each PLI
	for _, e := range encodings {
		p.rtcp.Go(func() { // ended by the close of pc
			for {
				pkts, _, err := sender.ReadSimulcastRTCP(e.rid)
				if err != nil {
					return
				}
				for _, pkt := range pkts {
					if _, ok := pkt.(*rtcp.PictureLossIndication); ok {
						asked.Store(e.rid, true)
					}
				}
			}
		})
	}
	g := connect(t, p)
	ids := map[string]uint8{}
	for _, x := range sender.GetParameters().HeaderExtensions {
		ids[x.URI] = uint8(x.ID)
	}
	var mid string
	for _, tr := range p.pc.GetTransceivers() {
		if tr.Sender() == sender {
			mid = tr.Mid()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel()
	sending.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			for _, e := range encodings {
				e.send(n, ids, mid)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	waitFor(t, "all layers, in order", func() bool {
		var got []string
		for _, l := range g.st.Layers() {
			if w, _ := l.Stream.Size(); w > 0 && l.Stream.Flowing() {
				got = append(got, l.ID)
			}
		}
		return slices.Equal(got, []string{"q", "h", "f"})
	})
	waitFor(t, "the best layer on main", func() bool {
		u, err := g.r.Read(ctx)
		return err == nil && u.Track.Kind == stream.Video && u.Layer == 2
	})
	waitFor(t, "PLI of the lowest layer", func() bool {
		g.st.Layers()[0].Stream.RequestKeyframe()
		_, ok := asked.Load("q")
		return ok
	})
	st := g.s.Stats()
	if len(st.Layers) != 3 || st.Layers[0].Layer != "q" || st.Layers[2].Received == 0 || st.Layers[0].SSRC == st.Layers[1].SSRC {
		t.Errorf("got %+v", st.Layers)
	}
}
