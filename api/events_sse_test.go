package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

// event is one event as a reader sees it.
type event struct{ name, data string }

// listener reads an event stream over a real connection.
type listener struct {
	t      *testing.T
	events chan event
	beats  chan struct{} // a comment came
	ended  chan struct{} // closed at the end of the stream
	stop   context.CancelFunc
}

// listen reads the events at an address.
func listen(t *testing.T, url, token string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{t: t, events: make(chan event, 64), beats: make(chan struct{}, 64), ended: make(chan struct{}), stop: cancel}
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	tr := &http.Transport{}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %d, %v", resp.StatusCode, resp.Header)
	}
	go func() { // ended with the stream
		defer close(l.ended)
		defer resp.Body.Close()
		var e event
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			switch line := s.Text(); {
			case strings.HasPrefix(line, ":"):
				l.beats <- struct{}{}
			case strings.HasPrefix(line, "event: "):
				e.name = line[len("event: "):]
			case strings.HasPrefix(line, "data: "):
				e.data = line[len("data: "):]
			case line == "" && e.name != "":
				l.events <- e
				e = event{}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-l.ended; tr.CloseIdleConnections() })
	return l
}

// any waits for the next event.
func (l *listener) any() event {
	l.t.Helper()
	select {
	case e := <-l.events:
		return e
	case <-time.After(5 * time.Second):
		l.t.Fatal("no event")
		return event{}
	}
}

// next waits for the next event of a name; others are passed over.
func (l *listener) next(name string) string {
	l.t.Helper()
	for {
		if e := l.any(); e.name == name {
			return e.data
		}
	}
}

func (l *listener) await(ch <-chan struct{}, what string) {
	l.t.Helper()
	select {
	case <-ch:
	case <-time.After(5 * time.Second):
		l.t.Fatalf("not in time: %s", what)
	}
}

// linked finds the target and parameters of a Link.
func linked(h http.Header, rel string) (target, params string) {
	for _, line := range h.Values("Link") {
		to, rest, _ := strings.Cut(line, ">; ")
		if strings.HasPrefix(rest, `rel="`+rel+`"`) {
			return strings.TrimPrefix(to, "<"), rest
		}
	}
	return "", ""
}

// wantEvents makes an event stream and returns its address.
func (f *foreign) wantEvents(body any) string {
	f.t.Helper()
	resp := f.g.call(f.token, "POST", f.location+"/sse", body)
	if resp.StatusCode != 201 || !strings.HasPrefix(resp.Header.Get("Location"), f.location+"/sse/") {
		f.t.Fatalf("got %d, Location %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	return resp.Header.Get("Location")
}

// sends writes a keyframe to a hold.
func sends(t *testing.T, h *room.Hold) {
	t.Helper()
	track := &stream.Track{ID: "v", Kind: stream.Video, Codec: stream.VP8, ClockRate: 90000}
	// A key frame of 640x360 (RFC 6386, section 9.1) behind a descriptor.
	payload := []byte{0x10, 0x50, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}
	u := &stream.Unit{Track: track, Keyframe: true, Arrival: time.Now(), Packet: &rtp.Packet{Header: rtp.Header{Marker: true}, Payload: payload}}
	if err := h.Publication().Write(u); err != nil {
		t.Fatal(err)
	}
}

func TestExtensions_AreAnnouncedByLink(t *testing.T) {
	g := newGateway(t, nil)
	f := newForeign(t, g, g.token("algebra", access.Student), false)
	resp := f.open("/whep/algebra", "Prefer", "wait")
	to, params := linked(resp.Header, "urn:ietf:params:whep:ext:core:server-sent-events")
	if to != f.location+"/sse" || !strings.HasSuffix(params, `; events="active,inactive,layers,viewercount,reconnect"`) {
		t.Errorf("events: got %q, %q", to, params)
	}
	if to, _ := linked(resp.Header, "urn:ietf:params:whep:ext:core:layer"); to != f.location+"/layer" {
		t.Errorf("layer: got %q", to)
	}
	p := newForeign(t, g, g.token("algebra", access.Teacher), true)
	if resp := p.open("/whip/algebra"); len(resp.Header.Values("Link")) != 0 {
		t.Errorf("a publisher is told of extensions: %q", resp.Header.Values("Link"))
	}
	g.want(404, g.call(p.token, "POST", p.location+"/sse", nil), nil)
}

func TestEvents_PostTakesAnArrayOfWhatIsKnown(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	for _, tt := range []struct {
		body, media string
		status      int
	}{
		{"", "", 201},
		{"", "application/json", 201},
		{`["active","inactive"]`, "application/json; charset=utf-8", 201},
		{`[]`, "Application/JSON", 201},
		{`["active"]`, "", 415},
		{`["active"]`, "application/sdp", 415},
		{"", "text/plain", 415},
		{`["scte35"]`, "application/json", 422},
		{`["active",""]`, "application/json", 422},
		{`{}`, "application/json", 400},
		{`[1]`, "application/json", 400},
		{`null`, "application/json", 400},
		{`["active"`, "application/json", 400},
		{`["active"] []`, "application/json", 400},
		{"[" + strings.Repeat(`"active",`, 20000) + `"active"]`, "application/json", 413},
	} {
		resp := g.call(f.token, "POST", f.location+"/sse", []byte(tt.body), "Content-Type", tt.media)
		if resp.StatusCode != tt.status {
			t.Errorf("%.20q of %q: got %d, want %d", tt.body, tt.media, resp.StatusCode, tt.status)
		}
	}
	for _, bad := range []string{"nonsense", ""} {
		g.want(401, g.call(bad, "POST", f.location+"/sse", nil), nil)
	}
	g.want(403, g.call(g.token("algebra", access.Student), "POST", f.location+"/sse", nil), nil)
	g.want(404, g.call(f.token, "POST", "/whep/algebra/session/"+newID()+"/sse", nil), nil)
}

func TestEvents_ActiveAndInactiveFollowThePublisher(t *testing.T) {
	g := newGateway(t, nil)
	base := "http://" + g.serve(nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	l := listen(t, base+f.wantEvents([]string{"active", "inactive"}), f.token)
	for range 2 { // the first event is no "inactive", though nobody publishes yet
		hold := g.publishes("algebra", "main", "teacher")
		sends(t, hold)
		if e := l.any(); e != (event{"active", "{}"}) {
			t.Errorf("got %+v, want active", e)
		}
		hold.Release(true)
		if e := l.any(); e != (event{"inactive", "{}"}) {
			t.Errorf("got %+v, want inactive", e)
		}
	}
}

func TestEvents_ReaderThatComesLaterIsToldHowThingsStand(t *testing.T) {
	g := newGateway(t, nil)
	base := "http://" + g.serve(nil)
	hold := g.publishes("algebra", "main", "teacher")
	defer hold.Release(true)
	sends(t, hold)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	at := base + f.wantEvents([]string{"active"})
	first := listen(t, at, f.token)
	first.next("active")
	// A second reader takes the place of the first: it was a broken connection.
	second := listen(t, at, f.token)
	first.await(first.ended, "the end of the first reader")
	hold.Release(true)
	third := listen(t, base+f.wantEvents(nil), f.token)
	third.next("viewercount")
	second.stop()
}

func TestEvents_ViewerCountIsTheRooms(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	l := listen(t, "http://"+g.serve(nil)+f.wantEvents([]string{"viewercount"}), f.token)
	if got := l.next("viewercount"); got != `{"viewercount":1}` {
		t.Errorf("got %s", got)
	}
	began := time.Now()
	other := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	g.opens(wayWHEP, g.token("algebra", access.Student), false)
	if got := l.next("viewercount"); got != `{"viewercount":3}` && got != `{"viewercount":2}` {
		t.Errorf("got %s", got)
	}
	g.want(200, g.call(other.token, "DELETE", other.location, nil), nil)
	for got := ""; got != `{"viewercount":2}`; {
		got = l.next("viewercount")
	}
	if n := len(l.events); n > 1+int(time.Since(began)/eventEvery) {
		t.Errorf("%d events more in %v", n, time.Since(began))
	}
}

func TestEvents_LayersAreThoseOfTheVideoLine(t *testing.T) {
	g := newGateway(t, nil)
	hold := g.publishes("algebra", "main", "teacher")
	defer hold.Release(true)
	sends(t, hold)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	l := listen(t, "http://"+g.serve(nil)+f.wantEvents([]string{"layers"}), f.token)
	var layers map[string][]map[string]any
	if err := json.Unmarshal([]byte(l.next("layers")), &layers); err != nil {
		t.Fatal(err)
	}
	video := layers["1"] // audio is m-line 0 of the offer
	if len(layers) != 1 || len(video) != 1 || video[0]["spatialLayerId"] != 0.0 || video[0]["width"] != 640.0 || video[0]["height"] != 360.0 ||
		video[0]["current"] != true || video[0]["why"] != "only_one" {
		t.Errorf("got %v", layers)
	}
}

func TestEvents_ReconnectIsToldAtShutdown(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	l := listen(t, "http://"+g.serve(nil)+f.wantEvents(nil), f.token)
	l.next("viewercount")
	if err := g.EndViewers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.next("reconnect"); got != "{}" {
		t.Errorf("got %s", got)
	}
	l.await(l.ended, "the end of the stream")
}

func TestEvents_DeleteEndsTheStreamThen404(t *testing.T) {
	g := newGateway(t, nil)
	base := "http://" + g.serve(nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	at := f.wantEvents(nil)
	l := listen(t, base+at, f.token)
	g.want(403, g.call(g.token("algebra", access.Student), "GET", at, nil), nil)
	g.want(401, g.call("", "DELETE", at, nil), nil)
	g.want(200, g.call(f.token, "DELETE", at, nil), nil)
	l.await(l.ended, "the end of the stream")
	for _, method := range []string{"GET", "DELETE"} {
		g.want(404, g.call(f.token, method, at, nil), nil)
	}
}

func TestEvents_EndWithTheSession(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	at := f.wantEvents(nil)
	l := listen(t, "http://"+g.serve(nil)+at, f.token)
	g.want(200, g.call(f.token, "DELETE", f.location, nil), nil)
	l.await(l.ended, "the end of the stream")
	g.want(404, g.call(f.token, "GET", at, nil), nil)
	g.want(404, g.call(f.token, "POST", f.location+"/sse", nil), nil)
}

func TestEvents_AreBoundedPerSession(t *testing.T) {
	g := newGateway(t, nil)
	base := "http://" + g.serve(nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	first := f.wantEvents(nil)
	for range maxEventStreams { // the last one pushes the first out, which nobody reads
		listen(t, base+f.wantEvents(nil), f.token)
	}
	g.want(404, g.call(f.token, "GET", first, nil), nil)
	resp := g.call(f.token, "POST", f.location+"/sse", nil)
	if p := problemIn(t, resp); p.Status != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: got %+v", p)
	}
}

// The stream outlives the time limits of a request, and a silent one says
// something now and then.
func TestEvents_OutliveTheLimitsOfARequest(t *testing.T) {
	g := newGateway(t, nil)
	const limit = 200 * time.Millisecond
	addr := g.serve(func(hs *http.Server) { hs.ReadTimeout, hs.WriteTimeout = limit, limit })
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	l := listen(t, "http://"+addr+f.wantEvents([]string{"active", "viewercount"}), f.token)
	l.next("viewercount")
	g.opens(wayWHEP, g.token("algebra", access.Student), false)
	l.next("viewercount") // a second later at the earliest: it is looked at once a second
	hold := g.publishes("algebra", "main", "teacher")
	defer hold.Release(true)
	sends(t, hold)
	l.next("active")
}

func TestEventReader_BreaksLongSilence(t *testing.T) {
	now := time.Now()
	rec := &recorder{}
	r := &reader{es: newEventStream(allEvents()), now: func() time.Time { return now }, w: newMovingWriter(rec, nil)}
	r.event("active", struct{}{})
	for _, step := range []time.Duration{0, heartbeat - 1, 1} {
		now = now.Add(step)
		if err := r.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"event: active\ndata: {}\n\n", ":\n\n"}; !slices.Equal(rec.writes, want) {
		t.Errorf("got %q, want %q", rec.writes, want)
	}
}

// recorder is a ResponseWriter that notes what is written.
type recorder struct {
	http.ResponseWriter
	writes []string
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, string(p))
	return len(p), nil
}
