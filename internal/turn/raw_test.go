package turn_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	pion "github.com/pion/turn/v5"

	"github.com/lectern/lectern/internal/turn"
)

// raw speaks TURN by hand, over UDP, to say what no honest client says.
type raw struct {
	t     testing.TB
	conn  net.Conn
	user  string
	key   []byte
	nonce stun.Nonce
	buf   [2000]byte
	realm string
}

func openRaw(t testing.TB, s *turn.Server, user, password string) *raw {
	t.Helper()
	conn := must[net.Conn](t)(net.Dial("udp", s.Addr("udp").String()))
	t.Cleanup(func() { _ = conn.Close() })
	return &raw{t: t, conn: conn, user: user, key: pion.GenerateAuthKey(user, "lectern", password), realm: "lectern"}
}

// send sends a message and returns the answer; nil if there is none.
func (r *raw) send(attrs ...stun.Setter) *stun.Message {
	r.t.Helper()
	m := must[*stun.Message](r.t)(stun.Build(append([]stun.Setter{stun.TransactionID}, attrs...)...))
	return r.sendBytes(m.Raw, 300*time.Millisecond)
}

func (r *raw) sendBytes(b []byte, wait time.Duration) *stun.Message {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatal(err)
	}
	if err := r.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		r.t.Fatal(err)
	}
	n, err := r.conn.Read(r.buf[:])
	if err != nil {
		return nil
	}
	m := &stun.Message{Raw: append([]byte(nil), r.buf[:n]...)}
	if err := m.Decode(); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// signed sends a request with credentials, asking for a nonce first.
func (r *raw) signed(method stun.Method, attrs ...stun.Setter) *stun.Message {
	r.t.Helper()
	if r.nonce == nil {
		m := r.send(stun.NewType(stun.MethodAllocate, stun.ClassRequest), transport(17))
		if m == nil || r.nonce.GetFrom(m) != nil {
			r.t.Fatal("no nonce")
		}
	}
	all := append([]stun.Setter{stun.NewType(method, stun.ClassRequest)}, attrs...)
	return r.send(append(all, stun.NewUsername(r.user), stun.NewRealm(r.realm), r.nonce, stun.MessageIntegrity(r.key))...)
}

func (r *raw) allocate(attrs ...stun.Setter) *stun.Message {
	r.t.Helper()
	return r.signed(stun.MethodAllocate, append([]stun.Setter{transport(17)}, attrs...)...)
}

// code is the error code of an answer, 0 of a success, -1 of silence.
func code(m *stun.Message) int {
	if m == nil {
		return -1
	}
	if m.Type.Class == stun.ClassSuccessResponse {
		return 0
	}
	var e stun.ErrorCodeAttribute
	if e.GetFrom(m) != nil {
		return -2
	}
	return int(e.Code)
}

func attr(kind stun.AttrType, v []byte) stun.Setter { return stun.RawAttribute{Type: kind, Value: v} }

func transport(protocol byte) stun.Setter {
	return attr(stun.AttrRequestedTransport, []byte{protocol, 0, 0, 0})
}

func lifetime(seconds uint32) stun.Setter {
	return attr(stun.AttrLifetime, binary.BigEndian.AppendUint32(nil, seconds))
}

func channel(n uint16) stun.Setter {
	return attr(stun.AttrChannelNumber, binary.BigEndian.AppendUint32(nil, uint32(n)<<16))
}

// peer is XOR-PEER-ADDRESS as written: an IPv4 address in IPv6 form stays one.
type peer netip.AddrPort

// AddTo implements stun.Setter.
func (p peer) AddTo(m *stun.Message) error {
	a := netip.AddrPort(p)
	family, ip := byte(1), a.Addr().AsSlice()
	if len(ip) == 16 {
		family = 2
	}
	mask := append(binary.BigEndian.AppendUint32(nil, 0x2112a442), m.TransactionID[:]...)
	for i := range ip {
		ip[i] ^= mask[i]
	}
	v := append([]byte{0, family}, binary.BigEndian.AppendUint16(nil, a.Port()^0x2112)...)
	m.Add(stun.AttrXORPeerAddress, append(v, ip...))
	return nil
}
