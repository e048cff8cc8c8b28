package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of what a peer may send. They keep memory finite whatever it is.
const (
	handshakeSize = 1 + 1536 + 1536 // C0, C1, C2

	maxCommand   = 64 << 10  // bytes of one message
	maxHeld      = 128 << 10 // bytes of all unfinished messages
	maxChunkSize = 0xffffff
	maxChannels  = 16 // chunk streams

	firstChunkSize = 128 // (RTMP 1.0, section 5.4.1)
	extended       = 0xffffff
)

// Message types (RTMP 1.0, sections 5.4 and 7.1).
const (
	typeSetChunkSize = 1
	typeAbort        = 2
	typeAMF3Command  = 17
	typeAMF0Command  = 20
)

var errInbound = errors.New("rtmp: malformed or excessive input")

// inbound stands between a peer and the library. It reads the chunk stream as
// the specification has it, bounds and checks the messages, and gives the
// library only those that mean something to us, each as one chunk with a whole
// header. So the library never sees what it cannot stand: empty messages,
// extended timestamps on continued chunks, huge AMF arrays, requests for
// acknowledgements at odd times.
type inbound struct {
	r         *bufio.Reader
	handshake int // bytes of the handshake still to pass
	chunkSize int
	channels  map[int]*channel
	held      int    // bytes in all channels
	out       []byte // what the library has not read yet
}

// channel is the state of one chunk stream.
type channel struct {
	timestamp, delta uint32
	length           int
	kind             byte
	streamID         uint32
	extended         bool
	begun            bool // a header has been seen
	payload          []byte
}

func newInbound(r io.Reader) *inbound {
	return &inbound{
		r: bufio.NewReaderSize(r, 4096), handshake: handshakeSize,
		chunkSize: firstChunkSize, channels: make(map[int]*channel),
	}
}

// Read gives the library at most what is left of one message.
func (in *inbound) Read(p []byte) (int, error) {
	if in.handshake > 0 {
		n, err := in.r.Read(p[:min(len(p), in.handshake)])
		in.handshake -= n
		return n, err
	}
	for len(in.out) == 0 {
		if err := in.chunk(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.out)
	in.out = in.out[n:]
	return n, nil
}

// chunk reads one chunk (RTMP 1.0, section 5.3.1).
func (in *inbound) chunk() error {
	format, id, err := in.basicHeader()
	if err != nil {
		return err
	}
	c := in.channels[id]
	if c == nil {
		if len(in.channels) >= maxChannels {
			return fmt.Errorf("%w: too many chunk streams", errInbound)
		}
		c = &channel{}
		in.channels[id] = c
	}
	if !c.begun && format != 0 {
		return fmt.Errorf("%w: chunk stream begins without a header", errInbound)
	}
	if err := in.messageHeader(c, format); err != nil {
		return err
	}
	n := min(c.length-len(c.payload), in.chunkSize)
	if in.held+n > maxHeld {
		return fmt.Errorf("%w: too much unfinished", errInbound)
	}
	at := len(c.payload)
	c.payload = append(c.payload, make([]byte, n)...)
	in.held += n
	if _, err := io.ReadFull(in.r, c.payload[at:]); err != nil {
		return err
	}
	if len(c.payload) < c.length {
		return nil
	}
	payload := c.payload
	in.held -= len(payload)
	c.payload = nil
	return in.message(id, c, payload)
}

func (in *inbound) basicHeader() (format byte, id int, err error) {
	b, err := in.r.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	format, id = b>>6, int(b&63)
	if id > 1 {
		return format, id, nil
	}
	var more [2]byte
	if _, err := io.ReadFull(in.r, more[:id+1]); err != nil {
		return 0, 0, err
	}
	return format, 64 + int(more[0]) + 256*int(more[1]), nil
}

// messageHeader reads what the format has of the message header.
func (in *inbound) messageHeader(c *channel, format byte) error {
	var h [11]byte
	size := [4]int{11, 7, 3, 0}[format]
	if _, err := io.ReadFull(in.r, h[:size]); err != nil {
		return err
	}
	continued := len(c.payload) > 0
	if continued && format != 3 {
		return fmt.Errorf("%w: message cut short by another", errInbound)
	}
	c.begun = true
	var ts uint32
	if format < 3 {
		ts = uint32(h[0])<<16 | uint32(h[1])<<8 | uint32(h[2])
		c.extended = ts == extended
	}
	if c.extended {
		var e [4]byte
		if _, err := io.ReadFull(in.r, e[:]); err != nil {
			return err
		}
		if format < 3 {
			ts = binary.BigEndian.Uint32(e[:])
		}
	}
	if format < 2 {
		c.length = int(h[3])<<16 | int(h[4])<<8 | int(h[5])
		c.kind = h[6]
		if c.length > maxCommand {
			return fmt.Errorf("%w: message of %d bytes", errInbound, c.length)
		}
	}
	switch {
	case format == 0:
		c.streamID = binary.LittleEndian.Uint32(h[7:])
		c.timestamp, c.delta = ts, 0
	case format < 3:
		c.delta = ts
		c.timestamp += ts
	case !continued:
		c.timestamp += c.delta
	}
	return nil
}

// message handles a whole message: it obeys it, drops it, or hands it on.
func (in *inbound) message(id int, c *channel, payload []byte) error {
	kind := c.kind
	switch kind {
	case typeSetChunkSize:
		if len(payload) < 4 {
			return errInbound
		}
		n := binary.BigEndian.Uint32(payload)
		if n < 1 || n > 0x7fffffff {
			return fmt.Errorf("%w: chunk size %d", errInbound, n)
		}
		in.chunkSize = int(min(n, maxChunkSize))
		return nil
	case typeAbort:
		if len(payload) < 4 {
			return errInbound
		}
		if a := in.channels[int(binary.BigEndian.Uint32(payload))]; a != nil {
			in.held -= len(a.payload)
			a.payload = nil
		}
		return nil
	case typeAMF3Command:
		// In practice this is AMF0 behind a zero byte.
		if len(payload) < 1 || payload[0] != 0 {
			return fmt.Errorf("%w: AMF3", errInbound)
		}
		kind, payload = typeAMF0Command, payload[1:]
	case typeAMF0Command:
	default:
		return nil // acknowledgements and the like: nothing that we need
	}
	if err := checkAMF(payload); err != nil {
		return err
	}
	in.emit(id, kind, c, payload)
	return nil
}

// emit makes one chunk of a message, with a whole header.
func (in *inbound) emit(id int, kind byte, c *channel, payload []byte) {
	b := make([]byte, 0, len(payload)+18)
	switch {
	case id < 64:
		b = append(b, byte(id))
	case id < 320:
		b = append(b, 0, byte(id-64))
	default:
		b = append(b, 1, byte(id-64), byte((id-64)>>8))
	}
	ts := min(c.timestamp, extended)
	b = append(b, byte(ts>>16), byte(ts>>8), byte(ts))
	b = append(b, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind)
	b = binary.LittleEndian.AppendUint32(b, c.streamID)
	if ts == extended {
		b = binary.BigEndian.AppendUint32(b, c.timestamp)
	}
	in.out = append(b, payload...)
}
