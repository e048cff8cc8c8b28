package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

const (
	patience = 20 * time.Second
	joiners  = 8 // viewers that connect at once
)

// clipFile is a clip that was made already.
type clipFile struct{ *peer.Clip }

// clip makes a clip, once.
func (b *bench) clip(mime string, kbits int) (*peer.Clip, error) {
	key := f("%s %d", mime, kbits)
	if c := b.clips[key]; c != nil {
		return c.Clip, nil
	}
	height := 720
	if kbits < 1000 {
		height = 360
	}
	c, err := peer.MakeSmallClip(b.dir, mime, kbits, height)
	if err != nil {
		return nil, err
	}
	b.clips[key] = &clipFile{c}
	return c, nil
}

// lecture is a publisher that plays.
type lecture struct {
	*peer.Publisher
	stop   context.CancelFunc
	played chan error
}

// teach has somebody publish a clip in room, by way of url.
func teach(ctx context.Context, url, token string, clip *peer.Clip, stamp bool) (*lecture, error) {
	joining, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := peer.Publish(joining, peer.Options{URL: url, Token: token}, clip.MIME, false)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	p.Stamp = stamp
	playing, stop := context.WithCancel(ctx)
	l := &lecture{Publisher: p, stop: stop, played: make(chan error, 1)}
	go func() { l.played <- p.Play(playing, clip) }() // ended by end
	return l, nil
}

func (l *lecture) end() error {
	l.stop()
	return errors.Join(<-l.played, l.Close(true))
}

// ignore takes packets that nobody wants.
func ignore(webrtc.RTPCodecType, string, *rtp.Packet) {}

// crowd are viewers.
type crowd struct {
	n      int
	chat   bool // they talk as well
	report bool // they take media and tell what arrives; else they count packets
}

// attend connects viewers of room.
func attend(ctx context.Context, g *gateway, room string, c crowd) ([]*peer.Viewer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	all, errs := make([]*peer.Viewer, c.n), make([]error, c.n)
	places := make(chan struct{}, joiners)
	var wait sync.WaitGroup
	for i := range all {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			v, err := peer.Watch(ctx, peer.Options{URL: g.whep(room), Token: g.token, Thin: true, Chat: c.chat}, ignore)
			if err != nil {
				errs[i] = err
				return
			}
			if !c.report {
				v.Thin()
			}
			all[i] = v
			if c.chat {
				select {
				case <-v.Welcome():
				case <-ctx.Done():
					errs[i] = errors.New("nobody welcomed it")
				}
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		leave(all)
		return nil, err
	}
	return all, nil
}

// leave ends viewers; nil ones never came.
func leave(all []*peer.Viewer) {
	places := make(chan struct{}, joiners)
	var wait sync.WaitGroup
	for _, v := range all {
		if v == nil {
			continue
		}
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			_ = v.Close() // measured already
		})
	}
	wait.Wait()
}

// course is what costOf measures.
type course struct {
	rooms, viewers int // viewers of each room
	kbits          int
	env            []string
}

// cost is what a course takes.
type cost struct {
	micros    float64 // of processor time per delivered packet
	perSecond float64 // packets
	cores     float64
	rss       float64
}

// costOf measures a course in rounds on one fresh gateway; the medians count.
func (b *bench) costOf(ctx context.Context, c course) (cost, error) {
	clip, err := b.clip(webrtc.MimeTypeH264, c.kbits)
	if err != nil {
		return cost{}, err
	}
	g, err := b.newGateway(c.env...)
	if err != nil {
		return cost{}, err
	}
	defer g.stop()
	var all []*peer.Viewer
	defer func() { leave(all) }()
	for i := range c.rooms {
		room := f("room%d", i)
		l, err := teach(ctx, g.whip(room), g.token, clip, false)
		if err != nil {
			return cost{}, err
		}
		defer func() { _ = l.end() }() // measured already
		some, err := attend(ctx, g, room, crowd{n: c.viewers})
		if err != nil {
			return cost{}, err
		}
		all = append(all, some...)
	}
	pause(ctx, settle)
	var micros, per, cores []float64
	for range b.rounds {
		m, p, u, err := rate(ctx, g, all, b.seconds(4))
		if err != nil {
			return cost{}, err
		}
		micros, per, cores = append(micros, m), append(per, p), append(cores, u)
	}
	memory, err := rss(g.cmd.Process.Pid)
	return cost{median(micros), median(per), median(cores), memory}, err
}

// rate measures what goes to viewers that are there.
func rate(ctx context.Context, g *gateway, all []*peer.Viewer, d time.Duration) (micros, perSecond, cores float64, err error) {
	count := func() (n uint64) {
		for _, v := range all {
			n += v.Counts().Packets
		}
		return n
	}
	c0, err := cpu(g.cmd.Process.Pid)
	if err != nil {
		return 0, 0, 0, err
	}
	n0, began := count(), time.Now()
	pause(ctx, d)
	c1, err := cpu(g.cmd.Process.Pid)
	if err != nil {
		return 0, 0, 0, err
	}
	n, took := count()-n0, time.Since(began)
	if n == 0 {
		return 0, 0, 0, errors.New("nothing was delivered")
	}
	used := c1 - c0
	return float64(used.Nanoseconds()) / 1000 / float64(n), float64(n) / took.Seconds(), used.Seconds() / took.Seconds(), nil
}
