package api

import (
	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/stream"
)

// Sentences that tell a teacher why a player is not served, or not in full.
const (
	reasonNotLive   = "The stream is not live."
	reasonNoTracks  = "Nothing has been received yet."
	reasonNoEncoder = "Players of this protocol need ffmpeg on the server for what this browser sends."
	reasonNoSound   = "Picture without sound: the server lacks ffmpeg."
)

// legacy tells for each protocol whether its players get the stream.
func (s *Server) legacy(c *gin.Context, roomName string, st room.StreamInfo) map[string]legacyView {
	urls := s.legacyURLs(c, roomName, st.Slot)
	encoder := s.encoderMissing() == nil
	views := make(map[string]legacyView)
	if urls.RTMP != "" {
		ready, why := rtmpServed(st, encoder)
		views["rtmp"] = legacyView{URL: urls.RTMP, Ready: ready, Reason: why}
	}
	if urls.RTSP != "" {
		ready, why := rtspServed(st, encoder)
		views["rtsp"] = legacyView{URL: urls.RTSP, Ready: ready, Reason: why}
	}
	return views
}

// encoderMissing is nil, or why there are no renditions.
func (s *Server) encoderMissing() error {
	if s.cfg.Renderer == nil {
		return errNoRenderer
	}
	return s.cfg.Renderer.Available()
}

// codecs are the names of the stream's audio and video codec, "" without.
func codecs(st room.StreamInfo) (audio, video string) {
	for _, t := range st.Tracks {
		if t.Kind == stream.Audio.String() {
			audio = t.Codec
		} else {
			video = t.Codec
		}
	}
	return audio, video
}

// rtmpServed: RTMP players take H.264 and AAC, so that all but H.264 is encoded.
func rtmpServed(st room.StreamInfo, encoder bool) (ready bool, reason string) {
	audio, video := codecs(st)
	switch {
	case !st.Live:
		return false, reasonNotLive
	case audio == "" && video == "":
		return false, reasonNoTracks
	case encoder:
		return true, ""
	case video != stream.H264.Name():
		return false, reasonNoEncoder
	case audio != "":
		return true, reasonNoSound
	}
	return true, ""
}

// rtspServed: RTSP players take Opus, H.264 and VP8 as they are.
func rtspServed(st room.StreamInfo, encoder bool) (ready bool, reason string) {
	audio, video := codecs(st)
	switch {
	case !st.Live:
		return false, reasonNotLive
	case audio == "" && video == "":
		return false, reasonNoTracks
	case encoder, video == "", video == stream.H264.Name(), video == stream.VP8.Name():
		return true, ""
	}
	return false, reasonNoEncoder
}
