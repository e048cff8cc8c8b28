package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

// soakFor is how long people come and go: a while as a rule, LECTERN_SOAK=30m
// for certainty (make soak).
func soakFor(t *testing.T) time.Duration {
	t.Helper()
	if v := os.Getenv("LECTERN_SOAK"); v != "" {
		return must[time.Duration](t)(time.ParseDuration(v))
	}
	return 20 * time.Second
}

// holdings is what must not grow.
type holdings struct {
	goroutines, files, sessions int
	heap, resident              float64 // bytes
}

// holdings reads /metrics.
func (g *gateway) holdings() (h holdings, err error) {
	req, err := http.NewRequest(http.MethodGet, g.url("/metrics"), nil)
	if err != nil {
		return h, err
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	resp, err := http11.Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	values := make(map[string]float64)
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		name, value, _ := strings.Cut(sc.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = n
		}
	}
	if _, ok := values["go_goroutines"]; !ok {
		return h, fmt.Errorf("%s: no metrics", resp.Status)
	}
	return holdings{
		goroutines: int(values["go_goroutines"]), files: int(values["process_open_fds"]), sessions: int(values["lectern_rtc_sessions"]),
		heap: values["go_memstats_heap_inuse_bytes"], resident: values["process_resident_memory_bytes"],
	}, sc.Err()
}

// rest waits until all have left, and then until the least of what is held in
// three seconds does not fall any more: single goroutines come and go always.
func (g *gateway) rest(t *testing.T) holdings {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, time.Minute, "all have left", func() error {
		h, err := g.holdings()
		return errors.Join(err, want(h.sessions == 0, "%+v", h))
	})
	last := g.least(t)
	for range 15 {
		h := g.least(t)
		if h.goroutines >= last.goroutines && h.files >= last.files {
			return last
		}
		last = h
	}
	return last
}

// least is the least of what the gateway holds in three seconds.
func (g *gateway) least(t *testing.T) (least holdings) {
	t.Helper()
	for i := range 20 {
		pause(150 * time.Millisecond)
		h := must[holdings](t)(g.holdings())
		if i == 0 {
			least = h
		}
		least.goroutines, least.files = min(least.goroutines, h.goroutines), min(least.files, h.files)
		least.heap, least.resident = min(least.heap, h.heap), min(least.resident, h.resident)
	}
	return least
}

// crowd is people who come and go.
type crowd struct {
	g    *gateway
	clip *peer.Clip

	mu      sync.Mutex // guards what follows
	rand    *rand.Rand
	visits  int
	lessons int
	failed  []error
}

// between is a random time.
func (c *crowd) between(least, most time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return least + time.Duration(c.rand.Int64N(int64(most-least)))
}

func (c *crowd) note(count *int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*count++
	if err != nil && len(c.failed) < 20 {
		c.failed = append(c.failed, err)
	}
}

func nap(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// teach publishes again and again; every other time the network is gone without
// a word.
func (c *crowd) teach(ctx context.Context, room string) {
	for n := 0; ctx.Err() == nil; n++ {
		c.note(&c.lessons, c.lesson(ctx, room, n%2 == 0))
	}
}

func (c *crowd) lesson(ctx context.Context, room string, clean bool) error {
	joining, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	p, err := peer.Publish(joining, peer.Options{URL: c.g.url("/whip/" + room + "?takeover=1"), Token: adminKey}, c.clip.MIME, false)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	playing, stop := context.WithTimeout(ctx, c.between(3*time.Second, 8*time.Second))
	defer stop()
	err = p.Play(playing, c.clip)
	if clean || ctx.Err() != nil {
		return errors.Join(err, p.Close(true))
	}
	_ = p.Close(false) // without a word; the take-over is the gateway's first sign
	return err
}

// attend watches again and again, now and then with talk.
func (c *crowd) attend(ctx context.Context, room string) {
	for n := 0; ctx.Err() == nil; n++ {
		nap(ctx, c.between(0, time.Second))
		joining, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		v, err := peer.Watch(joining, peer.Options{URL: c.g.url("/whep/" + room), Token: adminKey, Wait: true, Thin: true, Chat: n%2 == 0},
			func(webrtc.RTPCodecType, string, *rtp.Packet) {})
		cancel()
		if err != nil {
			c.note(&c.visits, fmt.Errorf("watch: %w", err))
			continue
		}
		v.Thin()
		nap(ctx, c.between(200*time.Millisecond, 4*time.Second))
		c.note(&c.visits, v.Close())
	}
}

// gather has people come and go for d.
func (c *crowd) gather(t *testing.T, d time.Duration, pages []*page) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wait sync.WaitGroup
	for _, room := range []string{"soak1", "soak2"} {
		wait.Go(func() { c.teach(ctx, room) })
		for range 6 {
			wait.Go(func() { c.attend(ctx, room) })
		}
	}
	for _, p := range pages {
		wait.Go(func() {
			for ctx.Err() == nil {
				var id int
				err := p.tryEval("return T.watch(arg)", watchOptions{URL: c.g.url("/whep/soak1"), Token: adminKey, Wait: true}, &id)
				if err == nil {
					nap(ctx, c.between(time.Second, 6*time.Second))
					err = p.tryEval("return T.end(arg)", id, nil)
				}
				c.note(&c.visits, err)
			}
		})
	}
	wait.Wait()
}

// People come and go, teachers are lost and return: what the gateway holds
// afterwards is what it held before.
func TestSoak_NothingGrows(t *testing.T) {
	t.Setenv("LECTERN_ROOMS_GRACE", "3s")
	t.Setenv("LECTERN_TURN_ENABLED", "false")
	g := startGateway(t)
	b := openBrowser(t, "chromium")
	pages := []*page{b.open("about:blank"), b.open("about:blank")}
	for _, p := range pages {
		p.do("goto", map[string]any{"url": g.url("/")}, nil)
		p.tools()
	}
	c := &crowd{
		g: g, rand: rand.New(rand.NewPCG(1, 2)), // the same crowd each time
		clip: must[*peer.Clip](t)(peer.MakeSmallClip(t.TempDir(), webrtc.MimeTypeVP8, 300, 180)),
	}
	c.gather(t, 12*time.Second, pages) // what is made once is made now
	before := g.rest(t)
	c.gather(t, soakFor(t), pages)
	after := g.rest(t)
	t.Logf("%d visits and %d lessons; before %+v, after %+v", c.visits, c.lessons, before, after)
	for _, err := range c.failed {
		t.Errorf("one of them: %v", err)
	}
	if after.goroutines > before.goroutines+4 {
		t.Errorf("%d goroutines, %d before", after.goroutines, before.goroutines)
	}
	if after.files > before.files+4 {
		t.Errorf("%d open files, %d before", after.files, before.files)
	}
	// Memory is a matter of the collector too, so that a short time tells little.
	if soakFor(t) >= 5*time.Minute && after.resident > before.resident*1.3+(16<<20) {
		t.Errorf("%.0f MiB resident, %.0f before", after.resident/(1<<20), before.resident/(1<<20))
	}
}
