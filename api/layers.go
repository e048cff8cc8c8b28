package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/egress/whep"
)

// urnLayer names the layer selection extension of WHEP (its events draft,
// section "Video Layer Selection extension").
const urnLayer = "urn:ietf:params:whep:ext:core:layer"

// addExtensionLinks tells a viewer of the extensions of WHEP, one header field
// each.
func addExtensionLinks(h http.Header, session string) {
	h.Add("Link", "<"+session+`/sse>; rel="`+urnEvents+`"; events=`+quote(strings.Join(allEvents(), ",")))
	h.Add("Link", "<"+session+`/layer>; rel="`+urnLayer+`"`)
}

// layerView is a layer as the layers event tells it.
type layerView struct {
	line       int
	RID        string `json:"rid,omitempty"`
	SpatialID  int    `json:"spatialLayerId"`
	TemporalID int    `json:"temporalLayerId"`
	Bitrate    int    `json:"bitrate,omitempty"` // bit/s; missing: inactive
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`

	// Of ours: this layer is sent, and why.
	Current bool        `json:"current,omitempty"`
	Why     whep.Reason `json:"why,omitempty"`
}

func viewLayers(from layered) []layerView {
	layers, now := from.Layers(), from.Stats()
	var out []layerView
	current := -1 // the highest of those that are sent
	for i, l := range layers {
		out = append(out, layerView{
			line: l.Line, RID: l.RID, SpatialID: l.Spatial, TemporalID: l.Temporal,
			Bitrate: l.Bitrate, Width: l.Width, Height: l.Height,
		})
		sent := l.RID == now.RID && l.Spatial == now.Spatial && l.Temporal <= now.Temporal
		if sent && (current < 0 || layers[current].Temporal < l.Temporal) {
			current = i
		}
	}
	if current >= 0 {
		out[current].Current, out[current].Why = !now.Frozen, now.Reason
	}
	return out
}

// sameLayers compares all but how fast active layers are.
func sameLayers(a, b []layerView) bool {
	if len(a) != len(b) {
		return false
	}
	for i, l := range a {
		m := b[i]
		if (l.Bitrate > 0) != (m.Bitrate > 0) {
			return false
		}
		l.Bitrate, m.Bitrate = 0, 0
		if l != m {
			return false
		}
	}
	return true
}

// byLine puts layers under the index of their m-line.
func byLine(layers []layerView) map[string][]layerView {
	out := make(map[string][]layerView)
	for _, l := range layers {
		key := strconv.Itoa(l.line)
		out[key] = append(out[key], l)
	}
	return out
}

// layerRequest is what a viewer wants. Fields that are not known are passed
// over: later versions of the extension may have more.
type layerRequest struct {
	MediaID            *string `json:"mediaId"` // index of the m-line
	RID                *string `json:"rid"`
	SpatialLayerID     *int    `json:"spatialLayerId"`
	TemporalLayerID    *int    `json:"temporalLayerId"`
	MaxSpatialLayerID  *int    `json:"maxSpatialLayerId"`
	MaxTemporalLayerID *int    `json:"maxTemporalLayerId"`
	MaxWidth           *int    `json:"maxWidth"`
	MaxHeight          *int    `json:"maxHeight"`
}

// choice is the request in the words of package whep.
func (r *layerRequest) choice() (whep.LayerChoice, error) {
	c := whep.LayerChoice{
		RID: r.RID, Spatial: r.SpatialLayerID, Temporal: r.TemporalLayerID,
		MaxSpatial: r.MaxSpatialLayerID, MaxTemporal: r.MaxTemporalLayerID,
		MaxWidth: r.MaxWidth, MaxHeight: r.MaxHeight,
	}
	for _, n := range []*int{c.Spatial, c.Temporal, c.MaxSpatial, c.MaxTemporal, c.MaxWidth, c.MaxHeight} {
		if n != nil && *n < 0 {
			return c, fail(http.StatusBadRequest, "bad_json", "No layer has a negative number.")
		}
	}
	if r.MediaID != nil {
		line, err := strconv.Atoi(*r.MediaID)
		if err != nil {
			return c, errNoLayer()
		}
		c.Line = &line
	}
	return c, nil
}

func errNoLayer() *apiError {
	return fail(http.StatusUnprocessableEntity, "no_such_layer", "There is no such media line or layer.")
}

// selectLayer lets a viewer choose what it gets; an object without wishes leaves
// the choice to the gateway again.
func (s *Server) selectLayer(e *endpoint) handler {
	return func(c *gin.Context) error {
		sess, err := s.sessionOf(c, e)
		if err != nil {
			return err
		}
		body, err := readBody(c, typeJSON, maxJSON)
		if err != nil {
			return err
		}
		var req layerRequest
		if err := json.Unmarshal(body, &req); err != nil || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
			return badJSON(err)
		}
		choice, err := req.choice()
		if err != nil {
			return err
		}
		if err := sess.watched.layers.Select(choice); errors.Is(err, whep.ErrNoLayer) {
			return errNoLayer()
		} else if err != nil {
			return err
		}
		c.Header("Content-Length", "0")
		c.Status(http.StatusOK)
		return nil
	}
}
