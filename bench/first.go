package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

// first measures the time from asking to the first picture by every way.
func (b *bench) first(ctx context.Context) error {
	b.out.title("First picture")
	var rows [][]string
	for _, mime := range []string{webrtc.MimeTypeH264, webrtc.MimeTypeVP8} {
		more, err := b.firstOf(ctx, mime)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	b.out.line("720p30 of 2.5 Mbit/s, one publisher. \"First\" includes the start of an encoder where one is needed; the start of ffmpeg as a player, about 50 ms, and its probing, up to 500 ms, count.\n")
	b.out.table([]string{"publisher", "way", "first, ms", "least, ms", "median, ms", "most, ms"}, rows)
	return nil
}

func (b *bench) firstOf(ctx context.Context, mime string) ([][]string, error) {
	clip, err := b.clip(mime, 2500)
	if err != nil {
		return nil, err
	}
	g, err := b.newGateway()
	if err != nil {
		return nil, err
	}
	defer g.stop()
	l, err := teach(ctx, g.whip("bench"), g.token, clip, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.end() }() // measured already
	pause(ctx, 2*time.Second)
	rtsp := fmt.Sprintf("rtsp://%s/bench?token=%s", g.addr.RTSP, g.token)
	rtmp := fmt.Sprintf("rtmp://%s/live/bench?token=%s", g.addr.RTMP, g.token)
	var rows [][]string
	for _, w := range []struct {
		name    string
		measure func() (time.Duration, error)
	}{
		{"WHEP", func() (time.Duration, error) {
			took, v, err := firstPicture(ctx, peer.Options{URL: g.whep("bench"), Token: g.token}, mime)
			if v != nil {
				_ = v.Close() // measured already
			}
			return took, err
		}},
		{"RTSP (TCP)", func() (time.Duration, error) { return firstByte(ctx, "-rtsp_transport", "tcp", "-i", rtsp) }},
		{"RTSP (UDP)", func() (time.Duration, error) { return firstByte(ctx, "-rtsp_transport", "udp", "-i", rtsp) }},
		{"RTMP", func() (time.Duration, error) { return firstByte(ctx, "-i", rtmp) }},
	} {
		rows = append(rows, b.repeat(mime, w.name, w.measure))
	}
	return rows, nil
}

// repeat runs a measurement several times.
func (b *bench) repeat(codec, way string, measure func() (time.Duration, error)) []string {
	var all []float64
	for range 1 + 2*b.rounds {
		d, err := measure()
		if err != nil {
			return []string{codec, way, err.Error(), "", "", ""}
		}
		all = append(all, ms(d))
	}
	return []string{codec, way, f("%.0f", all[0]), f("%.0f", quantile(all, 0)), f("%.0f", median(all)), f("%.0f", quantile(all, 1))}
}

// firstByte is the time from starting ffmpeg as a player to the first byte of
// picture that it passes on. The start of ffmpeg itself, 50 to 100 ms, counts.
// Not with -fflags nobuffer: ffmpeg 5.1 then throws the first pictures away.
func firstByte(ctx context.Context, input ...string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
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
