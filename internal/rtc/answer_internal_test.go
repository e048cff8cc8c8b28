package rtc

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/sdp/v3"
)

// clientOffers are offers in the manner of well-known clients, by name, with the
// direction they are meant for.
func clientOffers(t testing.TB) map[string]clientOffer {
	t.Helper()
	files, err := filepath.Glob("testdata/offers/*.sdp")
	if err != nil || len(files) == 0 {
		t.Fatalf("no offers: %v", err)
	}
	out := map[string]clientOffer{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, dir := strings.TrimSuffix(filepath.Base(f), ".sdp"), Publish
		switch {
		case strings.HasSuffix(name, "view"):
			dir = View
		case name == "probe":
			dir = Probe
		}
		out[name] = clientOffer{raw, dir}
	}
	return out
}

type clientOffer struct {
	raw []byte
	dir Direction
}

func openEndpoint(t testing.TB) *Endpoint {
	t.Helper()
	e, err := Listen(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// answer answers an offer that was accepted, and fails if that takes long.
func answer(t testing.TB, e *Endpoint, o *Offer) string {
	t.Helper()
	began := time.Now()
	s, err := e.NewSession(SessionConfig{Offer: o})
	if err != nil {
		t.Fatalf("NewSession: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the answer took %v", took)
	}
	defer func() { _ = s.Close(nil) }()
	return string(s.Answer())
}

func TestAnswer_ToClientsOfTheWorld(t *testing.T) {
	e := openEndpoint(t)
	want := map[string]string{ // codecs of video and audio
		"aiortc":                  "video/VP8 video/H264 audio/opus",
		"bare":                    "video/H264",
		"chrome-max-bundle":       "video/VP8 video/H264 video/AV1 video/VP9 audio/opus",
		"chrome-publish":          "video/VP8 video/H264 video/AV1 video/VP9 audio/opus",
		"chrome-simulcast":        "video/VP8 video/H264 video/AV1 video/VP9 audio/opus",
		"chrome-simulcast-av1":    "video/AV1 audio/opus",
		"chrome-simulcast-h264":   "video/H264 audio/opus",
		"chrome-simulcast-paused": "video/VP8 audio/opus",
		"firefox-simulcast":       "video/VP8 audio/opus",
		"obs-simulcast":           "video/H264 audio/opus",
		"chrome-view":             "video/VP8 video/H264 video/AV1 video/VP9 audio/opus",
		"ffmpeg":                  "video/H264 audio/opus",
		"firefox-publish":         "video/VP8 video/VP9 video/H264 audio/opus",
		"firefox-view":            "video/VP8 video/VP9 video/H264 audio/opus",
		"gstreamer":               "video/H264 audio/opus",
		"libdatachannel":          "video/H264 audio/opus",
		"probe":                   "",
	}
	for name, c := range clientOffers(t) {
		o, err := ParseOffer(c.raw, c.dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, codec := range append(o.Codecs(Video), o.Codecs(Audio)...) {
			got = append(got, codec.MimeType)
		}
		if strings.Join(got, " ") != want[name] {
			t.Errorf("%s: got codecs %q, want %q", name, got, want[name])
		}
		checkAnswer(t, name, o, c, answer(t, e, o))
	}
}

// The transport of a bundle is that of the first mid in its group.
func TestAnswer_TaggedSectionNeedNotBeTheFirst(t *testing.T) {
	c := clientOffers(t)["aiortc"]
	c.raw = bytes.Replace(c.raw, []byte("BUNDLE 0 1"), []byte("BUNDLE 1 0"), 1)
	o, err := ParseOffer(c.raw, c.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, video, _ := bytes.Cut(c.raw, []byte("m=video")); !bytes.Contains(video, []byte("a=ice-ufrag:"+o.ice.ufrag)) {
		t.Error("the credentials are those of audio")
	}
	if len(o.candidates) != 1 || !strings.Contains(o.candidates[0], " 40412 ") {
		t.Errorf("got candidates %q, want those of video", o.candidates)
	}
	checkAnswer(t, "tagged video", o, c, answer(t, openEndpoint(t), o))
}

// checkAnswer wants an answer to be well-formed and to fit the offer, as another
// parser reads both.
func checkAnswer(t testing.TB, name string, o *Offer, c clientOffer, raw string) {
	t.Helper()
	bad := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: "+format+"\n%s\n%s", append(append([]any{name}, args...), c.raw, raw)...)
	}
	var answered sdp.SessionDescription
	if err := answered.UnmarshalString(raw); err != nil {
		bad("the answer is not SDP: %v", err)
		return
	}
	offered, err := readSDP(c.raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(answered.MediaDescriptions) != len(offered.media) {
		bad("%d m-lines answered", len(answered.MediaDescriptions))
		return
	}
	group, _ := offered.attrs.get("group")
	if got, _ := answered.Attribute("group"); strings.HasPrefix(group, "BUNDLE") && strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(group), " ") {
		bad("got group %q", got)
	}
	for i, m := range answered.MediaDescriptions {
		if problem := checkAnswerSection(o.sections[i], offered.media[i], m, c.dir); problem != "" {
			bad("m-line %d: %s", i, problem)
		}
		_, candidates := m.Attribute("candidate")
		_, end := m.Attribute("end-of-candidates")
		if tagged := o.sections[i] == o.tagged(); candidates != tagged || end != tagged {
			bad("m-line %d: candidates %v, end of candidates %v", i, candidates, end)
		}
	}
}

func checkAnswerSection(s *section, offered *mediaLines, m *sdp.MediaDescription, dir Direction) string {
	got := attributes{}
	for _, a := range m.Attributes {
		got = append(got, attribute{a.Key, a.Value})
	}
	mid, _ := got.get("mid")
	setup, _ := got.get("setup")
	sum, _ := got.get("fingerprint")
	want := map[Direction]string{Publish: "recvonly", View: "sendonly"}[dir]
	switch media := s.kind != application; {
	case m.MediaName.Media != offered.kind || strings.Join(m.MediaName.Protos, "/") != offered.proto || m.MediaName.Port.Value == 0:
		return "kind, protocol or port differ"
	case mid != s.mid || setup != "passive" || len(sum) != len("sha-256 ")+95:
		return "mid, setup or fingerprint"
	case !got.has("ice-ufrag") || !got.has("ice-pwd") || got.has("bundle-only"):
		return "ICE credentials or bundle-only"
	case !media:
		return ""
	case !slices.Equal(got.directions(), []string{want}):
		return "the direction is wrong"
	case !got.has("rtcp-mux") || !got.has("rtcp-mux-only") || got.has("rtcp-rsize") != offered.attrs.has("rtcp-rsize"):
		return "rtcp-mux, rtcp-mux-only or rtcp-rsize"
	case dir == Publish && (got.has("ssrc") || got.has("msid")), dir == View && len(got.all("msid")) != 1:
		return "sources are declared where they must not be, or not where they must"
	}
	if problem := checkAnswerLayers(s, offered, got); problem != "" {
		return problem
	}
	return checkAnswerFormats(offered, m.MediaName.Formats, got)
}

// checkAnswerLayers wants the answered rids to have been offered, and to be
// those of the simulcast, and packets to tell theirs.
func checkAnswerLayers(s *section, offered *mediaLines, got attributes) string {
	if !s.namesLayers() {
		if got.has("rid") || got.has("simulcast") {
			return "simulcast is answered"
		}
		return ""
	}
	var rids []string
	for _, v := range got.all("rid") {
		rid, rest, _ := strings.Cut(v, " ")
		rids = append(rids, rid)
		if !strings.HasPrefix(rest, "recv") || !slices.ContainsFunc(offered.attrs.all("rid"), func(o string) bool { return strings.HasPrefix(o, rid+" send") }) {
			return "rid " + v + " was not offered"
		}
	}
	if v, _ := got.get("simulcast"); strings.ReplaceAll(v, "~", "") != "recv "+strings.Join(rids, ";") {
		return "simulcast " + v
	}
	if !strings.Contains(strings.Join(got.all("extmap"), "\n"), ridURI) {
		return "the extension of rids is missing"
	}
	return ""
}

func checkAnswerFormats(offered *mediaLines, formats []string, got attributes) string {
	for _, pt := range formats {
		if !slices.Contains(offered.formats, pt) || !slices.ContainsFunc(got.all("rtpmap"), func(v string) bool { return strings.HasPrefix(v, pt+" ") }) {
			return "payload type " + pt + " was not offered or has no name"
		}
	}
	for _, key := range []string{"rtpmap", "fmtp", "rtcp-fb"} {
		for _, v := range got.all(key) {
			pt, rest, _ := strings.Cut(v, " ")
			if !slices.Contains(formats, pt) {
				return key + " " + v + " is of no answered payload type"
			}
			if apt, ok := strings.CutPrefix(rest, "apt="); ok && !slices.Contains(formats, apt) {
				return v + " repairs nothing"
			}
			if key == "rtcp-fb" && !slices.ContainsFunc(offered.attrs.all(key), func(o string) bool {
				o = strings.Join(strings.Fields(o), " ")
				return o == v || o == "* "+rest
			}) {
				return key + " " + v + " was not offered"
			}
		}
	}
	for _, v := range got.all("extmap") {
		id, uri, _ := strings.Cut(v, " ")
		if !slices.ContainsFunc(offered.attrs.all("extmap"), func(o string) bool {
			was, rest, _ := strings.Cut(o, " ")
			way := strings.NewReplacer("/recvonly", "/sendonly", "/sendonly", "/recvonly", "/sendrecv", "").Replace(was)
			return id == way && strings.Contains(rest, uri)
		}) {
			return "extmap " + v + " was not offered"
		}
	}
	return ""
}

// mutations are ways to spoil a line; nil drops it.
func mutations() map[string]func(line string) []string {
	digits := regexp.MustCompile("[0-9]+")
	all := func(with string) func(string) []string {
		return func(l string) []string { return []string{l[:2] + digits.ReplaceAllString(l[2:], with)} }
	}
	return map[string]func(string) []string{
		"drop":       func(string) []string { return nil },
		"twice":      func(l string) []string { return []string{l, l} },
		"often":      func(l string) []string { return slices.Repeat([]string{l}, 1000) },
		"half":       func(l string) []string { return []string{l[:len(l)/2+1]} },
		"no value":   func(l string) []string { k, _, _ := strings.Cut(l, ":"); return []string{k} },
		"no key":     func(l string) []string { _, v, _ := strings.Cut(l, ":"); return []string{"a=:" + v} },
		"empty":      func(l string) []string { return []string{l[:2]} },
		"zeros":      all("0"),
		"huge":       all("99999999999999999999999999"),
		"negative":   all("-1"),
		"other":      all("7"),
		"letters":    all("x"),
		"upper case": func(l string) []string { return []string{l[:2] + strings.ToUpper(l[2:])} },
		"long":       func(l string) []string { return []string{l + strings.Repeat("x", 5000)} },
		"longer":     func(l string) []string { return []string{l + strings.Repeat(" x", 50000)} },
		"NUL":        func(l string) []string { return []string{l + "\x00"} },
		"CR":         func(l string) []string { return []string{l[:2] + "\r" + l[2:]} },
		"not UTF-8":  func(l string) []string { return []string{l + "\xff"} },
		"space":      func(l string) []string { return []string{" " + l} },
		"spaces":     func(l string) []string { return []string{strings.ReplaceAll(l, " ", "   ")} },
		"format":     func(l string) []string { return []string{l + "%s%n%d"} },
		"blank line": func(l string) []string { return []string{"", l} },
		"another":    func(l string) []string { return []string{l, "a=mid:other", "a=setup:passive"} },
		"m-line":     func(l string) []string { return []string{l, "m=audio 9 UDP/TLS/RTP/SAVPF 0"} },
	}
}

// shortOffer is in lines.
const shortOffer = 20

func TestParseOffer_MutationsAreRefusedOrServed(t *testing.T) {
	e := openEndpoint(t)
	tried, served, sessions, turn := 0, 0, 0, 0
	refused := map[string]int{}
	for name, c := range clientOffers(t) {
		lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(c.raw), "\r\n", "\n")), "\n")
		for i, line := range lines {
			for how, mutate := range mutations() {
				// All of the short ones; of the long ones some, each time others.
				if turn++; len(lines) > shortOffer && turn%7 != 0 {
					continue
				}
				spoilt := slices.Concat(lines[:i], mutate(line), lines[i+1:])
				m := clientOffer{[]byte(strings.Join(spoilt, "\r\n") + "\r\n"), c.dir}
				tried++
				o, err := ParseOffer(m.raw, m.dir)
				var oe *OfferError
				if err != nil {
					if !errors.As(err, &oe) || oe.Code == "" || oe.Message == "" {
						t.Fatalf("%s, line %d, %s: got %v", name, i, how, err)
					}
					refused[oe.Code]++
					continue
				}
				served++
				if len(lines) <= shortOffer || served%11 == 0 {
					sessions++
					checkAnswer(t, name+", "+how+" "+line, o, m, answer(t, e, o))
				}
			}
		}
	}
	t.Logf("%d offers, %d served, %d answers looked at; refused: %v", tried, served, sessions, refused)
	if tried < 200 || sessions < 50 || served == tried {
		t.Error("too few")
	}
}

func FuzzParseOffer(f *testing.F) {
	for _, c := range clientOffers(f) {
		f.Add(c.raw, uint8(c.dir))
	}
	f.Fuzz(func(t *testing.T, raw []byte, dir uint8) {
		o, err := ParseOffer(raw, Direction(dir%3+1))
		var oe *OfferError
		if err != nil && !errors.As(err, &oe) {
			t.Fatalf("got %T, want *OfferError", err)
		}
		if err == nil && o.dir != Probe && len(o.Codecs(Audio))+len(o.Codecs(Video)) == 0 {
			t.Fatal("accepted without a codec")
		}
		if err == nil {
			s := &Session{e: &Endpoint{certSum: strings.Repeat("00:", 31) + "00"}, offer: o, ssrc: map[string]uint32{}, rtx: map[string]uint32{}}
			s.e.udp = &socket{}
			raw := string(s.writeAnswer(credentials{"abcd", "0123456789012345678901"}, &hostView{all: nil}))
			var d sdp.SessionDescription
			if err := d.UnmarshalString(raw); err != nil || len(d.MediaDescriptions) != len(o.sections) {
				t.Fatalf("answer: %v\n%s", err, raw)
			}
		}
	})
}
