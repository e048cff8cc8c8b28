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
	f, err := parseFragment([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if f.ice != (credentials{"EsAw", "bP+XJMM09aR8AiX1jdukzR6Y"}) || len(f.candidates) != 1 || !f.end {
		t.Errorf("got %+v", f)
	}
	if c := remoteCandidates(f.candidates); len(c) != 1 || c[0].Address() != "198.51.100.1" {
		t.Errorf("got candidates %v", c)
	}
	for name, raw := range map[string]string{
		"empty":          "",
		"no colon":       "hello there",
		"nothing of use": "a=mid:0\r\n",
		"short pwd":      "a=ice-ufrag:EsAw\r\na=ice-pwd:short\r\n",
		"short ufrag":    "a=ice-ufrag:E\r\n",
		"binary":         "a=\xff\xfe\r\n",
		"huge":           strings.Repeat("a=x\r\n", maxFragmentBytes),
	} {
		var oe *OfferError
		if _, err := parseFragment([]byte(raw)); !errors.As(err, &oe) {
			t.Errorf("%s: got %v, want an OfferError", name, err)
		}
	}
	many := good + strings.Repeat("a=candidate:1 1 udp 1 198.51.100.1 39132 typ host\r\n", 100)
	if f, err := parseFragment([]byte(many)); err != nil || len(f.candidates) != maxCandidates {
		t.Errorf("got %v, %v; want %d candidates", len(f.candidates), err, maxCandidates)
	}
}

func FuzzParseFragment(f *testing.F) {
	f.Add([]byte("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host raddr 1.2.3.4 rport 5\r\n"))
	f.Add([]byte("a=candidate:1 1 tcp 1 2001:db8::1 9 typ host tcptype active generation 0 ufrag x\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if frag, err := parseFragment(raw); err == nil {
			remoteCandidates(frag.candidates)
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
