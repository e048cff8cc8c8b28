package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// diagnoseRoutes are those of the test of paths. A browser asks what there is
// (GET), tries each path with a peer connection that carries one data channel
// and nothing else (POST), and hears its own messages back. TURN is tried with
// path=any and an iceTransportPolicy of relay.
func (s *Server) diagnoseRoutes(e *gin.Engine) {
	limit := s.rateLimit(s.changes)
	e.GET("/api/diagnose", limit, s.handle(s.diagnose))
	e.POST("/api/diagnose", limit, s.handle(s.probe))
	e.GET("/api/diagnose/:id", s.handle(s.probeState))
	e.DELETE("/api/diagnose/:id", s.handle(s.endProbe))
}

// note is a finding: programs decide by Code, which never changes its meaning.
type note struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

type diagnosis struct {
	Client struct {
		Address string `json:"address"`
		Proxied bool   `json:"proxied"` // by a proxy that is trusted
		Secure  bool   `json:"secure"`  // over HTTPS
	} `json:"client"`
	UDP  pathView `json:"udp"`
	TCP  pathView `json:"tcp"`
	TURN struct {
		Servers []iceServerView `json:"servers"`
	} `json:"turn"`
	STUN struct {
		Servers []iceServerView `json:"servers"`
	} `json:"stun"`
	Notes []note   `json:"notes"`
	Words []string `json:"words"` // the texts of Notes
}

type pathView struct {
	Addresses []string `json:"addresses"`
}

type iceServerView struct {
	URL        string `json:"url"`
	Username   string `json:"username,omitempty"`
	Credential string `json:"credential,omitempty"`
}

// diagnosing lets in whoever may test: with a credential of any kind, or from an
// open room that the query names.
func (s *Server) diagnosing(c *gin.Context) (access.Claims, error) {
	name := c.Query("room")
	if name != "" && room.ValidName(name) != nil {
		return access.Claims{}, fail(http.StatusBadRequest, "bad_name", sayBadName)
	}
	return s.admit(c, name, viaHTTP)
}

// diagnose tells what is offered to this client, and what is seen of it.
func (s *Server) diagnose(c *gin.Context) error {
	if _, err := s.diagnosing(c); err != nil {
		return err
	}
	var d diagnosis
	a := arrived(c)
	client := remoteAddr(c)
	d.Client.Address, d.Client.Proxied, d.Client.Secure = client.String(), a.proxied, a.https
	hosts, port := s.cfg.Endpoint.Hosts(), s.cfg.Endpoint.Addr().Port()
	d.UDP.Addresses, d.TCP.Addresses = []string{}, []string{}
	for _, h := range hosts {
		at := netip.AddrPortFrom(h, port).String()
		d.UDP.Addresses = append(d.UDP.Addresses, at)
		if s.cfg.Endpoint.TCP() {
			d.TCP.Addresses = append(d.TCP.Addresses, at)
		}
	}
	d.TURN.Servers, d.STUN.Servers = []iceServerView{}, []iceServerView{}
	for _, is := range s.iceServers(c, "") {
		if strings.HasPrefix(is.URL, "turn") {
			d.TURN.Servers = append(d.TURN.Servers, iceServerView(is))
		} else {
			d.STUN.Servers = append(d.STUN.Servers, iceServerView(is))
		}
	}
	d.Notes = append(notesOnClient(a, client), d.notesOnPaths(hosts, client)...)
	d.Words = []string{}
	for _, n := range d.Notes {
		d.Words = append(d.Words, n.Text)
	}
	c.JSON(http.StatusOK, d)
	return nil
}

func notesOnClient(a arrival, client netip.Addr) []note {
	notes := []note{{"client_address", fmt.Sprintf("This server sees you at %s.", client)}}
	if a.proxied {
		notes = append(notes, note{"proxied", "You come through a proxy. It passes pages and signalling on, but media go past it."})
	}
	if !a.https && !client.IsLoopback() {
		notes = append(notes, note{"not_secure", "Without HTTPS browsers give no camera and no microphone."})
	}
	return notes
}

func (d *diagnosis) notesOnPaths(hosts []netip.Addr, client netip.Addr) []note {
	var notes []note
	list := func(code, way string, addrs []string) {
		if len(addrs) == 0 {
			notes = append(notes, note{code + "_off", fmt.Sprintf("Media over %s are not offered.", way)})
		} else {
			notes = append(notes, note{code + "_offered", fmt.Sprintf("Media over %s are offered at %s.", way, strings.Join(addrs, ", "))})
		}
	}
	list("udp", "UDP", d.UDP.Addresses)
	list("tcp", "TCP", d.TCP.Addresses)
	if !slices.ContainsFunc(hosts, isPublic) && isPublic(client) {
		notes = append(notes, note{"only_private", "Only private addresses are offered, and you come from a public one: " +
			"the server's public address should be in webrtc.advertise_ips or webrtc.hosts."})
	}
	for _, w := range []struct{ code, prefix, suffix, way string }{
		{"turn_udp_offered", "turn:", "transport=udp", "UDP"},
		{"turn_tcp_offered", "turn:", "transport=tcp", "TCP"},
		{"turn_tls_offered", "turns:", "", "TLS"},
	} {
		for _, sv := range d.TURN.Servers {
			if strings.HasPrefix(sv.URL, w.prefix) && strings.HasSuffix(sv.URL, w.suffix) {
				notes = append(notes, note{w.code, fmt.Sprintf("A relay over %s is offered at %s.", w.way, sv.URL)})
			}
		}
	}
	if len(d.TURN.Servers) == 0 {
		notes = append(notes, note{"turn_off", "No relay (TURN) is offered."})
	}
	return notes
}

func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a)
}

// probe takes the offer of a test and answers as any session would, on the paths
// that the query names.
func (s *Server) probe(c *gin.Context) error {
	if !s.sessions.accepting() {
		return errStopping()
	}
	cl, err := s.diagnosing(c)
	if err != nil {
		return err
	}
	paths, err := pathsOf(c.DefaultQuery("path", "any"))
	if err != nil {
		return err
	}
	body, err := readBody(c, typeSDP, maxSDP)
	if err != nil {
		return err
	}
	offer, err := rtc.ParseOffer(body, rtc.Probe)
	if err != nil {
		return err
	}
	watch := func(ended func(error)) func() { return s.cfg.Authority.Watch(cl.Within(c.Query("room")), ended) }
	p, err := s.probes.open(s.cfg.Endpoint, offer, paths, remoteAddr(c), watch)
	if err != nil {
		return err
	}
	c.Header("Location", "/api/diagnose/"+p.id)
	c.Data(http.StatusCreated, typeSDP, p.session.Answer())
	return nil
}

func pathsOf(name string) (rtc.Paths, error) {
	switch name {
	case "any":
		return 0, nil
	case "udp":
		return rtc.PathUDP, nil
	case "tcp":
		return rtc.PathTCP, nil
	}
	return 0, fail(http.StatusBadRequest, "bad_query", "The path is one of udp, tcp, any.")
}

// probeView is how a test went so far.
type probeView struct {
	State    string    `json:"state"`    // connecting, connected or ended
	Offered  []string  `json:"offered"`  // candidates of the server, as "udp 192.0.2.1:8189 host"
	Received []string  `json:"received"` // those of the client
	Path     *pathTold `json:"path"`     // null: none found
	Notes    []note    `json:"notes"`
	Words    []string  `json:"words"`
}

type pathTold struct {
	Network string `json:"network"` // udp or tcp
	Remote  string `json:"remote"`
	Type    string `json:"type"` // of the client's candidate: host, srflx, prflx or relay
}

// probeState tells how a test went. Its address is the right to ask.
func (s *Server) probeState(c *gin.Context) error {
	p, ok := s.probes.find(c.Param("id"))
	if !ok {
		return fail(http.StatusNotFound, "not_found", sayNotHere)
	}
	c.JSON(http.StatusOK, p.view())
	return nil
}

// endProbe ends a test. Its address is the right to do so.
func (s *Server) endProbe(c *gin.Context) error {
	p, ok := s.probes.find(c.Param("id"))
	if !ok {
		return fail(http.StatusNotFound, "not_found", sayNotHere)
	}
	s.probes.remove(context.WithoutCancel(c.Request.Context()), p)
	c.Status(http.StatusNoContent)
	return nil
}
