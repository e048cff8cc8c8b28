package rtc

import (
	"slices"
	"sync/atomic"
	"time"
)

// A publisher may begin a layer anew under another SSRC. More often than
// maxMoves within moveWindow it does not do so in earnest: each move costs its
// readers a keyframe.
const (
	maxMoves   = 16
	moveWindow = 10 * time.Second
	maxRetired = 16
)

// layers tells to which layer of the video a packet belongs. Each layer has one
// source and one of repairs, so the table does not grow. Browsers name the layer
// only in the first packets of a source (RFC 8852, section 3), until they have
// seen a report on it.
//
// The lock of inbound guards all but the SSRCs of media.
type layers struct {
	mid   string
	rids  []string // as in Offer.Layers; nil: one layer, and nothing to tell
	media [maxLayers]atomic.Uint32
	rtx   [maxLayers]uint32

	// SSRCs that were replaced: late packets of theirs must not undo it.
	retired [maxRetired]uint32
	next    int // in retired
	moves   int // since began
	began   time.Time
}

func (l *layers) init(s *section) {
	if len(s.layers) < 2 {
		return
	}
	l.mid = s.mid
	for i, o := range s.layers {
		l.rids = append(l.rids, o.name)
		l.media[i].Store(o.ssrc)
		for repair, media := range s.rtxOf {
			if media == o.ssrc {
				l.rtx[i] = repair
			}
		}
	}
}

// ssrc returns the source of layer i, 0 if it is not known yet.
func (l *layers) ssrc(i int) uint32 {
	if i < 0 || i >= maxLayers {
		return 0
	}
	return l.media[i].Load()
}

// find returns the layer of a packet of media, or with rtx that of what the
// packet repairs; -1 if that is not known or if there is no such layer.
func (l *layers) find(ssrc uint32, x *extensions, rtx bool, now time.Time) int {
	name := x.rid
	if rtx {
		name = x.repairs
	}
	if name == nil {
		return l.known(ssrc, rtx)
	}
	i := slices.IndexFunc(l.rids, func(rid string) bool { return rid == string(name) })
	if i < 0 || x.mid != nil && string(x.mid) != l.mid {
		return -1
	}
	if !l.move(i, ssrc, rtx, now) {
		return -1
	}
	return i
}

// known returns the layer that ssrc stands for by now.
func (l *layers) known(ssrc uint32, rtx bool) int {
	for i := range l.rids {
		if ssrc == 0 {
			break // stands for none
		}
		if rtx && l.rtx[i] == ssrc || !rtx && l.media[i].Load() == ssrc {
			return i
		}
	}
	return -1
}

// move makes ssrc the source of layer i; false if it may not be.
func (l *layers) move(i int, ssrc uint32, rtx bool, now time.Time) bool {
	old := l.media[i].Load()
	if rtx {
		old = l.rtx[i]
	}
	if old == ssrc && ssrc != 0 {
		return true
	}
	if ssrc == 0 || slices.Contains(l.retired[:], ssrc) {
		return false
	}
	other := l.known(ssrc, rtx) // it was another layer's until now
	if old != 0 || other >= 0 {
		if now.Sub(l.began) > moveWindow {
			l.began, l.moves = now, 0
		}
		if l.moves == maxMoves {
			return false
		}
		l.moves++
	}
	if old != 0 && other < 0 {
		l.retired[l.next] = old
		l.next = (l.next + 1) % maxRetired
	}
	if other >= 0 {
		l.set(other, 0, rtx)
	}
	l.set(i, ssrc, rtx)
	return true
}

func (l *layers) set(i int, ssrc uint32, rtx bool) {
	if rtx {
		l.rtx[i] = ssrc
	} else {
		l.media[i].Store(ssrc)
	}
}
