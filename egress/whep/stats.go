package whep

import (
	"fmt"
	"time"

	"github.com/lectern/lectern/stream"
)

// Stats is what a viewer got and asked for, and why it gets what it gets.
type Stats struct {
	Packets, Octets [2]uint32 // by stream.Kind; of sender reports, wrap
	Resent          uint64    // packets answered to NACKs
	Nacked          uint64    // packets asked for
	PLIs            uint64

	RID               string // of the layer that is sent; "" if there is one only
	Spatial, Temporal int    // the highest that are sent
	Reason            Reason
	Words             string        // Reason for people, in English
	Frozen            bool          // no picture, for want of bandwidth
	Estimate          int           // bit/s that the network carries for video; 0: not looked at
	State             string        // of the network: normal, congested, probing; "" as above
	RTT               time.Duration // 0: not known
	Loss              float64       // share of the packets of late, 0 to 1
	Switches          uint64        // from one layer to another
	Probes            uint64        // attempts to find out whether the network carries more
}

func (v *viewer) stats(now time.Time) Stats {
	st := Stats{Resent: v.resent.Load(), Nacked: v.nacked.Load(), PLIs: v.plis.Load(), Reason: ReasonOnlyOne}
	if sh := v.shard.Load(); sh != nil {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		for k := range v.out {
			st.Packets[k], st.Octets[k] = v.out[k].packets, v.out[k].octets
		}
		st.RTT, st.Loss = v.rtt, v.loss
		if v.out[stream.Video].ssrc != 0 && v.video != nil {
			v.video.describe(&st, now)
		}
	}
	st.Words = st.Reason.words(st.Estimate)
	return st
}

// describe adds what was chosen.
func (a *video) describe(st *Stats, now time.Time) {
	e := a.estimate(now)
	st.Estimate, st.State, st.Loss, st.Probes, st.Switches = int(e.Rate), e.State.String(), e.Loss, e.Probes, a.switches
	if st.RTT == 0 {
		st.RTT = e.RTT
	}
	st.Reason, st.Frozen = a.chooser.now.reason, a.chooser.now.frozen
	if st.Reason == "" {
		st.Reason = ReasonOnlyOne
	}
	if a.from == nil {
		return
	}
	top, rows := a.from.grid.top()
	st.RID, st.Spatial, st.Temporal = a.from.id, min(int(a.spatial), top), min(int(a.temporal), rows)
}

// words tells the reason to people.
func (r Reason) words(estimate int) string {
	kbit := estimate / 1000
	switch r {
	case ReasonBest:
		return "the best that is sent"
	case ReasonBandwidth:
		return fmt.Sprintf("the network carries %d kbit/s", kbit)
	case ReasonRising:
		return fmt.Sprintf("the network carries %d kbit/s; a better picture follows if it stays so", kbit)
	case ReasonExplicit:
		return "chosen by the viewer"
	case ReasonTooMuch:
		return fmt.Sprintf("the viewer chose more than the %d kbit/s that the network carries", kbit)
	case ReasonUnavailable:
		return "what the viewer chose is not sent"
	case ReasonFrozen:
		return fmt.Sprintf("the network carries %d kbit/s: enough for the sound only", kbit)
	case ReasonNone:
		return "nothing is sent"
	}
	return "there is one quality only"
}
