package playback

import (
	"context"
	"fmt"
	"io"

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
