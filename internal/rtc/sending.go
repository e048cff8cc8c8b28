package rtc

// Sending is how packets to viewers leave. All but SendAuto cost more; they are
// for finding out whether the kernel or a network card is at fault.
type Sending int

// The ways of sending.
const (
	SendAuto   Sending = iota // as well as the system can, each path by itself
	SendBatch                 // several packets in a call, but none joined (no UDP_SEGMENT)
	SendSingle                // one call for each packet
)

// sayHow logs once how packets leave, where that is not the best way there is.
func (e *Endpoint) sayHow() {
	switch {
	case !batched:
		e.log.Info("sending packets one by one: this system takes no batches")
	case e.cfg.Sending == SendBatch:
		e.log.Warn("sending without udp segmentation: it is switched off")
	case e.cfg.Sending == SendSingle:
		e.log.Warn("sending packets one by one: batches are switched off")
	}
}

// writeSingle sends what is queued packet by packet. Packets that the kernel
// refuses are dropped and counted.
func (e *Endpoint) writeSingle(arena []byte, queue []message) {
	for _, m := range queue {
		for start, end := m.start, m.start+m.size; start < end; start += m.segment {
			if _, err := e.udp.conn.WriteToUDP(arena[start:min(start+m.segment, end)], m.to.udp); err != nil {
				e.count.dropped.Add(1)
				continue
			}
			e.count.messages.Add(1)
		}
	}
}
