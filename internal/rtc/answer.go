package rtc

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

const (
	mediaStreamID = "lectern" // a=msid: all tracks belong to one MediaStream
	cname         = "lectern"
	sctpPort      = 5000
)

// sdpWriter writes lines with the line end of SDP.
type sdpWriter struct{ strings.Builder }

func (w *sdpWriter) line(format string, args ...any) {
	fmt.Fprintf(w, format, args...)
	w.WriteString("\r\n")
}

// writeAnswer writes the answer: every m-line of the offer in its order, all
// bundled on the tagged one, no candidates to follow (RFC 9725, section 4.2).
// The attribute bundle-only is of offers alone (RFC 9143, section 7.3).
func (s *Session) writeAnswer(local credentials, view *hostView) []byte {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	w := &sdpWriter{}
	w.line("v=0")
	w.line("o=- %d 1 IN IP4 0.0.0.0", binary.BigEndian.Uint64(id[:])>>2) // below 2^62 (RFC 8829, section 5.2.1)
	w.line("s=-")
	w.line("t=0 0")
	s.writeICEOptions(w)
	w.line("a=group:BUNDLE%s", s.mids())
	w.line("a=msid-semantic:WMS *")
	for _, sec := range s.offer.sections {
		if sec.kind == application {
			w.line("m=application 9 %s webrtc-datachannel", sec.proto)
		} else {
			w.line("m=%s 9 %s%s", sec.kind, sec.proto, sec.payloadTypes())
		}
		w.line("c=IN IP4 0.0.0.0")
		w.line("a=mid:%s", sec.mid)
		w.line("a=ice-ufrag:%s", local.ufrag)
		w.line("a=ice-pwd:%s", local.pwd)
		w.line("a=fingerprint:sha-256 %s", s.e.certSum)
		w.line("a=setup:passive")
		if sec == s.offer.tagged() {
			s.writeCandidates(w, view)
		}
		if sec.kind == application {
			w.line("a=sctp-port:%d", sctpPort)
			w.line("a=max-message-size:%d", MaxMessageSize)
		} else {
			s.writeMedia(w, sec)
		}
	}
	return []byte(w.String())
}

func (s *Session) writeICEOptions(w *sdpWriter) {
	if s.e.cfg.ICELite {
		w.line("a=ice-lite")
	}
	// ice2 is RFC 8445. A peer that speaks of trickle is told that its candidates
	// may come later; ours are all in the answer.
	if s.offer.trickle {
		w.line("a=ice-options:trickle ice2")
	} else {
		w.line("a=ice-options:ice2")
	}
}

func (s *Session) writeCandidates(w *sdpWriter, view *hostView) {
	s.tried.Lock()
	defer s.tried.Unlock()
	s.offered = nil
	for _, c := range view.candidates(s.e.udp.local.Port(), s.usesUDP(), s.usesTCP()) {
		w.line("a=candidate:%s", c)
		if h, ok := describe(c); ok {
			s.offered = append(s.offered, h.words)
		}
	}
	w.line("a=end-of-candidates")
}

func (s *Session) mids() string {
	var b strings.Builder
	for _, sec := range s.offer.bundle {
		b.WriteString(" " + sec.mid)
	}
	return b.String()
}

func (sec *section) payloadTypes() string {
	var b strings.Builder
	for _, c := range sec.codecs {
		b.WriteString(" " + strconv.Itoa(int(c.PayloadType)))
		if c.RTXPayloadType != 0 {
			b.WriteString(" " + strconv.Itoa(int(c.RTXPayloadType)))
		}
	}
	return b.String()
}

func (s *Session) writeMedia(w *sdpWriter, sec *section) {
	if s.offer.dir == Publish {
		w.line("a=recvonly")
	} else {
		w.line("a=sendonly")
		w.line("a=msid:%s %s", mediaStreamID, sec.kind)
	}
	w.line("a=rtcp-mux")
	w.line("a=rtcp-mux-only")
	if sec.usesRsize {
		w.line("a=rtcp-rsize")
	}
	sec.writeExtensions(w, s.offer.dir)
	for _, c := range sec.codecs {
		w.line("a=rtpmap:%d %s", c.PayloadType, c.rtpmap)
		if c.fmtp != "" {
			w.line("a=fmtp:%d %s", c.PayloadType, c.fmtp)
		}
		for _, f := range c.feedback {
			if f != "transport-cc" || sec.usesTWCC() {
				w.line("a=rtcp-fb:%d %s", c.PayloadType, f)
			}
		}
		if c.RTXPayloadType != 0 {
			w.line("a=rtpmap:%d rtx/%d", c.RTXPayloadType, c.ClockRate)
			w.line("a=fmtp:%d apt=%d", c.RTXPayloadType, c.PayloadType)
		}
	}
	if s.offer.dir == View {
		s.writeSources(w, sec.kind)
	} else {
		sec.writeLayers(w)
	}
}

// writeSources declares what we send: with the SSRCs known, neither header
// extensions nor guesses are needed on the other side (RFC 5576).
func (s *Session) writeSources(w *sdpWriter, kind string) {
	media, repair := s.ssrc[kind], s.rtx[kind]
	if repair != 0 {
		w.line("a=ssrc-group:FID %d %d", media, repair)
	}
	for _, id := range []uint32{media, repair} {
		if id != 0 {
			w.line("a=ssrc:%d cname:%s", id, cname)
			w.line("a=ssrc:%d msid:%s %s", id, mediaStreamID, kind)
		}
	}
}
