package rtc

import (
	"bytes"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/pion/ice/v4"
)

const maxFragmentBytes = 64 << 10

// fragment is an ICE fragment (RFC 8840, section 9).
type fragment struct {
	ice        credentials // empty if it names none
	candidates []string    // values of a=candidate
	end        bool        // a=end-of-candidates
}

// parseFragment reads a fragment; the error is an *OfferError. It never panics.
func parseFragment(raw []byte) (*fragment, error) {
	if len(raw) > maxFragmentBytes || !utf8.Valid(raw) {
		return nil, refuse(CodeBadFragment, "the fragment is too long or not UTF-8")
	}
	f := &fragment{}
	for line := range bytes.Lines(raw) {
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			continue
		}
		if len(text) < 2 || text[1] != '=' || text[0] < 'a' || text[0] > 'z' {
			return nil, refuse(CodeBadFragment, "a line is not of the form a=value")
		}
		if text[0] == 'a' {
			f.read(text[2:])
		}
	}
	if f.ice != (credentials{}) {
		// Candidates may come with the user fragment alone.
		check := f.ice
		if check.pwd == "" {
			check.pwd = strings.Repeat("x", 22)
		}
		if err := check.check(); err != nil {
			return nil, err
		}
	}
	if f.ice == (credentials{}) && len(f.candidates) == 0 && !f.end {
		return nil, refuse(CodeBadFragment, "the fragment has neither credentials nor candidates")
	}
	return f, nil
}

func (f *fragment) read(attr string) {
	key, value, _ := strings.Cut(attr, ":")
	value = strings.TrimSpace(value)
	switch key {
	case "ice-ufrag":
		// BUNDLE: the first m-line counts.
		if f.ice.ufrag == "" {
			f.ice.ufrag = value
		}
	case "ice-pwd":
		if f.ice.pwd == "" {
			f.ice.pwd = value
		}
	case "candidate":
		if len(f.candidates) < maxCandidates {
			f.candidates = append(f.candidates, value)
		}
	case "end-of-candidates":
		f.end = true
	}
}

// remoteCandidates turns lines into candidates. Those that lead nowhere are left
// out without a word: unknown transports, mDNS and other names, other
// components, and peers that only call (active TCP).
func remoteCandidates(lines []string) []ice.Candidate {
	var out []ice.Candidate
	for _, l := range lines {
		if len(l) > 2*maxTokenBytes {
			continue
		}
		// Looked up first: resolving a name would tell the peer about our network.
		fields := strings.Fields(l)
		if len(fields) < 8 {
			continue
		}
		if _, err := netip.ParseAddr(fields[4]); err != nil {
			continue
		}
		c, err := ice.UnmarshalCandidate(l)
		if err != nil || c.NetworkType().IsTCP() || c.Component() != ice.ComponentRTP {
			continue
		}
		out = append(out, c)
	}
	return out
}
