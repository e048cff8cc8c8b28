package rtc

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/pion/stun/v3"
)

func TestParseFragment(t *testing.T) {
	good := "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n" +
		"a=candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host\r\na=end-of-candidates\r\n"
	o := &Offer{}
	o.sections = []*section{{mid: "0"}, {mid: "1"}}
	o.bundle = o.sections
	f, err := parseFragment([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	part := f.section(o)
	if part.ice != (credentials{"EsAw", "bP+XJMM09aR8AiX1jdukzR6Y"}) || len(part.candidates) != 1 || !part.end {
		t.Errorf("got %+v", part)
	}
	if c := remoteCandidates(part.candidates); len(c) != 1 || c[0].Address() != "198.51.100.1" {
		t.Errorf("got candidates %v", c)
	}
	for name, raw := range map[string]string{
		"empty":                     "",
		"blank lines":               "\r\n\r\n",
		"no colon":                  "hello there",
		"an offer":                  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n" + good,
		"JSON":                      `{"candidate":""}`,
		"nothing of use":            "a=mid:0\r\n",
		"short pwd":                 "a=ice-ufrag:EsAw\r\na=ice-pwd:short\r\n",
		"short ufrag":               "a=ice-ufrag:E\r\n",
		"odd letters":               "a=ice-ufrag:Es w\r\n",
		"two ufrags in one":         "a=ice-ufrag:EsAw\r\na=ice-ufrag:EsAx\r\n",
		"two mids in one":           "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=mid:1\r\na=end-of-candidates\r\n",
		"an m-line cut short":       "m=audio 9\r\na=mid:0\r\na=end-of-candidates\r\n",
		"too many m-lines":          strings.Repeat("m=audio 9 RTP/AVP 0\r\n", 9) + "a=end-of-candidates\r\n",
		"a candidate cut short":     "a=candidate:1 1 udp 2130706431 198.51.100.1 39132\r\n",
		"a candidate without typ":   "a=candidate:1 1 udp 2130706431 198.51.100.1 39132 host host\r\n",
		"a candidate's port":        "a=candidate:1 1 udp 2130706431 198.51.100.1 391320 typ host\r\n",
		"a candidate's priority":    "a=candidate:1 1 udp 99999999999 198.51.100.1 39132 typ host\r\n",
		"a candidate's component":   "a=candidate:1 x udp 2130706431 198.51.100.1 39132 typ host\r\n",
		"a candidate out of hand":   "a=candidate:1 1 udp 1 198.51.100.1 39132 typ host " + strings.Repeat("x y ", 200) + "\r\n",
		"binary":                    "a=\xff\xfe\r\n",
		"NUL":                       "a=ice-ufrag:EsAw\x00\r\n",
		"huge":                      strings.Repeat("a=x\r\n", maxFragmentBytes),
		"lines without end":         strings.Repeat("a=x\r\n", 1000) + good,
		"credentials in one m-line": "m=audio 9 RTP/AVP 0\r\na=ice-ufrag:a\r\n",
	} {
		var oe *OfferError
		if _, err := parseFragment([]byte(raw)); !errors.As(err, &oe) {
			t.Errorf("%s: got %v, want an OfferError", name, err)
		}
	}
	many := good + strings.Repeat("a=candidate:1 1 udp 1 198.51.100.1 39132 typ host\r\n", 100)
	if f, err := parseFragment([]byte(many)); err != nil || len(f.section(o).candidates) != maxCandidates {
		t.Errorf("got %v; want %d candidates", err, maxCandidates)
	}
}

func TestFragment_Section(t *testing.T) {
	o := &Offer{}
	o.sections = []*section{{mid: "a"}, {mid: "v"}}
	o.bundle = o.sections
	line := func(n string) string { return "a=candidate:" + n + " 1 udp 1 198.51.100.1 39132 typ host\r\n" }
	pwd := "a=ice-pwd:0123456789012345678901\r\n"
	for name, tc := range map[string]struct {
		raw, ufrag string
		candidates int
	}{
		"at session level":              {"a=ice-ufrag:AAAA\r\n" + pwd + line("1"), "AAAA", 1},
		"session and m-line":            {"a=ice-ufrag:AAAA\r\n" + pwd + "m=audio 9 RTP/AVP 0\r\na=mid:a\r\n" + line("1"), "AAAA", 1},
		"the tagged m-line":             {"m=video 9 RTP/AVP 0\r\na=mid:v\r\na=ice-ufrag:VVVV\r\n" + line("1") + "m=audio 9 RTP/AVP 0\r\na=mid:a\r\na=ice-ufrag:AAAA\r\n" + line("2"), "AAAA", 1},
		"one that shares the transport": {"a=ice-ufrag:AAAA\r\nm=video 9 RTP/AVP 0\r\na=mid:v\r\n" + line("1") + "m=audio 9 RTP/AVP 0\r\na=mid:a\r\n" + line("2"), "AAAA", 2},
		"another m-line alone":          {"m=video 9 RTP/AVP 0\r\na=mid:v\r\na=ice-ufrag:VVVV\r\n" + line("1"), "VVVV", 1},
		"an unknown mid":                {"a=ice-ufrag:AAAA\r\nm=video 9 RTP/AVP 0\r\na=mid:x\r\n" + line("1"), "AAAA", 0},
		"no mid":                        {"m=video 9 RTP/AVP 0\r\na=ice-ufrag:AAAA\r\n" + line("1"), "AAAA", 1},
		"empty candidates":              {"m=audio 9 RTP/AVP 0\na=mid:a\na=candidate:\na=\na=ice-ufrag:AAAA\n", "AAAA", 0},
	} {
		f, err := parseFragment([]byte(tc.raw))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := f.section(o); got.ice.ufrag != tc.ufrag || len(got.candidates) != tc.candidates {
			t.Errorf("%s: got %+v, want %s and %d candidates", name, got, tc.ufrag, tc.candidates)
		}
	}
}

func TestCandidates_OfAnotherICESessionAreLeftOut(t *testing.T) {
	lines := []string{
		"1 1 udp 1 198.51.100.1 39132 typ host",
		"1 1 udp 1 198.51.100.2 39132 typ host generation 0 ufrag AAAA",
		"1 1 udp 1 198.51.100.3 39132 typ host generation 0 ufrag BBBB network-id 1",
	}
	if got := ofUfrag(lines, "AAAA"); len(got) != 2 || got[1] != lines[1] {
		t.Errorf("got %q", got)
	}
}

func FuzzParseFragment(f *testing.F) {
	f.Add([]byte("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host raddr 1.2.3.4 rport 5\r\n"))
	f.Add([]byte("a=candidate:1 1 tcp 1 2001:db8::1 9 typ host tcptype active generation 0 ufrag x\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := &Offer{sections: []*section{{mid: "0"}, {mid: "1"}}}
		o.bundle = o.sections
		if frag, err := parseFragment(raw); err == nil {
			remoteCandidates(ofUfrag(frag.section(o).candidates, "abcd"))
		}
	})
}

// What strangers send over TCP must not disturb.
func FuzzTCPFrames(f *testing.F) {
	check, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername("abcd:efgh"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{0, byte(len(check.Raw))}, check.Raw...))
	f.Add([]byte{0xff, 0xff, 1})
	f.Add([]byte{0, 0, 0, 1, 0x80})
	m := &tcpMux{}
	f.Fuzz(func(_ *testing.T, raw []byte) {
		r, buf := bytes.NewReader(raw), make([]byte, maxTCPFrame)
		for {
			n, err := readFrame(r, buf)
			if err != nil {
				return
			}
			m.connFor(buf[:n], addrPortOf(nil).Addr())
		}
	})
}
