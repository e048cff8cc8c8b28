package rtc

import (
	"slices"
	"strconv"
	"strings"
)

const av1 = "video/AV1"

// format is one payload type of an m-line.
type format struct {
	pt     uint8
	rtpmap string
	fmtp   string
	params map[string]string // of fmtp, keys in lower case
}

// readCodecs picks one payload type for each codec that we carry, in the order
// of the offer.
func (s *section) readCodecs(m *mediaLines, dir Direction) *OfferError {
	formats, err := readFormats(m)
	if err != nil {
		return err
	}
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
		oc := offeredCodec{Codec: c, rtpmap: f.rtpmap, fmtp: c.FMTP, feedback: readFeedback(m, f.pt)}
		if c.MimeType == "video/H264" {
			oc.fmtp = h264FMTP(f.params)
		}
		if i := slices.IndexFunc(s.codecs, func(o offeredCodec) bool { return o.MimeType == c.MimeType }); i >= 0 {
			s.codecs[i] = oc
		} else {
			s.codecs = append(s.codecs, oc)
		}
	}
	for i := range s.codecs {
		s.codecs[i].RTXPayloadType = rtxFor(formats, s.codecs[i].Codec)
	}
	return nil
}

// readFormats returns the formats of the m-line that have a name, in its order.
func readFormats(m *mediaLines) ([]format, *OfferError) {
	rtpmaps, err := readMaps(m, "rtpmap", isEncoding)
	if err != nil {
		return nil, err
	}
	fmtps, err := readMaps(m, "fmtp", isPrintable)
	if err != nil {
		return nil, err
	}
	seen := map[uint64]bool{}
	var out []format
	for _, name := range m.formats {
		pt, err := strconv.ParseUint(name, 10, 7)
		if err != nil || seen[pt] {
			return nil, refuse(CodeBadFormat, "the payload types of the %s m-line must be different numbers up to 127", m.kind)
		}
		seen[pt] = true
		// 64 to 95 would be taken for RTCP (RFC 5761, section 4).
		if pt >= 64 && pt <= 95 || rtpmaps[pt] == "" {
			continue
		}
		out = append(out, format{pt: uint8(pt), rtpmap: rtpmaps[pt], fmtp: fmtps[pt], params: readParams(fmtps[pt])})
	}
	return out, nil
}

// readMaps reads the a-lines that describe a payload type (RFC 8866, sections 6.6
// and 6.15): at most one for each.
func readMaps(m *mediaLines, key string, ok func(string) bool) (map[uint64]string, *OfferError) {
	out := map[uint64]string{}
	for _, v := range m.attrs.all(key) {
		number, text, _ := strings.Cut(v, " ")
		text = strings.TrimSpace(text)
		pt, err := strconv.ParseUint(number, 10, 7)
		if err != nil || !ok(text) {
			return nil, refuse(CodeBadFormat, "an a=%s of the %s m-line is malformed", key, m.kind)
		}
		if old := out[pt]; old != "" && old != text {
			return nil, refuse(CodeBadFormat, "payload type %d of the %s m-line has two meanings", pt, m.kind)
		}
		out[pt] = text
	}
	return out, nil
}

// isEncoding: a name, a clock rate and perhaps channels, as "opus/48000/2".
func isEncoding(s string) bool {
	f := strings.Split(s, "/")
	if len(f) < 2 || len(f) > 3 || !isToken(f[0]) {
		return false
	}
	rate, err := strconv.ParseUint(f[1], 10, 32)
	return err == nil && rate > 0 && (len(f) == 2 || isToken(f[2]))
}

// isPrintable: what we would repeat in an answer.
func isPrintable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
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
		c.MimeType = av1
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

// h264FMTP repeats what both sides must agree on (RFC 6184, section 8.2.2), and
// not what the peer says of its own stream or decoder.
func h264FMTP(offered map[string]string) string {
	var out []string
	for _, key := range []string{"level-asymmetry-allowed", "packetization-mode", "profile-level-id"} {
		if v := offered[key]; v != "" {
			out = append(out, key+"="+v)
		}
	}
	return strings.Join(out, ";")
}

// h264Rank prefers constrained baseline with packetization-mode 1, which every
// browser has, and refuses what decoders of viewers and players lack: 4:2:2,
// 4:4:4, extended and interleaved. Publishers may use packetization-mode 0: its
// packets are a subset; viewers get aggregated and fragmented units, so not. One
// who names no mode (GStreamer) can take them nevertheless.
func h264Rank(params map[string]string, dir Direction) int {
	const modePenalty = 8
	rank := 0
	switch params["packetization-mode"] {
	case "1":
	case "":
		rank = modePenalty
	case "0":
		if dir == View {
			return -1
		}
		rank = modePenalty
	default:
		return -1
	}
	if v := params["level-asymmetry-allowed"]; v != "" && v != "0" && v != "1" {
		return -1
	}
	profile := strings.ToLower(params["profile-level-id"])
	if _, err := strconv.ParseUint(profile, 16, 24); profile != "" && (err != nil || len(profile) != 6) {
		return -1
	}
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
func readFeedback(m *mediaLines, pt uint8) []string {
	var out []string
	for _, v := range m.attrs.all("rtcp-fb") {
		target, kind, _ := strings.Cut(v, " ")
		kind = strings.TrimSpace(kind)
		if target != "*" && target != strconv.Itoa(int(pt)) || slices.Contains(out, kind) {
			continue
		}
		switch kind {
		case "nack", "nack pli", "ccm fir", "transport-cc":
			out = append(out, kind)
		}
	}
	return out
}
