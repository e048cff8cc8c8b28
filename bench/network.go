package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/netsim"
	"github.com/lectern/lectern/internal/peer"
)

// poor is a poor network in front of a gateway.
type poor struct {
	relay *netsim.Relay
	front *http.Server
	url   string
}

func newPoor(g *gateway, up, down netsim.Link) (*poor, error) {
	target, err := url.Parse("http://" + g.addr.HTTP)
	if err != nil {
		return nil, err
	}
	relay, err := netsim.Listen(netsim.Config{Target: g.media(), Up: up, Down: down, Seed: 1})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, relay.Close())
	}
	p := &poor{relay: relay, front: &http.Server{Handler: relay.Handler(target), ReadHeaderTimeout: patience}, url: "http://" + l.Addr().String()}
	go func() { _ = p.front.Serve(l) }() // ended by close
	return p, nil
}

func (p *poor) close() {
	_ = p.front.Close()
	_ = p.relay.Close() // measured already
}

// loss measures what a lossy and slow network makes of the picture.
func (b *bench) loss(ctx context.Context) error {
	clip, err := b.clip(webrtc.MimeTypeVP8, 2500)
	if err != nil {
		return err
	}
	const delay = 40 * time.Millisecond
	lossy := netsim.Link{Loss: .05, Delay: delay}
	var rows [][]string
	for _, c := range []struct {
		name     string
		teacher  [2]netsim.Link // there and back
		student  [2]netsim.Link
		headline bool
	}{
		{name: "none"},
		{name: "publisher: 5 % lost there, 40 ms each way", teacher: [2]netsim.Link{lossy, {Delay: delay}}},
		{name: "publisher: 5 % lost and 40 ms, both each way", teacher: [2]netsim.Link{lossy, lossy}, headline: true},
		{name: "publisher: 5 % lost in bursts of 3, 40 ms each way", teacher: [2]netsim.Link{{Loss: .05, Burst: 3, Delay: delay}, {Delay: delay}}},
		{name: "viewer: 5 % lost and 40 ms, both each way", student: [2]netsim.Link{lossy, lossy}},
	} {
		if b.quick && !c.headline && c.name != "none" {
			continue
		}
		s, err := b.watchThrough(ctx, clip, c.teacher, c.student)
		if err != nil {
			return err
		}
		p95 := ms(s.Latency(.95))
		rows = append(rows, []string{c.name, f("%.0f", ms(s.Latency(.5))), f("%.0f", p95), f("%.0f", ms(s.Longest)), f("%d", s.Over300), f("%d of %d", s.Skipped, s.Pictures)})
		if c.headline {
			b.out.bar("5 % loss and 40 ms at the publisher, glass to glass p95", p95, 400, " ms")
			b.out.bar("the same, longest freeze", ms(s.Longest), 300, " ms")
		}
	}
	b.out.title("Loss and latency")
	b.out.line("VP8 of 2.5 Mbit/s through a relay; from handing a picture to the sender to having it whole at the viewer, with all before it.\n")
	b.out.table([]string{"network", "median, ms", "p95, ms", "longest gap between pictures, ms", "gaps over 300 ms", "skipped to a keyframe"}, rows)
	return nil
}

// watchThrough has one viewer watch one publisher, each through a network.
func (b *bench) watchThrough(ctx context.Context, clip *peer.Clip, teacher, student [2]netsim.Link) (peer.Seen, error) {
	g, err := b.newGateway()
	if err != nil {
		return peer.Seen{}, err
	}
	defer g.stop()
	uplink, err := newPoor(g, teacher[0], teacher[1])
	if err != nil {
		return peer.Seen{}, err
	}
	defer uplink.close()
	downlink, err := newPoor(g, student[1], student[0])
	if err != nil {
		return peer.Seen{}, err
	}
	defer downlink.close()
	l, err := teach(ctx, uplink.url+"/whip/bench", g.token, clip, true)
	if err != nil {
		return peer.Seen{}, err
	}
	defer func() { _ = l.end() }() // measured already
	joining, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	screen := peer.NewPlayout(clip.MIME)
	v, err := peer.Watch(joining, peer.Options{URL: downlink.url + "/whep/bench", Token: g.token}, func(kind webrtc.RTPCodecType, _ string, p *rtp.Packet) {
		if kind == webrtc.RTPCodecTypeVideo {
			screen.Add(p)
		}
	})
	if err != nil {
		return peer.Seen{}, err
	}
	defer func() { _ = v.Close() }() // measured already
	pause(ctx, 2*time.Second)
	screen.Take()
	pause(ctx, b.seconds(10))
	return screen.Take(), nil
}
