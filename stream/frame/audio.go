package frame

import "time"

// OpusDuration is how long an Opus packet plays, read from its TOC byte (RFC
// 6716, section 3.1); 0 if packet is no valid Opus packet. At most 120 ms.
func OpusDuration(packet []byte) time.Duration {
	if len(packet) == 0 {
		return 0
	}
	toc := packet[0]
	var frame time.Duration
	switch config := toc >> 3; {
	case config < 12: // SILK
		frame = []time.Duration{10, 20, 40, 60}[config&3] * time.Millisecond
	case config < 16: // hybrid
		frame = []time.Duration{10, 20}[config&1] * time.Millisecond
	default: // CELT
		frame = 2500 * time.Microsecond << (config & 3)
	}
	count := time.Duration(1)
	switch toc & 3 {
	case 1, 2:
		count = 2
	case 3:
		if len(packet) < 2 {
			return 0
		}
		count = time.Duration(packet[1] & 0x3f)
	}
	if d := frame * count; d <= 120*time.Millisecond {
		return d
	}
	return 0
}

const (
	aacSamples = 1024      // per AAC-LC frame
	maxAAC     = 1<<13 - 1 // size field of AAC-hbr
)

// PackAAC makes an RTP payload of one raw AAC frame (RFC 3640, section 3.3.6:
// mode AAC-hbr, sizelength=13;indexlength=3;indexdeltalength=3). It returns nil
// for frames that are empty or longer than 8191 bytes. The result is a copy.
func PackAAC(raw []byte) []byte {
	if len(raw) == 0 || len(raw) > maxAAC {
		return nil
	}
	out := make([]byte, 0, 4+len(raw))
	out = append(out, 0, 16, byte(len(raw)>>5), byte(len(raw)<<3))
	return append(out, raw...)
}

// UnpackAAC returns the raw frames of an AAC-hbr payload; they share it. The
// last may be shorter than its announced size, want: a fragment, which goes on
// in the next packet. It reports false if the payload is malformed.
func UnpackAAC(payload []byte) (frames [][]byte, want int, ok bool) {
	if len(payload) < 4 {
		return nil, 0, false
	}
	headerBits := int(payload[0])<<8 | int(payload[1])
	n := headerBits / 16
	if n == 0 || headerBits%16 != 0 || 2+2*n > len(payload) {
		return nil, 0, false
	}
	headers, data := payload[2:2+2*n], payload[2+2*n:]
	for i := range n {
		want = int(headers[2*i])<<5 | int(headers[2*i+1])>>3
		if want == 0 || len(data) == 0 || want > len(data) && n > 1 {
			return nil, 0, false
		}
		size := min(want, len(data))
		frames = append(frames, data[:size:size])
		data = data[size:]
	}
	return frames, want, true
}

// aacFragment collects a frame that is spread over several packets.
type aacFragment struct {
	data []byte
	want int // size of the whole frame; 0: none under way
}

// push returns the frames that payload completes. It reports false if payload
// is malformed or does not fit the fragment under way.
func (f *aacFragment) push(payload []byte, marker bool) ([][]byte, bool) {
	frames, want, ok := UnpackAAC(payload)
	if !ok {
		*f = aacFragment{}
		return nil, false
	}
	if f.want == 0 && len(frames[len(frames)-1]) == want {
		return frames, true
	}
	if len(frames) != 1 || f.want != 0 && want != f.want {
		*f = aacFragment{}
		return nil, false
	}
	f.want = want
	f.data = append(f.data, frames[0]...)
	if len(f.data) < want && !marker {
		return nil, true
	}
	whole := f.data
	*f = aacFragment{}
	return [][]byte{whole}, len(whole) == want
}
