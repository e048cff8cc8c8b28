package rtc

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Bounds of what a peer may say. Browsers send 5 to 10 KiB, 3 m-lines and a
// dozen candidates.
const (
	maxSDPBytes      = 128 << 10
	maxSections      = 8
	maxCandidates    = 32
	maxDeclaredSSRCs = 32 // per m-line
	maxTokenBytes    = 256
)

// OfferError says why an offer or an ICE fragment cannot be served. Code is
// stable and for machines, Message is for people; neither holds secrets.
type OfferError struct {
	Code    string
	Message string
}

// Error returns the code and the message.
func (e *OfferError) Error() string { return "rtc: " + e.Code + ": " + e.Message }

// The codes of OfferError.
const (
	CodeMalformedSDP     = "malformed_sdp"
	CodeWrongDirection   = "wrong_direction"
	CodeBadICE           = "bad_ice"
	CodeBadFingerprint   = "bad_fingerprint"
	CodeBadSetup         = "bad_setup"
	CodeTooManyTracks    = "too_many_tracks"
	CodeNoMedia          = "no_media"
	CodeNoUsableCodec    = "no_usable_codec"
	CodeNoBundle         = "no_bundle"
	CodeNoRTCPMux        = "no_rtcp_mux"
	CodeUnsupportedMedia = "unsupported_media"
	CodeBadFragment      = "bad_fragment"
)

func refuse(code, format string, args ...any) *OfferError {
	return &OfferError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Offer is a validated offer. It is immutable.
type Offer struct {
	dir          Direction
	sections     []*section
	ice          credentials
	fingerprints []fingerprint
	candidates   []string // values of a=candidate
	lite         bool     // the peer is an ICE-lite agent
}

// section is one m-line.
type section struct {
	kind    string // Audio, Video or application
	mid     string
	proto   string // repeated in the answer (RFC 3264, section 6)
	codecs  []offeredCodec
	twcc    int               // id of the transport-wide sequence number extension, 0: none
	ssrcs   []uint32          // that the peer declares
	rtxOf   map[uint32]uint32 // SSRC of repairs -> SSRC of the media (a=ssrc-group:FID)
	usesMux bool

	maxMessage int // bytes the peer takes on a data channel; 0: any
}

const application = "application"

// offeredCodec is a codec as the answer will name it.
type offeredCodec struct {
	Codec
	rtpmap   string   // encoding of the offer, its spelling kept
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
func ParseOffer(raw []byte, dir Direction) (*Offer, error) {
	if len(raw) > maxSDPBytes {
		return nil, refuse(CodeMalformedSDP, "the offer has more than %d bytes", maxSDPBytes)
	}
	var d sdp.SessionDescription
	if err := d.Unmarshal(endLine(raw)); err != nil || len(raw) == 0 {
		return nil, refuse(CodeMalformedSDP, "the offer is not valid SDP")
	}
	o := &Offer{dir: dir}
	// In the order in which a sensible client would want to hear of it.
	for _, step := range []func(*sdp.SessionDescription) *OfferError{
		o.readSections, o.checkMedia, o.readTransport, o.checkBundle,
	} {
		if err := step(&d); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// endLine ends the last line of raw, if it is not: scripts that read an offer
// from a file or trim it send none, and the parser wants one.
func endLine(raw []byte) []byte {
	if bytes.HasSuffix(raw, []byte("\n")) {
		return raw
	}
	return append(slices.Clip(raw), "\r\n"...)
}

// attribute looks a up in the m-line and then in the session.
func attribute(d *sdp.SessionDescription, m *sdp.MediaDescription, key string) (string, bool) {
	if v, ok := m.Attribute(key); ok {
		return v, true
	}
	return d.Attribute(key)
}

func (o *Offer) readSections(d *sdp.SessionDescription) *OfferError {
	if len(d.MediaDescriptions) > maxSections {
		return refuse(CodeTooManyTracks, "more than %d m-lines", maxSections)
	}
	for _, m := range d.MediaDescriptions {
		mid, _ := m.Attribute("mid")
		s := &section{kind: m.MediaName.Media, mid: mid, proto: strings.Join(m.MediaName.Protos, "/")}
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
		_, s.usesMux = m.Attribute("rtcp-mux")
		s.readCodecs(m, o.dir)
		s.readSSRCs(m)
		if len(s.codecs) == 0 {
			return refuse(CodeNoUsableCodec, "no codec of the %s m-line is supported", s.kind)
		}
	}
	return nil
}

// check refuses m-lines that cannot be served at all: parts of an offer are not
// served (RFC 9725, section 4.2).
func (s *section) check(m *sdp.MediaDescription) *OfferError {
	_, bundleOnly := m.Attribute("bundle-only")
	if m.MediaName.Port.Value == 0 && !bundleOnly {
		return refuse(CodeUnsupportedMedia, "an m-line is disabled (port 0)")
	}
	switch s.kind {
	case Audio, Video:
		if !strings.HasSuffix(s.proto, "TLS/RTP/SAVPF") && !strings.HasSuffix(s.proto, "TLS/RTP/SAVP") {
			return refuse(CodeUnsupportedMedia, "%s does not use DTLS-SRTP", s.kind)
		}
	case application:
		if !strings.HasSuffix(s.proto, "/DTLS/SCTP") || !slices.Contains(m.MediaName.Formats, "webrtc-datachannel") {
			return refuse(CodeUnsupportedMedia, "the application m-line is not a data channel")
		}
	default:
		return refuse(CodeUnsupportedMedia, "an m-line is neither audio, video nor application")
	}
	return nil
}

func checkDirection(d *sdp.SessionDescription, m *sdp.MediaDescription, dir Direction) *OfferError {
	has := func(key string) bool { _, ok := m.Attribute(key); return ok }
	if !has("sendrecv") && !has("sendonly") && !has("recvonly") && !has("inactive") {
		has = func(key string) bool { _, ok := d.Attribute(key); return ok }
	}
	if has("inactive") {
		return refuse(CodeWrongDirection, "the %s m-line is inactive", m.MediaName.Media)
	}
	if dir == Publish && has("recvonly") {
		return refuse(CodeWrongDirection, "a publisher must offer to send, not recvonly")
	}
	if dir == View && has("sendonly") {
		return refuse(CodeWrongDirection, "a viewer must offer to receive, not sendonly")
	}
	return nil
}

func (o *Offer) checkMedia(*sdp.SessionDescription) *OfferError {
	if o.dir != Probe && o.section(Audio) == nil && o.section(Video) == nil {
		return refuse(CodeNoMedia, "the offer has neither audio nor video")
	}
	return nil
}

// readTransport reads what all m-lines share. With BUNDLE the first m-line
// counts, but nonsense in another one is refused too.
func (o *Offer) readTransport(d *sdp.SessionDescription) *OfferError {
	for i, m := range d.MediaDescriptions {
		ufrag, _ := attribute(d, m, "ice-ufrag")
		pwd, _ := attribute(d, m, "ice-pwd")
		if c := (credentials{ufrag, pwd}); i == 0 || c != (credentials{}) {
			if err := c.check(); err != nil {
				return err
			}
			if i == 0 {
				o.ice = c
			}
		}
		fps, err := readFingerprints(d, m)
		if err == nil && i == 0 && len(fps) == 0 {
			err = refuse(CodeBadFingerprint, "the offer has no certificate fingerprint of SHA-256, SHA-384 or SHA-512")
		}
		if err != nil {
			return err
		}
		if i == 0 {
			o.fingerprints = fps
		}
		if setup, ok := attribute(d, m, "setup"); ok && setup != "actpass" && setup != "active" {
			return refuse(CodeBadSetup, "setup must be actpass or active")
		}
		for _, a := range m.Attributes {
			if a.Key == "candidate" && len(o.candidates) < maxCandidates {
				o.candidates = append(o.candidates, a.Value)
			}
		}
	}
	return nil
}

// check applies the bounds of RFC 8839, section 5.4.
func (c credentials) check() *OfferError {
	if len(c.ufrag) < 4 || len(c.ufrag) > maxTokenBytes || !isICEChars(c.ufrag) {
		return refuse(CodeBadICE, "ice-ufrag is missing or malformed: it has 4 to 256 characters")
	}
	if len(c.pwd) < 22 || len(c.pwd) > maxTokenBytes || !isICEChars(c.pwd) {
		return refuse(CodeBadICE, "ice-pwd is missing or malformed: it has 22 to 256 characters")
	}
	return nil
}

// isICEChars also lets '-', '_' and '=' pass, which some clients use.
func isICEChars(s string) bool {
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+/-_=", r)
		if !ok {
			return false
		}
	}
	return true
}

// fingerprint is a hash of the peer's certificate (RFC 8122, section 5).
type fingerprint struct {
	hash crypto.Hash
	sum  []byte
}

// readFingerprints returns the strong ones. Weak ones are passed over: a peer may
// name several, and one must be strong.
func readFingerprints(d *sdp.SessionDescription, m *sdp.MediaDescription) ([]fingerprint, *OfferError) {
	values := valuesOf(m.Attributes, "fingerprint")
	if len(values) == 0 {
		values = valuesOf(d.Attributes, "fingerprint")
	}
	var out []fingerprint
	for _, v := range values {
		name, text, _ := strings.Cut(strings.TrimSpace(v), " ")
		hash := map[string]crypto.Hash{"sha-256": crypto.SHA256, "sha-384": crypto.SHA384, "sha-512": crypto.SHA512}[strings.ToLower(name)]
		if hash == 0 {
			continue
		}
		sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		if err != nil || len(sum) != hash.Size() || len(text) != 3*len(sum)-1 {
			return nil, refuse(CodeBadFingerprint, "the fingerprint is malformed")
		}
		out = append(out, fingerprint{hash, sum})
	}
	if len(values) > 0 && len(out) == 0 {
		return nil, refuse(CodeBadFingerprint, "no fingerprint uses SHA-256, SHA-384 or SHA-512")
	}
	return out, nil
}

// matches says whether der is the certificate.
func (f fingerprint) matches(der []byte) bool {
	h := f.hash.New()
	h.Write(der)
	return bytes.Equal(h.Sum(nil), f.sum)
}

func valuesOf(attrs []sdp.Attribute, key string) []string {
	var out []string
	for _, a := range attrs {
		if a.Key == key {
			out = append(out, a.Value)
		}
	}
	return out
}

// checkBundle wants all m-lines on one transport (RFC 9725, section 4.4.1).
func (o *Offer) checkBundle(d *sdp.SessionDescription) *OfferError {
	var bundled []string
	for _, v := range valuesOf(d.Attributes, "group") {
		if f := strings.Fields(v); len(f) > 0 && f[0] == "BUNDLE" {
			bundled = f[1:]
			break
		}
	}
	seen := map[string]bool{}
	for _, s := range o.sections {
		if s.mid == "" || len(s.mid) > maxTokenBytes || seen[s.mid] || !slices.Contains(bundled, s.mid) {
			return refuse(CodeNoBundle, "the %s m-line is not in the BUNDLE group", s.kind)
		}
		seen[s.mid] = true
		if s.kind != application && !s.usesMux {
			return refuse(CodeNoRTCPMux, "the %s m-line lacks rtcp-mux", s.kind)
		}
	}
	return nil
}

// readSSRCs notes the sources that the peer declares (RFC 5576). Peers need not.
func (s *section) readSSRCs(m *sdp.MediaDescription) {
	s.rtxOf = map[uint32]uint32{}
	for _, v := range valuesOf(m.Attributes, "ssrc") {
		id, _, _ := strings.Cut(v, " ")
		n, err := strconv.ParseUint(id, 10, 32)
		if err == nil && len(s.ssrcs) < maxDeclaredSSRCs && !slices.Contains(s.ssrcs, uint32(n)) {
			s.ssrcs = append(s.ssrcs, uint32(n))
		}
	}
	for _, v := range valuesOf(m.Attributes, "ssrc-group") {
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

// readMaxMessage returns a=max-message-size (RFC 8841, section 6.1), 0 for no
// limit.
func readMaxMessage(m *sdp.MediaDescription) int {
	const unless = 64 << 10
	v, ok := m.Attribute("max-message-size")
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
	if !ok || err != nil {
		return unless
	}
	return int(n)
}
