package api

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// The pages are one document; the script in it reads the address. Every other
// address is a file of the build, or nothing.
const indexFile = "index.html"

// pageRoutes are the addresses that the front end has a page for.
func pageRoutes() []string {
	return []string{"/", "/studio/:room", "/r/:room", "/archive", "/archive/:id", "/admin", "/diagnose"}
}

// page answers with the document of the front end.
func (s *Server) page(c *gin.Context) error {
	return s.sendPage(c, http.StatusOK)
}

// sendPage sends index.html. It is never cached: it names the hashed files of
// one build.
func (s *Server) sendPage(c *gin.Context, status int) error {
	doc, err := fs.ReadFile(s.cfg.Pages, indexFile)
	if err != nil {
		return fail(http.StatusNotFound, "not_found", "This server has no pages.")
	}
	c.Header("Cache-Control", "no-cache")
	c.Data(status, "text/html; charset=utf-8", doc)
	return nil
}

// noRoute serves the files of the front end, and says 404 for everything else:
// as a page to people, as a problem to programs. It never answers for a path
// that belongs to programs.
func (s *Server) noRoute(c *gin.Context) error {
	notFound := fail(http.StatusNotFound, "not_found", "There is nothing at this address.")
	p := c.Request.URL.Path
	if isProgrammatic(p) || (c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead) {
		return notFound
	}
	err := s.sendFile(c, strings.TrimPrefix(p, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		if strings.Contains(c.GetHeader("Accept"), "text/html") {
			return s.sendPage(c, http.StatusNotFound)
		}
		return notFound
	}
	return err
}

// sendFile sends one file of the build. Those below assets/ carry a hash of
// their content in the name and may be kept for ever.
func (s *Server) sendFile(c *gin.Context, name string) error {
	if !fs.ValidPath(name) || strings.HasPrefix(path.Base(name), ".") || name == indexFile {
		return fs.ErrNotExist
	}
	st, err := fs.Stat(s.cfg.Pages, name)
	if err != nil || !st.Mode().IsRegular() {
		return fs.ErrNotExist
	}
	data, err := fs.ReadFile(s.cfg.Pages, name)
	if err != nil {
		return err
	}
	c.Header("Cache-Control", "no-cache")
	if strings.HasPrefix(name, "assets/") {
		c.Header("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(c.Writer, c.Request, path.Base(name), time.Time{}, bytes.NewReader(data))
	return nil
}
