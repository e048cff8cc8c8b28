package turn

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/sender"
)

func request(method uint16, attrs ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, method)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attrs)))
	b = binary.BigEndian.AppendUint32(b, magicCookie)
	return append(append(b, make([]byte, 12)...), attrs...)
}

func TestParse_KnowsWhatIsServed(t *testing.T) {
	long := []byte{0, 0xd, 0, 4, 0, 0, 0x0e, 0x10} // an hour
	for name, tt := range map[string]struct {
		b    []byte
		ok   bool
		want message
	}{
		"binding":           {request(0x0001), true, message{method: methodBinding, lifetime: defaultLifetime}},
		"allocate":          {request(0x0003, 0, 0xd, 0, 4, 0, 0, 0, 60), true, message{method: methodAllocate, lifetime: time.Minute}},
		"refresh for ever":  {request(0x0004, long...), true, message{method: methodRefresh, lifetime: defaultLifetime}},
		"send":              {request(0x0016), true, message{method: methodSend, class: classIndication, lifetime: defaultLifetime}},
		"channel":           {[]byte{0x40, 0, 0, 4, 1, 2, 3, 4}, true, message{data: true}},
		"two lifetimes":     {request(0x0004, append([]byte{0, 0xd, 0, 4, 0, 0, 0, 9}, long...)...), true, message{method: methodRefresh, lifetime: 9 * time.Second}},
		"success":           {request(0x0101), false, message{}},
		"error":             {request(0x0113), false, message{}},
		"connect":           {request(0x000a), false, message{}},
		"connection bind":   {request(0x000b), false, message{}},
		"send as a request": {request(0x0006), false, message{}},
		"data indication":   {request(0x0017), false, message{}},
		"short lifetime":    {request(0x0004, 0, 0xd, 0, 2, 0, 0, 0, 0), false, message{}},
		"attribute cut":     {request(0x0001, 0, 6, 0, 9, 1, 2, 3, 4), false, message{}},
		"short channel":     {[]byte{0x40, 0, 0, 5, 1, 2, 3, 4}, false, message{}},
		"reserved channel":  {[]byte{0x80, 0, 0, 0}, false, message{}},
		"empty":             {nil, false, message{}},
		"too long":          {make([]byte, maxMessage+4), false, message{}},
		"wrong length":      {append(request(0x0001), 0, 0, 0, 0), false, message{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := parse(tt.b)
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("got %+v, %t; want %+v, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(request(0x0003, 0, 0xd, 0, 4, 0, 0, 0, 60))
	f.Add([]byte{0x40, 0, 0, 4, 1, 2, 3, 4})
	f.Add([]byte{0, 1, 0xff, 0xec, 0x21, 0x12, 0xa4, 0x42})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parse(b)
		if ok && (m.lifetime < 0 || m.lifetime > maxLifetime || !m.data && !m.known()) {
			t.Errorf("got %+v", m)
		}
		if len(b) < dataHeader {
			return
		}
		n, framed := frameSize(b[:dataHeader])
		if framed && (n < dataHeader || n > maxMessage) {
			t.Errorf("a frame of %d bytes", n)
		}
		// What is a message is a frame of its length, but for padding.
		if ok && !m.data && (!framed || n != len(b)) {
			t.Errorf("a message of %d bytes is a frame of %d", len(b), n)
		}
	})
}

func FuzzReadUser(f *testing.F) {
	f.Add("1700000000:ABCDEF")
	f.Add(":")
	f.Fuzz(func(t *testing.T, user string) {
		who, expires, ok := readUser(user)
		if ok && (who == "" || expires.Unix() < 0 || len(user) > maxUser) {
			t.Errorf("got %q, %s", who, expires)
		}
	})
}

func TestUsable_NamesOneMachine(t *testing.T) {
	for _, s := range []string{"0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1", "255.255.255.255:1", "224.0.0.1:1", "[ff02::1]:1", "10.0.0.1:0", "[fe80::1%eth0]:1"} {
		if usable(netip.MustParseAddrPort(s)) {
			t.Errorf("%s is usable", s)
		}
	}
	for _, s := range []string{"10.0.0.1:1", "127.0.0.1:1", "[::1]:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"} {
		if !usable(netip.MustParseAddrPort(s)) {
			t.Errorf("%s is not usable", s)
		}
	}
}

func TestSharedSecret_IsThatOfCoturn(t *testing.T) {
	// printf %s 1700000000:ann | openssl dgst -sha1 -hmac north -binary | base64
	user, password := SharedSecretCredentials("north", "ann", time.Unix(1700000000, 0))
	if user != "1700000000:ann" || password != "jeamH6dA5l2I9g3jmieza7CzEDo=" {
		t.Errorf("got %q, %q", user, password)
	}
}

func TestStrangers_AreBoundedInMemory(t *testing.T) {
	s := newStrangers(1, 1)
	now := time.Now()
	for i := range 2 * maxSenders {
		s.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(s.senders) > maxSenders {
		t.Errorf("%d senders are kept", len(s.senders))
	}
	if a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"); sender.Of(a) != sender.Of(b) {
		t.Error("two addresses of one host are two senders")
	}
}
