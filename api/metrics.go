package api

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/lectern/lectern/ingest/whip"
	"github.com/lectern/lectern/room"
)

// metrics are the numbers of the gateway, gathered when they are asked for.
type metrics struct {
	s        *Server
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	descs    descriptions
}

// descriptions name what Collect reports.
type descriptions struct {
	rooms, people, sessions, sessionsTotal, players, viewers   *prometheus.Desc
	streams, recordings, events, units, bytes, dropped         *prometheus.Desc
	keyframes, readers, rtcPackets, rtcDropped, rtcMessages    *prometheus.Desc
	lost, repaired                                             *prometheus.Desc
	rtcSessions, renditions, children, childrenDied, waitingUp *prometheus.Desc
}

const (
	metricsPrefix = "lectern_"
	eventsTimeout = time.Second
)

func newMetrics(s *Server) *metrics {
	m := &metrics{
		s:        s,
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricsPrefix + "http_requests_total", Help: "HTTP requests answered.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: metricsPrefix + "http_request_seconds", Help: "Time to answer a request.",
			Buckets: []float64{.005, .02, .1, .5, 2, 10},
		}, []string{"route"}),
		descs: describeMetrics(),
	}
	m.registry.MustRegister(m, m.requests, m.seconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func describeMetrics() descriptions {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(metricsPrefix+name, help, labels, nil)
	}
	return descriptions{
		rooms:         d("rooms", "Rooms in memory by state.", "state"),
		people:        d("people", "Members present in all rooms."),
		viewers:       d("viewers", "WHEP viewers in all rooms."),
		waitingUp:     d("viewers_waiting", "WHEP viewers of streams that are not live."),
		players:       d("players", "RTMP and RTSP players in all rooms.", "kind"),
		sessions:      d("sessions", "WebRTC sessions open by way.", "way"),
		sessionsTotal: d("sessions_total", "WebRTC sessions opened by way.", "way"),
		streams:       d("streams_live", "Streams that have a publisher."),
		recordings:    d("recordings", "Classes that are being recorded."),
		events:        d("room_events_total", "Events of a room.", "room"),
		units:         d("stream_units_total", "RTP packets that publishers sent, in order.", "room", "stream"),
		bytes:         d("stream_bytes_total", "RTP payload bytes that publishers sent.", "room", "stream"),
		dropped:       d("stream_dropped_units_total", "Units that slow readers lost.", "room", "stream"),
		keyframes:     d("stream_keyframe_requests_total", "Keyframe requests that reached publishers.", "room", "stream"),
		readers:       d("stream_readers", "Readers of a stream inside the gateway.", "room", "stream"),
		lost:          d("publisher_lost_packets", "RTP packets that the present publisher sent in vain.", "room", "stream"),
		repaired:      d("publisher_repaired_packets", "RTP packets that the present publisher had to send again.", "room", "stream"),
		rtcSessions:   d("rtc_sessions", "Peer connections open."),
		rtcPackets:    d("rtc_packets_sent_total", "RTP packets sent to viewers."),
		rtcMessages:   d("rtc_messages_sent_total", "UDP messages that they went out in."),
		rtcDropped:    d("rtc_packets_dropped_total", "RTP packets to viewers that were not sent."),
		renditions:    d("renditions", "Renditions that exist."),
		children:      d("ffmpeg_processes", "ffmpeg processes that run."),
		childrenDied:  d("ffmpeg_died_total", "ffmpeg processes that ended untold."),
	}
}

// request counts one answer.
func (m *metrics) request(method, route string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other" // a client's word must not make a label
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// Describe implements prometheus.Collector. It names nothing, which makes the
// collector an unchecked one: rooms come and go.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	t := totals{states: map[string]int{room.StateIdle: 0, room.StateLive: 0, room.StateInterrupted: 0}, players: map[string]int{"rtmp": 0, "rtsp": 0}}
	for _, r := range m.s.cfg.Hub.List() {
		snap := r.Snapshot()
		t.add(snap)
		m.collectStreams(ch, r, snap)
	}
	for state, n := range t.states {
		gauge(m.descs.rooms, n, state)
	}
	for kind, n := range t.players {
		gauge(m.descs.players, n, kind)
	}
	gauge(m.descs.people, t.people)
	gauge(m.descs.viewers, t.viewers)
	gauge(m.descs.waitingUp, t.waiting)
	gauge(m.descs.streams, t.streams)
	gauge(m.descs.recordings, t.recordings)
	for _, w := range []way{wayWHIP, wayWHEP} {
		live, ever := m.s.sessions.count(w)
		gauge(m.descs.sessions, live, string(w))
		ch <- counter(m.descs.sessionsTotal, ever, string(w))
	}
	m.collectPublishers(ch)
	m.collectParts(ch)
}

// collectPublishers reports how well the packets of publishers arrive.
func (m *metrics) collectPublishers(ch chan<- prometheus.Metric) {
	seen := make(map[string]bool)
	for _, sess := range m.s.sessions.all(wayWHIP) {
		p, ok := sess.peer.(*whip.Session)
		if name := sess.room + "/" + sess.slot; !ok || seen[name] {
			continue // of two sessions in a takeover one is enough
		} else {
			seen[name] = true
		}
		st := p.Stats()
		for d, n := range map[*prometheus.Desc]uint64{
			m.descs.lost: st.Audio.Lost + st.Video.Lost, m.descs.repaired: st.Audio.Repaired + st.Video.Repaired,
		} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), sess.room, sess.slot)
		}
	}
}

// totals are sums over all rooms.
type totals struct {
	states, players                               map[string]int
	people, viewers, waiting, streams, recordings int
}

func (t *totals) add(snap room.Snapshot) {
	t.states[snap.State]++
	t.people += snap.People
	t.viewers += snap.Viewers
	t.waiting += snap.Waiting
	if snap.Class != nil && snap.Class.Recording {
		t.recordings++
	}
	for _, st := range snap.Streams {
		if st.Live {
			t.streams++
		}
		for kind, n := range st.Players {
			t.players[kind] += n
		}
	}
}

// collectStreams reports the streams and the events of one room.
func (m *metrics) collectStreams(ch chan<- prometheus.Metric, r *room.Room, snap room.Snapshot) {
	ctx, cancel := context.WithTimeout(context.Background(), eventsTimeout)
	defer cancel()
	seq, err := m.s.cfg.Store.LastSeq(ctx, snap.Name)
	if err != nil {
		m.s.log.Warn("metrics without events", slog.String("room", snap.Name), slog.Any("err", err))
	} else {
		ch <- counter(m.descs.events, seq, snap.Name)
	}
	for _, info := range snap.Streams {
		st, ok := r.LookupStream(info.Slot)
		if !ok {
			continue
		}
		stats := st.Stats()
		ch <- counter(m.descs.units, stats.Units, snap.Name, info.Slot)
		ch <- counter(m.descs.bytes, stats.Bytes, snap.Name, info.Slot)
		ch <- counter(m.descs.dropped, stats.Dropped, snap.Name, info.Slot)
		ch <- counter(m.descs.keyframes, stats.KeyframeRequests, snap.Name, info.Slot)
		ch <- prometheus.MustNewConstMetric(m.descs.readers, prometheus.GaugeValue, float64(stats.Readers), snap.Name, info.Slot)
	}
}

// collectParts reports the parts below that count for themselves.
func (m *metrics) collectParts(ch chan<- prometheus.Metric) {
	st := m.s.cfg.Endpoint.Stats()
	ch <- prometheus.MustNewConstMetric(m.descs.rtcSessions, prometheus.GaugeValue, float64(st.Sessions))
	ch <- counter(m.descs.rtcPackets, st.PacketsSent)
	ch <- counter(m.descs.rtcMessages, st.MessagesSent)
	ch <- counter(m.descs.rtcDropped, st.PacketsDropped)
	if p := m.s.cfg.Renderer; p != nil {
		st := p.Stats()
		ch <- prometheus.MustNewConstMetric(m.descs.renditions, prometheus.GaugeValue, float64(st.Renditions))
		ch <- prometheus.MustNewConstMetric(m.descs.children, prometheus.GaugeValue, float64(st.Children))
		ch <- counter(m.descs.childrenDied, st.Died)
	}
}

func counter(d *prometheus.Desc, v uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// metricsPage serves the metrics to this machine and to the administrator: they
// name rooms.
func (s *Server) metricsPage(h http.Handler) handler {
	return func(c *gin.Context) error {
		if !fromThisMachine(c.Request) {
			if _, err := s.authorise(c, mayAdmin); err != nil {
				return err
			}
		}
		h.ServeHTTP(c.Writer, c.Request)
		return nil
	}
}
