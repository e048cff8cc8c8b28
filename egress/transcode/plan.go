package transcode

import "github.com/lectern/lectern/stream"

// plan says for each kind of track (the index) what a rendition does with it.
type plan [2]way

// way is what becomes of one track.
type way struct {
	codec stream.Codec // of the source; "" when the rendition lacks the kind
	pass  bool         // units go on as they are; else they are encoded
}

// newPlan decides for the tracks of a source. Without an encoder only what needs
// none is left.
func newPlan(tracks []*stream.Track, want Want, encoder bool) plan {
	var p plan
	for _, t := range tracks {
		w := way{codec: t.Codec, pass: t.Codec == stream.H264 || t.Codec == stream.AAC}
		if !w.pass && (!encoder || t.Kind == stream.Video && want == AudioOnly) {
			continue
		}
		p[t.Kind] = w
	}
	return p
}

// kinds are those that the rendition has.
func (p plan) kinds() []stream.Kind {
	var ks []stream.Kind
	for k, w := range p {
		if w.codec != "" {
			ks = append(ks, stream.Kind(k))
		}
	}
	return ks
}

func (p plan) encodes(k stream.Kind) bool { return p[k].codec != "" && !p[k].pass }
func (p plan) passes(k stream.Kind) bool  { return p[k].codec != "" && p[k].pass }

func (p plan) encodesAny() bool { return p.encodes(stream.Audio) || p.encodes(stream.Video) }
func (p plan) passesAny() bool  { return p.passes(stream.Audio) || p.passes(stream.Video) }
