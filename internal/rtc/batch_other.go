//go:build !linux

package rtc

// batchWriter sends packet by packet.
type batchWriter struct{ e *Endpoint }

func newBatchWriter(e *Endpoint) *batchWriter { return &batchWriter{e} }

// write sends all of queue.
func (w *batchWriter) write(arena []byte, queue []message) {
	for _, m := range queue {
		for start, end := m.start, m.start+m.size; start < end; start += m.segment {
			if _, err := w.e.udp.conn.WriteToUDP(arena[start:min(start+m.segment, end)], m.to.udp); err != nil {
				w.e.count.dropped.Add(1)
				continue
			}
			w.e.count.messages.Add(1)
		}
	}
}
