package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
)

// Bounds of a list of lectures.
const (
	defaultLectures = 200
	maxLectures     = 1000
	eventsFile      = "events.jsonl"
)

// listLectures answers with the recordings that the token may see, newest first.
func (s *Server) listLectures(c *gin.Context) error {
	limit, err := queryUint(c, "limit", defaultLectures)
	if err != nil {
		return err
	}
	f := storage.Filter{Room: c.Query("room"), Before: c.Query("before"), Limit: int(min(max(limit, 1), maxLectures))}
	cl, err := s.admit(c, f.Room, viaHTTP)
	if err != nil {
		return err
	}
	if f.Room == "" && cl.Room != access.AnyRoom && !cl.MayAdmin() {
		f.Room = cl.Room // what a token of one room may see is that room
	}
	if err := permit(cl, func(cl access.Claims) bool {
		return watchesSomewhere(cl) && (f.Room == "" || cl.MayWatch(f.Room))
	}); err != nil {
		return err
	}
	lectures, err := s.cfg.Store.List(c.Request.Context(), f)
	if err != nil {
		return err
	}
	lectures = slices.DeleteFunc(lectures, func(l storage.Lecture) bool {
		return !cl.MayModerate(l.Room) && s.shut(cl, l.Room) // a token of every room is refused there
	})
	if lectures == nil {
		lectures = []storage.Lecture{}
	}
	c.JSON(http.StatusOK, gin.H{"lectures": lectures})
	return nil
}

// lectureFor verifies the token and finds the lecture of the path that it gives
// the right to. A lecture that the token may not see is 404, as one that does
// not exist: ids hold a date, and may be guessed.
func (s *Server) lectureFor(c *gin.Context, may func(room string) right) (*storage.Manifest, error) {
	m, found := s.cfg.Store.Get(c.Request.Context(), c.Param("id"))
	in := ""
	if found == nil {
		in = m.Room
	}
	cl, err := s.admit(c, in, viaHTTP)
	switch {
	case err != nil && !errors.Is(err, access.ErrRoomClosed):
		return nil, err
	case found != nil:
		return nil, found
	case !cl.MayWatch(m.Room):
		return nil, fmt.Errorf("lecture of another room: %w", storage.ErrNotFound)
	case err != nil:
		return nil, err
	}
	return m, permit(cl, may(m.Room))
}

// lectureView is a manifest with the addresses of what belongs to it.
type lectureView struct {
	*storage.Manifest
	URLs map[string]string `json:"urls"`
}

// getLecture answers with the manifest of a lecture.
func (s *Server) getLecture(c *gin.Context) error {
	m, err := s.lectureFor(c, mayWatch)
	if err != nil {
		return err
	}
	base := "/api/lectures/" + m.ID
	c.JSON(http.StatusOK, lectureView{Manifest: m, URLs: map[string]string{
		"dash":     base + "/dash.mpd",
		"events":   base + "/events",
		"files":    base + "/files/",
		"poster":   base + "/poster",
		"download": base + "/download/",
		"zip":      base + "/download/all.zip",
	}})
	return nil
}

// deleteLecture removes a recording for good.
func (s *Server) deleteLecture(c *gin.Context) error {
	m, err := s.lectureFor(c, mayLead)
	if err != nil {
		return err
	}
	if err := s.cfg.Store.Delete(c.Request.Context(), m.ID); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// lectureEvents answers with what was said and done, on the timeline of the
// lecture. Of a lecture that runs it is what has been written so far.
func (s *Server) lectureEvents(c *gin.Context) error {
	m, err := s.lectureFor(c, mayWatch)
	if err != nil {
		return err
	}
	c.Header("Cache-Control", "no-cache")
	f, err := s.cfg.Store.OpenLectureFile(m.ID, eventsFile)
	if errors.Is(err, storage.ErrNotFound) {
		c.JSON(http.StatusOK, gin.H{"events": []json.RawMessage{}})
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // read only
	defer s.mind(c)()
	c.Header("Content-Type", typeJSON)
	c.Status(http.StatusOK)
	return writeLines(newMovingWriter(c.Writer, leashOf(c)), f)
}

// maxEventLine bounds one line of an event log, in bytes. Messages are 16 KiB at
// most; a longer line is damage.
const maxEventLine = 1 << 20

// writeLines makes {"events": […]} of a file with one object per line. It skips
// lines that are no JSON: a crash may have cut the last one.
func writeLines(w io.Writer, r io.Reader) error {
	out := bufio.NewWriterSize(w, 32<<10)
	if _, err := out.WriteString(`{"events":[`); err != nil {
		return err
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxEventLine)
	for n := 0; lines.Scan(); {
		line := lines.Bytes()
		if !json.Valid(line) {
			continue
		}
		if n++; n > 1 {
			_ = out.WriteByte(',') // an error stays and shows in Flush
		}
		_, _ = out.Write(line)
	}
	_, _ = out.WriteString("]}")
	return errors.Join(lines.Err(), out.Flush())
}

// lectureFile sends a file that was shared in the class.
func (s *Server) lectureFile(c *gin.Context) error {
	m, err := s.lectureFor(c, mayWatch)
	if err != nil {
		return err
	}
	for _, shared := range m.Files {
		if shared.ID != c.Param("file") {
			continue
		}
		f, err := s.cfg.Store.OpenLectureFile(m.ID, shared.Path)
		if err != nil {
			return err
		}
		defer f.Close() // read only
		defer s.mind(c)()
		at := m.StartedAt.Add(time.Duration(shared.AtMS * float64(time.Millisecond)))
		sendAttachment(c, f, attachment{name: shared.Name, media: shared.MediaType, at: at, digest: shared.SHA256})
		return nil
	}
	return fmt.Errorf("file of lecture: %w", storage.ErrNotFound)
}

// downloadName is what a download of a lecture is called on the disk of who
// takes it: readable, with what no file system minds.
func downloadName(m *storage.Manifest, suffix string) string {
	title := m.Title
	if title == "" {
		title = m.Room
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, title)
	return m.StartedAt.Format("2006-01-02") + " " + strings.TrimSpace(clean) + suffix
}
