package rtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	maxCandidates    = 32
	maxDeclaredSSRCs = 32 // per m-line
)

// OfferError says why an offer or an ICE fragment cannot be served. Code is
// stable and for machines, Message is for people; neither holds secrets. Codes
// that begin with malformed_ or bad_ are violations of a text, the others are
// offers that are sound but not for us.
type OfferError struct {
	Code    string
	Message string
}

// Error returns the code and the message.
func (e *OfferError) Error() string { return "rtc: " + e.Code + ": " + e.Message }

// The codes of OfferError.
const (
	CodeMalformedSDP   = "malformed_sdp"   // not a session description
	CodeBadICE         = "bad_ice"         // ice-ufrag or ice-pwd missing or malformed
	CodeBadFingerprint = "bad_fingerprint" // missing, malformed, too weak or contradictory
	CodeBadSetup       = "bad_setup"       // none of actpass, active, passive
	CodeBadBundle      = "bad_bundle"      // mid or BUNDLE group malformed or contradictory
	CodeBadFormat      = "bad_format"      // payload type, rtpmap or fmtp malformed
	CodeBadFragment    = "bad_fragment"    // not an ICE fragment, or not one for a restart

	CodeWrongDirection   = "wrong_direction"
	CodeTooManyTracks    = "too_many_tracks"  // of one kind
	CodeTooManyStreams   = "too_many_streams" // more than one MediaStream
	CodeNoMedia          = "no_media"
	CodeNoUsableCodec    = "no_usable_codec"
	CodeNoBundle         = "no_bundle" // an m-line outside of the BUNDLE group
	CodeNoRTCPMux        = "no_rtcp_mux"
	CodeUnsupportedMedia = "unsupported_media" // kind, transport or a disabled m-line
	CodeUnsupportedICE   = "unsupported_ice"   // both sides are ICE-lite
	CodeUnknownUfrag     = "unknown_ufrag"     // candidates of another ICE session
)

func refuse(code, format string, args ...any) *OfferError {
	return &OfferError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Offer is a validated offer. It is immutable.
type Offer struct {
	dir          Direction
	sections     []*section
	bundle       []*section // in the order of the group; the first one is tagged
	ice          credentials
	ufrags       []string // of all sections
	fingerprints []fingerprint
	candidates   []string // values of a=candidate
	lite         bool     // the peer is an ICE-lite agent
	trickle      bool     // the peer speaks of trickle ICE
	passive      bool     // the peer wants to be the DTLS server
}

// section is one m-line.
type section struct {
	kind    string // Audio, Video or application
	mid     string
	proto   string // repeated in the answer (RFC 3264, section 6)
	codecs  []offeredCodec
	extmaps []extmap
	layers  []offeredLayer    // of a publisher's simulcast
	ssrcs   []uint32          // that the peer declares
	rtxOf   map[uint32]uint32 // SSRC of repairs -> SSRC of the media (a=ssrc-group:FID)
	streams []string          // ids of the MediaStreams it belongs to

	usesMux    bool
	usesRsize  bool
	mixed      bool // both forms of header extensions may be used
	bundleOnly bool // there is no port but that of the bundle
	maxMessage int  // bytes the peer takes on a data channel; 0: any
	sctpmap    bool // data channels are named as before RFC 8841
}

const application = "application"

// offeredCodec is a codec as the answer will name it.
type offeredCodec struct {
	Codec
	rtpmap   string   // encoding of the offer, its spelling kept
	fmtp     string   // of the answer
	feedback []string // a=rtcp-fb values
}

// credentials are the user fragment and password of one side (RFC 8445,
// section 5.3).
type credentials struct{ ufrag, pwd string }

// Direction returns the direction the offer was validated for.
func (o *Offer) Direction() Direction { return o.dir }

// HasData says whether data channels are offered beside the media.
func (o *Offer) HasData() bool { return o.section(application) != nil }

// Codecs returns what the answer will hold for kind (Audio or Video), in the
// order of the offer; nil if there is no such m-line.
func (o *Offer) Codecs(kind string) []Codec {
	s := o.section(kind)
	if s == nil {
		return nil
	}
	out := make([]Codec, len(s.codecs))
	for i, c := range s.codecs {
		out[i] = c.Codec
	}
	return out
}

// Line returns the index of the m-line of a kind (Audio or Video) in offer and
// answer, -1 if there is none.
func (o *Offer) Line(kind string) int {
	return slices.IndexFunc(o.sections, func(s *section) bool { return s.kind == kind })
}

func (o *Offer) section(kind string) *section {
	for _, s := range o.sections {
		if s.kind == kind {
			return s
		}
	}
	return nil
}

// ParseOffer reads and validates an offer. Whatever is wrong with it comes back
// as an *OfferError. It never panics.
//
// It is strict where a lenient answer would leave a peer without picture, and
// takes everything that the texts ask to pass over: unknown attributes, header
// extensions, simulcast that we cannot tell apart, codecs and feedback.
func ParseOffer(raw []byte, dir Direction) (*Offer, error) {
	d, bad := readSDP(raw)
	if bad != nil {
		return nil, bad
	}
	o := &Offer{dir: dir}
	// In the order in which a sensible client would want to hear of it.
	for _, step := range []func(*description) *OfferError{
		o.readSections, o.checkMedia, o.checkStreams, o.readBundle, o.readTransport, o.checkPayloadTypes,
	} {
		if err := step(d); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *Offer) readSections(d *description) *OfferError {
	for _, m := range d.media {
		s := &section{kind: m.kind, proto: m.proto}
		if err := s.check(m); err != nil {
			return err
		}
		if o.section(s.kind) != nil {
			return refuse(CodeTooManyTracks, "more than one %s m-line", s.kind)
		}
		o.sections = append(o.sections, s)
		if s.kind == application {
			s.maxMessage = readMaxMessage(m)
			continue
		}
		if err := checkDirection(d, m, o.dir); err != nil {
			return err
		}
		s.usesMux, s.usesRsize = m.attrs.has("rtcp-mux"), m.attrs.has("rtcp-rsize")
		if err := s.readCodecs(m, o.dir); err != nil {
			return err
		}
		s.readExtensions(d, m, o.dir)
		s.readSSRCs(m)
		s.readStreams(m)
		if len(s.codecs) == 0 {
			return refuse(CodeNoUsableCodec, "no codec of the %s m-line is supported", s.kind)
		}
	}
	return nil
}

// check refuses m-lines that cannot be served at all: parts of an offer are not
// served (RFC 9725, section 4.4.3).
func (s *section) check(m *mediaLines) *OfferError {
	s.bundleOnly = m.port == 0 && m.attrs.has("bundle-only")
	if m.port == 0 && !s.bundleOnly {
		return refuse(CodeUnsupportedMedia, "an m-line is disabled (port 0)")
	}
	switch s.kind {
	case Audio, Video:
		if !isDTLSSRTP(s.proto) {
			return refuse(CodeUnsupportedMedia, "%s does not use DTLS-SRTP", s.kind)
		}
	case application:
		if !s.isDataChannel(m) {
			return refuse(CodeUnsupportedMedia, "the application m-line is not a data channel")
		}
	default:
		return refuse(CodeUnsupportedMedia, "an m-line is neither audio, video nor application")
	}
	return nil
}

// isDataChannel also takes the older way of saying so, in which the port of SCTP
// is the format, as aiortc still offers.
func (s *section) isDataChannel(m *mediaLines) bool {
	const name = "webrtc-datachannel"
	if s.proto == "UDP/DTLS/SCTP" || s.proto == "TCP/DTLS/SCTP" {
		return slices.Contains(m.formats, name)
	}
	sctpmap, _ := m.attrs.get("sctpmap")
	port, what, _ := strings.Cut(sctpmap, " ")
	s.sctpmap = s.proto == "DTLS/SCTP" && slices.Contains(m.formats, port) && (what == name || strings.HasPrefix(what, name+" "))
	return s.sctpmap
}

// isDTLSSRTP also takes the names without TLS, which old clients use and a
// fingerprint makes clear (RFC 8829, section 5.1.2).
func isDTLSSRTP(proto string) bool {
	for _, transport := range []string{"UDP/TLS/", "TCP/TLS/", "TCP/DTLS/", "UDP/DTLS/", ""} {
		if profile, ok := strings.CutPrefix(proto, transport); ok && (profile == "RTP/SAVPF" || profile == "RTP/SAVP") {
			return true
		}
	}
	return false
}

// checkDirection wants media to go the way it is meant to go.
func checkDirection(d *description, m *mediaLines, dir Direction) *OfferError {
	found := m.attrs.directions()
	if len(found) == 0 {
		found = d.attrs.directions()
	}
	switch {
	case len(found) == 0: // sendrecv
	case len(found) > 1:
		return refuse(CodeMalformedSDP, "the %s m-line has two directions", m.kind)
	case found[0] == "inactive":
		return refuse(CodeWrongDirection, "the %s m-line is inactive", m.kind)
	case dir == Publish && found[0] == "recvonly":
		return refuse(CodeWrongDirection, "a publisher must offer to send, not recvonly")
	case dir == View && found[0] == "sendonly":
		return refuse(CodeWrongDirection, "a viewer must offer to receive, not sendonly")
	}
	return nil
}

// directions returns those that as names, each once.
func (as attributes) directions() []string {
	var out []string
	for _, key := range []string{"sendrecv", "sendonly", "recvonly", "inactive"} {
		if as.has(key) {
			out = append(out, key)
		}
	}
	return out
}

func (o *Offer) checkMedia(*description) *OfferError {
	media := o.section(Audio) != nil || o.section(Video) != nil
	switch {
	case o.dir == Probe && media:
		return refuse(CodeUnsupportedMedia, "a path test has a data channel only")
	case o.dir == Probe && !o.HasData():
		return refuse(CodeNoMedia, "the offer has no data channel")
	case o.dir != Probe && !media:
		return refuse(CodeNoMedia, "the offer has neither audio nor video")
	}
	return nil
}

// checkStreams wants one MediaStream (RFC 9725, section 4.4.2). Peers that name
// none have one.
func (o *Offer) checkStreams(*description) *OfferError {
	if o.dir != Publish {
		return nil
	}
	first := ""
	for _, s := range o.sections {
		for _, id := range s.streams {
			if first == "" {
				first = id
			}
			if id != first {
				return refuse(CodeTooManyStreams, "the tracks belong to more than one MediaStream (msid)")
			}
		}
	}
	return nil
}

// checkPayloadTypes: in a bundle a payload type tells which m-line a packet is
// for (RFC 9143, section 9.2).
func (o *Offer) checkPayloadTypes(*description) *OfferError {
	used := map[uint8]bool{}
	for _, s := range o.sections {
		for _, c := range s.codecs {
			if used[c.PayloadType] || c.RTXPayloadType != 0 && used[c.RTXPayloadType] {
				return refuse(CodeBadFormat, "a payload type stands for two codecs")
			}
			used[c.PayloadType] = true
			if c.RTXPayloadType != 0 {
				used[c.RTXPayloadType] = true
			}
		}
	}
	return nil
}

// readSSRCs notes the sources that the peer declares (RFC 5576). Peers need not.
func (s *section) readSSRCs(m *mediaLines) {
	s.rtxOf = map[uint32]uint32{}
	for _, v := range m.attrs.all("ssrc") {
		id, _, _ := strings.Cut(v, " ")
		n, err := strconv.ParseUint(id, 10, 32)
		if err == nil && len(s.ssrcs) < maxDeclaredSSRCs && !slices.Contains(s.ssrcs, uint32(n)) {
			s.ssrcs = append(s.ssrcs, uint32(n))
		}
	}
	for _, v := range m.attrs.all("ssrc-group") {
		f := strings.Fields(v)
		if len(f) != 3 || f[0] != "FID" || len(s.rtxOf) >= maxDeclaredSSRCs {
			continue
		}
		media, err1 := strconv.ParseUint(f[1], 10, 32)
		repair, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 == nil && err2 == nil {
			s.rtxOf[uint32(repair)] = uint32(media)
		}
	}
}

// readStreams notes the ids of MediaStreams (RFC 8830), or, where a=msid is
// missing, those that GStreamer and others put with the sources.
func (s *section) readStreams(m *mediaLines) {
	values := m.attrs.all("msid")
	if len(values) == 0 {
		for _, v := range m.attrs.all("ssrc") {
			if _, msid, ok := strings.Cut(v, " msid:"); ok {
				values = append(values, msid)
			}
		}
	}
	for _, v := range values {
		id, _, _ := strings.Cut(v, " ")
		if id != "" && id != "-" && !slices.Contains(s.streams, id) { // "-": belongs to none
			s.streams = append(s.streams, id)
		}
	}
}

// readMaxMessage returns a=max-message-size (RFC 8841, section 6.1), 0 for no
// limit.
func readMaxMessage(m *mediaLines) int {
	const unless = 64 << 10
	v, ok := m.attrs.get("max-message-size")
	n, err := strconv.ParseUint(v, 10, 31)
	if !ok || err != nil {
		return unless
	}
	return int(n)
}
