package rtc

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pion/ice/v4"
)

const (
	maxFragmentBytes = 64 << 10
	maxFragmentLines = 500
)

// fragment is an ICE fragment (RFC 8840, section 9).
type fragment struct {
	session fragmentSection // what stands before the first m-line
	media   []*fragmentSection
}

// fragmentSection is what follows a pseudo m-line.
type fragmentSection struct {
	mid        string // "" if it names none
	ice        credentials
	candidates []string // values of a=candidate
	end        bool     // a=end-of-candidates
}

// parseFragment reads a fragment; the error is an *OfferError. It never panics.
func parseFragment(raw []byte) (*fragment, error) {
	lines, bad := splitFragment(raw)
	if bad != nil {
		return nil, bad
	}
	f := &fragment{}
	at := &f.session
	for i, l := range lines {
		switch key, value := l[0], l[2:]; key {
		case 'm':
			// The pseudo m-line carries nothing, but has a form.
			if n := len(strings.Fields(value)); n < 4 || len(f.media) == maxSections {
				return nil, refuse(CodeBadFragment, "line %d is not an m-line, or one too many", i+1)
			}
			at = &fragmentSection{}
			f.media = append(f.media, at)
		case 'a':
			if err := at.read(value); err != nil {
				return nil, err
			}
		default:
			return nil, refuse(CodeBadFragment, "line %d: a fragment has a= and m= lines only", i+1)
		}
	}
	empty := true
	for _, s := range append(f.media, &f.session) {
		if err := s.check(); err != nil {
			return nil, err
		}
		empty = empty && s.ice == (credentials{}) && len(s.candidates) == 0 && !s.end
	}
	if empty {
		return nil, refuse(CodeBadFragment, "the fragment has neither credentials nor candidates")
	}
	return f, nil
}

func splitFragment(raw []byte) ([]string, *OfferError) {
	if len(raw) > maxFragmentBytes || !utf8.Valid(raw) {
		return nil, refuse(CodeBadFragment, "the fragment is too long or not UTF-8")
	}
	lines := strings.Split(strings.TrimRight(string(raw), "\r\n"), "\n")
	if len(lines) > maxFragmentLines {
		return nil, refuse(CodeBadFragment, "the fragment has more than %d lines", maxFragmentLines)
	}
	for i, l := range lines {
		l = strings.TrimSuffix(l, "\r")
		if len(l) < 2 || l[1] != '=' || strings.ContainsFunc(l, isControl) {
			return nil, refuse(CodeBadFragment, "line %d is not of the form a=value", i+1)
		}
		lines[i] = l
	}
	return lines, nil
}

func (s *fragmentSection) read(attr string) *OfferError {
	key, value, _ := strings.Cut(attr, ":")
	value = strings.TrimSpace(value)
	set := func(field *string) *OfferError {
		if *field != "" && *field != value {
			return refuse(CodeBadFragment, "%s appears twice with different values", key)
		}
		*field = value
		return nil
	}
	switch key {
	case "mid":
		if !isToken(value) {
			return refuse(CodeBadFragment, "a mid is malformed")
		}
		return set(&s.mid)
	case "ice-ufrag":
		return set(&s.ice.ufrag)
	case "ice-pwd":
		return set(&s.ice.pwd)
	case "", "candidate":
		// Scripts turn the browser's end of candidates, which is empty, into this.
		if value == "" {
			s.end = true
			return nil
		}
		if !isCandidate(value) {
			return refuse(CodeBadFragment, "a candidate is malformed")
		}
		if len(s.candidates) < maxCandidates {
			s.candidates = append(s.candidates, value)
		}
	case "end-of-candidates":
		s.end = true
	}
	return nil
}

// check wants credentials to be sound. Candidates may come with the user fragment
// alone.
func (s *fragmentSection) check() *OfferError {
	if s.ice == (credentials{}) {
		return nil
	}
	c := s.ice
	if c.pwd == "" {
		c.pwd = strings.Repeat("x", 22)
	}
	return c.check()
}

// isCandidate says whether v follows the grammar, whatever transport, type and
// address it names (RFC 8839, section 5.1).
func isCandidate(v string) bool {
	f := strings.Fields(v)
	if len(v) > 2*maxTokenBytes || len(f) < 8 || f[6] != "typ" || !isToken(f[2]) || !isToken(f[7]) {
		return false
	}
	component, err1 := strconv.ParseUint(f[1], 10, 16)
	_, err2 := strconv.ParseUint(f[3], 10, 32)
	_, err3 := strconv.ParseUint(f[5], 10, 16)
	return err1 == nil && err2 == nil && err3 == nil && component > 0
}

// section returns the one that counts for o: that of the tagged m-line, else the
// first with credentials or candidates, for a client may have its own idea of
// which m-line is first. What stands before all m-lines is for each of them.
func (f *fragment) section(o *Offer) fragmentSection {
	all := append([]*fragmentSection{&f.session}, f.media...)
	i := slices.IndexFunc(f.media, func(s *fragmentSection) bool { return s.mid == o.tagged().mid })
	if i < 0 {
		i = slices.IndexFunc(f.media, func(s *fragmentSection) bool {
			return (s.mid == "" || o.hasMid(s.mid)) && (s.ice != (credentials{}) || len(s.candidates) > 0)
		})
	}
	out := *all[i+1]
	if out.ice.ufrag == "" {
		out.ice.ufrag = f.session.ice.ufrag
	}
	if out.ice.pwd == "" {
		out.ice.pwd = f.session.ice.pwd
	}
	out.candidates = nil
	for _, s := range all {
		// Others of the bundle have the same transport, if they say nothing else.
		other := s.ice.ufrag != "" && s.ice.ufrag != out.ice.ufrag
		if other || s.mid != "" && !o.hasMid(s.mid) {
			continue
		}
		out.candidates = append(out.candidates, s.candidates...)
	}
	return out
}

func (o *Offer) hasMid(mid string) bool {
	return slices.ContainsFunc(o.sections, func(s *section) bool { return s.mid == mid })
}

// ofUfrag leaves out the candidates that name another user fragment.
func ofUfrag(lines []string, ufrag string) []string {
	var out []string
	for _, l := range lines {
		f := strings.Fields(l)
		i := slices.Index(f, "ufrag")
		if i < 8 || i+1 >= len(f) || f[i+1] == ufrag {
			out = append(out, l)
		}
	}
	return out
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
		addr, err := netip.ParseAddr(fields[4])
		if err != nil || addr.IsUnspecified() || addr.IsMulticast() {
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
