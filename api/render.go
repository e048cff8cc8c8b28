package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin/render"
)

// problemBody renders a problem with its own media type, which gin's JSON
// renderer would overwrite.
type problemBody struct{ p problem }

var _ render.Render = problemBody{}

// Render writes the body.
func (b problemBody) Render(w http.ResponseWriter) error {
	b.WriteContentType(w)
	data, err := json.Marshal(b.p)
	if err != nil {
		return fmt.Errorf("encoding problem: %w", err)
	}
	_, err = w.Write(data)
	return err
}

// WriteContentType sets the media type of RFC 9457.
func (b problemBody) WriteContentType(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
}
