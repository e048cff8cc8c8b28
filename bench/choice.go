package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

// climb is how long viewers get to find out what their network carries.
const climb = 8 * time.Second

// choice measures what it costs that each viewer gets what its network carries:
// viewers that tell what arrives, of one quality and of three.
func (b *bench) choice(ctx context.Context) error {
	const viewers = 50
	var rows [][]string
	for _, publish := range []struct {
		name string
		by   func(context.Context, *gateway) (end func() error, err error)
	}{{"one quality", b.teachOne}, {"three layers", b.teachThree}} {
		var micros, per, each []float64
		for range b.rounds {
			m, p, e, err := b.choiceOnce(ctx, publish.by, viewers)
			if err != nil {
				return fmt.Errorf("%s: %w", publish.name, err)
			}
			micros, per, each = append(micros, m), append(per, p), append(each, e)
		}
		rows = append(rows, []string{publish.name, f("%.2f", median(micros)), f("%.0f", median(per)/viewers), f("%.2f", median(each))})
	}
	b.out.title("Choice")
	b.out.line("%d viewers that tell what arrives, on a good network, of VP8 in one quality of 2 Mbit/s, or in three of 150 and 500 kbit/s and 2 Mbit/s.\n", viewers)
	b.out.table([]string{"publisher", "µs per packet", "packets/s per viewer", "MiB per added viewer"}, rows)
	return nil
}

func (b *bench) choiceOnce(ctx context.Context, publish func(context.Context, *gateway) (func() error, error), viewers int) (micros, per, each float64, err error) {
	g, err := b.newGateway()
	if err != nil {
		return 0, 0, 0, err
	}
	defer g.stop()
	end, err := publish(ctx, g)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { _ = end() }() // measured already
	some, err := attend(ctx, g, "bench", crowd{n: 10, report: true})
	if err != nil {
		return 0, 0, 0, err
	}
	defer leave(some)
	pause(ctx, climb)
	before, err := rss(g.cmd.Process.Pid)
	if err != nil {
		return 0, 0, 0, err
	}
	more, err := attend(ctx, g, "bench", crowd{n: viewers - 10, report: true})
	if err != nil {
		return 0, 0, 0, err
	}
	defer leave(more)
	pause(ctx, climb)
	now, err := rss(g.cmd.Process.Pid)
	if err != nil {
		return 0, 0, 0, err
	}
	micros, per, _, err = rate(ctx, g, append(some, more...), b.seconds(4))
	return micros, per, mib(now-before) / float64(viewers-10), err
}

func (b *bench) teachOne(ctx context.Context, g *gateway) (func() error, error) {
	clip, err := b.clip(webrtc.MimeTypeVP8, 2000)
	if err != nil {
		return nil, err
	}
	l, err := teach(ctx, g.whip("bench"), g.token, clip, false)
	if err != nil {
		return nil, err
	}
	return l.end, nil
}

func (b *bench) teachThree(ctx context.Context, g *gateway) (func() error, error) {
	var layers []peer.Layer
	for _, l := range []struct {
		rid   string
		kbits int
	}{{"l", 150}, {"m", 500}, {"h", 2000}} {
		clip, err := b.clip(webrtc.MimeTypeVP8, l.kbits)
		if err != nil {
			return nil, err
		}
		layers = append(layers, peer.Layer{RID: l.rid, Clip: clip})
	}
	joining, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := peer.PublishLayers(joining, peer.Options{URL: g.whip("bench"), Token: g.token}, layers)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() { played <- p.Play(playing) }() // ended by the returned function
	return func() error {
		stop()
		<-played
		return p.Close()
	}, nil
}
