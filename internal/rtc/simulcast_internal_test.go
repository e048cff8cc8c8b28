package rtc

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// simulcastOffer is Chrome's with other lines for its layers.
func simulcastOffer(t *testing.T, lines ...string) []byte {
	t.Helper()
	raw := clientOffers(t)["chrome-simulcast"].raw
	i := bytes.Index(raw, []byte("a=rid:h"))
	tail := []byte("a=simulcast:send h;m;l")
	j := bytes.Index(raw, tail) + len(tail)
	return slices.Concat(raw[:i], []byte(strings.Join(lines, "\r\n")), raw[j:])
}

func TestOffer_LayersOfClientsOfTheWorld(t *testing.T) {
	want := map[string]string{
		"chrome-simulcast": "h m l", "chrome-simulcast-av1": "h m l", "chrome-simulcast-h264": "h m l", "chrome-simulcast-paused": "h m",
		"firefox-simulcast": "h m l", "obs-simulcast": "0 1 2",
	}
	for name, c := range clientOffers(t) {
		o, err := ParseOffer(c.raw, c.dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(o.Layers(), " "); got != want[name] {
			t.Errorf("%s: got layers %q, want %q", name, got, want[name])
		}
	}
}

func TestOffer_Layers(t *testing.T) {
	e := openEndpoint(t)
	const three = "a=rid:h send\r\na=rid:m send\r\na=rid:l send"
	for name, tc := range map[string]struct {
		lines  string
		layers string
		answer []string // a-lines of rids and simulcast
	}{
		"plain":                      {three + "\r\na=simulcast:send l;m;h", "l m h", []string{"rid:l recv", "rid:m recv", "rid:h recv", "simulcast:recv l;m;h"}},
		"a space behind the colon":   {three + "\r\na=simulcast: send h;m", "h m", []string{"rid:h recv", "rid:m recv", "simulcast:recv h;m"}},
		"paused":                     {three + "\r\na=simulcast:send h;~m;~l", "h m l", []string{"rid:h recv", "rid:m recv", "rid:l recv", "simulcast:recv h;~m;~l"}},
		"alternatives":               {three + "\r\na=simulcast:send x,h,m;~m,l", "h m", []string{"rid:h recv", "rid:m recv", "simulcast:recv h;~m"}},
		"both ways":                  {three + "\r\na=rid:r recv\r\na=simulcast:recv r send h;l", "h l", []string{"rid:h recv", "rid:l recv", "simulcast:recv h;l"}},
		"restrictions":               {"a=rid:h send pt=96,97,45;max-width=1280;max-fps=30\r\na=rid:l send max-br=100000\r\na=simulcast:send h;l", "h l", []string{"rid:h recv pt=96,45;max-width=1280;max-fps=30", "rid:l recv max-br=100000", "simulcast:recv h;l"}},
		"one is left":                {three + "\r\na=simulcast:send h;x", "", []string{"rid:h recv", "simulcast:recv h"}},
		"more than we take":          {three + "\r\na=rid:1 send\r\na=rid:2 send\r\na=simulcast:send h;m;l;1;2", "h m l 1", []string{"rid:h recv", "rid:m recv", "rid:l recv", "rid:1 recv", "simulcast:recv h;m;l;1"}},
		"of another payload type":    {"a=rid:h send\r\na=rid:m send pt=97\r\na=rid:l send pt=x\r\na=simulcast:send h;m;l", "", []string{"rid:h recv", "simulcast:recv h"}},
		"unknown restriction":        {"a=rid:h send\r\na=rid:m send\r\na=rid:l send max-tea=3\r\na=simulcast:send h;m;l", "h m", []string{"rid:h recv", "rid:m recv", "simulcast:recv h;m"}},
		"restriction twice":          {"a=rid:h send\r\na=rid:m send\r\na=rid:l send max-fs=3;max-fs=4\r\na=simulcast:send h;m;l", "h m", []string{"rid:h recv", "rid:m recv", "simulcast:recv h;m"}},
		"depends on another":         {"a=rid:h send depend=m\r\na=rid:m send\r\na=rid:l send\r\na=simulcast:send h;m;l", "m l", []string{"rid:m recv", "rid:l recv", "simulcast:recv m;l"}},
		"a rid twice":                {three + "\r\na=rid:h send\r\na=simulcast:send h;m;l", "m l", []string{"rid:m recv", "rid:l recv", "simulcast:recv m;l"}},
		"a stream twice":             {three + "\r\na=simulcast:send h;h;l", "h l", []string{"rid:h recv", "rid:l recv", "simulcast:recv h;l"}},
		"rids to be received":        {"a=rid:h recv\r\na=rid:l recv\r\na=simulcast:recv h;l", "", nil},
		"malformed rids":             {"a=rid:h! send\r\na=rid: send\r\na=rid:l\r\na=simulcast:send h!;;l", "", nil},
		"two simulcasts":             {three + "\r\na=simulcast:send h;m\r\na=simulcast:send h;l", "", nil},
		"no simulcast":               {three, "", nil},
		"simulcast without a list":   {three + "\r\na=simulcast:send", "", nil},
		"simulcast without rids":     {"a=simulcast:send h;m;l", "", nil},
		"sources of an old client":   {"a=ssrc-group:SIM 1 2 3\r\na=ssrc-group:FID 1 11", "0 1 2", nil},
		"sources, malformed":         {"a=ssrc-group:SIM 1 x 3", "", nil},
		"sources, one twice":         {"a=ssrc-group:SIM 1 1", "", nil},
		"sources, too many":          {"a=ssrc-group:SIM 1 2 3 4 5", "", nil},
		"rids are preferred to them": {three + "\r\na=ssrc-group:SIM 1 2\r\na=simulcast:send h;l", "h l", []string{"rid:h recv", "rid:l recv", "simulcast:recv h;l"}},
	} {
		o, err := ParseOffer(simulcastOffer(t, tc.lines), Publish)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := strings.Join(o.Layers(), " "); got != tc.layers {
			t.Errorf("%s: got layers %q, want %q", name, got, tc.layers)
		}
		a := answer(t, e, o)
		var got []string
		for _, l := range strings.Split(a, "\r\n") {
			if l, _ = strings.CutPrefix(l, "a="); strings.HasPrefix(l, "rid") || strings.HasPrefix(l, "simulcast") {
				got = append(got, l)
			}
		}
		if !slices.Equal(got, tc.answer) {
			t.Errorf("%s: answered\n%q, want\n%q", name, got, tc.answer)
		}
		if named := tc.answer != nil; strings.Contains(a, ridURI) != named || strings.Contains(a, repairedURI) != named || strings.Contains(a, midURI) != named {
			t.Errorf("%s: answered extensions\n%s", name, a)
		}
	}
}

// Without the extension the layers could not be told apart (RFC 8852).
func TestOffer_NoLayersWithoutTheExtension(t *testing.T) {
	for _, raw := range [][]byte{
		bytes.ReplaceAll(clientOffers(t)["chrome-simulcast"].raw, []byte(ridURI), []byte("urn:other")),
		bytes.ReplaceAll(clientOffers(t)["firefox-simulcast"].raw, []byte("/sendonly "+ridURI), []byte("/recvonly "+ridURI)),
	} {
		o, err := ParseOffer(raw, Publish)
		if err != nil {
			t.Fatal(err)
		}
		if a := answer(t, openEndpoint(t), o); o.Layers() != nil || strings.Contains(a, "simulcast") || strings.Contains(a, "rtp-stream-id") {
			t.Errorf("got layers %v\n%s", o.Layers(), a)
		}
	}
}

func TestOffer_ViewersHaveNoLayers(t *testing.T) {
	raw := bytes.ReplaceAll(simulcastOffer(t, "a=rid:h recv\r\na=rid:l send\r\na=simulcast:recv h send l;h"), []byte("a=sendonly"), []byte("a=recvonly"))
	o, err := ParseOffer(raw, View)
	if err != nil {
		t.Fatal(err)
	}
	if o.Layers() != nil {
		t.Errorf("got %v", o.Layers())
	}
}

func TestAnswer_HeaderExtensions(t *testing.T) {
	e := openEndpoint(t)
	const way = "a=extmap:3 " + twccURI
	offers := clientOffers(t)
	for name, tc := range map[string]struct {
		offer     clientOffer
		old, with string
		has, lack []string
	}{
		"direction is turned":        {offers["firefox-simulcast"], "", "", []string{"a=extmap:9/recvonly " + ridURI, "a=extmap:10/recvonly " + repairedURI, "a=extmap:3 " + midURI, "a=extmap-allow-mixed\r\n"}, []string{"csrc-audio-level", "playout-delay"}},
		"sendrecv is the default":    {offers["chrome-simulcast"], way, "a=extmap:3/sendrecv " + twccURI, []string{way}, nil},
		"not this way":               {offers["chrome-simulcast"], way, "a=extmap:3/recvonly " + twccURI, nil, []string{twccURI, "transport-cc"}},
		"viewer, this way":           {offers["chrome-view"], way, "a=extmap:3/recvonly " + twccURI, []string{"a=extmap:3/sendonly " + twccURI, "transport-cc"}, nil},
		"viewer, not this way":       {offers["chrome-view"], way, "a=extmap:3/sendonly " + twccURI, nil, []string{twccURI, "transport-cc"}},
		"viewers get nothing else":   {offers["chrome-view"], "", "", []string{way}, []string{midURI, ridURI, "extmap-allow-mixed", "abs-send-time", "orientation"}},
		"id that ends a block":       {offers["chrome-view"], way, "a=extmap:15 " + twccURI, nil, []string{twccURI}},
		"id that is none":            {offers["chrome-view"], way, "a=extmap:4096 " + twccURI, nil, []string{twccURI}},
		"id of the two-byte form":    {offers["chrome-view"], way, "a=extmap:200 " + twccURI, []string{"a=extmap:200 " + twccURI}, nil},
		"not offered":                {offers["chrome-view"], way + "\r\n", "", nil, []string{twccURI}},
		"without feedback":           {offers["chrome-view"], "transport-cc", "other-cc", nil, []string{twccURI}},
		"no simulcast, no rids":      {offers["chrome-publish"], "", "", []string{way}, []string{ridURI, midURI}},
		"allow-mixed is not offered": {offers["chrome-publish"], "a=extmap-allow-mixed\r\n", "", []string{way}, []string{"allow-mixed"}},
	} {
		raw := bytes.ReplaceAll(tc.offer.raw, []byte(tc.old), []byte(tc.with))
		if tc.old == "" {
			raw = tc.offer.raw
		}
		o, err := ParseOffer(raw, tc.offer.dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		a := answer(t, e, o)
		for _, want := range tc.has {
			if !strings.Contains(a, want) {
				t.Errorf("%s: the answer lacks %q:\n%s", name, want, a)
			}
		}
		for _, no := range tc.lack {
			if strings.Contains(a, no) {
				t.Errorf("%s: the answer has %q:\n%s", name, no, a)
			}
		}
	}
}

// What the m-lines lack the session may say (RFC 8285, section 5).
func TestOffer_ExtensionsOfTheSession(t *testing.T) {
	d := &description{attrs: attributes{{"extmap", "7 " + midURI}}}
	if got := readExtmaps(d, &mediaLines{}, View); len(got) != 1 || got[0].id != 7 {
		t.Errorf("got %v", got)
	}
	m := &mediaLines{attrs: attributes{{"extmap", "3 " + twccURI}, {"extmap", "3 other"}, {"extmap", "4 " + twccURI}, {"extmap", "x"}}}
	if got := readExtmaps(d, m, View); len(got) != 1 || got[0].uri != twccURI || got[0].id != 3 {
		t.Errorf("got %v", got)
	}
}
