package api

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/storage/playback"
)

const (
	manifestFile = "manifest.json"
	dashFile     = "dash.mpd"
	posterFile   = "poster"
	segments     = "media/"
	downloads    = "download/"
	zipDownload  = downloads + "all.zip"
)

// lectureMedia serves the recording of a lecture: its files as they are, and as
// players and people want it.
func (s *Server) lectureMedia(c *gin.Context) error {
	m, err := s.lectureFor(c, mayWatch)
	if err != nil {
		return err
	}
	defer s.mind(c)()
	name := strings.TrimPrefix(c.Request.URL.Path, "/api/lectures/"+m.ID+"/")
	c.Header("Content-Security-Policy", "default-src 'none'; sandbox")
	c.Header("Cache-Control", "private, no-cache")
	if name == zipDownload {
		return s.sendZip(c, m)
	}
	if file, ok := strings.CutPrefix(name, downloads); ok && holds(m, file) {
		return s.sendRecorded(c, m, file)
	}
	if file, ok := strings.CutPrefix(name, downloads); ok {
		return s.sendExport(c, m, file)
	}
	content, err := s.playable(c, m, name)
	if err != nil {
		return fmt.Errorf("making %s of lecture: %w", name, err)
	}
	if content.Immutable {
		c.Header("Cache-Control", "private, max-age=31536000, immutable")
	}
	c.Header("Content-Type", content.MediaType)
	http.ServeContent(newMovingWriter(c.Writer, leashOf(c)), c.Request, "", time.Time{}, bytes.NewReader(content.Data))
	return nil
}

// sendExport sends a slot (?slot=, "" for main) as one file that other programs
// play. HEAD tells whether there is such a file without making it.
func (s *Server) sendExport(c *gin.Context, m *storage.Manifest, name string) error {
	lecture, err := s.cfg.Playback.Lecture(c.Request.Context(), m.ID)
	if err != nil {
		return err
	}
	slot := c.Query("slot")
	if c.Request.Method == http.MethodHead {
		if !slices.Contains(lecture.Formats(slot), name) {
			return playback.ErrNotFound
		}
		c.Status(http.StatusOK)
		return nil
	}
	d, err := lecture.Download(c.Request.Context(), name, slot)
	if err != nil {
		return fmt.Errorf("making download of lecture: %w", err)
	}
	defer func() { _ = d.Close() }() // read only
	sendAttachment(c, d, attachment{name: downloadName(m, path.Ext(name)), media: d.MediaType, at: m.EndedAt})
	return nil
}

// playable makes the DASH manifest of a slot (?slot=, "" for main), what such a
// manifest names, or a poster.
func (s *Server) playable(c *gin.Context, m *storage.Manifest, name string) (playback.Content, error) {
	lecture, err := s.cfg.Playback.Lecture(c.Request.Context(), m.ID)
	if err != nil {
		return playback.Content{}, err
	}
	switch name {
	case dashFile:
		return lecture.MPD(c.Query("slot"))
	case posterFile:
		return lecture.Poster(c.Request.Context())
	}
	if file, ok := strings.CutPrefix(name, segments); ok {
		return lecture.Media(file)
	}
	return playback.Content{}, playback.ErrNotFound
}

// holds says whether a file belongs to the recording.
func holds(m *storage.Manifest, name string) bool {
	if name == manifestFile || name == eventsFile {
		return true
	}
	for _, t := range m.Tracks {
		if name == t.File || name == t.Index {
			return true
		}
	}
	return false
}

// sendRecorded sends one file of the recording. Of a lecture that runs it is
// what has been written so far.
func (s *Server) sendRecorded(c *gin.Context, m *storage.Manifest, name string) error {
	f, err := s.cfg.Store.OpenLectureFile(m.ID, name)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	sendAttachment(c, f, attachment{name: downloadName(m, " "+path.Base(name)), media: recordedType(name), at: m.EndedAt})
	return nil
}

// recordedType is the media type of a file of a recording.
func recordedType(name string) string {
	switch path.Ext(name) {
	case ".ogg":
		return "audio/ogg"
	case ".ivf":
		return "video/x-ivf"
	case ".json":
		return typeJSON
	}
	return "application/octet-stream"
}

// sendZip sends the folder of a recording as one archive. Media does not get
// smaller by packing, so that it is stored as it is.
func (s *Server) sendZip(c *gin.Context, m *storage.Manifest) error {
	c.Header("Content-Type", "application/zip")
	c.Header("Content-Disposition", disposition(downloadName(m, ".zip")))
	c.Status(http.StatusOK)
	if c.Request.Method == http.MethodHead {
		return nil
	}
	z := zip.NewWriter(newMovingWriter(c.Writer, leashOf(c)))
	names := []string{manifestFile, eventsFile}
	for _, t := range m.Tracks {
		names = append(names, t.File, t.Index)
	}
	for _, f := range m.Files {
		names = append(names, f.Path)
	}
	for _, name := range names {
		if err := s.zipFile(z, m, name); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("ending archive: %w", err)
	}
	return nil
}

func (s *Server) zipFile(z *zip.Writer, m *storage.Manifest, name string) error {
	f, err := s.cfg.Store.OpenLectureFile(m.ID, name)
	if errors.Is(err, storage.ErrNotFound) && name != manifestFile {
		return nil // an index that is not written yet, a lecture without events
	}
	if err != nil {
		return err
	}
	defer f.Close() // read only
	modified := m.EndedAt
	if modified.IsZero() {
		modified = time.Now()
	}
	w, err := z.CreateHeader(&zip.FileHeader{Name: m.ID + "/" + name, Method: zip.Store, Modified: modified})
	if err != nil {
		return fmt.Errorf("packing %s: %w", name, err)
	}
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("packing %s: %w", name, err)
	}
	return nil
}
