package rtc

import (
	"slices"
	"strconv"
	"strings"
)

// The header extensions that we use.
const (
	// twccURI is draft-holmer-rmcat-transport-wide-cc-extensions-01.
	twccURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	midURI  = "urn:ietf:params:rtp-hdrext:sdes:mid"           // RFC 9143, section 15
	ridURI  = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" // RFC 8852
	// descriptorURI tells how frames depend on each other (AV1 RTP specification,
	// appendix A). Of several spatial layers in one stream of AV1 Chrome decodes
	// nothing without it.
	descriptorURI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
	repairedURI   = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" // RFC 8852
)

// Not answered on purpose is urn:3gpp:video-orientation: a browser that may not
// tell how its camera is held turns the picture before it encodes it, and then it
// is upright for recordings and players too, which know nothing of extensions.

// extmap is an offered header extension (RFC 8285, section 5).
type extmap struct {
	id  uint8
	uri string
	way string // of the answer, with its slash; "" for both
}

// readExtmaps returns the extensions that may be used in the direction that
// media goes. Those of the session hold where the m-line has none.
func readExtmaps(d *description, m *mediaLines, dir Direction) []extmap {
	lines := m.attrs.all("extmap")
	if len(lines) == 0 {
		lines = d.attrs.all("extmap")
	}
	// What the peer says, and what is answered to it (RFC 8285, section 6).
	ways := map[string]string{"": "", "sendrecv": "", "sendonly": "/recvonly"}
	if dir == View {
		ways = map[string]string{"": "", "sendrecv": "", "recvonly": "/sendonly"}
	}
	var out []extmap
	for _, v := range lines {
		f := strings.Fields(v)
		if len(f) < 2 {
			continue
		}
		id, said, _ := strings.Cut(f[0], "/")
		way, ok := ways[said]
		n, err := strconv.ParseUint(id, 10, 8)
		if !ok || err != nil || n == 0 || n == oneByteEndsAt {
			continue
		}
		if !slices.ContainsFunc(out, func(e extmap) bool { return e.id == uint8(n) || e.uri == f[1] }) {
			out = append(out, extmap{uint8(n), f[1], way})
		}
	}
	return out
}

// readExtensions reads what concerns header extensions, and the layers that are
// told apart by them. It needs the codecs.
func (s *section) readExtensions(d *description, m *mediaLines, dir Direction) {
	s.extmaps = readExtmaps(d, m, dir)
	_, s.mixed = m.or(d, "extmap-allow-mixed")
	if dir == Publish && s.kind == Video {
		s.readLayers(m)
	}
}

// extension returns the id of an offered extension, 0 if it is not.
func (s *section) extension(uri string) uint8 {
	for _, e := range s.extmaps {
		if e.uri == uri {
			return e.id
		}
	}
	return 0
}

// usesTWCC says whether transport-wide feedback is negotiated for s.
func (s *section) usesTWCC() bool {
	return s.extension(twccURI) != 0 && slices.ContainsFunc(s.codecs, func(c offeredCodec) bool {
		return slices.Contains(c.feedback, "transport-cc")
	})
}

// usesExtension says whether the answer has the extension.
func (s *section) usesExtension(uri string) bool {
	switch uri {
	case twccURI:
		return s.usesTWCC()
	case midURI, ridURI, repairedURI:
		return s.namesLayers()
	case descriptorURI:
		// Its length asks for the two-byte form now and then.
		return s.mixed && slices.ContainsFunc(s.codecs, func(c offeredCodec) bool { return c.MimeType == av1 })
	}
	return false
}

// extensionIDs returns the ids of what is negotiated.
func (s *section) extensionIDs() extensionIDs {
	id := func(uri string) uint8 {
		if s.usesExtension(uri) {
			return s.extension(uri)
		}
		return 0
	}
	return extensionIDs{transport: id(twccURI), mid: id(midURI), rid: id(ridURI), repaired: id(repairedURI), descriptor: id(descriptorURI)}
}

func (s *section) writeExtensions(w *sdpWriter, dir Direction) {
	for _, e := range s.extmaps {
		if s.usesExtension(e.uri) {
			w.line("a=extmap:%d%s %s", e.id, e.way, e.uri)
		}
	}
	// We read both forms (RFC 8285, section 6), and send both to viewers who take
	// descriptors; to others always the same.
	if s.mixed && (dir == Publish || s.extensionIDs().descriptor != 0) {
		w.line("a=extmap-allow-mixed")
	}
}

// transportCC says whether the peer reports the arrival of packets of kind that
// bear a transport-wide number.
func (o *Offer) transportCC(kind string) bool {
	s := o.section(kind)
	return o.dir == View && s != nil && s.usesTWCC()
}
