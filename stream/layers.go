package stream

import (
	"errors"
	"fmt"
	"slices"
)

// ErrLayers says that a publication has as many layers as it may.
var ErrLayers = errors.New("stream: too many layers")

// MaxLayers bounds the layers of one publication. Browsers send up to three.
const MaxLayers = 8

// Layer is one quality of a publisher that sends several (simulcast). Its Stream
// is one like any other, with video only: it has a keyframe gate, a cached group
// of pictures and readers of its own, and the Origin of the main stream, so that
// the PTS of all agree. The main stream carries the best layer that flows, and
// the sound.
type Layer struct {
	ID     string // the rid (RFC 8851) of the publisher
	Stream *Stream
}

// ranked is a Layer and what it is ranked by.
type ranked struct {
	Layer
	area int
	rate float64
}

// Layers returns the layers that the publisher sends, lowest first by the size
// of their newest keyframe, then by rate; nil if it sends one quality only.
// Which of them flow, Stream.Flowing says. Changed is closed when a layer comes
// or goes, begins or ceases to flow, or changes its size. While nobody publishes
// they stay; a layer that the next publisher does not have is closed.
func (s *Stream) Layers() []Layer {
	s.mu.Lock()
	layers := slices.Clone(s.layers)
	s.mu.Unlock()
	if len(layers) == 0 {
		return nil
	}
	order := make([]ranked, len(layers))
	for i, l := range layers {
		w, h := l.Stream.Size()
		order[i] = ranked{Layer: l, area: w * h, rate: l.Stream.Rate()}
	}
	slices.SortStableFunc(order, func(a, b ranked) int {
		if a.area != b.area {
			return a.area - b.area
		}
		switch {
		case a.rate < b.rate:
			return -1
		case a.rate > b.rate:
			return 1
		}
		return 0
	})
	for i, r := range order {
		layers[i] = r.Layer
	}
	return layers
}

// Layer publishes a layer of p: what is written to the result goes to the
// readers of that layer. It ends with p, of the same reason. A layer of the same
// id of the publisher before, if Source.Layers named it, is taken up: its
// readers go on. Layer fails with the error of p, or with ErrLayers.
func (p *Publication) Layer(id string, src Source) (*Publication, error) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	i := slices.IndexFunc(s.layers, func(l Layer) bool { return l.ID == id })
	if i < 0 {
		if len(s.layers) >= MaxLayers {
			return nil, ErrLayers
		}
		l := New(Config{Name: s.name + "~" + id, Log: s.log, Now: s.now, Origin: s.origin})
		l.parent = s
		i = len(s.layers)
		s.layers = append(s.layers, Layer{ID: id, Stream: l})
	}
	q, err := s.layers[i].Stream.Publish(src)
	if err != nil {
		return nil, fmt.Errorf("publish layer %s: %w", id, err)
	}
	p.layers = append(p.layers, q)
	s.changedLocked()
	return q, nil
}

// keepLayersLocked closes the layers that a new publisher does not have.
func (s *Stream) keepLayersLocked(ids []string) {
	s.layers = slices.DeleteFunc(s.layers, func(l Layer) bool {
		if slices.Contains(ids, l.ID) {
			return false
		}
		l.Stream.Close()
		return true
	})
}

// endLayersLocked ends the layers of a publication that has ended.
func (p *Publication) endLayersLocked(why error) {
	for _, q := range p.layers {
		q.s.mu.Lock()
		if q.err == nil {
			q.endLocked(why)
			q.s.changedLocked()
		}
		q.s.mu.Unlock()
	}
	p.layers = nil
}

// Pause says that the publisher is there but sends nothing here for the time
// being, as browsers do with the upper layers when their network is poor.
// Flowing reports false until the next Write.
func (p *Publication) Pause() {
	p.s.mu.Lock()
	changed := p.err == nil && !p.paused
	if changed {
		p.paused = true
		p.s.changedLocked()
	}
	p.s.mu.Unlock()
	if changed {
		p.s.tellParent()
	}
}

// tellParent tells those who wait for a change of the main stream of a change
// of its layer s. It is called without the lock of s: the locks of a stream and
// its layers are taken in this order only.
func (s *Stream) tellParent() {
	if s.parent == nil {
		return
	}
	s.parent.mu.Lock()
	defer s.parent.mu.Unlock()
	s.parent.changedLocked()
}
