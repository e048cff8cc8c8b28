package storage

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/lectern/lectern/stream"
)

// ManifestVersion is the version of the format that this package writes. It
// rises only when older readers would misread a recording.
const ManifestVersion = 1

// State tells how far a recording has come.
type State string

// The states.
const (
	StateRecording State = "recording" // being written, or left so by a crash
	StateComplete  State = "complete"  // ended in order
	StateRecovered State = "recovered" // finished at the start after a crash
)

// Manifest is manifest.json: what is in the folder of a recording. Readers must
// ignore fields that they do not know. All times ending in _ms lie on the
// timeline of the lecture, which began at StartedAt, in milliseconds.
type Manifest struct {
	Version    int          `json:"version"`
	ID         string       `json:"id"`
	Room       string       `json:"room"`
	Title      string       `json:"title"`
	State      State        `json:"state"`
	StartedAt  time.Time    `json:"started_at"`
	EndedAt    time.Time    `json:"ended_at,omitzero"`
	DurationMS float64      `json:"duration_ms"`
	Tracks     []TrackInfo  `json:"tracks"`
	Gaps       []Gap        `json:"gaps"`
	Files      []SharedFile `json:"files"`
	// Error tells why the recording stopped before its class did; else empty.
	Error  string `json:"error,omitempty"`
	Writer string `json:"writer"`
}

// TrackInfo is one media file of a recording: one stretch of one kind of one
// stream, of one codec.
type TrackInfo struct {
	ID     string       `json:"id"`     // "main-video-1": slot, kind, number from 1
	Stream string       `json:"stream"` // slot
	Kind   string       `json:"kind"`   // "audio" or "video"
	Codec  stream.Codec `json:"codec"`
	File   string       `json:"file"`  // in the folder
	Index  string       `json:"index"` // in the folder
	// OffsetMS is where PTS 0 of the file lies.
	OffsetMS float64 `json:"offset_ms"`
	// DurationMS reaches from PTS 0 to the end of the last frame; a video frame
	// lasts until the next one, the last of a lecture until its end.
	DurationMS float64 `json:"duration_ms"`
	Frames     int64   `json:"frames"` // access units; audio: packets, silence included
	Bytes      int64   `json:"bytes"`  // of whole frames on disk, file header included
	Width      int     `json:"width,omitempty"`
	Height     int     `json:"height,omitempty"` // the largest picture, as in the file header
	Sizes      []Size  `json:"sizes,omitempty"`  // each change of the picture size
	ClockRate  uint32  `json:"clock_rate"`       // Hz, of the times in file and index
	Channels   uint16  `json:"channels,omitempty"`
	// SilenceMS is how much of an audio file the recorder filled in.
	SilenceMS float64 `json:"silence_ms,omitempty"`
}

// Size is a change of the picture size.
type Size struct {
	AtMS   float64 `json:"at_ms"` // on the timeline of the lecture
	Width  int     `json:"width"`
	Height int     `json:"height"`
}

// Gap is a stretch of the timeline in which a kind of a stream is missing.
type Gap struct {
	Stream string    `json:"stream"`
	Kind   string    `json:"kind"`
	FromMS float64   `json:"from_ms"`
	ToMS   float64   `json:"to_ms"`
	Reason GapReason `json:"reason"`
}

// GapReason tells why media is missing.
type GapReason string

// The reasons. Readers must accept others.
const (
	GapPublisherLost    GapReason = "publisher_lost"
	GapPacketLoss       GapReason = "packet_loss"
	GapCodecChange      GapReason = "codec_change"
	GapPaused           GapReason = "paused"
	GapGatewayRestarted GapReason = "gateway_restarted"
	GapSlowDisk         GapReason = "slow_disk" // the recorder fell behind
)

// SharedFile is a file that was shared in the class, kept below files/.
type SharedFile struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"` // as the sender called it: never a path
	Size      int64   `json:"size"` // bytes
	SHA256    string  `json:"sha256"`
	MediaType string  `json:"media_type"`
	Path      string  `json:"path"` // in the folder: "files/<id>"
	AtMS      float64 `json:"at_ms"`
}

// maxManifest bounds what is read of a manifest, in bytes.
const maxManifest = 64 << 20

// ReadManifest reads a manifest, tolerant of unknown and missing fields. It
// fails if r holds no JSON object, or a version that it does not know.
func ReadManifest(r io.Reader) (*Manifest, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	m := new(Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("parsing manifest: %w", err)
	}
	if m.Version > ManifestVersion {
		return nil, fmt.Errorf("parsing manifest: version %d is newer than %d", m.Version, ManifestVersion)
	}
	return m, nil
}
