package whep

import (
	"time"

	"github.com/pion/rtcp"

	"github.com/lectern/lectern/stream"
)

const (
	// A repair that is lost costs a viewer as long as its client waits before it
	// asks again: 100 ms and more. Where the network loses packets at random each
	// repair goes out twice. Where it loses more than that, or many at once, it has
	// no room, and nothing is added.
	twiceFrom, twiceTo = 0.01, 0.12 // loss that the viewer reports
	twiceAsked         = 16         // packets in one request at most
)

// resend answers a NACK of v.
func (sh *shard) resend(v *viewer, p *rtcp.TransportLayerNack) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for k := range v.out {
		if v.out[k].ssrc == 0 || v.out[k].ssrc != p.MediaSSRC {
			continue
		}
		asked := 0
		for i := range p.Nacks {
			p.Nacks[i].Range(func(seq uint16) bool {
				asked++
				v.nacked.Add(1)
				v.resendLocked(sh.batch, stream.Kind(k), &sh.rings[k], seq)
				return true
			})
		}
		if !v.twice(asked) {
			continue
		}
		for i := range p.Nacks {
			p.Nacks[i].Range(func(seq uint16) bool {
				v.secondLocked(sh, stream.Kind(k), seq)
				return true
			})
		}
	}
	sh.batch.Flush()
}

// twice says whether repairs of so many packets go out twice.
func (v *viewer) twice(asked int) bool {
	if v.loss < twiceFrom || v.loss > twiceTo || asked > twiceAsked || v.resends < resendsPerReport/2 {
		return false
	}
	return v.video == nil || !v.video.paced() && !v.video.crowded()
}

// secondLocked sends a repair once more, right after the first time.
func (v *viewer) secondLocked(sh *shard, kind stream.Kind, seq uint16) {
	a := v.video
	if kind != stream.Video || a == nil || a.precedes(seq) {
		v.resendLocked(sh.batch, kind, &sh.rings[kind], seq)
		return
	}
	now := time.Now()
	e := a.get(seq)
	if e == nil || uint32(v.st.Since(now).Milliseconds())-e.again > 1 {
		return // not sent just now
	}
	if a.again(sh.batch, e, now, false) {
		v.resends--
		v.resent.Add(1)
	}
}
