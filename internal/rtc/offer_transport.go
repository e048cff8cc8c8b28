package rtc

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"slices"
	"strings"
)

// tagged is the section whose transport is that of the bundle (RFC 9143,
// section 7.1): the first of the group, and nearly always of the offer.
func (o *Offer) tagged() *section { return o.bundle[0] }

// readBundle wants all m-lines on one transport (RFC 9725, section 4.4.1).
func (o *Offer) readBundle(d *description) *OfferError {
	byMid := map[string]*section{}
	for i, s := range o.sections {
		attrs := d.media[i].attrs
		if err := attrs.single("mid"); err != nil {
			return err
		}
		mid, ok := attrs.get("mid")
		switch {
		case !ok:
			return refuse(CodeNoBundle, "the %s m-line has no mid", s.kind)
		case !isToken(mid):
			return refuse(CodeBadBundle, "the mid of the %s m-line is malformed", s.kind)
		case byMid[mid] != nil:
			return refuse(CodeBadBundle, "two m-lines have the same mid")
		}
		s.mid, byMid[mid] = mid, s
	}
	group, err := bundleGroup(d)
	if err != nil {
		return err
	}
	for _, mid := range group {
		s := byMid[mid]
		if s == nil || slices.Contains(o.bundle, s) {
			return refuse(CodeBadBundle, "the BUNDLE group names an unknown mid, or one twice")
		}
		o.bundle = append(o.bundle, s)
	}
	for _, s := range o.sections {
		if !slices.Contains(o.bundle, s) {
			return refuse(CodeNoBundle, "the %s m-line is not in the BUNDLE group", s.kind)
		}
		// Of bundle-only sections the transport is told once, in the tagged one
		// (RFC 8829, section 5.2.1).
		if s.kind != application && !s.usesMux && !s.bundleOnly {
			return refuse(CodeNoRTCPMux, "the %s m-line lacks rtcp-mux", s.kind)
		}
	}
	if o.tagged().bundleOnly {
		return refuse(CodeBadBundle, "the first m-line of the BUNDLE group must have a port")
	}
	return nil
}

// bundleGroup returns the mids of the one BUNDLE group.
func bundleGroup(d *description) ([]string, *OfferError) {
	var group []string
	for _, v := range d.attrs.all("group") {
		f := strings.Fields(v)
		if len(f) == 0 || f[0] != "BUNDLE" {
			continue
		}
		if group != nil {
			return nil, refuse(CodeNoBundle, "there is more than one BUNDLE group")
		}
		group = f[1:]
	}
	if len(group) == 0 {
		return nil, refuse(CodeNoBundle, "there is no BUNDLE group")
	}
	return group, nil
}

// readTransport reads what the bundle shares: the tagged m-line counts, but
// nonsense in another one is refused too. Credentials may differ: clients that do
// not know yet whether they will be bundled offer a transport for each m-line
// (RFC 9143, section 7.2.1).
func (o *Offer) readTransport(d *description) *OfferError {
	for _, as := range append([]attributes{d.attrs}, attributesOf(d)...) {
		if err := as.single("ice-ufrag", "ice-pwd", "setup"); err != nil {
			return err
		}
	}
	o.lite = d.attrs.has("ice-lite")
	tagged := slices.Index(o.sections, o.tagged())
	if err := o.readSection(d, tagged); err != nil {
		return err
	}
	for i := range o.sections {
		if err := o.readSection(d, i); err != nil {
			return err
		}
	}
	return nil
}

// readSetup reads the DTLS role (RFC 8842, section 5.2): a peer that can only be
// the server, as ffmpeg by default, gets a client.
func (o *Offer) readSetup(d *description, m *mediaLines, tagged bool) *OfferError {
	setup, ok := m.or(d, "setup")
	switch {
	case !ok:
		return nil
	case setup != "actpass" && setup != "active" && setup != "passive":
		return refuse(CodeBadSetup, "setup must be actpass, active or passive")
	case tagged:
		o.passive = setup == "passive"
	case o.passive != (setup == "passive"):
		return refuse(CodeBadSetup, "the m-lines of the bundle want different roles in setup")
	}
	return nil
}

// answerSetup is the role that we take.
func (o *Offer) answerSetup() string {
	if o.passive {
		return "active"
	}
	return "passive"
}

func attributesOf(d *description) []attributes {
	var out []attributes
	for _, m := range d.media {
		out = append(out, m.attrs)
	}
	return out
}

// readSection reads the transport of one m-line, that of the tagged one first.
func (o *Offer) readSection(d *description, i int) *OfferError {
	m, tagged := d.media[i], o.sections[i] == o.tagged()
	ufrag, _ := m.or(d, "ice-ufrag")
	pwd, _ := m.or(d, "ice-pwd")
	own := credentials{ufrag, pwd}
	if tagged || own != (credentials{}) {
		if err := own.check(); err != nil {
			return err
		}
	}
	fps, err := readFingerprints(d, m)
	if err != nil {
		return err
	}
	if err := o.readSetup(d, m, tagged); err != nil {
		return err
	}
	if tagged && o.ice == (credentials{}) {
		if len(fps) == 0 {
			return refuse(CodeBadFingerprint, "the offer has no certificate fingerprint of SHA-256, SHA-384 or SHA-512")
		}
		options, _ := m.or(d, "ice-options")
		// libdatachannel puts commas between them.
		words := strings.Fields(strings.ReplaceAll(options, ",", " "))
		o.ice, o.fingerprints, o.trickle = own, fps, slices.Contains(words, "trickle")
		return nil // and is looked at again in its turn
	}
	if len(fps) > 0 && !slices.EqualFunc(fps, o.fingerprints, fingerprint.equal) {
		return refuse(CodeBadFingerprint, "the m-lines of the bundle have different fingerprints")
	}
	o.ufrags = append(o.ufrags, own.ufrag)
	if own != o.ice && own != (credentials{}) {
		return nil // its candidates are of a transport that will not be
	}
	for _, v := range m.attrs.all("candidate") {
		if len(o.candidates) < maxCandidates {
			o.candidates = append(o.candidates, v)
		}
	}
	return nil
}

// check applies the bounds of RFC 8839, section 5.4.
func (c credentials) check() *OfferError {
	if len(c.ufrag) < 4 || len(c.ufrag) > maxTokenBytes || !isICEChars(c.ufrag) {
		return refuse(CodeBadICE, "ice-ufrag is missing or malformed: it has 4 to 256 letters, digits, + and /")
	}
	if len(c.pwd) < 22 || len(c.pwd) > maxTokenBytes || !isICEChars(c.pwd) {
		return refuse(CodeBadICE, "ice-pwd is missing or malformed: it has 22 to 256 letters, digits, + and /")
	}
	return nil
}

// isICEChars knows the letters of the grammar, and the padding that clients leave
// in place who draw their credentials as base64.
func isICEChars(s string) bool {
	const padding = 2
	stem := strings.TrimRight(s, "=")
	if len(s)-len(stem) > padding {
		return false
	}
	return !strings.ContainsFunc(stem, func(r rune) bool { return !isAlphanumeric(r) && r != '+' && r != '/' })
}

// isAlphanumeric knows the letters and digits of ASCII.
func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// fingerprint is a hash of the peer's certificate (RFC 8122, section 5).
type fingerprint struct {
	hash crypto.Hash
	sum  []byte
}

func (f fingerprint) equal(g fingerprint) bool { return f.hash == g.hash && bytes.Equal(f.sum, g.sum) }

// readFingerprints returns the strong ones. MD2, MD5 and SHA-1 must not be relied
// on (RFC 8122, section 5): an offer with nothing else is refused. Beside a
// strong one they are passed over, for peers may name several, and so are hashes
// that we do not know.
func readFingerprints(d *description, m *mediaLines) ([]fingerprint, *OfferError) {
	values := m.attrs.all("fingerprint")
	if len(values) == 0 {
		values = d.attrs.all("fingerprint")
	}
	var out []fingerprint
	for _, v := range values {
		name, text, ok := strings.Cut(v, " ")
		if !ok || !isToken(name) {
			return nil, refuse(CodeBadFingerprint, "the fingerprint is malformed")
		}
		hash := map[string]crypto.Hash{"sha-256": crypto.SHA256, "sha-384": crypto.SHA384, "sha-512": crypto.SHA512}[strings.ToLower(name)]
		if hash == 0 {
			continue
		}
		f := fingerprint{hash, readSum(text)}
		if len(f.sum) != hash.Size() {
			return nil, refuse(CodeBadFingerprint, "the fingerprint is malformed")
		}
		if !slices.ContainsFunc(out, f.equal) && len(out) < maxFingerprints {
			out = append(out, f)
		}
	}
	if len(values) > 0 && len(out) == 0 {
		return nil, refuse(CodeBadFingerprint, "no fingerprint uses SHA-256, SHA-384 or SHA-512")
	}
	return out, nil
}

const maxFingerprints = 16

// readSum reads pairs of hexadecimal digits with colons between them, nil if
// they are not.
func readSum(text string) []byte {
	var out []byte
	for _, pair := range strings.Split(text, ":") {
		b, err := hex.DecodeString(pair)
		if err != nil || len(b) != 1 {
			return nil
		}
		out = append(out, b[0])
	}
	return out
}

// matches says whether der is the certificate.
func (f fingerprint) matches(der []byte) bool {
	h := f.hash.New()
	h.Write(der)
	return bytes.Equal(h.Sum(nil), f.sum)
}
