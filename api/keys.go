package api

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// keyRequest asks for a key that an encoder or a player keeps for good.
type keyRequest struct {
	Role access.Role `json:"role"` // ingest or player
	Slot string      `json:"slot"`
	Name string      `json:"name"` // what people call it
	span
}

// keyView is a key in lists: never the secret, of which the server keeps a hash.
type keyView struct {
	ID       string      `json:"id"`
	Room     string      `json:"room"`
	Role     access.Role `json:"role"`
	Slot     string      `json:"slot"`
	Name     string      `json:"name"`
	Created  time.Time   `json:"created"`
	Expires  *time.Time  `json:"expires"`   // null: never
	LastUsed *time.Time  `json:"last_used"` // null: not yet
	By       string      `json:"by"`        // subject of who made it
}

// newKeyView is the only answer that tells the secret.
type newKeyView struct {
	keyView
	Key  string `json:"key"`
	WHIP string `json:"whip,omitempty"` // of role ingest: where to publish
	RTMP string `json:"rtmp,omitempty"` // of role player: where to read
	RTSP string `json:"rtsp,omitempty"`
	// User and Password are for players with fields for them.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Login    string `json:"rtsp_login,omitempty"`
	// Encoder are settings ready to be copied, of role ingest.
	Encoder *encoderView `json:"encoder,omitempty"`
}

// encoderView is what people type into encoders.
type encoderView struct {
	Server        string `json:"server"`        // OBS: service WHIP, server
	BearerToken   string `json:"bearer_token"`  // OBS: bearer token
	Authorization string `json:"authorization"` // for what sets headers itself
	FFmpeg        string `json:"ffmpeg"`        // the end of a command line
	GStreamer     string `json:"gstreamer"`     // the end of a pipeline
}

func encoder(base, roomName, slot, secret string) *encoderView {
	u := whipURL(base, roomName, slot)
	return &encoderView{
		Server: u, BearerToken: secret, Authorization: "Bearer " + secret,
		FFmpeg:    "-f whip -authorization " + secret + " " + u,
		GStreamer: "whipclientsink signaller::whip-endpoint=" + u + " signaller::auth-token=" + secret,
	}
}

func viewKey(k access.Key) keyView {
	return keyView{
		ID: k.ID, Room: k.Room, Role: k.Role, Slot: k.Slot, Name: k.Name, Created: k.Created,
		Expires: orNull(k.Expires), LastUsed: orNull(k.LastUsed), By: k.By,
	}
}

// addKey makes a key of a room.
func (s *Server) addKey(c *gin.Context) error {
	name, by, err := s.enterRoom(c, mayLead)
	if err != nil {
		return err
	}
	var req keyRequest
	if err := readJSON(c, &req, false); err != nil {
		return err
	}
	if req.Role != access.Ingest && req.Role != access.Player {
		return errBadRole()
	}
	if req.Slot != "" {
		if err := room.ValidName(req.Slot); err != nil {
			return err
		}
	}
	if req.NotBefore != nil {
		return fail(http.StatusBadRequest, "bad_ttl", "A key is good at once: it has no not_before.")
	}
	_, until, err := req.bounds(s.now(), 0)
	if err != nil {
		return err
	}
	k, secret, err := s.cfg.Authority.AddKey(c.Request.Context(), access.Key{
		Room: name, Slot: req.Slot, Name: cleanName(req.Name), Role: req.Role, Expires: until, By: by.Subject,
	})
	if err != nil {
		return fmt.Errorf("making key: %w", err)
	}
	v := newKeyView{keyView: viewKey(k), Key: secret}
	if k.Role == access.Ingest {
		v.Encoder = encoder(s.baseURL(c), name, k.Slot, secret)
		v.WHIP = v.Encoder.Server
	} else {
		v.User, v.Password = k.ID, secret
		v.Login = withLogin(s.legacyURLs(c, name, k.Slot).RTSP, k.ID, secret)
		l := withToken(s.legacyURLs(c, name, k.Slot), secret)
		v.RTMP, v.RTSP = l.RTMP, l.RTSP
	}
	c.Header("Location", "/api/rooms/"+name+"/keys/"+k.ID)
	c.JSON(http.StatusCreated, v)
	return nil
}

// listKeys answers with the keys of a room, newest first.
func (s *Server) listKeys(c *gin.Context) error {
	name, err := s.roomFor(c, mayLead)
	if err != nil {
		return err
	}
	list := []keyView{}
	for _, k := range s.cfg.Authority.Keys(name) {
		list = append(list, viewKey(k))
	}
	c.JSON(http.StatusOK, gin.H{"keys": list})
	return nil
}

// removeKey ends a key and the sessions that it opened.
func (s *Server) removeKey(c *gin.Context) error {
	name, err := s.roomFor(c, mayLead)
	if err != nil {
		return err
	}
	id := c.Param("id")
	all := s.cfg.Authority.Keys(name)
	at := slices.IndexFunc(all, func(k access.Key) bool { return k.ID == id })
	if at < 0 {
		return fail(http.StatusNotFound, "not_found", sayNotHere) // or one of another room
	}
	if err := s.cfg.Authority.Revoke(c.Request.Context(), id, s.until(all[at].Expires)); err != nil {
		return fmt.Errorf("removing key: %w", err)
	}
	c.Status(http.StatusNoContent)
	return nil
}
