package storage

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"
)

// The layout of an Ogg Opus file (RFC 3533, RFC 7845).
const (
	audioClock   = 48000
	preSkip      = 3840 // samples that a decoder drops at the begin; fixed by pion
	oggHeader    = 27   // bytes, before the segment table
	oggGranuleAt = 6
	oggCRCAt     = 22
	oggEOS       = 0x04
	oggPoly      = 0x04c11db7
)

// Silent Opus packets: CELT, fullband, stereo, with the silence flag set. They
// come in four lengths; the first byte (RFC 6716, section 3.1) tells which.
const (
	silenceStep    = 120 // samples in 2.5 ms, the shortest
	silenceTOC     = 0xe4
	silenceTOCStep = 0x08
	silenceMax     = 3 // 2.5 ms << 3 = 20 ms
)

// oggWriter puts Opus packets into a mediaFile, one page each.
type oggWriter struct {
	m       *mediaFile
	w       *oggwriter.Writer
	track   *oggwriter.Track
	samples int64 // written, pre-skip taken off
	packets int64
}

// newOggWriter writes the headers and as much silence as decoders drop, so that
// the first real sample lies at 0 and none is cut.
func newOggWriter(m *mediaFile, vendor string) (*oggWriter, error) {
	w, err := oggwriter.NewWriter(m, oggwriter.WithVendor(vendor), oggwriter.WithSeekableOutput(m),
		oggwriter.WithSampleRate(audioClock), oggwriter.WithChannelCount(2))
	if err != nil {
		return nil, fmt.Errorf("starting Ogg: %w", err)
	}
	t, err := w.NewTrack(0)
	if err != nil {
		return nil, fmt.Errorf("starting Ogg: %w", err)
	}
	o := &oggWriter{m: m, w: w, track: t, samples: -preSkip}
	return o, o.silence(preSkip)
}

// write appends a packet that plays for samples.
func (o *oggWriter) write(packet []byte, samples int64) error {
	if err := o.collect(packet, samples); err != nil {
		o.m.drop()
		return err
	}
	return o.m.commit()
}

func (o *oggWriter) collect(packet []byte, samples int64) error {
	p := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: packet}
	if err := o.track.WriteRTP(&p); err != nil {
		return fmt.Errorf("%w: %w", errBadFrame, err)
	}
	o.samples += samples
	o.packets++
	return nil
}

// silenceBatch is how many packets of silence are written in one call.
const silenceBatch = 500

// silence appends as much silence as fits into samples: whole 2.5 ms.
func (o *oggWriter) silence(samples int64) error {
	for n := 1; samples >= silenceStep; n++ {
		length := silenceMax
		for silenceStep<<length > samples {
			length--
		}
		packet := []byte{silenceTOC + byte(length)*silenceTOCStep, 0xff, 0xfe}
		if err := o.collect(packet, silenceStep<<length); err != nil {
			return err
		}
		samples -= silenceStep << length
		if n%silenceBatch == 0 {
			if err := o.m.commit(); err != nil {
				return err
			}
		}
	}
	return o.m.commit()
}

// close marks the last page as the end.
func (o *oggWriter) close() error {
	if err := o.w.Close(); err != nil {
		return fmt.Errorf("closing Ogg: %w", err)
	}
	return o.m.commit()
}

func samplesOf(d time.Duration) int64 { return int64(d * audioClock / time.Second) }

func samplesTime(n int64) time.Duration { return time.Duration(n) * time.Second / audioClock }

// oggPage is a page as it stands in a file.
type oggPage struct {
	head    []byte // with the segment table
	body    []byte
	granule int64
}

// readOggPage reads the page at off in a file of size bytes. It reports false
// if there is no whole page with a right checksum.
func readOggPage(f io.ReaderAt, off, size int64, table *[256]uint32) (oggPage, bool) {
	var fixed [oggHeader]byte
	if off+oggHeader > size {
		return oggPage{}, false
	}
	if _, err := f.ReadAt(fixed[:], off); err != nil || string(fixed[:5]) != "OggS\x00" {
		return oggPage{}, false
	}
	segments := int64(fixed[26])
	head := make([]byte, oggHeader+segments)
	if off+int64(len(head)) > size {
		return oggPage{}, false
	}
	if _, err := f.ReadAt(head, off); err != nil {
		return oggPage{}, false
	}
	length := int64(0)
	for _, s := range head[oggHeader:] {
		length += int64(s)
	}
	body := make([]byte, length)
	if off+int64(len(head))+length > size {
		return oggPage{}, false
	}
	if _, err := f.ReadAt(body, off+int64(len(head))); err != nil {
		return oggPage{}, false
	}
	p := oggPage{head: head, body: body, granule: int64(binary.LittleEndian.Uint64(head[oggGranuleAt:]))}
	return p, p.crc(table) == binary.LittleEndian.Uint32(head[oggCRCAt:])
}

func (p *oggPage) size() int64 { return int64(len(p.head) + len(p.body)) }

// crc is the checksum over the page with the checksum taken as 0.
func (p *oggPage) crc(table *[256]uint32) uint32 {
	var sum uint32
	for i, b := range p.head {
		if i >= oggCRCAt && i < oggCRCAt+4 {
			b = 0
		}
		sum = sum<<8 ^ table[byte(sum>>24)^b]
	}
	for _, b := range p.body {
		sum = sum<<8 ^ table[byte(sum>>24)^b]
	}
	return sum
}

// oggTable is the table for checksums: polynomial 0x04c11db7, most significant
// bit first, which hash/crc32 does not have.
func oggTable() *[256]uint32 {
	var t [256]uint32
	for i := range t {
		v := uint32(i) << 24
		for range 8 {
			if v&(1<<31) != 0 {
				v = v<<1 ^ oggPoly
			} else {
				v <<= 1
			}
		}
		t[i] = v
	}
	return &t
}

// oggScan is what a walk over the pages of an Ogg file found.
type oggScan struct {
	packets int64
	samples int64 // pre-skip taken off
	size    int64 // bytes up to the end of the last whole page
	lastAt  int64 // offset of the last page
	marks   []IndexEntry
}

// oggHeaders is the number of pages before the first packet: id and comments.
const oggHeaders = 2

// scanOgg walks over the pages of a file of size bytes, from the last of marks
// on if there are any, and ends at the first page that is torn or damaged.
func scanOgg(f io.ReaderAt, size int64, marks []IndexEntry) oggScan {
	s := oggScan{packets: -oggHeaders, marks: marks, samples: -preSkip}
	if n := len(marks); n > 0 {
		last := marks[n-1]
		s.packets, s.size, s.samples = last.Frame, last.Offset, last.PTS
		s.lastAt, s.marks = last.Offset, marks[:n-1]
	}
	table := oggTable()
	for {
		p, ok := readOggPage(f, s.size, size, table)
		if !ok {
			return s
		}
		if s.packets >= 0 && s.samples >= 0 {
			if n := len(s.marks); n == 0 || s.samples-s.marks[n-1].PTS >= audioMarkEvery {
				s.marks = append(s.marks, IndexEntry{Frame: s.packets, Offset: s.size, PTS: s.samples})
			}
		}
		if s.packets >= 0 {
			s.samples = max(p.granule-preSkip, s.samples)
		}
		s.packets++
		s.lastAt = s.size
		s.size += p.size()
	}
}

// endOgg sets the flag for the end of the stream on the page at off.
func endOgg(f interface {
	io.ReaderAt
	io.WriterAt
}, off, size int64,
) error {
	table := oggTable()
	p, ok := readOggPage(f, off, size, table)
	if !ok {
		return fmt.Errorf("ending Ogg: no page at %d", off)
	}
	p.head[5] |= oggEOS
	binary.LittleEndian.PutUint32(p.head[oggCRCAt:], p.crc(table))
	if _, err := f.WriteAt(p.head, off); err != nil {
		return fmt.Errorf("ending Ogg: %w", err)
	}
	return nil
}
