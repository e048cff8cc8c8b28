package api

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
)

// listFiles answers with the files that a room shares.
func (s *Server) listFiles(c *gin.Context) error {
	name, err := s.roomFor(c, mayWatch)
	if err != nil {
		return err
	}
	files, err := s.cfg.Store.ListFiles(c.Request.Context(), name)
	if err != nil {
		return err
	}
	list := make([]fileView, 0, len(files))
	for _, f := range files {
		list = append(list, viewFile(f))
	}
	c.JSON(http.StatusOK, gin.H{"files": list})
	return nil
}

// fileView is a shared file with its address.
type fileView struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Size      int64     `json:"size"` // bytes
	SHA256    string    `json:"sha256"`
	MediaType string    `json:"media_type"`
	By        string    `json:"by"`
	At        time.Time `json:"at"`
	URL       string    `json:"url"`
}

func viewFile(f storage.FileInfo) fileView {
	return fileView{
		ID: f.ID, Name: f.Name, Size: f.Size, SHA256: f.SHA256, MediaType: f.MediaType,
		By: f.By, At: f.At, URL: "/api/rooms/" + f.Room + "/files/" + f.ID,
	}
}

// getFile sends a shared file, whole or in ranges (RFC 9110, section 14).
func (s *Server) getFile(c *gin.Context) error {
	name, err := s.roomFor(c, mayWatch)
	if err != nil {
		return err
	}
	f, info, err := s.cfg.Store.OpenFile(c.Request.Context(), name, c.Param("id"))
	if err != nil {
		return err
	}
	defer f.Close() // read only
	sendAttachment(c, f, attachment{name: info.Name, media: info.MediaType, at: info.At, digest: info.SHA256})
	return nil
}

// deleteFile takes a file out of a room. Recordings keep theirs.
func (s *Server) deleteFile(c *gin.Context) error {
	name, err := s.roomFor(c, mayModerate)
	if err != nil {
		return err
	}
	if err := s.cfg.Store.DeleteFile(c.Request.Context(), name, c.Param("id")); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// attachment describes a body that people sent us and that goes out again.
type attachment struct {
	name   string
	media  string
	at     time.Time
	digest string // SHA-256 in hex, "" if unknown
}

// sendAttachment sends a file as a download: never as something that a browser
// would run or show under our origin, whatever its sender called it.
func sendAttachment(c *gin.Context, f io.ReadSeeker, a attachment) {
	h := c.Writer.Header()
	h.Set("Content-Type", safeMedia(a.media))
	h.Set("Content-Disposition", disposition(a.name))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=86400")
	if a.digest != "" {
		h.Set("ETag", `"`+a.digest+`"`)
		if sum, err := hex.DecodeString(a.digest); err == nil {
			h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":") // RFC 9530
		}
	}
	http.ServeContent(newMovingWriter(c.Writer), c.Request, "", a.at, f)
}

// safeMedia is the media type if it is well-formed, else that of mere bytes.
func safeMedia(media string) string {
	t, params, err := mime.ParseMediaType(media)
	if err != nil || !strings.Contains(t, "/") {
		return "application/octet-stream"
	}
	return mime.FormatMediaType(t, params)
}

// disposition makes a Content-Disposition (RFC 6266) that names the download:
// in ASCII for old clients, in UTF-8 for all others.
func disposition(name string) string {
	var ascii strings.Builder
	plain := true
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == '"' || r == '\\' || r == '/' || r == '%' || r > '~' {
			ascii.WriteByte('_')
			plain = false
			continue
		}
		ascii.WriteRune(r)
	}
	if ascii.Len() == 0 {
		return "attachment"
	}
	d := `attachment; filename="` + ascii.String() + `"`
	if !plain {
		d += "; filename*=UTF-8''" + extValue(name)
	}
	return d
}

// extValue encodes a value as RFC 8187, section 3.2.1 wants it.
func extValue(s string) string {
	const free = "!#$&+-.^_`|~"
	var b strings.Builder
	for i := range len(s) {
		ch := s[i]
		if ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9' || strings.IndexByte(free, ch) >= 0 {
			b.WriteByte(ch)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", ch)
	}
	return b.String()
}

// putFile takes a file over HTTP: the way for scripts, and for pages whose data
// channel is gone. The body is the file; path, query and Content-Length say of
// it what the head of an upload on the file channel does. Sent again after it
// was cut short, it goes on where it stood.
func (s *Server) putFile(c *gin.Context) error {
	name, cl, err := s.enterRoom(c, mayShare)
	if err != nil {
		return err
	}
	by, err := member(c, cl)
	if err != nil {
		return err
	}
	if c.Request.ContentLength < 0 {
		return fail(http.StatusLengthRequired, "length_required", "The size of the file must be announced.")
	}
	r, err := s.cfg.Hub.Room(name)
	if err != nil {
		return fmt.Errorf("entering room: %w", err)
	}
	up, err := r.BeginUpload(c.Request.Context(), by, room.FileHead{
		ClientID: c.Param("id"), Name: c.Query("name"), Size: c.Request.ContentLength,
		SHA256: c.Query("sha256"), MediaType: safeMedia(c.GetHeader("Content-Type")),
	})
	if err != nil {
		return err
	}
	defer func() { _ = up.Close() }() // after Commit it does nothing; before, the bytes stay for a resume
	info, stored := up.Stored()
	if !stored {
		if info, err = receiveFile(c, up); err != nil {
			return err
		}
	}
	if _, err := r.ShareFile(c.Request.Context(), by, info); err != nil {
		return fmt.Errorf("announcing file: %w", err)
	}
	view := fileView{
		ID: info.ID, Name: info.Name, Size: info.Size, SHA256: info.SHA256, MediaType: info.MediaType,
		By: info.By, At: info.At, URL: r.FileURL(info.ID),
	}
	c.Header("Location", view.URL)
	c.JSON(http.StatusCreated, view)
	return nil
}

// keyHeader bears the secret of a page that shares its token with others, as
// hello does on the chat channel: a file then bears the same member id.
const keyHeader = "Lectern-Key"

// member is who asks, as the room knows them.
func member(c *gin.Context, cl access.Claims) (room.Identity, error) {
	secret := c.GetHeader(keyHeader)
	if secret != "" && (len(secret) < room.MinPageKey || len(secret) > room.MaxPageKey) {
		return room.Identity{}, fail(http.StatusBadRequest, "bad_key", keyHeader+" has 16 to 128 bytes.")
	}
	return identity(cl).Page(secret), nil
}

// mayShare lets nobody share a file who is nobody: in an open room, whoever
// comes in by its door has a token.
func mayShare(room string) right {
	return func(cl access.Claims) bool { return cl.MayWatch(room) && !cl.Anonymous }
}

// receiveFile moves the body into an upload that may hold its beginning.
func receiveFile(c *gin.Context, up room.Upload) (room.FileInfo, error) {
	body := newMovingReader(c.Writer, c.Request.Body)
	offset := up.Offset()
	if _, err := io.CopyN(io.Discard, body, offset); err != nil {
		return room.FileInfo{}, cutShort(err)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if err := up.Append(offset, buf[:n]); err != nil {
				return room.FileInfo{}, err
			}
			offset += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return up.Commit(c.Request.Context())
		}
		if err != nil {
			return room.FileInfo{}, cutShort(err)
		}
	}
}

const sayCutShort = "The body did not arrive in whole. Send it again to go on."

func cutShort(err error) error {
	return &apiError{status: http.StatusBadRequest, code: "incomplete_body", detail: sayCutShort, cause: err}
}

// queryUint reads a number from the query; missing means def.
func queryUint(c *gin.Context, key string, def uint64) (uint64, error) {
	text := c.Query(key)
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, fail(http.StatusBadRequest, "bad_query", key+" must be a whole number.")
	}
	return n, nil
}
