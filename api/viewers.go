package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/egress/whep"
)

// viewerView is what a viewer gets, and why.
type viewerView struct {
	ID      string    `json:"id"` // tells viewers apart; not the address of the session
	Slot    string    `json:"slot"`
	Name    string    `json:"name"`
	Subject string    `json:"subject"`
	Since   time.Time `json:"since"`

	RID        string      `json:"rid,omitempty"`
	SpatialID  int         `json:"spatialLayerId"`
	TemporalID int         `json:"temporalLayerId"`
	Reason     whep.Reason `json:"reason"`
	Detail     string      `json:"detail"` // Reason for people
	Frozen     bool        `json:"frozen"`
	Estimate   int         `json:"estimate,omitempty"` // bit/s; missing: not looked at
	Network    string      `json:"network,omitempty"`  // normal, congested, probing
	RTT        int64       `json:"rtt_ms,omitempty"`   // missing: not known
	Loss       float64     `json:"loss"`               // share, 0 to 1
	Switches   uint64      `json:"switches"`
	Probes     uint64      `json:"probes"`
	Nacked     uint64      `json:"nacked"`
	Resent     uint64      `json:"resent"`
	PLIs       uint64      `json:"plis"`
}

func viewViewer(s *session) viewerView {
	st := s.watched.layers.Stats()
	return viewerView{
		ID: s.name(), Slot: s.slot, Name: s.owner.Name, Subject: s.owner.Subject, Since: s.began,
		RID: st.RID, SpatialID: st.Spatial, TemporalID: st.Temporal, Reason: st.Reason, Detail: st.Words,
		Frozen: st.Frozen, Estimate: st.Estimate, Network: st.State, RTT: st.RTT.Milliseconds(), Loss: st.Loss,
		Switches: st.Switches, Probes: st.Probes, Nacked: st.Nacked, Resent: st.Resent, PLIs: st.PLIs,
	}
}

// watchersOf returns the viewers of a room, the oldest first.
func (r *registry) watchersOf(room string) []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*session
	for _, s := range r.byID {
		if s.way == wayWHEP && s.room == room {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *session) int {
		if c := a.began.Compare(b.began); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	return out
}

// listViewers tells what each viewer of a room gets, and why. Who does not
// moderate sees of oneself only.
func (s *Server) listViewers(c *gin.Context) error {
	name, cl, err := s.enterRoom(c, mayWatch)
	if err != nil {
		return err
	}
	views := []viewerView{}
	for _, sess := range s.sessions.watchersOf(name) {
		mine := !cl.Anonymous && cl.Subject == sess.owner.Subject
		if mine || cl.MayModerate(name) {
			views = append(views, viewViewer(sess))
		}
	}
	c.JSON(http.StatusOK, gin.H{"viewers": views})
	return nil
}
