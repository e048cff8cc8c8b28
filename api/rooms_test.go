package api

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

func TestClass_FromBeginToArchive(t *testing.T) {
	g := newGateway(t, nil)
	teacher, student := g.token("algebra", access.Teacher), g.token("algebra", access.Student)
	g.want(403, g.call(student, "POST", "/api/rooms/algebra/class", map[string]any{}), nil)
	g.want(409, g.call(teacher, "DELETE", "/api/rooms/algebra/class", nil), nil)

	var class room.Class
	g.want(201, g.call(teacher, "POST", "/api/rooms/algebra/class", map[string]any{"title": "Groups\x00 "}), &class)
	if class.Title != "Groups" || !class.Recording || class.LectureID == "" {
		t.Errorf("got class %+v", class)
	}
	g.want(409, g.call(teacher, "POST", "/api/rooms/algebra/class", nil), nil)
	g.want(409, g.call(teacher, "DELETE", "/api/lectures/"+class.LectureID, nil), nil)

	var view roomView
	g.want(200, g.call(student, "GET", "/api/rooms/algebra", nil), &view)
	if view.State != room.StateLive || view.Class == nil || view.Class.ID != class.ID || view.Streams == nil {
		t.Errorf("got room %+v", view)
	}
	g.want(200, g.call(teacher, "DELETE", "/api/rooms/algebra/class", nil), nil)

	var events struct {
		Events []map[string]any
		Next   uint64
		More   bool
	}
	g.want(200, g.call(student, "GET", "/api/rooms/algebra/events?limit=2", nil), &events)
	if len(events.Events) != 2 || events.Next != 2 || !events.More || events.Events[0]["type"] != "class" {
		t.Errorf("got events %+v", events)
	}
	g.want(400, g.call(student, "GET", "/api/rooms/algebra/events?since=x", nil), nil)

	var manifest struct {
		State string
		URLs  map[string]string
	}
	g.eventually("the recording is complete", func() bool {
		g.want(200, g.call(student, "GET", "/api/lectures/"+class.LectureID, nil), &manifest)
		return manifest.State == "complete"
	})
	if manifest.URLs["dash"] != "/api/lectures/"+class.LectureID+"/dash.mpd" {
		t.Errorf("got addresses %v", manifest.URLs)
	}
	var said struct{ Events []map[string]any }
	g.want(200, g.call(student, "GET", "/api/lectures/"+class.LectureID+"/events", nil), &said)
	if len(said.Events) == 0 {
		t.Error("the lecture has no events")
	}
	g.want(403, g.call(student, "DELETE", "/api/lectures/"+class.LectureID, nil), nil)
	g.eventually("the recording lets go of its folder", func() bool {
		return g.call(teacher, "DELETE", "/api/lectures/"+class.LectureID, nil).StatusCode == 204
	})
	g.want(404, g.call(teacher, "GET", "/api/lectures/"+class.LectureID, nil), nil)
}

// eventually polls until ok or 5 s are over.
func (g *gateway) eventually(what string, ok func() bool) {
	g.t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("not in time: %s", what)
		}
	}
}

func TestRooms_ShowToEachWhatTheyMaySee(t *testing.T) {
	g := newGateway(t, nil)
	for _, name := range []string{"algebra", "physics"} {
		g.want(201, g.call(adminKey, "POST", "/api/rooms/"+name+"/class", map[string]any{"title": name}), nil)
	}
	for token, want := range map[string]string{
		adminKey:                           "algebra physics",
		g.token("algebra", access.Student): "algebra",
		g.token("history", access.Teacher): "",
	} {
		var list struct{ Rooms []roomSummary }
		g.want(200, g.call(token, "GET", "/api/rooms", nil), &list)
		names := []string{}
		for _, r := range list.Rooms {
			names = append(names, r.Name)
			if !r.Live || r.StartedAt == nil || r.Title != r.Name {
				t.Errorf("got %+v", r)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("got rooms %q, want %q", got, want)
		}
		var lectures struct {
			Lectures []struct{ Room string }
		}
		g.want(200, g.call(token, "GET", "/api/lectures", nil), &lectures)
		if len(lectures.Lectures) != len(names) {
			t.Errorf("got lectures %v, want those of %q", lectures, want)
		}
	}
	other := g.token("history", access.Teacher)
	g.want(403, g.call(other, "GET", "/api/rooms/algebra", nil), nil)
	g.want(403, g.call(other, "GET", "/api/lectures?room=algebra", nil), nil)
	g.want(403, g.call(g.token("algebra", access.Player), "GET", "/api/rooms", nil), nil)
	g.want(403, g.call(g.token("algebra", access.Player), "GET", "/api/lectures", nil), nil)
	g.want(400, g.call(adminKey, "GET", "/api/rooms/.hidden", nil), nil)
	var lectures struct{ Lectures []struct{ ID string } }
	g.want(200, g.call(adminKey, "GET", "/api/lectures?room=algebra", nil), &lectures)
	g.want(404, g.call(other, "GET", "/api/lectures/"+lectures.Lectures[0].ID, nil), nil)
	var idle roomView
	g.want(200, g.call(other, "GET", "/api/rooms/history", nil), &idle)
	if _, there := g.hub.Lookup("history"); there || idle.State != room.StateIdle {
		t.Errorf("looking at a room made it: %+v", idle)
	}
}

func TestTokens_GiveNobodyMoreThanTheyHave(t *testing.T) {
	g := newGateway(t, nil)
	teacher, student := g.token("algebra", access.Teacher), g.token("algebra", access.Student)
	type body = map[string]any
	for name, tt := range map[string]struct {
		by     string
		req    any
		status int
	}{
		"admin, admin":            {adminKey, body{"room": "*", "role": "admin"}, 201},
		"admin, teacher":          {adminKey, body{"room": "algebra", "role": "teacher", "ttl": 60}, 201},
		"teacher, student":        {teacher, body{"room": "algebra", "role": "student", "ttl": "90m"}, 201},
		"teacher, player":         {teacher, body{"room": "algebra", "role": "player"}, 201},
		"teacher, teacher":        {teacher, body{"room": "algebra", "role": "teacher"}, 201},
		"teacher, admin":          {teacher, body{"room": "algebra", "role": "admin"}, 403},
		"teacher, another room":   {teacher, body{"room": "physics", "role": "student"}, 403},
		"teacher, every room":     {teacher, body{"room": "*", "role": "student"}, 403},
		"student":                 {student, body{"room": "algebra", "role": "student"}, 403},
		"nobody":                  {"", body{"room": "algebra", "role": "student"}, 401},
		"no such role":            {adminKey, body{"room": "algebra", "role": "king"}, 400},
		"a bad name":              {adminKey, body{"room": "../x", "role": "student"}, 400},
		"no time":                 {adminKey, body{"room": "algebra", "role": "student", "ttl": 0}, 400},
		"too much time":           {adminKey, body{"room": "algebra", "role": "student", "ttl": 1e300}, 400},
		"a time that is none":     {adminKey, body{"room": "algebra", "role": "student", "ttl": "soon"}, 400},
		"a field nobody knows":    {adminKey, body{"room": "algebra", "role": "student", "admin": true}, 400},
		"a body that is no JSON":  {adminKey, []byte("{"), 415},
		"a body that is too much": {adminKey, body{"room": "algebra", "role": "student", "name": strings.Repeat("x", maxJSON)}, 413},
	} {
		resp := g.call(tt.by, "POST", "/api/tokens", tt.req)
		if resp.StatusCode != tt.status {
			b, _ := io.ReadAll(resp.Body)
			t.Errorf("%s: got %d %s, want %d", name, resp.StatusCode, b, tt.status)
		}
	}
	var v tokenView
	g.want(201, g.call(teacher, "POST", "/api/tokens", body{"room": "algebra", "role": "player"}), &v)
	if v.Legacy == nil || v.Link != v.Legacy.RTSP || !strings.HasPrefix(v.Legacy.RTMP, "rtmp://example.com/live/algebra?token=") ||
		!strings.HasPrefix(v.Legacy.RTSP, "rtsp://example.com:8554/algebra?token=") {
		t.Errorf("got %+v", v)
	}
	g.want(201, g.call(teacher, "POST", "/api/tokens", body{"room": "algebra", "role": "student"}), &v)
	if v.Link != "http://example.com/r/algebra#token="+v.Token {
		t.Errorf("got link %q", v.Link)
	}
}

func TestFiles_AreSharedAndFetchedInRanges(t *testing.T) {
	g := newGateway(t, nil)
	student, other := g.token("algebra", access.Student), g.token("physics", access.Student)
	content := bytes.Repeat([]byte("0123456789"), 20_000)
	sum := sha256.Sum256(content)
	put := "/api/rooms/algebra/files/up1?name=%3Cb%3E.html&sha256=" + hex.EncodeToString(sum[:])
	g.want(403, g.call(other, "PUT", put, content), nil)
	wrong := strings.Replace(put, "sha256=", "sha256=00", 1)
	g.want(400, g.call(student, "PUT", wrong, content), nil)
	wrong = put[:len(put)-2] + "00"
	g.want(422, g.call(student, "PUT", wrong, content), nil)
	g.want(413, g.call(student, "PUT", put, make([]byte, 2<<20)), nil)

	var f fileView
	g.want(201, g.call(student, "PUT", put, content, "Content-Type", "text/html"), &f)
	g.want(201, g.call(student, "PUT", put, content, "Content-Type", "text/html"), nil)
	var list struct{ Files []fileView }
	g.want(200, g.call(student, "GET", "/api/rooms/algebra/files", nil), &list)
	if len(list.Files) != 1 || list.Files[0].ID != f.ID || list.Files[0].URL != f.URL {
		t.Errorf("got files %+v, want %+v", list.Files, f)
	}
	resp := g.call(student, "GET", f.URL, nil, "Range", "bytes=5-14")
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 206 || string(body) != "5678901234" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	for h, want := range map[string]string{
		"Content-Disposition":     `attachment; filename="<b>.html"`,
		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": "default-src 'none'; sandbox",
		"Content-Range":           "bytes 5-14/200000",
	} {
		if got := resp.Header.Get(h); got != want {
			t.Errorf("got %s %q, want %q", h, got, want)
		}
	}
	if resp := g.call(student, "HEAD", f.URL, nil); resp.StatusCode != 200 || resp.Header.Get("Content-Length") != "200000" {
		t.Errorf("HEAD: got %d, length %s", resp.StatusCode, resp.Header.Get("Content-Length"))
	}
	g.want(416, g.call(student, "GET", f.URL, nil, "Range", "bytes=900000-"), nil)
	g.want(403, g.call(other, "GET", f.URL, nil), nil)
	g.want(401, g.call("", "GET", f.URL, nil), nil)
	g.want(404, g.call(student, "GET", "/api/rooms/algebra/files/none", nil), nil)
	g.want(403, g.call(student, "DELETE", f.URL, nil), nil)
	g.want(204, g.call(g.token("algebra", access.Teacher), "DELETE", f.URL, nil), nil)
	g.want(404, g.call(student, "GET", f.URL, nil), nil)
}

func TestLectureFiles_AreThoseSharedInClass(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	var class room.Class
	g.want(201, g.call(teacher, "POST", "/api/rooms/algebra/class", nil), &class)
	sum := sha256.Sum256([]byte("notes"))
	g.want(201, g.call(teacher, "PUT", "/api/rooms/algebra/files/1?name=notes.txt&sha256="+hex.EncodeToString(sum[:]), []byte("notes")), nil)
	g.want(200, g.call(teacher, "DELETE", "/api/rooms/algebra/class", nil), nil)
	var m struct {
		State string
		Files []struct{ ID string }
	}
	g.eventually("the recording has the file", func() bool {
		g.want(200, g.call(teacher, "GET", "/api/lectures/"+class.LectureID, nil), &m)
		return m.State == "complete" && len(m.Files) == 1
	})
	resp := g.call(teacher, "GET", "/api/lectures/"+class.LectureID+"/files/"+m.Files[0].ID, nil)
	if body, _ := io.ReadAll(resp.Body); string(body) != "notes" || resp.Header.Get("Content-Disposition") != `attachment; filename="notes.txt"` {
		t.Errorf("got %d %q, %v", resp.StatusCode, body, resp.Header)
	}
	g.want(404, g.call(teacher, "GET", "/api/lectures/"+class.LectureID+"/files/manifest.json", nil), nil)
	base := "/api/lectures/" + class.LectureID
	for path, status := range map[string]int{
		"/download/manifest.json": 200, "/download/events.jsonl": 200, "/download/../manifest.json": 404, "/download/..%2f..%2faccess.key": 404,
		"/download/files/" + m.Files[0].ID: 404, "/dash.mpd": 404, "/poster": 404, "/media/x": 404,
	} {
		g.want(status, g.call(teacher, "GET", base+path, nil), nil)
	}
	var archive bytes.Buffer
	if _, err := archive.ReadFrom(g.call(teacher, "GET", base+"/download/all.zip", nil).Body); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := z.Open(class.LectureID + "/files/" + m.Files[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close() // read only
	if body, err := io.ReadAll(shared); string(body) != "notes" || err != nil {
		t.Errorf("got %q, %v out of the archive", body, err)
	}
}

func TestInfo_IsPublicAndTellsOfFFmpeg(t *testing.T) {
	g := newGateway(t, nil)
	var info infoView
	g.want(200, g.call("", "GET", "/api/info", nil), &info)
	if info.Version != "v1.2.3" || info.RTSPPort != 8554 || info.RTMPPort != 1935 || !info.Recording ||
		info.FFmpeg.Available || info.FFmpeg.Reason == "" || info.Limits.FileBytes != 1<<20 ||
		info.Limits.MessageBytes != 16384 || info.Limits.EventBytes != rtc.MaxMessageSize {
		t.Errorf("got %+v", info)
	}
}

func TestLegacy_SaysWhoIsServedAndWhyNot(t *testing.T) {
	tracks := func(codecs ...string) []room.TrackInfo {
		var ts []room.TrackInfo
		for _, c := range codecs {
			kind := "video"
			if c == "opus" {
				kind = "audio"
			}
			ts = append(ts, room.TrackInfo{Kind: kind, Codec: c})
		}
		return ts
	}
	for _, tt := range []struct {
		live       bool
		tracks     []room.TrackInfo
		encoder    bool
		rtmp, rtsp string // reason, "ok" for ready without
	}{
		{false, tracks("VP8", "opus"), true, reasonNotLive, reasonNotLive},
		{true, nil, true, reasonNoTracks, reasonNoTracks},
		{true, tracks("AV1", "opus"), true, "ok", "ok"},
		{true, tracks("AV1", "opus"), false, reasonNoEncoder, reasonNoEncoder},
		{true, tracks("VP8", "opus"), false, reasonNoEncoder, "ok"},
		{true, tracks("H264", "opus"), false, reasonNoSound, "ok"},
		{true, tracks("H264"), false, "ok", "ok"},
		{true, tracks("opus"), false, reasonNoEncoder, "ok"},
	} {
		st := room.StreamInfo{Live: tt.live, Tracks: tt.tracks}
		for name, served := range map[string]func(room.StreamInfo, bool) (bool, string){"rtmp": rtmpServed, "rtsp": rtspServed} {
			want := tt.rtmp
			if name == "rtsp" {
				want = tt.rtsp
			}
			ready, reason := served(st, tt.encoder)
			if (want == "ok") != (ready && reason == "") || want != "ok" && reason != want {
				t.Errorf("%s of %v, encoder %v: got %v %q, want %q", name, tt.tracks, tt.encoder, ready, reason, want)
			}
		}
	}
}

func TestMetrics_AreForTheAdministratorAndThisMachine(t *testing.T) {
	g := newGateway(t, nil)
	g.want(201, g.call(adminKey, "POST", "/api/rooms/algebra/class", nil), nil)
	resp := g.call(adminKey, "GET", "/metrics", nil)
	body, _ := io.ReadAll(resp.Body)
	for _, line := range []string{
		`lectern_rooms{state="live"} 1`, `lectern_recordings 1`, `lectern_players{kind="rtmp"} 0`, `lectern_viewers 0`,
		`lectern_streams_live 0`, `lectern_sessions{way="whep"} 0`, `lectern_room_events_total{room="algebra"}`,
		`lectern_http_requests_total{method="POST",route="/api/rooms/:room/class",status="201"} 1`, "go_goroutines",
	} {
		if !strings.Contains(string(body), line) {
			t.Errorf("no %s", line)
		}
	}
	if resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
	g.want(401, g.call("", "GET", "/metrics", nil), nil) // httptest comes from 192.0.2.1
}

func TestWriteLines_SkipsDamage(t *testing.T) {
	var out bytes.Buffer
	if err := writeLines(&out, strings.NewReader("{\"t\":1}\n\n{\"t\":2}\n{\"t\":")); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(out.Bytes()) || out.String() != `{"events":[{"t":1},{"t":2}]}` {
		t.Errorf("got %s", out.String())
	}
}

// A token of every room is told nothing of those that are closed to it.
func TestLectures_OfClosedRoomsAreNotForGuests(t *testing.T) {
	g := newGateway(t, nil)
	g.want(201, g.call(adminKey, "POST", "/api/rooms/algebra/class", nil), nil)
	count := func(role access.Role) int {
		var list struct{ Lectures []struct{ Room string } }
		g.want(200, g.call(g.token(access.AnyRoom, role), "GET", "/api/lectures", nil), &list)
		return len(list.Lectures)
	}
	if n := count(access.Student); n != 1 {
		t.Errorf("got %d lectures, want 1", n)
	}
	g.openRoom("algebra", access.Closed)
	if n := count(access.Student); n != 0 {
		t.Errorf("of a closed room: got %d lectures, want none", n)
	}
	if n := count(access.Assistant); n != 1 {
		t.Errorf("an assistant: got %d lectures, want 1", n)
	}
}

func TestLog_CutsWhatClientsSay(t *testing.T) {
	g := newGateway(t, nil)
	g.call("", "POST", "/whip/"+strings.Repeat("x", 2000), nil)
	if text := g.log.String(); !strings.Contains(text, "xxx") || strings.Contains(text, strings.Repeat("x", maxLogged+1)) {
		t.Errorf("logged: %s", text)
	}
}
