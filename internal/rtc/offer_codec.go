package rtc

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// twccURI names the transport-wide sequence number extension
// (draft-holmer-rmcat-transport-wide-cc-extensions-01).
const twccURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

// format is one payload type of an m-line.
type format struct {
	pt     uint8
	rtpmap string
	fmtp   string
	params map[string]string // of fmtp, keys in lower case
}

// readCodecs picks one payload type for each codec that we carry, in the order
// of the offer.
func (s *section) readCodecs(m *sdp.MediaDescription, dir Direction) {
	formats := readFormats(m)
	best := map[string]int{} // MIME type -> rank of the chosen one
	for _, f := range formats {
		c, rank, ok := f.codec(s.kind, dir)
		if !ok {
			continue
		}
		old, seen := best[c.MimeType]
		if seen && rank >= old {
			continue
		}
		best[c.MimeType] = rank
		oc := offeredCodec{Codec: c, rtpmap: f.rtpmap, feedback: readFeedback(m, f.pt, dir)}
		if i := slices.IndexFunc(s.codecs, func(o offeredCodec) bool { return o.MimeType == c.MimeType }); i >= 0 {
			s.codecs[i] = oc
		} else {
			s.codecs = append(s.codecs, oc)
		}
	}
	for i := range s.codecs {
		s.codecs[i].RTXPayloadType = rtxFor(formats, s.codecs[i].Codec)
	}
	if dir == Publish {
		s.twcc = extensionID(m, twccURI)
	}
}

// readFormats returns the dynamic formats of the m-line in its order.
func readFormats(m *sdp.MediaDescription) []format {
	rtpmaps, fmtps := map[string]string{}, map[string]string{}
	for _, a := range m.Attributes {
		pt, v, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtpmap":
			rtpmaps[pt] = strings.TrimSpace(v)
		case "fmtp":
			fmtps[pt] = strings.TrimSpace(v)
		}
	}
	var out []format
	for _, name := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(name, 10, 7)
		// 64 to 95 would be taken for RTCP (RFC 5761, section 4).
		if err != nil || pt >= 64 && pt <= 95 || rtpmaps[name] == "" {
			continue
		}
		out = append(out, format{pt: uint8(pt), rtpmap: rtpmaps[name], fmtp: fmtps[name], params: readParams(fmtps[name])})
	}
	return out
}

func readParams(fmtp string) map[string]string {
	out := map[string]string{}
	for _, p := range strings.Split(fmtp, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		out[strings.ToLower(k)] = strings.TrimSpace(v)
	}
	return out
}

// codec returns the codec that f stands for, and its rank among the formats of
// the same codec (lower is better); false if it is not carried.
func (f format) codec(kind string, dir Direction) (Codec, int, bool) {
	c := Codec{PayloadType: f.pt, FMTP: f.fmtp, ClockRate: 90000}
	rank := 0
	switch enc := strings.ToLower(f.rtpmap); {
	case kind == Audio && enc == "opus/48000/2":
		c.MimeType, c.ClockRate, c.Channels, c.FMTP = "audio/opus", 48000, 2, opusFMTP(f.params)
	case kind == Video && enc == "vp8/90000":
		c.MimeType = "video/VP8"
	case kind == Video && enc == "vp9/90000" && isZero(f.params["profile-id"]):
		c.MimeType = "video/VP9"
	case kind == Video && enc == "av1/90000" && isZero(f.params["profile"]):
		c.MimeType = "video/AV1"
	case kind == Video && enc == "h264/90000":
		c.MimeType, rank = "video/H264", h264Rank(f.params, dir)
	default:
		return Codec{}, 0, false
	}
	return c, rank, rank >= 0
}

func isZero(v string) bool { return v == "" || v == "0" }

// opusFMTP asks for in-band FEC, and for stereo where the peer speaks of it: an
// answer without it makes Chrome mix down to mono.
func opusFMTP(offered map[string]string) string {
	if offered["stereo"] == "1" || offered["sprop-stereo"] == "1" {
		return "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"
	}
	return "minptime=10;useinbandfec=1"
}

// h264Rank prefers constrained baseline with packetization-mode 1, which every
// browser has, and refuses what decoders of viewers and players lack: 4:2:2,
// 4:4:4, extended and interleaved. Publishers may use packetization-mode 0: its
// packets are a subset; viewers get aggregated and fragmented units, so not.
func h264Rank(params map[string]string, dir Direction) int {
	const modePenalty = 8
	rank := 0
	switch params["packetization-mode"] {
	case "1":
	case "", "0":
		if dir == View {
			return -1
		}
		rank = modePenalty
	default:
		return -1
	}
	profile := strings.ToLower(params["profile-level-id"])
	switch {
	case strings.HasPrefix(profile, "42e0"):
	case strings.HasPrefix(profile, "42"), profile == "":
		rank++
	case strings.HasPrefix(profile, "4d"):
		rank += 2
	case strings.HasPrefix(profile, "64"):
		rank += 3
	default:
		return -1
	}
	return rank
}

// rtxFor returns the payload type of the repairs of c, 0 if none is offered.
func rtxFor(formats []format, c Codec) uint8 {
	for _, f := range formats {
		if strings.EqualFold(f.rtpmap, "rtx/"+strconv.Itoa(int(c.ClockRate))) && f.params["apt"] == strconv.Itoa(int(c.PayloadType)) {
			return f.pt
		}
	}
	return 0
}

// readFeedback returns the offered kinds of feedback that we use.
func readFeedback(m *sdp.MediaDescription, pt uint8, dir Direction) []string {
	var out []string
	for _, v := range valuesOf(m.Attributes, "rtcp-fb") {
		target, kind, _ := strings.Cut(v, " ")
		kind = strings.TrimSpace(kind)
		if target != "*" && target != strconv.Itoa(int(pt)) || slices.Contains(out, kind) {
			continue
		}
		switch kind {
		case "nack", "nack pli", "ccm fir":
			out = append(out, kind)
		case "transport-cc":
			// Packets to viewers bear no transport-wide numbers.
			if dir == Publish {
				out = append(out, kind)
			}
		}
	}
	return out
}

// extensionID returns the id of a header extension (RFC 8285, section 5), 0 if
// it is not offered.
func extensionID(m *sdp.MediaDescription, uri string) int {
	for _, v := range valuesOf(m.Attributes, "extmap") {
		f := strings.Fields(v)
		if len(f) < 2 || f[1] != uri {
			continue
		}
		id, _, _ := strings.Cut(f[0], "/")
		if n, err := strconv.ParseUint(id, 10, 8); err == nil && n != 0 && n != 15 {
			return int(n)
		}
	}
	return 0
}

// usesTWCC says whether the peer wants transport-wide feedback for s.
func (s *section) usesTWCC() bool {
	return s.twcc != 0 && slices.ContainsFunc(s.codecs, func(c offeredCodec) bool {
		return slices.Contains(c.feedback, "transport-cc")
	})
}
