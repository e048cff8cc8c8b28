package rtmp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/clip"
	"github.com/lectern/lectern/stream"
)

// amfCommand is a command message of strings, numbers and null as AMF0.
func amfCommand(values ...any) []byte {
	var b []byte
	for _, v := range values {
		switch v := v.(type) {
		case string:
			b = append(binary.BigEndian.AppendUint16(append(b, 2), uint16(len(v))), v...)
		case int:
			b = append(b, 0)
			b = binary.BigEndian.AppendUint64(b, [...]uint64{0, 0x3ff0000000000000, 0x4000000000000000, 0x4008000000000000}[v])
		case [2]string:
			b = append(b, 3, 0, byte(len(v[0])))
			b = append(append(b, v[0]...), 2, 0, byte(len(v[1])))
			b = append(append(b, v[1]...), 0, 0, 9)
		default:
			b = append(b, 5)
		}
	}
	return b
}

// chunked is a message of type 20 as chunks of 128 bytes.
func chunked(streamID byte, payload []byte) []byte {
	b := []byte{3, 0, 0, 0, byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), 20, streamID, 0, 0, 0}
	for len(payload) > 128 {
		b = append(append(b, payload[:128]...), 0xc3)
		payload = payload[128:]
	}
	return append(b, payload...)
}

// playRaw plays by hand on a socket with a small buffer and reads no more once
// media flows. The caller closes the connection.
func playRaw(t *testing.T, addr, name string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: 2 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 1+1536)
	hello[0] = 3
	write := func(b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(hello)
	answer := make([]byte, 1+2*1536)
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	write(answer[1 : 1+1536])
	write(chunked(0, amfCommand("connect", 1, [2]string{"app", "live"})))
	write(chunked(0, amfCommand("createStream", 2, nil)))
	write(chunked(1, amfCommand("play", 3, nil, name)))
	seen := []byte{}
	buf := make([]byte, 512)
	for !bytes.Contains(seen, []byte("onMetaData")) {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("raw player: %v", err)
		}
		seen = append(seen, buf[:n]...)
	}
	return c
}

// TestServer_CrowdWithOneStuck plays to twenty, and one that reads nothing. The
// stuck one is cut off, the others miss nothing.
func TestServer_CrowdWithOneStuck(t *testing.T) {
	const crowd = 20
	h := newHouse(t)
	c := clip.Make(t, clip.Spec{
		Video: stream.H264, Audio: true, Width: 640, Height: 360, Length: 2 * time.Second, Bitrate: "6M", Noise: true,
	})
	h.publish(c, clip.Options{})
	goroutines := runtime.NumGoroutine()
	stuck := playRaw(t, h.addr, "algebra?token=secret")
	defer stuck.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range crowd {
		wg.Go(func() {
			out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin", "-nostats", "-progress", "pipe:1",
				"-i", h.url("live/algebra?token=secret"), "-map", "0:v", "-t", "4", "-c", "copy", "-f", "null", "-").CombinedOutput()
			if err != nil {
				t.Errorf("player: %v: %s", err, out)
				return
			}
			frames := 0
			for line := range strings.Lines(string(out)) {
				if v, ok := strings.CutPrefix(strings.TrimSpace(line), "frame="); ok {
					frames, _ = strconv.Atoi(strings.TrimSpace(v))
				}
			}
			if frames < 99 || frames > 101 {
				t.Errorf("player got %d pictures, want 100", frames)
			}
		})
	}
	eventually(t, 20*time.Second, "stuck player cut off", func() bool { return h.released.Load() >= 1 })
	wg.Wait()
	runtime.ReadMemStats(&after)
	t.Logf("heap %d KiB more, stats %+v", (int64(after.HeapAlloc)-int64(before.HeapAlloc))/1024, h.srv.Stats())
	eventually(t, 10*time.Second, "all released", func() bool {
		return h.released.Load() == crowd+1 && h.pool.Stats().Children == 0 && h.srv.Stats().Conns == 0
	})
	eventually(t, 10*time.Second, "goroutines back", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// TestServer_PublisherReturns changes codec and size under a player.
func TestServer_PublisherReturns(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := clip.Make(t, clip.Spec{Video: stream.H264, Audio: true, Length: 2 * time.Second})
	second := clip.Make(t, clip.Spec{Video: stream.VP8, Audio: true, Length: 2 * time.Second, Width: 640, Height: 360})
	stop := h.publish(first, clip.Options{})
	go func() { // ended by the player
		eventually(t, 10*time.Second, "player", func() bool { return h.srv.Stats().Players == 1 })
		began := time.Now()
		eventually(t, 10*time.Second, "a while", func() bool { return time.Since(began) > 2*time.Second })
		stop()
		h.publish(second, clip.Options{})
	}()
	seen := clip.Measure(t, h.record(h.url("live/algebra?token=secret"), "5"))
	t.Logf("%d pictures, offset %v, longest freeze %v", seen.Pictures, seen.Offset(t, 0), seen.LongestFreeze)
	if seen.Pictures < 90 || seen.LongestFreeze > 1500*time.Millisecond {
		t.Errorf("%d pictures, longest freeze %v", seen.Pictures, seen.LongestFreeze)
	}
	if o := seen.Offset(t, 0); o.Abs() > 40*time.Millisecond {
		t.Errorf("offset %v: flashes %v, beeps %v", o, seen.Flashes, seen.Beeps)
	}
}

// TestServer_ClassEnds lets the player end by itself.
func TestServer_ClassEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.publish(clip.Make(t, clip.Spec{Video: stream.H264, Length: time.Second}), clip.Options{})
	go func() {
		eventually(t, 10*time.Second, "player", func() bool { return h.srv.Stats().Players == 1 })
		began := time.Now()
		eventually(t, 10*time.Second, "a while", func() bool { return time.Since(began) > time.Second })
		close(h.done)
	}()
	began := time.Now()
	h.record(h.url("live/algebra?token=secret"), "30")
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("player ended after %v", d)
	}
}
