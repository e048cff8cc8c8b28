// Package peer is a WHIP and WHEP client on pion/webrtc: the foreign peer of
// tests and benchmarks, which shares no code with the gateway's own sessions.
package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Options say where to connect.
type Options struct {
	URL   string // of the WHIP or WHEP endpoint
	Token string
	Wait  bool // WHEP: Prefer: wait
	Thin  bool // a socket of its own on 127.0.0.1, which Viewer.Thin needs
	Chat  bool // WHEP: open the channel of talk and enter the room
}

// session is one peer connection that was signalled over HTTP.
type session struct {
	pc       *webrtc.PeerConnection
	opts     Options
	location string
	socket   *thinSocket // with Options.Thin
	readers  sync.WaitGroup
	live     chan struct{} // closed when connected
	once     sync.Once
}

func newSession(opts Options) (*session, error) {
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	var socket *thinSocket
	if opts.Thin {
		var err error
		if socket, err = newThinSocket(netip.AddrFrom4([4]byte{127, 0, 0, 1})); err != nil {
			return nil, err
		}
		se.SetICEUDPMux(socket)
		se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	}
	me := &webrtc.MediaEngine{}
	if err := me.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(se), webrtc.WithMediaEngine(me))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	s := &session{pc: pc, opts: opts, socket: socket, live: make(chan struct{})}
	pc.OnConnectionStateChange(func(st webrtc.PeerConnectionState) {
		if st == webrtc.PeerConnectionStateConnected {
			s.once.Do(func() { close(s.live) })
		}
	})
	return s, nil
}

// connect makes the offer, posts it, and waits until media can flow.
func (s *session) connect(ctx context.Context) error {
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	answer, err := s.post(ctx, s.pc.LocalDescription().SDP)
	if err != nil {
		return err
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return err
	}
	select {
	case <-s.live:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("connect: %w", ctx.Err())
	}
}

func (s *session) post(ctx context.Context, offer string) (string, error) {
	req, err := s.request(ctx, http.MethodPost, s.opts.URL, offer)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("%s: %s", resp.Status, body)
	}
	base, err := url.Parse(s.opts.URL)
	if err != nil {
		return "", err
	}
	loc, err := base.Parse(resp.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	s.location = loc.String()
	return string(body), nil
}

func (s *session) request(ctx context.Context, method, target, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.opts.Token)
	if body != "" {
		req.Header.Set("Content-Type", "application/sdp")
	}
	if s.opts.Wait {
		req.Header.Set("Prefer", "wait")
	}
	return req, nil
}

// close ends the session: with DELETE when clean, else without a word.
func (s *session) close(clean bool) error {
	var err error
	if clean && s.location != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var req *http.Request
		if req, err = s.request(ctx, http.MethodDelete, s.location, ""); err == nil {
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	}
	err = errors.Join(err, s.pc.Close())
	if s.socket != nil {
		err = errors.Join(err, s.socket.Close())
	}
	s.readers.Wait()
	return err
}

// Viewer watches by WHEP.
type Viewer struct {
	*session
	welcome chan struct{}
	greeted sync.Once
}

// Watch connects a viewer. onRTP gets every packet, one goroutine per track.
func Watch(ctx context.Context, opts Options, onRTP func(kind webrtc.RTPCodecType, mime string, p *rtp.Packet)) (*Viewer, error) {
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		dir := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := s.pc.AddTransceiverFromKind(kind, dir); err != nil {
			return nil, errors.Join(err, s.pc.Close())
		}
	}
	s.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		s.readers.Go(func() { // ended by the close of the peer connection
			for {
				p, _, err := t.ReadRTP()
				if err != nil {
					return
				}
				onRTP(t.Kind(), t.Codec().MimeType, p)
			}
		})
	})
	v := &Viewer{session: s, welcome: make(chan struct{})}
	if opts.Chat {
		if err := v.talk(); err != nil {
			return nil, errors.Join(err, s.pc.Close())
		}
	}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.close(true))
	}
	return v, nil
}

// talk opens the channel of talk and says hello on it (docs/PROTOCOL.md).
func (v *Viewer) talk() error {
	protocol := "lectern.v1"
	ch, err := v.pc.CreateDataChannel("chat", &webrtc.DataChannelInit{Protocol: &protocol})
	if err != nil {
		return err
	}
	ch.OnOpen(func() {
		_ = ch.SendText(`{"type":"hello","since":0,"name":"peer"}`) // a channel that is gone says so by Welcome
	})
	ch.OnMessage(func(m webrtc.DataChannelMessage) {
		if bytes.Contains(m.Data, []byte(`"type":"welcome"`)) {
			v.greeted.Do(func() { close(v.welcome) })
		}
	})
	return nil
}

// Welcome is closed when the room has greeted; with Options.Chat.
func (v *Viewer) Welcome() <-chan struct{} { return v.welcome }

// Thin makes media count for nothing but Counts from now on: they are neither
// decrypted nor handed on. Needs Options.Thin.
func (v *Viewer) Thin() { v.socket.thin.Store(true) }

// Counts is what has come so far. Needs Options.Thin.
func (v *Viewer) Counts() Counts {
	return Counts{Packets: v.socket.packets.Load(), Bytes: v.socket.bytes.Load()}
}

// Close ends the viewer with DELETE.
func (v *Viewer) Close() error { return v.close(true) }

// Publisher goes live by WHIP.
type Publisher struct {
	*session
	Video *webrtc.TrackLocalStaticSample
	Audio *webrtc.TrackLocalStaticSample
	Raw   *webrtc.TrackLocalStaticRTP // instead of Video when asked for
	Stamp bool                        // set before Play: pictures carry the time of sending, for Playout
	keys  chan struct{}               // capacity 1: a keyframe is wanted
	asked atomic.Int64                // requests for keyframes
}

// Publish connects a publisher of one video codec and Opus. With raw, packets of
// the caller go out as they are by Raw.
func Publish(ctx context.Context, opts Options, videoMIME string, raw bool) (*Publisher, error) {
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	p := &Publisher{session: s, keys: make(chan struct{}, 1)}
	if err := p.addTracks(videoMIME, raw); err != nil {
		return nil, errors.Join(err, s.pc.Close())
	}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.close(true))
	}
	return p, nil
}

func (p *Publisher) addTracks(videoMIME string, raw bool) error {
	audio, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "peer")
	if err != nil {
		return err
	}
	p.Audio = audio
	capability := webrtc.RTPCodecCapability{MimeType: videoMIME}
	var video webrtc.TrackLocal
	if raw {
		p.Raw, err = webrtc.NewTrackLocalStaticRTP(capability, "video", "peer")
		video = p.Raw
	} else {
		p.Video, err = webrtc.NewTrackLocalStaticSample(capability, "video", "peer")
		video = p.Video
	}
	if err != nil {
		return err
	}
	for _, t := range []webrtc.TrackLocal{video, audio} {
		sender, err := p.pc.AddTrack(t)
		if err != nil {
			return err
		}
		p.readers.Go(func() { p.feedback(sender) }) // ended by the close of the peer connection
	}
	return nil
}

func (p *Publisher) feedback(sender *webrtc.RTPSender) {
	for {
		pkts, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, pkt := range pkts {
			switch pkt.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.asked.Add(1)
				select {
				case p.keys <- struct{}{}:
				default:
				}
			}
		}
	}
}

// KeyframesAsked is how many requests for keyframes have come.
func (p *Publisher) KeyframesAsked() int { return int(p.asked.Load()) }

// Close ends the publisher: with DELETE when clean, else without a word.
func (p *Publisher) Close(clean bool) error { return p.close(clean) }
