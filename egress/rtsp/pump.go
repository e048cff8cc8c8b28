package rtsp

import (
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/lectern/lectern/stream"
)

const (
	batchSize = 64

	// reportEvery is the period of sender reports (RFC 3550, section 6.2).
	reportEvery = 5 * time.Second

	// farewell is how long the queues of the players have to send the BYE.
	farewell = 200 * time.Millisecond
)

// gop is what came since the newest keyframe, sound included.
type gop struct {
	units []*stream.Unit // nil: none yet, or too many; nothing is kept until the next keyframe
}

// maxPrelude leaves the queue of a joiner room for what comes live meanwhile.
const maxPrelude = writeQueue * 3 / 4

// add appends u and reports whether u begins a keyframe.
func (g *gop) add(u *stream.Unit) (keyframe bool) {
	if u.Track.Kind == stream.Video && u.Keyframe {
		// Parameter sets and the IDR after them are both marked.
		if len(g.units) == 0 || g.units[0].Packet.Timestamp != u.Packet.Timestamp {
			g.units = make([]*stream.Unit, 0, batchSize)
			keyframe = true
		}
	}
	switch {
	case g.units == nil:
	case len(g.units) >= maxPrelude:
		g.units = nil
	default:
		g.units = append(g.units, u)
	}
	return keyframe
}

// pump sends units until the stream, its tracks or the feed ends.
func (f *feed) pump() error {
	if err := f.sendAll(f.queued); err != nil {
		return err
	}
	f.queued = nil
	batch := make([]*stream.Unit, batchSize)
	for {
		n, err := f.reader.ReadBatch(f.ctx, batch)
		if err != nil {
			return err
		}
		if err := f.sendAll(batch[:n]); err != nil {
			return err
		}
		clear(batch[:n])
	}
}

func (f *feed) sendAll(units []*stream.Unit) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range units {
		l := f.lanes[u.Track.Kind]
		if l == nil {
			return errTracks // a kind that the SDP does not have
		}
		if l.track != u.Track {
			if !sameFormat(l.track, u.Track) {
				return errTracks
			}
			l.track = u.Track
		}
		l.learn(u)
		if f.gop.add(u) {
			close(f.fresh)
			f.fresh = make(chan struct{})
		}
		f.sendLocked(l, u)
	}
	return nil
}

func (f *feed) sendLocked(l *lane, u *stream.Unit) {
	p := l.packet(u)
	if p.MarshalSize() > maxPacket {
		f.s.stats.tooBig.Add(1)
		return
	}
	// It fails only once the stream is closed, which this goroutine does.
	_ = f.st.WritePacketRTPWithNTP(l.media, &p, f.src.Origin().Add(u.PTS))
	l.last = u
	l.packets++
	l.octets += uint32(len(u.Packet.Payload))
	if u.Arrival.Sub(l.lastReport) >= reportEvery {
		l.lastReport = u.Arrival
		_ = f.st.WritePacketRTCP(l.media, l.report(f.src.Origin(), u.PTS))
	}
}

// packet is u as players get it. The header is a copy, for the library writes
// the SSRC into it; the payload is shared.
func (l *lane) packet(u *stream.Unit) rtp.Packet {
	p := rtp.Packet{Payload: u.Packet.Payload}
	p.Version = 2
	p.Marker = u.Packet.Marker
	p.SequenceNumber = u.Packet.SequenceNumber
	p.Timestamp = u.Packet.Timestamp
	p.PayloadType = l.pt
	p.SSRC = l.ssrc
	return p
}

// report is a sender report that says which RTP timestamp has the time at, with
// the CNAME by which players know which tracks belong together.
func (l *lane) report(origin time.Time, at time.Duration) rtcp.Packet {
	return &rtcp.CompoundPacket{
		&rtcp.SenderReport{
			SSRC:        l.ssrc,
			NTPTime:     ntpTime(origin.Add(at)),
			RTPTime:     l.timestampAt(l.last, at),
			PacketCount: l.packets,
			OctetCount:  l.octets,
		},
		rtcp.NewCNAMESourceDescription(l.ssrc, "lectern"),
	}
}

// timestampAt maps a time to an RTP timestamp, by the unit ref.
func (l *lane) timestampAt(ref *stream.Unit, at time.Duration) uint32 {
	ticks := int64(at-ref.PTS) * int64(l.track.ClockRate) / int64(time.Second)
	return ref.Packet.Timestamp + uint32(ticks)
}

// ntpTime is t as an NTP timestamp, 32.32 bits since 1900 (RFC 3550, section 4).
func ntpTime(t time.Time) uint64 {
	const from1900to1970 = 2208988800 // s
	sec := uint64(t.Unix() + from1900to1970)
	return sec<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// goodbye tells the players that it is over (RFC 3550, section 6.6), gives
// their queues a moment, and ends their sessions.
func (f *feed) goodbye() {
	f.mu.Lock()
	for _, l := range f.lanes {
		if l == nil || l.last == nil {
			continue
		}
		// Both in one compound packet: RTCP must not begin with BYE.
		report := l.report(f.src.Origin(), l.last.PTS).(*rtcp.CompoundPacket)
		bye := append(*report, &rtcp.Goodbye{Sources: []uint32{l.ssrc}})
		_ = f.st.WritePacketRTCP(l.media, &bye) // best effort
	}
	f.mu.Unlock()
	if f.players() {
		<-time.After(farewell)
	}
	f.st.Close()
}

func (f *feed) players() bool {
	f.s.feeds.mu.Lock()
	defer f.s.feeds.mu.Unlock()
	return f.refs > 0
}

// patience says what a joiner may be given, and how long it may be kept waiting
// for something better.
type patience struct {
	age   time.Duration // of the keyframe
	units int
	wait  time.Duration // for a new keyframe
}

// patience depends on whether a keyframe can be had for the asking. Browsers
// answer within 0.1 s; a fresh keyframe then keeps the player close to live. An
// encoder makes one each 2 s and cannot be asked.
//
// Over UDP a burst must fit the socket buffer of the player: Linux counts 2304
// bytes for a packet of 1200, which leaves 92 in a default buffer.
func (f *feed) patience(tcp bool) patience {
	p := patience{age: 500 * time.Millisecond, units: maxPrelude, wait: time.Second}
	if f.key.want != 0 {
		p.age, p.wait = 3*time.Second, 2500*time.Millisecond
	}
	if !tcp {
		p.units = 64
	}
	return p
}

// awaitKeyframe waits until the group of pictures suits a joiner, at most as
// long as patience says.
func (f *feed) awaitKeyframe(p patience) {
	timeout := time.NewTimer(p.wait)
	defer timeout.Stop()
	for first := true; ; first = false {
		f.mu.Lock()
		g, fresh := f.gop, f.fresh
		f.mu.Unlock()
		if n := len(g.units); n > 0 && n <= p.units && time.Since(g.units[0].Arrival) <= p.age {
			return
		}
		if first {
			f.src.RequestKeyframe()
		}
		select {
		case <-fresh:
		case <-timeout.C:
			return
		case <-f.ctx.Done():
			return
		}
	}
}

// joining holds a feed back between PLAY and its response.
type joining struct {
	f    *feed
	info []*headers.RTPInfoEntry // in the order of the session's media sections
}

// join queues the group of pictures at the session, and returns with f.mu
// locked: finish must be called. It blocks at most as long as patience says.
func (f *feed) join(ss *gortsplib.ServerSession, tcp bool) *joining {
	medias := ss.SetuppedMedias()
	pa := f.patience(tcp)
	if v := f.lanes[stream.Video]; v != nil && f.src.Live() && contains(medias, v.media) {
		f.awaitKeyframe(pa)
	}
	f.mu.Lock()
	j := &joining{f: f}
	prelude := f.gop.units
	if len(prelude) > pa.units {
		prelude = nil
	}
	from := f.startLocked(prelude)
	for _, m := range medias {
		j.info = append(j.info, f.introduceLocked(ss, m, prelude, from))
	}
	for _, u := range prelude {
		if l := f.lanes[u.Track.Kind]; contains(medias, l.media) {
			p := l.packet(u)
			_ = ss.WritePacketRTP(l.media, &p) // the queue is new and large enough
		}
	}
	return j
}

// startLocked is the time at which a joiner begins.
func (f *feed) startLocked(prelude []*stream.Unit) time.Duration {
	if len(prelude) > 0 {
		return prelude[0].PTS
	}
	var at time.Duration
	for _, l := range f.lanes {
		if l != nil && l.last != nil {
			at = max(at, l.last.PTS)
		}
	}
	return at
}

// introduceLocked sends the joiner a sender report for m, without which it
// would begin each track at zero, and returns its entry in RTP-Info.
func (f *feed) introduceLocked(ss *gortsplib.ServerSession, m *description.Media, prelude []*stream.Unit, from time.Duration) *headers.RTPInfoEntry {
	l := f.lane(m)
	if l == nil || l.last == nil {
		return &headers.RTPInfoEntry{}
	}
	_ = ss.WritePacketRTCP(m, l.report(f.src.Origin(), from)) // the queue is new
	seq := l.last.Packet.SequenceNumber + 1
	ref := l.last
	for _, u := range prelude {
		if u.Track.Kind == l.track.Kind {
			ref, seq = u, u.Packet.SequenceNumber
			break
		}
	}
	ts := l.timestampAt(ref, from)
	return &headers.RTPInfoEntry{SequenceNumber: &seq, Timestamp: &ts}
}

func (f *feed) lane(m *description.Media) *lane {
	for _, l := range f.lanes {
		if l != nil && l.media == m {
			return l
		}
	}
	return nil
}

// finish lets the feed go on and corrects RTP-Info: the library names the next
// live packet, which would make players throw the prelude away.
func (j *joining) finish(res *base.Response) {
	defer j.f.mu.Unlock()
	var info headers.RTPInfo
	if res.StatusCode != base.StatusOK || info.Unmarshal(res.Header["RTP-Info"]) != nil || len(info) != len(j.info) {
		return
	}
	for i, e := range j.info {
		e.URL = strings.Clone(info[i].URL)
	}
	res.Header["RTP-Info"] = headers.RTPInfo(j.info).Marshal()
}

func contains(medias []*description.Media, m *description.Media) bool {
	for _, x := range medias {
		if x == m {
			return true
		}
	}
	return false
}
