package test

import (
	"fmt"
	"os"
	"time"
)

// tools loads page.js into the page.
func (p *page) tools() *page {
	p.b.t.Helper()
	js := must[[]byte](p.b.t)(os.ReadFile("browser/page.js"))
	p.eval(string(js), nil, nil)
	return p
}

// stats is what page.js tells of one session.
type stats struct {
	State      string
	FirstFrame float64 // ms after the POST
	Width      int
	Video      rtpStats
	Audio      rtpStats
	Codec      map[string]string
}

type rtpStats struct {
	FramesDecoded, FramesReceived, FramesDropped, FramesSent, FreezeCount int
	PacketsReceived, PacketsLost, PacketsSent, PLICount, NackCount        int
	TotalAudioEnergy                                                      float64
	TotalSamplesReceived                                                  float64
	FrameWidth, FrameHeight, KeyFramesDecoded                             int
	ScalabilityMode                                                       string
	TotalFreezesDuration                                                  float64 // s
}

type publishOptions struct {
	URL    string `json:"url"`
	Token  string `json:"token"`
	Codec  string `json:"codec,omitempty"`
	Source string `json:"source,omitempty"` // "camera" or "clap"
	DTX    bool   `json:"dtx,omitempty"`
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`

	Encodings []encoding `json:"encodings,omitempty"`
}

// encoding is one of sendEncodings.
type encoding struct {
	RID   string  `json:"rid,omitempty"`
	Scale float64 `json:"scaleResolutionDownBy,omitempty"`
	Mode  string  `json:"scalabilityMode,omitempty"`
	Most  int     `json:"maxBitrate,omitempty"` // bit/s
}

// publish goes live and returns the session's number.
func (p *page) publish(o publishOptions) int {
	p.b.t.Helper()
	var id int
	p.eval("return T.publish(arg)", o, &id)
	return id
}

type watchOptions struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	Wait  bool   `json:"wait,omitempty"`
	Only  string `json:"only,omitempty"`  // "udp" or "tcp"
	Relay bool   `json:"relay,omitempty"` // by TURN alone

	Described bool `json:"described,omitempty"` // takes dependency descriptors
}

func (p *page) watch(o watchOptions) int {
	p.b.t.Helper()
	var id int
	p.eval("return T.watch(arg)", o, &id)
	return id
}

func (p *page) stats(id int) stats {
	p.b.t.Helper()
	var s stats
	p.eval("return T.stats(arg)", id, &s)
	return s
}

// end sends DELETE and returns the status.
func (p *page) end(id int) int {
	p.b.t.Helper()
	var status int
	p.eval("return T.end(arg)", id, &status)
	return status
}

// sees waits until the session has decoded n more frames and heard sound.
func (p *page) sees(id, n int) stats {
	p.b.t.Helper()
	from := p.stats(id)
	var now stats
	eventually(p.b.t, 20*time.Second, fmt.Sprintf("%d more frames and sound", n), func() error {
		now = p.stats(id)
		return want(now.Video.FramesDecoded >= from.Video.FramesDecoded+n && now.Audio.TotalSamplesReceived > from.Audio.TotalSamplesReceived && now.Audio.TotalAudioEnergy > 0,
			"state %s, %d frames (from %d), audio energy %g", now.State, now.Video.FramesDecoded, from.Video.FramesDecoded, now.Audio.TotalAudioEnergy)
	})
	return now
}
