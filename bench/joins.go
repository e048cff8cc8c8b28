package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

const patience = 20 * time.Second

// report runs a measurement several times and prints first (which may start an
// encoder), least, median and most.
func report(codec, way string, measure func() (time.Duration, error)) {
	var all []time.Duration
	for range rounds {
		d, err := measure()
		if err != nil {
			fmt.Printf("%-11s %-11s %v\n", codec, way, err)
			return
		}
		all = append(all, d)
	}
	first := all[0]
	slices.Sort(all)
	fmt.Printf("%-11s %-11s first %6.0f  min %6.0f  median %6.0f  max %6.0f ms\n",
		codec, way, ms(first), ms(all[0]), ms(all[len(all)/2]), ms(all[len(all)-1]))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// firstFrame is the time from making the offer to the last packet of the first
// whole keyframe.
func firstFrame(addr, token, mime string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got := make(chan time.Time, 1)
	var mu sync.Mutex
	key, keyTS := false, uint32(0)
	began := time.Now()
	v, err := peer.Watch(ctx, peer.Options{URL: "http://" + addr + "/whep/bench", Token: token, Wait: true}, func(kind webrtc.RTPCodecType, _ string, p *rtp.Packet) {
		if kind != webrtc.RTPCodecTypeVideo || len(p.Payload) < 4 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !key && beginsKeyframe(mime, p.Payload) {
			key, keyTS = true, p.Timestamp
		}
		if key && p.Timestamp == keyTS && p.Marker {
			select {
			case got <- time.Now():
			default:
			}
		}
	})
	if err != nil {
		return 0, err
	}
	defer func() { _ = v.Close() }() // measured already
	select {
	case at := <-got:
		return at.Sub(began), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// beginsKeyframe looks at the payload as a foreign client would.
func beginsKeyframe(mime string, p []byte) bool {
	if mime == webrtc.MimeTypeH264 {
		n := p[0] & 31
		return n == 5 || n == 7 || n == 24 || (n == 28 && p[1]&31 == 5)
	}
	at := 1
	if p[0]&0x80 != 0 {
		at = 2
		if p[1]&0x80 != 0 {
			at++
			if p[2]&0x80 != 0 {
				at++
			}
		}
		if p[1]&0x40 != 0 {
			at++
		}
		if p[1]&0x30 != 0 {
			at++
		}
	}
	return p[0]&0x10 != 0 && at < len(p) && p[at]&1 == 0
}

// firstByte is the time from starting ffmpeg as a player to the first byte of
// picture that it passes on. The start of ffmpeg itself, 50 to 100 ms, counts.
// Not with -fflags nobuffer: ffmpeg 5.1 then throws the first pictures away.
func firstByte(input ...string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args := append([]string{"-v", "error", "-fpsprobesize", "0", "-analyzeduration", "500000"}, input...)
	args = append(args, "-map", "0:v", "-c", "copy", "-frames:v", "1", "-f", "data", "pipe:1")
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = out.Read(make([]byte, 1))
	took := time.Since(began)
	cancel()
	_ = cmd.Wait()
	if err != nil {
		return 0, fmt.Errorf("player got nothing: %w", err)
	}
	return took, nil
}
