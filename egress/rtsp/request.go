package rtsp

import (
	"net/url"
	"strings"

	"github.com/lectern/lectern/stream"
)

const defaultSlot = "main"

// choice is what the query of the URL says about codecs.
type choice struct {
	video string // "", "original", "h264"
	audio string // "", "aac"
}

// parseRequest reads room, slot, token and choice of codecs. The path has been
// percent-decoded; whether the names are valid is the Directory's word.
func parseRequest(path, query string) (Request, choice, error) {
	room, slot, _ := strings.Cut(strings.Trim(path, "/"), "/")
	if slot == "" {
		slot = defaultSlot
	}
	if room == "" || strings.Contains(slot, "/") {
		return Request{}, choice{}, ErrNotFound
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return Request{}, choice{}, errBadQuery
	}
	c := choice{video: strings.ToLower(q.Get("video")), audio: strings.ToLower(q.Get("audio"))}
	if (c.video != "" && c.video != "original" && c.video != "h264") || (c.audio != "" && c.audio != "aac") {
		return Request{}, choice{}, errBadQuery
	}
	return Request{Room: room, Slot: slot, Credential: q.Get("token")}, c, nil
}

// resolve decides between the stream itself (0) and a rendition, given the
// codec of the video now ("" without video).
func (c choice) resolve(video stream.Codec) (Want, error) {
	if c.audio == "aac" {
		switch {
		case video == stream.H264:
			return AudioOnly, nil
		case c.video == "original":
			return 0, errBadQuery // there is no rendition that leaves VP8 alone
		}
		return Full, nil
	}
	switch {
	case c.video == "original" || video == "" || video == stream.H264:
		return 0, nil
	case video == stream.VP8 && c.video == "":
		return 0, nil
	}
	// ffmpeg up to 5 cannot depacketize AV1, and VP9 but badly.
	return Full, nil
}
