package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// Bounds of a list of events.
const (
	defaultEvents = 200
	maxEvents     = 1000
)

// enterRoom verifies the token, asks for a right in the room of the path, and
// returns the room's name and who asks.
func (s *Server) enterRoom(c *gin.Context, may func(room string) right) (string, access.Claims, error) {
	name := c.Param("room")
	if err := room.ValidName(name); err != nil {
		return "", access.Claims{}, err
	}
	cl, err := s.authorise(c, may(name))
	return name, cl, err
}

// roomFor is enterRoom for those who need not know who asks.
func (s *Server) roomFor(c *gin.Context, may func(room string) right) (string, error) {
	name, _, err := s.enterRoom(c, may)
	return name, err
}

// roomSummary is a room in the list.
type roomSummary struct {
	Name      string     `json:"name"`
	Live      bool       `json:"live"`
	State     string     `json:"state"`
	Mode      string     `json:"mode,omitempty"` // who may come in; for who leads
	Title     string     `json:"title,omitempty"`
	StartedAt *time.Time `json:"started_at"` // of the class; null without one
	Viewers   int        `json:"viewers"`
	Players   int        `json:"players"`
	People    int        `json:"people"`
}

// watchesSomewhere says whether the bearer may watch any room at all: encoders
// and players may not.
func watchesSomewhere(cl access.Claims) bool { return cl.MayWatch(cl.Room) }

// shut says whether a room is closed to somebody who is of it.
func (s *Server) shut(cl access.Claims, name string) bool {
	return !cl.MayLead(name) && s.cfg.Authority.Rules(name).Mode == access.Closed
}

// listRooms answers with the rooms in memory that the token may see.
func (s *Server) listRooms(c *gin.Context) error {
	cl, err := s.authorise(c, watchesSomewhere)
	if err != nil {
		return err
	}
	rooms := []roomSummary{}
	for _, r := range s.cfg.Hub.List() {
		if !cl.MayWatch(r.Name()) || s.shut(cl, r.Name()) {
			continue
		}
		snap := r.Snapshot()
		sum := roomSummary{
			Name: snap.Name, State: snap.State, Live: snap.State == room.StateLive,
			Viewers: snap.Viewers, Players: snap.Players, People: snap.People,
		}
		if cl.MayLead(snap.Name) {
			sum.Mode = string(s.cfg.Authority.Rules(snap.Name).Mode)
		}
		if snap.Class != nil {
			sum.Title, sum.StartedAt = snap.Class.Title, &snap.Class.StartedAt
		}
		rooms = append(rooms, sum)
	}
	slices.SortFunc(rooms, func(a, b roomSummary) int { return strings.Compare(a.Name, b.Name) })
	c.JSON(http.StatusOK, gin.H{"rooms": rooms})
	return nil
}

// roomView is the state of a room with the addresses for players.
type roomView struct {
	room.Snapshot
	Streams []streamView `json:"streams"` // instead of those of the Snapshot
	Access  accessHint   `json:"access"`
}

// accessHint is what the members of a room know of its rules.
type accessHint struct {
	Mode  access.Mode `json:"mode"`
	Chat  bool        `json:"chat"`  // whether students may write
	Files bool        `json:"files"` // whether they may share files
}

// streamView is a stream and how players get it.
type streamView struct {
	room.StreamInfo
	Legacy map[string]legacyView `json:"legacy"` // by protocol: "rtmp", "rtsp"
}

// legacyView tells whether a player of one protocol is served.
type legacyView struct {
	URL    string `json:"url"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"` // what is missing, a sentence
}

// getRoom answers with the state of a room. A room that nobody has entered yet
// is idle rather than missing: every valid name names one.
func (s *Server) getRoom(c *gin.Context) error {
	name, err := s.roomFor(c, mayWatch)
	if err != nil {
		return err
	}
	snap := room.Snapshot{Name: name, State: room.StateIdle, Now: s.now()}
	if r, ok := s.cfg.Hub.Lookup(name); ok {
		snap = r.Snapshot()
	}
	rules := s.cfg.Authority.Rules(name)
	v := roomView{
		Snapshot: snap, Streams: []streamView{},
		Access: accessHint{Mode: rules.Mode, Chat: rules.Chat, Files: rules.Files},
	}
	for _, st := range snap.Streams {
		if st.Tracks == nil {
			st.Tracks = []room.TrackInfo{}
		}
		if st.Players == nil {
			st.Players = map[string]int{}
		}
		v.Streams = append(v.Streams, streamView{StreamInfo: st, Legacy: s.legacy(c, name, st)})
	}
	c.JSON(http.StatusOK, v)
	return nil
}

// startClass begins a class.
func (s *Server) startClass(c *gin.Context) error {
	name, cl, err := s.enterRoom(c, mayLead)
	if err != nil {
		return err
	}
	if !s.sessions.accepting() {
		return errStopping()
	}
	req := struct {
		Title  string `json:"title"`
		Record *bool  `json:"record"`
	}{}
	if err := readJSON(c, &req, true); err != nil {
		return err
	}
	r, err := s.cfg.Hub.RoomToPublish(name)
	if err != nil {
		return err
	}
	record := s.cfg.Recording && (req.Record == nil || *req.Record)
	class, err := r.StartClass(identity(cl), room.ClassOptions{Title: cleanName(req.Title), Record: record})
	if err != nil {
		return err
	}
	c.Header("Location", "/api/rooms/"+name)
	c.JSON(http.StatusCreated, class)
	return nil
}

// endClass ends the class of a room. The recording is complete soon after.
func (s *Server) endClass(c *gin.Context) error {
	name, cl, err := s.enterRoom(c, mayLead)
	if err != nil {
		return err
	}
	r, ok := s.cfg.Hub.Lookup(name)
	if !ok {
		return fmt.Errorf("ending class: %w", room.ErrNoClass)
	}
	class, _ := r.Class()
	if err := r.EndClass(identity(cl), "ended"); err != nil {
		return err
	}
	c.JSON(http.StatusOK, class)
	return nil
}

// roomEvents answers with what happened in a room, oldest first.
func (s *Server) roomEvents(c *gin.Context) error {
	name, err := s.roomFor(c, mayWatch)
	if err != nil {
		return err
	}
	since, err := queryUint(c, "since", 0)
	if err != nil {
		return err
	}
	limit, err := queryUint(c, "limit", defaultEvents)
	if err != nil {
		return err
	}
	n := int(min(max(limit, 1), maxEvents))
	// From the store, not from the room: reading the past of a room must not
	// call it into being.
	kept, err := s.cfg.Store.EventsSince(c.Request.Context(), name, since, n)
	if err != nil {
		return err
	}
	events := make([]json.RawMessage, 0, len(kept))
	for _, e := range kept {
		events = append(events, json.RawMessage(e.Payload))
	}
	next := since
	if len(kept) > 0 {
		next = kept[len(kept)-1].Seq
	}
	c.JSON(http.StatusOK, gin.H{"events": events, "next": next, "more": len(kept) == n})
	return nil
}
