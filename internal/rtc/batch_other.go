//go:build !linux

package rtc

// batched says whether the system takes several messages in one call.
const batched = false

// batchWriter sends packet by packet.
type batchWriter struct{ e *Endpoint }

func newBatchWriter(e *Endpoint) *batchWriter { return &batchWriter{e} }

// write sends all of queue.
func (w *batchWriter) write(arena []byte, queue []message) { w.e.writeSingle(arena, queue) }
