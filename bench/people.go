package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

// memory measures what an added viewer holds, without and with talk.
func (b *bench) memory(ctx context.Context) error {
	clip, err := b.clip(webrtc.MimeTypeH264, 2500)
	if err != nil {
		return err
	}
	base, bare, chatty := []float64{}, []float64{}, []float64{}
	for range b.rounds {
		m, err := b.memoryOnce(ctx, clip)
		if err != nil {
			return err
		}
		base, bare, chatty = append(base, m[0]), append(bare, m[1]), append(chatty, m[2])
	}
	b.out.title("Memory")
	b.out.line("Resident memory with a publisher, a recording and 10 viewers: %.0f MiB. Each of 100 more: %.2f MiB (%.2f to %.2f); each of 100 more that talk as well: %.2f MiB (%.2f to %.2f).",
		median(base), median(bare), quantile(bare, 0), quantile(bare, 1), median(chatty), quantile(chatty, 0), quantile(chatty, 1))
	b.out.bar("memory per added viewer", median(bare), .2, " MiB")
	b.out.bar("memory per added viewer that talks", median(chatty), .3, " MiB")
	return nil
}

// memoryOnce returns MiB: with 10 viewers, for each of 100 more, for each of 100
// more that talk.
func (b *bench) memoryOnce(ctx context.Context, clip *peer.Clip) (m [3]float64, err error) {
	g, err := b.newGateway()
	if err != nil {
		return m, err
	}
	defer g.stop()
	l, err := teach(ctx, g.whip("bench"), g.token, clip, false)
	if err != nil {
		return m, err
	}
	defer func() { _ = l.end() }() // measured already
	before := 0.0
	for i, step := range []crowd{{n: 10}, {n: 100}, {n: 100, chat: true}} {
		all, err := attend(ctx, g, "bench", step)
		if err != nil {
			return m, err
		}
		defer leave(all)
		pause(ctx, b.seconds(4))
		now, err := rss(g.cmd.Process.Pid)
		if err != nil {
			return m, err
		}
		m[i] = mib(now)
		if i > 0 {
			m[i] = mib(now-before) / float64(step.n)
		}
		before = now
	}
	return m, nil
}

// join measures how 200 viewers get in.
func (b *bench) join(ctx context.Context) error {
	clip, err := b.clip(webrtc.MimeTypeH264, 2500)
	if err != nil {
		return err
	}
	var wall, used []float64
	for range b.rounds {
		g, err := b.newGateway()
		if err != nil {
			return err
		}
		w, u, err := joinOnce(ctx, g, clip)
		g.stop()
		if err != nil {
			return err
		}
		wall, used = append(wall, w), append(used, u)
	}
	b.out.title("Joining")
	b.out.line("200 own viewers, eight at a time, are connected after %.2f s; the gateway used %.2f s of processor time for it, %.1f ms each.", median(wall), median(used), 5*median(used))
	return nil
}

func joinOnce(ctx context.Context, g *gateway, clip *peer.Clip) (wall, used float64, err error) {
	l, err := teach(ctx, g.whip("bench"), g.token, clip, false)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = l.end() }() // measured already
	pause(ctx, settle)
	c0, err := cpu(g.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	all, err := attend(ctx, g, "bench", crowd{n: 200})
	if err != nil {
		return 0, 0, err
	}
	defer leave(all)
	wall = time.Since(began).Seconds()
	c1, err := cpu(g.cmd.Process.Pid)
	return wall, (c1 - c0).Seconds(), err
}

// storm measures a crowd that comes all at once, as when a class begins.
func (b *bench) storm(ctx context.Context) error {
	const crowd, within = 500, 5 * time.Second
	clip, err := b.clip(webrtc.MimeTypeH264, 2500)
	if err != nil {
		return err
	}
	var p50, p95, most, asked []float64
	failed := 0
	for range b.rounds {
		s, err := b.stormOnce(ctx, clip, crowd, within)
		if err != nil {
			return err
		}
		p50, p95, most = append(p50, quantile(s.first, .5)), append(p95, quantile(s.first, .95)), append(most, quantile(s.first, 1))
		asked = append(asked, s.keyframes)
		failed = max(failed, s.failed)
	}
	b.out.title("Join storm")
	b.out.line("%d own viewers in %.0f s, each from making the offer to the last packet of the first keyframe: median %.0f ms, p95 %.0f ms, most %.0f ms; %d did not get in. "+
		"The publisher was asked for %.2f keyframes a second. The viewers, which share the machine, are part of these times.",
		crowd, within.Seconds(), median(p50), median(p95), median(most), failed, median(asked))
	b.out.bar("join storm, first picture p95", median(p95), 1000, " ms")
	b.out.bar("join storm, keyframes asked per second", median(asked), 2, "")
	return nil
}

// stormed is what a storm left.
type stormed struct {
	first     []float64 // ms
	failed    int
	keyframes float64 // asked per second
}

func (b *bench) stormOnce(ctx context.Context, clip *peer.Clip, crowd int, within time.Duration) (stormed, error) {
	g, err := b.newGateway()
	if err != nil {
		return stormed{}, err
	}
	defer g.stop()
	l, err := teach(ctx, g.whip("bench"), g.token, clip, false)
	if err != nil {
		return stormed{}, err
	}
	defer func() { _ = l.end() }() // measured already
	pause(ctx, settle)
	var (
		mu   sync.Mutex // guards what follows
		out  stormed
		all  []*peer.Viewer
		wait sync.WaitGroup
	)
	asked, began := l.KeyframesAsked(), time.Now()
	tick := time.NewTicker(within / time.Duration(crowd))
	defer tick.Stop()
	for range crowd {
		wait.Go(func() {
			took, v, err := firstPicture(ctx, peer.Options{URL: g.whep("bench"), Token: g.token, Thin: true}, clip.MIME)
			mu.Lock()
			defer mu.Unlock()
			if v != nil {
				all = append(all, v)
			}
			if err != nil {
				out.failed++
				return
			}
			out.first = append(out.first, ms(took))
		})
		<-tick.C
	}
	wait.Wait()
	out.keyframes = float64(l.KeyframesAsked()-asked) / time.Since(began).Seconds()
	leave(all)
	if len(out.first) == 0 {
		return out, fmt.Errorf("nobody saw anything")
	}
	return out, nil
}

// firstPicture is the time from making the offer to the last packet of the first
// whole keyframe. The viewer is thin from then on, and the caller's.
func firstPicture(ctx context.Context, opts peer.Options, mime string) (time.Duration, *peer.Viewer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got := make(chan time.Time, 1)
	var mu sync.Mutex
	key, timestamp := false, uint32(0)
	began := time.Now()
	v, err := peer.Watch(ctx, opts, func(kind webrtc.RTPCodecType, _ string, p *rtp.Packet) {
		if kind != webrtc.RTPCodecTypeVideo {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !key && peer.BeginsKeyframe(mime, p.Payload) {
			key, timestamp = true, p.Timestamp
		}
		if key && p.Timestamp == timestamp && p.Marker {
			select {
			case got <- time.Now():
			default:
			}
		}
	})
	if err != nil {
		return 0, nil, err
	}
	select {
	case at := <-got:
		if opts.Thin {
			v.Thin()
		}
		return at.Sub(began), v, nil
	case <-ctx.Done():
		return 0, v, ctx.Err()
	}
}
