package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room/datachannel"
)

// errNoRenderer says that the gateway was put together without renditions.
var errNoRenderer = errors.New("api: no renderer")

const readyTimeout = 2 * time.Second

// healthy says that the process answers.
func (s *Server) healthy(c *gin.Context) error {
	c.JSON(http.StatusOK, gin.H{"status": "ok"})
	return nil
}

// ready says whether sessions are taken: storage and listeners are up, and no
// shutdown has begun.
func (s *Server) ready(c *gin.Context) error {
	if !s.sessions.accepting() {
		return errStopping()
	}
	if s.cfg.Ready == nil {
		return s.healthy(c)
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
	defer cancel()
	if err := s.cfg.Ready(ctx); err != nil {
		s.log.Warn("not ready", slog.Any("err", err))
		return failLater(http.StatusServiceUnavailable, "not_ready", "The server is not ready. Its log knows why.", readyTimeout)
	}
	return s.healthy(c)
}

// infoView is what everybody may know of the server.
type infoView struct {
	Version   string     `json:"version"`
	RTSPPort  int        `json:"rtsp_port"` // 0: off
	RTMPPort  int        `json:"rtmp_port"` // 0: off
	FFmpeg    ffmpegView `json:"ffmpeg"`
	Recording bool       `json:"recording"`
	Limits    limitsView `json:"limits"`
}

type ffmpegView struct {
	Available bool   `json:"available"`
	Reason    string `json:"reason,omitempty"`
}

// limitsView are the bounds that a page should know before it runs into them.
type limitsView struct {
	FileBytes      int64 `json:"file_bytes"`
	RoomFilesBytes int64 `json:"room_files_bytes"`
	SDPBytes       int   `json:"sdp_bytes"`
	JSONBytes      int   `json:"json_bytes"`
	MessageBytes   int   `json:"message_bytes"` // text that a client may send on a data channel
	EventBytes     int   `json:"event_bytes"`   // that it must be able to take
	Sessions       int   `json:"sessions"`      // of a room, each way
}

// info answers what a page or a script must know of the server.
func (s *Server) info(c *gin.Context) error {
	v := infoView{
		Version: s.cfg.Version, RTSPPort: s.cfg.RTSPPort, RTMPPort: s.cfg.RTMPPort,
		FFmpeg: ffmpegView{Available: true}, Recording: s.cfg.Recording,
		Limits: limitsView{
			FileBytes: s.cfg.FileLimit, RoomFilesBytes: s.cfg.RoomQuota,
			SDPBytes: maxSDP, JSONBytes: maxJSON, Sessions: s.cfg.MaxSessions,
			MessageBytes: datachannel.MaxMessage, EventBytes: rtc.MaxMessageSize,
		},
	}
	if s.encoderMissing() != nil {
		// Not the error itself: it names a path of this machine.
		v.FFmpeg = ffmpegView{Reason: "ffmpeg was not found on the server. Set transcode.ffmpeg, or install it."}
	}
	c.JSON(http.StatusOK, v)
	return nil
}
