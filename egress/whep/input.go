package whep

import (
	"context"
	"fmt"
	"time"

	"github.com/lectern/lectern/stream"
)

const (
	// layerRing is about two seconds of 2.5 Mbit/s: what a viewer that comes over
	// may begin with.
	layerRing = 512

	// usual is the rate per pixel that is assumed before it can be measured, bit/s.
	usual = 1.6

	gridEvery = 500 * time.Millisecond
	gridSize  = 4 // spatial and temporal layers told apart
)

// input is video that a shard's viewers can get: the main stream, or one of its
// layers. What changes is guarded by shard.mu.
type input struct {
	sh     *shard
	id     string // rid; "" of the main stream
	st     *stream.Stream
	reader *stream.Reader // nil for the main stream, which the shard reads
	ring   *ring
	grid   grid
}

// open begins to read a layer.
func (sh *shard) open(ctx context.Context, l stream.Layer) (*input, error) {
	in := &input{sh: sh, id: l.ID, st: l.Stream, ring: &ring{}}
	in.ring.init(layerRing)
	var err error
	in.reader, err = l.Stream.NewReader(stream.ReaderOptions{
		Name: "whep", Queue: readerQueue, Backlog: replayAge, PerFrame: true,
		OnReady: func() bool { return sh.serveInline(in) },
	})
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	sh.done.Go(func() { sh.runInput(ctx, in) }) // ended by the end of the layer or of the shard
	return in, nil
}

func (sh *shard) runInput(ctx context.Context, in *input) {
	for in.reader.Wait(ctx) == nil {
		sh.mu.Lock()
		sh.serveLocked(in)
		sh.mu.Unlock()
	}
}

// starts says whether u, which is in the ring, is the first packet of a picture.
func (in *input) starts(u *stream.Unit) bool {
	before := in.ring.get(u.Packet.SequenceNumber - 1)
	return before == nil || before.Packet.Timestamp != u.Packet.Timestamp || before.Track != u.Track
}

// flowing says whether the publisher sends it. A still screen may be silent for
// a while: that alone is no reason to go elsewhere.
func (in *input) flowing() bool { return in.st.Flowing() }

// qualities appends what can be had of the input, lowest first.
func (in *input) qualities(to []quality, flowing bool) []quality {
	w, h := in.st.Size()
	top, rows := in.grid.top()
	for s := range top + 1 {
		// Each spatial layer has twice the width of the one below, by convention.
		q := quality{rid: in.id, spatial: uint8(s), w: w >> (top - s), h: h >> (top - s), flowing: flowing}
		for t := range rows + 1 {
			q.temporal = append(q.temporal, in.grid.upTo(s, t))
		}
		if !in.grid.primed {
			q.temporal = []float64{max(in.st.Rate(), usual*float64(w*h))}
			if in.id == "" {
				q.spatial = gridSize - 1 // all that there are, whatever it will be
			}
		}
		q.name() // made once for all viewers
		to = append(to, q)
	}
	return to
}

// grid measures the rates of the spatial and temporal layers of an input.
type grid struct {
	track  *stream.Track // that it is of
	bytes  [gridSize][gridSize]int
	rate   [gridSize][gridSize]float64 // bit/s, smoothed
	since  time.Time
	primed bool
}

func layerOf(n uint8) uint8 { return min(n, gridSize-1) }

func (g *grid) add(u *stream.Unit) {
	if g.track != u.Track {
		*g = grid{track: u.Track}
	}
	g.bytes[layerOf(u.Spatial)][layerOf(u.Temporal)] += len(u.Packet.Payload)
}

// tick ends an interval, if it is long enough. One in which nothing came tells
// nothing of what comes next: the rates stay as they were.
func (g *grid) tick(now time.Time) {
	span := now.Sub(g.since)
	if g.since.IsZero() || span < gridEvery {
		if g.since.IsZero() {
			g.since = now
		}
		return
	}
	if g.bytes == [gridSize][gridSize]int{} {
		g.since = now
		return
	}
	for s := range g.bytes {
		for t := range g.bytes[s] {
			r := float64(g.bytes[s][t]) * 8 / span.Seconds()
			if g.primed {
				r = 0.6*g.rate[s][t] + 0.4*r
			}
			g.rate[s][t] = r
		}
	}
	g.primed = true
	g.bytes, g.since = [gridSize][gridSize]int{}, now
}

// upTo is the rate of all layers up to spatial s and temporal t.
func (g *grid) upTo(s, t int) float64 {
	sum := 0.0
	for i := range s + 1 {
		for k := range t + 1 {
			sum += g.rate[i][k]
		}
	}
	return sum
}

// top is the highest spatial and temporal layer that comes.
func (g *grid) top() (spatial, temporal int) {
	little := 0.005 * g.upTo(gridSize-1, gridSize-1)
	for s := range g.rate {
		for t, r := range g.rate[s] {
			if r > little {
				spatial, temporal = max(spatial, s), max(temporal, t)
			}
		}
	}
	return spatial, temporal
}
