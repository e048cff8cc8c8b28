package rtc

import (
	"encoding/binary"
	"errors"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// batchWriter sends messages with sendmmsg, those of several packets with
// generic segmentation offload: the kernel cuts them (UDP_SEGMENT, udp(7)).
type batchWriter struct {
	e        *Endpoint
	messages [batchMessages]ipv4.Message
	control  [batchMessages][]byte
	one      [1]ipv4.Message
	oneBuf   [1][]byte
}

// probeSending finds out how packets can go out, and says so if it is not the
// best way. The kernel may lack segmentation altogether (before Linux 4.18); that
// a card or a path refuses it shows only later, see retry.
func (e *Endpoint) probeSending(conn *net.UDPConn) {
	switch {
	case e.cfg.NoBatch:
		e.log.Info("batched sending is switched off, packets go out one by one")
		return
	case e.cfg.NoGSO:
		e.noGSO = true
		e.log.Info("udp segmentation is switched off, packets go out one by one")
		return
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var refused error
		err = raw.Control(func(fd uintptr) { _, refused = unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT) })
		err = errors.Join(err, refused)
	}
	if err != nil {
		e.noGSO = true
		e.log.Warn("the kernel lacks udp segmentation, packets go out one by one", "err", err)
	}
}

// newWriter returns the writer of a batch.
func (e *Endpoint) newWriter() messageWriter {
	if e.cfg.NoBatch {
		return plainWriter{e}
	}
	return newBatchWriter(e)
}

func newBatchWriter(e *Endpoint) *batchWriter {
	w := &batchWriter{e: e}
	buffers := make([][]byte, batchMessages)
	for i := range w.messages {
		w.messages[i].Buffers = buffers[i : i+1 : i+1]
		w.control[i] = segmentControl()
	}
	w.one[0].Buffers = w.oneBuf[:]
	return w
}

// segmentControl builds a control message of type UDP_SEGMENT; the size is
// filled in by setSegment. The header is the struct cmsghdr of the C library:
// a length of the size of a pointer, the level and the type.
func segmentControl() []byte {
	b := make([]byte, unix.CmsgSpace(2))
	if unix.SizeofPtr == 8 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(2)))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(2)))
	}
	binary.NativeEndian.PutUint32(b[unix.SizeofPtr:], unix.SOL_UDP)
	binary.NativeEndian.PutUint32(b[unix.SizeofPtr+4:], unix.UDP_SEGMENT)
	return b
}

func setSegment(control []byte, size int) {
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(size))
}

// write sends all of queue.
func (w *batchWriter) write(arena []byte, queue []message) {
	for i := range queue {
		m, out := &queue[i], &w.messages[i]
		out.Buffers[0] = arena[m.start : m.start+m.size]
		out.Addr, out.OOB = m.to.udp, nil
		if m.segments > 1 {
			setSegment(w.control[i], m.segment)
			out.OOB = w.control[i]
		}
	}
	for off := 0; off < len(queue); {
		n, err := w.e.udp.batch.WriteBatch(w.messages[off:len(queue)], 0)
		if n > 0 {
			w.e.count.messages.Add(uint64(n))
			off += n
		}
		if err != nil {
			// The first of those left was refused.
			w.retry(arena, &queue[off], err)
			off++
		}
	}
}

// retry deals with a refused message: one of several packets is sent packet by
// packet, one packet is lost.
func (w *batchWriter) retry(arena []byte, m *message, err error) {
	if m.segments == 1 {
		w.e.count.dropped.Add(1)
		return
	}
	if refusesSegments(err) {
		m.to.single.Store(true)
		if w.e.warned.CompareAndSwap(false, true) {
			w.e.log.Warn("kernel or network card refuses UDP segmentation, sending packets one by one", "remote", m.to.addr, "err", err)
		}
	}
	for start, end := m.start, m.start+m.size; start < end; start += m.segment {
		w.oneBuf[0] = arena[start:min(start+m.segment, end)]
		w.one[0].Addr = m.to.udp
		if _, err := w.e.udp.batch.WriteBatch(w.one[:], 0); err != nil {
			w.e.count.dropped.Add(1)
			continue
		}
		w.e.count.messages.Add(1)
	}
}

// refusesSegments: EIO comes from cards that cannot checksum and from tunnels,
// EINVAL and EMSGSIZE from paths with a smaller MTU, the others from old kernels.
// So it is a matter of the path, not of the socket.
func refusesSegments(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE) ||
		errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT)
}
