package rtc

import (
	"slices"
	"strconv"
	"strings"
)

// maxLayers bounds what one publisher may send: browsers have 3 qualities, OBS
// up to 4. The answer leaves out the rest (RFC 8853, section 5.3.2).
const maxLayers = 4

// maxRidBytes is what a header extension can hold.
const maxRidBytes = 255

// offeredLayer is a quality of the video that the peer offers to send.
type offeredLayer struct {
	name   string
	limits string // restrictions of a=rid (RFC 8851), for the answer
	paused bool   // not sent until the peer thinks better of it
	ssrc   uint32 // of a SIM group, else 0
}

// Layers returns the names (rids) of the qualities that the publisher offers of
// its video, in its order, if they can be told apart; nil if there is one only.
// The order says nothing of their size. Those of publishers that declare a group
// of SSRCs instead (a=ssrc-group:SIM) are named "0", "1" and so on.
func (o *Offer) Layers() []string {
	s := o.section(Video)
	if s == nil || len(s.layers) < 2 {
		return nil
	}
	out := make([]string, len(s.layers))
	for i, l := range s.layers {
		out[i] = l.name
	}
	return out
}

// namesLayers says whether the answer names layers by their rids.
func (s *section) namesLayers() bool { return len(s.layers) > 0 && s.layers[0].ssrc == 0 }

// readLayers finds out in which qualities the peer offers to send its video. It
// needs codecs and extensions. What is malformed counts for nothing: the answer
// is without simulcast then, and the peer sends one quality.
func (s *section) readLayers(m *mediaLines) {
	// Without the extension packets of layers could not be told apart.
	if values := m.attrs.all("simulcast"); len(values) == 1 && s.extension(ridURI) != 0 {
		streams, paused := readSimulcast(values[0])
		s.layers = chooseLayers(streams, s.readRids(m))
		for i, l := range s.layers {
			s.layers[i].paused = paused[l.name]
		}
	}
	if len(s.layers) == 0 {
		s.layers = readSIM(m)
	}
}

// readSimulcast returns the streams that the peer offers to send, each with its
// alternatives in order of preference (RFC 8853, section 5.1), and those of them
// that are paused at first (~).
func readSimulcast(value string) (streams [][]string, paused map[string]bool) {
	f := strings.Fields(value)
	i := slices.Index(f, "send")
	if i < 0 || i+1 >= len(f) || i%2 != 0 {
		return nil, nil
	}
	paused = map[string]bool{}
	for _, one := range strings.Split(f[i+1], ";") {
		var rids []string
		for _, rid := range strings.Split(one, ",") {
			name, off := strings.CutPrefix(rid, "~")
			rids = append(rids, name)
			paused[name] = off
		}
		streams = append(streams, rids)
	}
	return streams, paused
}

// chooseLayers takes the first usable alternative of each stream.
func chooseLayers(streams [][]string, rids map[string]string) []offeredLayer {
	var out []offeredLayer
	for _, alternatives := range streams {
		for _, rid := range alternatives {
			limits, ok := rids[rid]
			if !ok {
				continue
			}
			out = append(out, offeredLayer{name: rid, limits: limits})
			delete(rids, rid) // for one stream only
			break
		}
		if len(out) == maxLayers {
			break
		}
	}
	return out
}

// readRids returns the usable rids that the peer sends, with the restrictions
// for the answer (RFC 8851, section 6.3).
func (s *section) readRids(m *mediaLines) map[string]string {
	out, seen := map[string]string{}, map[string]bool{}
	for _, v := range m.attrs.all("rid") {
		f := strings.SplitN(v, " ", 3)
		if len(f) < 2 || !isRid(f[0]) {
			continue
		}
		if seen[f[0]] {
			delete(out, f[0]) // two meanings
			continue
		}
		seen[f[0]] = true
		limits, ok := "", true
		if len(f) == 3 {
			limits, ok = s.readLimits(f[2])
		}
		if f[1] == "send" && ok {
			out[f[0]] = limits
		}
	}
	return out
}

// isRid is stricter than the first text of the grammar, as an erratum has it
// but for two signs that are seen.
func isRid(s string) bool {
	return s != "" && len(s) <= maxRidBytes &&
		!strings.ContainsFunc(s, func(r rune) bool { return !isAlphanumeric(r) && r != '-' && r != '_' })
}

// readLimits returns the restrictions as the answer repeats them: payload types
// that were not chosen are left out. False: there is one that we do not know, or
// no payload type is left, or the layer cannot be decoded alone (depend).
func (s *section) readLimits(text string) (string, bool) {
	known := []string{"max-width", "max-height", "max-fps", "max-fs", "max-br", "max-pps", "max-bpp"}
	var out []string
	for _, limit := range strings.Split(text, ";") {
		limit = strings.TrimSpace(limit)
		key, value, _ := strings.Cut(limit, "=")
		switch {
		case key == "pt":
			if limit = s.carried(value); limit == "" {
				return "", false
			}
			limit = "pt=" + limit
		case !slices.Contains(known, key):
			return "", false
		}
		if !isPrintable(limit) || slices.ContainsFunc(out, func(o string) bool { return strings.HasPrefix(o, key+"=") || o == key }) {
			return "", false
		}
		out = append(out, limit)
	}
	return strings.Join(out, ";"), true
}

// carried returns those of the listed payload types that are negotiated.
func (s *section) carried(list string) string {
	var out []string
	for _, name := range strings.Split(list, ",") {
		pt, err := strconv.ParseUint(name, 10, 7)
		if err == nil && slices.ContainsFunc(s.codecs, func(c offeredCodec) bool { return c.PayloadType == uint8(pt) }) {
			out = append(out, name)
		}
	}
	return strings.Join(out, ",")
}

// readSIM returns the layers of a peer that declares their sources, from before
// there were rids.
func readSIM(m *mediaLines) []offeredLayer {
	for _, v := range m.attrs.all("ssrc-group") {
		f := strings.Fields(v)
		if len(f) < 3 || f[0] != "SIM" || len(f)-1 > maxLayers {
			continue
		}
		var out []offeredLayer
		for i, id := range f[1:] {
			n, err := strconv.ParseUint(id, 10, 32)
			if err != nil || n == 0 || slices.ContainsFunc(out, func(l offeredLayer) bool { return l.ssrc == uint32(n) }) {
				return nil
			}
			out = append(out, offeredLayer{name: strconv.Itoa(i), ssrc: uint32(n)})
		}
		return out
	}
	return nil
}

// writeLayers answers the simulcast. The mark of paused layers is repeated: an
// answer without it makes Chrome send what its page has switched off.
func (s *section) writeLayers(w *sdpWriter) {
	if !s.namesLayers() {
		return
	}
	var names []string
	for _, l := range s.layers {
		if l.paused {
			names = append(names, "~"+l.name)
		} else {
			names = append(names, l.name)
		}
		if l.limits == "" {
			w.line("a=rid:%s recv", l.name)
		} else {
			w.line("a=rid:%s recv %s", l.name, l.limits)
		}
	}
	w.line("a=simulcast:recv %s", strings.Join(names, ";"))
}
