package playback

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream/frame"
)

// The layout of an Ogg page (RFC 3533, section 6).
const (
	oggHeader    = 27 // bytes, before the segment table
	oggFlagsAt   = 5
	oggGranuleAt = 6
	oggContinued = 0x01
	maxOggPage   = oggHeader + 255 + 255*255
)

// oggPage splits the page at the head of b. It reports false if there is no
// whole one.
func oggPage(b []byte) (table, body, rest []byte, ok bool) {
	if len(b) < oggHeader || !bytes.HasPrefix(b, []byte("OggS\x00")) {
		return nil, nil, nil, false
	}
	segments := int(b[oggHeader-1])
	if len(b) < oggHeader+segments {
		return nil, nil, nil, false
	}
	table = b[oggHeader : oggHeader+segments]
	n := 0
	for _, s := range table {
		n += int(s)
	}
	rest = b[oggHeader+segments:]
	if len(rest) < n {
		return nil, nil, nil, false
	}
	return table, rest[:n], rest[n:], true
}

// oggPackets calls visit with each whole packet of a page. The recorder writes
// one to a page, none across pages; others' packets across pages are left out.
func oggPackets(table, body []byte, continued bool, visit func(packet []byte)) {
	n := 0
	for _, s := range table {
		n += int(s)
		if s == 255 {
			continue
		}
		if !continued {
			visit(body[:n])
		}
		body, n, continued = body[n:], 0, false
	}
}

// parseOgg returns the packets in b, which begins at a page whose first packet
// has the time at. A torn page at the end is left out.
func parseOgg(b []byte, at int64) ([]sample, error) {
	var out []sample
	for len(b) > 0 && len(out) < maxFrames {
		table, body, rest, ok := oggPage(b)
		if !ok {
			break
		}
		oggPackets(table, body, b[oggFlagsAt]&oggContinued != 0, func(packet []byte) {
			if d := ticksOf(packet); d > 0 {
				out = append(out, sample{at: at, key: true, data: packet})
				at += d
			}
		})
		b = rest
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no page", ErrBroken)
	}
	return out, nil
}

// ticksOf is how long an Opus packet plays, in ticks.
func ticksOf(packet []byte) int64 {
	return int64(frame.OpusDuration(packet)) * audioClock / 1e9
}

// markEvery is the time between two marks of an audio file, in ticks.
const markEvery = 2 * audioClock

// scanOgg makes the index of an Ogg file that has none. It walks over the pages;
// the granule position of each is the time of its end, pre-skip included.
func scanOgg(f io.ReaderAt, size int64) []storage.IndexEntry {
	var (
		marks   []storage.IndexEntry
		preSkip = int64(-1)
		begin   int64 // of the page, in ticks
		n       int64 // packets
	)
	buf := make([]byte, maxOggPage)
	for off := int64(0); off < size; {
		got, err := f.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if err != nil && got == 0 {
			return marks
		}
		table, body, rest, ok := oggPage(buf[:got])
		if !ok {
			return marks
		}
		switch {
		case bytes.HasPrefix(body, []byte("OpusHead")) && len(body) >= 12:
			preSkip = int64(binary.LittleEndian.Uint16(body[10:]))
			begin = -preSkip
		case bytes.HasPrefix(body, []byte("OpusTags")):
		case preSkip < 0:
			return nil
		default:
			if begin >= 0 && (len(marks) == 0 || begin-marks[len(marks)-1].PTS >= markEvery) {
				marks = append(marks, storage.IndexEntry{Frame: n, Offset: off, PTS: begin})
			}
			oggPackets(table, body, false, func([]byte) { n++ })
			begin = max(begin, int64(binary.LittleEndian.Uint64(buf[oggGranuleAt:]))-preSkip)
		}
		off += int64(got - len(rest))
	}
	return marks
}

// Silent Opus packets: CELT, fullband, stereo, with the silence flag set, of
// 2.5, 5, 10 and 20 ms. The first byte (RFC 6716, section 3.1) tells which.
const (
	silenceTOC  = 0xe4
	silenceStep = audioClock / 400 // 2.5 ms
	silenceMax  = 3
)

// silence returns packets that fill from..to, up to 2.5 ms short of it.
func silence(from, to int64) []sample {
	var out []sample
	for from+silenceStep <= to {
		n := silenceMax
		for from+silenceStep<<n > to {
			n--
		}
		out = append(out, sample{at: from, key: true, data: []byte{silenceTOC + byte(n)<<3, 0xff, 0xfe}})
		from += silenceStep << n
	}
	return out
}
