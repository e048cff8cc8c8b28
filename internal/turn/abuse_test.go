package turn_test

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"github.com/lectern/lectern/internal/turn"
)

func TestAllocate_NeedsCredentialsOfOurs(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	other := listen(t, nil, media.addr)
	user, password, _ := s.Credentials("someone")
	strange, strangePassword, _ := other.Credentials("someone")
	_, who, _ := strings.Cut(user, ":")
	tomorrow := strconv.FormatInt(time.Now().Add(24*time.Hour).Unix(), 10) + ":" + who
	tests := map[string]struct{ user, password string }{
		"wrong password":        {user, password + "x"},
		"no password":           {user, ""},
		"of another server":     {strange, strangePassword},
		"made to last":          {tomorrow, password},
		"no time":               {who, password},
		"nothing but a time":    {"99999999999:", password},
		"negative time":         {"-1:" + who, password},
		"not a number":          {"soon:" + who, password},
		"a long name":           {user + strings.Repeat("a", 400), password},
		"the name of a session": {"99999999999:someone", "someone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if m := openRaw(t, s, tt.user, tt.password).allocate(); code(m) < 400 {
				t.Errorf("got %v (%d)", m, code(m))
			}
		})
	}
	if m := openRaw(t, s, user, password).send(stun.NewType(stun.MethodAllocate, stun.ClassRequest), transport(17)); code(m) != 401 {
		t.Errorf("without credentials: got %d, want 401", code(m))
	}
	r := openRaw(t, s, user, password)
	r.realm = "another"
	if m := r.allocate(); code(m) < 400 {
		t.Errorf("another realm: got %d", code(m))
	}
	if n := s.Stats().Allocations; n != 0 {
		t.Errorf("%d allocations were made", n)
	}
	if m := openRaw(t, s, user, password).allocate(); code(m) != 0 {
		t.Errorf("with good credentials: got %d", code(m))
	}
}

func TestAllocate_WithExpiredCredentialsIsRefusedAndRefreshIsNot(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, func(c *turn.Config) { c.CredentialLife = 2 * time.Second }, media.addr)
	user, password, expires := s.Credentials("")
	r := openRaw(t, s, user, password)
	if m := r.allocate(); code(m) != 0 {
		t.Fatalf("got %d", code(m))
	}
	waitFor(t, "the credentials to expire", func() bool { return time.Now().After(expires) })
	if m := openRaw(t, s, user, password).allocate(); code(m) < 400 {
		t.Errorf("a new allocation: got %d, want an error", code(m))
	}
	if m := r.signed(stun.MethodRefresh, lifetime(600)); code(m) != 0 {
		t.Errorf("refresh of the old: got %d, want success", code(m))
	}
	if m := r.signed(stun.MethodCreatePermission, peer(media.addr)); code(m) != 0 {
		t.Errorf("permission for the old: got %d, want success", code(m))
	}
}

// silent checks that nothing has come.
func silent(t *testing.T, e *echo, what string) {
	t.Helper()
	select {
	case got := <-e.got:
		t.Errorf("%s got %q", what, got)
	default:
	}
}

func TestRelay_GivesNoPermissionButForTheMediaPort(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	user, password, _ := s.Credentials("")
	r := openRaw(t, s, user, password)
	if m := r.allocate(); code(m) != 0 {
		t.Fatalf("got %d", code(m))
	}
	port := media.addr.Port()
	for i, ip := range []string{
		"127.0.0.2", "127.1.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "10.0.0.1", "192.0.2.1", "169.254.169.254",
		"::1", "::", "fe80::1", "2001:db8::1", "ff02::1",
		"::ffff:127.0.0.2", "::ffff:10.0.0.1", "::ffff:0.0.0.0", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
	} {
		to := peer(netip.AddrPortFrom(netip.MustParseAddr(ip), port))
		if m := r.signed(stun.MethodCreatePermission, to); code(m) != 403 && code(m) != 443 {
			t.Errorf("permission for %s: got %d, want 403", ip, code(m))
		}
		m := r.signed(stun.MethodChannelBind, channel(uint16(0x4100+i)), to)
		if c := code(m); c != 403 && c != 443 { // 443: of the other family
			t.Errorf("channel to %s: got %d, want 403", ip, c)
		}
		// One that is not ours among others that are spoils the request.
		if m := r.signed(stun.MethodCreatePermission, peer(media.addr), to); code(m) < 400 {
			t.Errorf("permission for ours and %s: got %d, want an error", ip, code(m))
		}
	}
	if s.Stats().Refused == 0 {
		t.Error("nothing was counted as refused")
	}
}

// A permission is for an address: its other ports must stay out of reach.
func TestRelay_ReachesNoOtherPortOfTheSameAddress(t *testing.T) {
	media, victim := openEcho(t, "127.0.0.1:0"), openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	user, password, _ := s.Credentials("")
	r := openRaw(t, s, user, password)
	if m := r.allocate(); code(m) != 0 {
		t.Fatalf("got %d", code(m))
	}
	if m := r.signed(stun.MethodCreatePermission, peer(victim.addr)); code(m) != 0 {
		t.Fatalf("permission for the address: got %d", code(m))
	}
	mapped := netip.AddrPortFrom(netip.AddrFrom16(victim.addr.Addr().As16()), victim.addr.Port())
	for _, to := range []netip.AddrPort{victim.addr, mapped} {
		r.send(stun.NewType(stun.MethodSend, stun.ClassIndication), peer(to), attr(stun.AttrData, []byte("to the victim")))
	}
	if m := r.signed(stun.MethodChannelBind, channel(0x4001), peer(victim.addr)); code(m) == 0 {
		r.sendBytes([]byte("\x40\x01\x00\x08victim!!"), 100*time.Millisecond)
	}
	silent(t, media, "the media port")
	// The media port is reached by the same means, in both forms.
	mappedMedia := netip.AddrPortFrom(netip.AddrFrom16(media.addr.Addr().As16()), media.addr.Port())
	for _, to := range []netip.AddrPort{media.addr, mappedMedia} {
		m := r.send(stun.NewType(stun.MethodSend, stun.ClassIndication), peer(to), attr(stun.AttrData, []byte("to the port")))
		if m == nil || m.Type.Method != stun.MethodData {
			t.Errorf("nothing came back from %s", to)
		}
	}
	silent(t, victim, "another port")
}

func TestRelay_LetsNobodyElseIn(t *testing.T) {
	media, stranger := openEcho(t, "127.0.0.1:0"), openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	relay := allocate(t, s, "udp")
	if _, err := exchange(relay, media.addr, "hello there", patience); err != nil {
		t.Fatal(err) // permission for 127.0.0.1 is given from here on
	}
	if _, err := stranger.conn.WriteTo([]byte("from outside"), relay.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := media.conn.WriteTo([]byte("from the media port"), relay.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if err := relay.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, from, err := relay.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "from the media port" {
		t.Errorf("got %q from %v (%v), want that of the media port alone", buf[:n], from, err)
	}
}

func TestRelay_IsForUDPAndOnOurPortsOnly(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	user, password, _ := s.Credentials("")
	for name, attrs := range map[string][]stun.Setter{
		"TCP (RFC 6062)":      {transport(6)},
		"SCTP":                {transport(132)},
		"no transport":        nil,
		"an even port":        {transport(17), attr(stun.AttrEvenPort, []byte{0x80})},
		"a reserved port":     {transport(17), attr(stun.AttrReservationToken, []byte("12345678"))},
		"no time at all":      {transport(17), lifetime(0)},
		"IPv6, there is none": {transport(17), attr(stun.AttrRequestedAddressFamily, []byte{2, 0, 0, 0})},
		"unknown family":      {transport(17), attr(stun.AttrRequestedAddressFamily, []byte{9, 0, 0, 0})},
	} {
		t.Run(name, func(t *testing.T) {
			if m := openRaw(t, s, user, password).signed(stun.MethodAllocate, attrs...); code(m) < 400 {
				t.Errorf("got %d, want an error", code(m))
			}
		})
	}
	r := openRaw(t, s, user, password)
	if m := r.allocate(); code(m) != 0 {
		t.Fatal(code(m))
	}
	for _, method := range []stun.Method{stun.MethodConnect, stun.MethodConnectionBind} {
		if m := r.signed(method, peer(media.addr), attr(stun.AttrConnectionID, []byte{0, 0, 0, 1})); m != nil {
			t.Errorf("%v: got an answer", method)
		}
	}
	if n := s.Stats().Allocations; n != 1 {
		t.Errorf("got %d allocations, want 1", n)
	}
}

func TestQuota_PerUserPerAddressAndInAll(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	for name, change := range map[string]func(*turn.Config){
		"user":    func(c *turn.Config) { c.MaxPerUser = 3 },
		"address": func(c *turn.Config) { c.MaxPerAddress = 3 },
		"all":     func(c *turn.Config) { c.MaxAllocations = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, change, media.addr)
			var open []*raw
			for range 3 {
				session := ""
				if name == "user" {
					session = "one"
				}
				user, password, _ := s.Credentials(session)
				r := openRaw(t, s, user, password)
				if m := r.allocate(); code(m) != 0 {
					t.Fatalf("within the quota: got %d", code(m))
				}
				open = append(open, r)
			}
			user, password, _ := s.Credentials("one")
			if m := openRaw(t, s, user, password).allocate(); code(m) != 486 {
				t.Errorf("above the quota: got %d, want 486", code(m))
			}
			if m := open[0].signed(stun.MethodRefresh, lifetime(0)); code(m) != 0 {
				t.Fatalf("giving one back: got %d", code(m))
			}
			if m := openRaw(t, s, user, password).allocate(); code(m) != 0 {
				t.Errorf("in its place: got %d", code(m))
			}
		})
	}
}

func TestAllocation_EndsWhenTheMediaPortIsSilentAndAfterItsLife(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	for name, change := range map[string]func(*turn.Config){
		"silent": func(c *turn.Config) { c.IdleTimeout = 50 * time.Millisecond },
		"old":    func(c *turn.Config) { c.AllocationLife, c.IdleTimeout = 50*time.Millisecond, 4*time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, change, media.addr)
			user, password, _ := s.Credentials("")
			r := openRaw(t, s, user, password)
			if m := r.allocate(); code(m) != 0 {
				t.Fatal(code(m))
			}
			waitFor(t, "the end", func() bool { return s.Stats().Allocations == 0 })
			if m := r.signed(stun.MethodRefresh, lifetime(600)); code(m) == 0 {
				t.Error("it could be refreshed after its end")
			}
		})
	}
}

func TestAllocation_NearItsEndTakesNoPermission(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	user, password, _ := s.Credentials("")
	r := openRaw(t, s, user, password)
	if m := r.allocate(lifetime(1)); code(m) != 0 {
		t.Fatal(code(m))
	}
	if m := r.signed(stun.MethodCreatePermission, peer(media.addr)); code(m) < 400 {
		t.Errorf("got %d, want an error", code(m))
	}
	if m := r.signed(stun.MethodRefresh, lifetime(600)); code(m) != 0 {
		t.Fatal(code(m))
	}
	if m := r.signed(stun.MethodCreatePermission, peer(media.addr)); code(m) != 0 {
		t.Errorf("after a refresh: got %d", code(m))
	}
}

func TestRelay_IsBoundedInBytes(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, func(c *turn.Config) { c.MaxRate = 5000 }, media.addr)
	relay := allocate(t, s, "udp")
	for range 50 {
		if _, err := relay.WriteTo(make([]byte, 1000), net.UDPAddrFromAddrPort(media.addr)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the bound", func() bool { return s.Stats().Throttled > 30 })
	if up := s.Stats().BytesUp; up > 8000 {
		t.Errorf("%d bytes went up at 5000 a second", up)
	}
}

// The answers to those who have shown nothing are small: a forged sender must
// not make us a weapon.
func TestAnswers_AreSmall(t *testing.T) {
	s := listen(t, nil, netip.MustParseAddrPort("127.0.0.1:9"))
	r := openRaw(t, s, "", "")
	ask := func(what string, most int, attrs ...stun.Setter) {
		if m := r.send(attrs...); m == nil || len(m.Raw) > most {
			t.Errorf("%s: got %v, want at most %d bytes", what, m, most)
		}
	}
	ask("binding", 48, stun.BindingRequest)
	ask("allocation", 100, stun.NewType(stun.MethodAllocate, stun.ClassRequest), transport(17))
	if m := r.send(stun.NewType(stun.MethodAllocate, stun.ClassRequest), transport(17)); m.Contains(stun.AttrSoftware) {
		t.Error("the answer names the software")
	}
}

func TestStrangers_AreSlowedPerAddress(t *testing.T) {
	s := listen(t, nil, netip.MustParseAddrPort("127.0.0.1:9"))
	conn := must[net.Conn](t)(net.Dial("udp", s.Addr("udp").String()))
	defer func() { _ = conn.Close() }()
	m := must[*stun.Message](t)(stun.Build(stun.TransactionID, stun.BindingRequest))
	waitFor(t, "the bound", func() bool {
		for range 500 {
			if _, err := conn.Write(m.Raw); err != nil {
				t.Fatal(err)
			}
		}
		return s.Stats().Throttled > 0
	})
}

// Many at once come and go while the server closes.
func TestClose_InTheMiddleOfIt(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	for i := range 20 {
		user, password, _ := s.Credentials(fmt.Sprint(i))
		r := openRaw(t, s, user, password)
		if m := r.allocate(); code(m) != 0 {
			t.Fatal(code(m))
		}
		r.signed(stun.MethodCreatePermission, peer(media.addr))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := s.Stats().Allocations; n != 0 {
		t.Errorf("%d allocations left", n)
	}
}
