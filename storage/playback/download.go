package playback

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/lectern/lectern/stream"
)

// The downloads that are made of a slot.
const (
	WebM = "lecture.webm"
	MP4  = "lecture.mp4"
)

// Download is a file to send. The caller must Close it. One goroutine may use it.
type Download struct {
	Name      string
	MediaType string
	Size      int64 // bytes
	io.ReadSeeker
	close func() error
}

// Close lets go of the file.
func (d *Download) Close() error {
	if d.close == nil {
		return nil
	}
	return d.close()
}

// Formats are the names that Download takes for a slot ("": main) beside those
// of files: WebM or MP4 or both, the better first. None while the recording
// grows.
func (x *Lecture) Formats(slot string) []string {
	tl, err := x.slot(slot)
	if err != nil || x.Growing() {
		return nil
	}
	codec, err := tl.codec()
	switch {
	case err != nil:
		return nil
	case codec == stream.H264 && x.lib.ffmpeg == "":
		return nil
	case codec == stream.H264:
		return []string{MP4}
	case codec == stream.VP8 || x.lib.ffmpeg == "":
		return []string{WebM}
	}
	return []string{WebM, MP4}
}

// Download opens what name says: WebM, MP4 (made by ffmpeg, which takes a second
// for each hour or so, and needs as much disk as the recording meanwhile), or a
// file of the recording as it is. slot ("": main) matters for the first two. It
// returns ErrNotFound, ErrNotReady, ErrUnsupported, or ErrBroken.
func (x *Lecture) Download(ctx context.Context, name, slot string) (*Download, error) {
	switch name {
	case WebM, MP4:
	default:
		return x.fileDownload(name)
	}
	if x.Growing() {
		return nil, ErrNotReady
	}
	tl, err := x.slot(slot)
	if err != nil {
		return nil, err
	}
	if name == MP4 {
		return x.mp4Download(ctx, tl)
	}
	v, err := x.webmFile(tl)
	if err != nil {
		return nil, err
	}
	kind := "video/webm"
	if len(tl.parts) == 0 {
		kind = "audio/webm"
	}
	return &Download{Name: WebM, MediaType: kind, Size: v.size, ReadSeeker: v}, nil
}

// fileDownload opens a file that the manifest names, or the manifest.
func (x *Lecture) fileDownload(name string) (*Download, error) {
	kind := ""
	for _, t := range x.m.Tracks {
		switch {
		case name == t.File && t.Kind == "video":
			kind = "video/x-ivf"
		case name == t.File:
			kind = "audio/ogg"
		case name == t.Index:
			kind = "application/x-ndjson"
		}
	}
	switch name {
	case "manifest.json":
		kind = "application/json"
	case "events.jsonl":
		kind = "application/x-ndjson"
	}
	if kind == "" {
		return nil, ErrNotFound
	}
	f, err := x.openFile(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close() // read only
		return nil, fmt.Errorf("download %s: %w", name, err)
	}
	return &Download{Name: name, MediaType: kind, Size: st.Size(), ReadSeeker: f, close: f.Close}, nil
}

// Zip writes the folder of the recording to w as a zip archive, uncompressed, for
// media does not shrink. Of a recording that grows it is what is there now.
func (x *Lecture) Zip(ctx context.Context, w io.Writer) error {
	dir, err := x.lib.cfg.Store.LectureDir(x.m.ID)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("zip recording: %w", err)
	}
	defer root.Close() // read only
	z := zip.NewWriter(w)
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != "." && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil // a temporary file
		}
		if !d.Type().IsRegular() {
			return ctx.Err()
		}
		return zipFile(ctx, z, root, path)
	})
	if err != nil {
		return fmt.Errorf("zip recording: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("zip recording: %w", err)
	}
	return nil
}

func zipFile(ctx context.Context, z *zip.Writer, root *os.Root, path string) error {
	f, err := root.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h, err := zip.FileInfoHeader(st)
	if err != nil {
		return err
	}
	h.Name, h.Method = path, zip.Store
	out, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	// Not more than there was: the file may grow as long as we copy.
	_, err = io.Copy(out, io.LimitReader(&ctxReader{ctx, f}, st.Size()))
	return err
}

// ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

// Read reads unless the context has ended.
func (c *ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
