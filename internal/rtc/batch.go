package rtc

const (
	batchMessages   = 64
	batchArenaBytes = 256 << 10
	// The kernel takes up to 64 segments and 64 KiB in one message; beyond some
	// 40 there is nothing more to win.
	maxSegments     = 44
	maxMessageBytes = 63000
)

// message is one UDP message of a batch: one packet, or several of equal size
// for one peer, the last of which may be shorter.
type message struct {
	to          *path
	start, size int // bytes in the arena
	segment     int // bytes of each packet but the last
	segments    int
	full        bool // takes no more: its last packet was shorter
}

// Batch collects packets for viewers. It belongs to one goroutine. Write all
// that one viewer gets of a burst, then the next viewer's, then Flush.
type Batch struct {
	e        *Endpoint
	out      messageWriter
	single   bool // packets do not merge
	arena    []byte
	used     int
	messages [batchMessages]message
	n        int
	tcp      []*tcpPeer // that something was queued for
}

// NewBatch returns an empty batch. It holds some 300 KiB.
func (e *Endpoint) NewBatch() *Batch {
	return &Batch{e: e, out: e.newWriter(), single: e.noGSO, arena: make([]byte, batchArenaBytes)}
}

// messageWriter sends the messages of a batch, whose bytes are in arena. What
// the kernel refuses is dropped and counted.
type messageWriter interface {
	write(arena []byte, queue []message)
}

// plainWriter sends packet by packet: what every system can do.
type plainWriter struct{ e *Endpoint }

func (w plainWriter) write(arena []byte, queue []message) {
	for _, m := range queue {
		for start, end := m.start, m.start+m.size; start < end; start += m.segment {
			if _, err := w.e.udp.conn.WriteToUDPAddrPort(arena[start:min(start+m.segment, end)], m.to.addr); err != nil {
				w.e.count.dropped.Add(1)
				continue
			}
			w.e.count.messages.Add(1)
		}
	}
}

// Write seals one packet for s. prefix (two bytes for RTX, or nil) and payload
// together are the RTP payload; both may be used again after the return. A full
// batch flushes itself. Packets to a session without keys or path, and those
// that do not fit a datagram, are dropped and counted. Sequence numbers of an
// SSRC must not go backwards by more than 32767, and a number used twice must
// stand for the same packet: SRTP needs both.
func (b *Batch) Write(s *Session, h Header, prefix, payload []byte) {
	need := rtpHeaderBytes + len(prefix) + len(payload) + maxTagBytes
	if h.Transport || h.Descriptor != nil {
		need += maxExtensionHead + len(h.Descriptor)
	}
	p, out := s.path.Load(), s.out.Load()
	if p == nil || out == nil || need > maxRTPBytes {
		b.drop(s)
		return
	}
	if b.used+need > len(b.arena) || b.n == batchMessages {
		b.Flush()
	}
	packet, err := out.seal(b.arena[b.used:b.used:b.used+need], &h, prefix, payload)
	if err != nil {
		b.drop(s)
		return
	}
	if p.tcp != nil {
		if !p.tcp.queue(packet, tcpMediaLimit) {
			b.drop(s)
			return
		}
		b.kickLater(p.tcp)
	} else {
		b.add(p, len(packet))
	}
	s.count.packetsSent.Add(1)
	s.count.bytesSent.Add(uint64(len(prefix) + len(payload)))
	b.e.count.packets.Add(1)
	b.e.count.bytes.Add(uint64(len(packet)))
}

func (b *Batch) drop(s *Session) {
	s.count.packetsDropped.Add(1)
	b.e.count.dropped.Add(1)
}

// add queues the n bytes that were just sealed at the end of the arena.
func (b *Batch) add(to *path, n int) {
	start := b.used
	b.used += n
	if b.n > 0 && !b.single && !to.single.Load() {
		m := &b.messages[b.n-1]
		if m.to == to && !m.full && n <= m.segment && m.segments < maxSegments && m.size+n <= maxMessageBytes {
			m.size += n
			m.segments++
			m.full = n < m.segment
			return
		}
	}
	b.messages[b.n] = message{to: to, start: start, size: n, segment: n, segments: 1}
	b.n++
}

func (b *Batch) kickLater(p *tcpPeer) {
	if n := len(b.tcp); n == 0 || b.tcp[n-1] != p {
		b.tcp = append(b.tcp, p)
	}
}

// Flush sends what was written. Packets that the kernel refuses are dropped and
// counted.
func (b *Batch) Flush() {
	if b.n > 0 {
		b.out.write(b.arena, b.messages[:b.n])
	}
	for _, p := range b.tcp {
		p.kick()
	}
	clear(b.tcp)
	b.tcp, b.n, b.used = b.tcp[:0], 0, 0
}
