package api

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room/access"
)

// legacyURL are the addresses that a player opens.
type legacyURL struct {
	RTMP string `json:"rtmp,omitempty"`
	RTSP string `json:"rtsp,omitempty"`
}

// link is the address to hand out with a token. In pages it stands behind #,
// where no server and no log sees it; players can only put it into the query.
func (s *Server) link(c *gin.Context, cl access.Claims, token string) (string, *legacyURL) {
	base := s.baseURL(c)
	switch {
	case cl.Role == access.Player && cl.Room != access.AnyRoom:
		l := withToken(s.legacyURLs(c, cl.Room, defaultSlot), token)
		if l.RTSP != "" {
			return l.RTSP, l
		}
		return l.RTMP, l
	case cl.Role == access.Ingest && cl.Room != access.AnyRoom:
		return whipURL(base, cl.Room, cl.Slot), nil // the token goes into a field of its own
	case cl.Room == access.AnyRoom:
		return base + "/#token=" + token, nil
	case cl.Role == access.Student:
		return base + "/r/" + cl.Room + "#token=" + token, nil
	default:
		return base + "/studio/" + cl.Room + "#token=" + token, nil
	}
}

// invitationLink is the address of a page that redeems code; "" for players,
// which no page serves.
func invitationLink(base string, role access.Role, roomName, code string) string {
	switch role {
	case access.Player:
		return ""
	case access.Student:
		return base + "/r/" + roomName + "#invite=" + url.QueryEscape(code)
	default:
		return base + "/studio/" + roomName + "#invite=" + url.QueryEscape(code)
	}
}

// whipURL is where an encoder publishes.
func whipURL(base, roomName, slot string) string {
	u := base + "/whip/" + roomName
	if slot != "" && slot != defaultSlot {
		u += "/" + slot
	}
	return u
}

// withToken puts a credential into the addresses of a player.
func withToken(l *legacyURL, token string) *legacyURL {
	for _, u := range []*string{&l.RTMP, &l.RTSP} {
		if *u != "" {
			*u += "?token=" + url.QueryEscape(token)
		}
	}
	return l
}

// withLogin puts user and password into an address: for players that cut off a
// query, or have fields for both.
func withLogin(address, user, password string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found || user == "" {
		return ""
	}
	return scheme + "://" + url.UserPassword(user, password).String() + "@" + rest
}

// legacyURLs are the addresses of a stream for players.
func (s *Server) legacyURLs(c *gin.Context, roomName, slot string) *legacyURL {
	path := roomName
	if slot != "" && slot != defaultSlot {
		path += "/" + slot
	}
	host := hostOf(s.baseURL(c))
	l := &legacyURL{}
	if s.cfg.RTMPPort > 0 {
		l.RTMP = "rtmp://" + joinPort(host, s.cfg.RTMPPort, 1935) + "/live/" + path
	}
	if s.cfg.RTSPPort > 0 {
		l.RTSP = "rtsp://" + joinPort(host, s.cfg.RTSPPort, 554) + "/" + path
	}
	return l
}

// hostOf is the host of a URL without port, an IPv6 address in brackets.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return "localhost"
	}
	if h := u.Hostname(); strings.Contains(h, ":") {
		return "[" + h + "]"
	} else {
		return h
	}
}

// joinPort leaves out a port that clients assume.
func joinPort(host string, port, assumed int) string {
	if port == assumed {
		return host
	}
	return host + ":" + strconv.Itoa(port)
}

// baseURL is the address at which this request reached us, or the configured one.
func (s *Server) baseURL(c *gin.Context) string {
	if s.cfg.PublicURL != "" {
		return s.cfg.PublicURL
	}
	a, scheme := arrived(c), "http"
	if a.https {
		scheme = "https"
	}
	if !goodHost(a.host) {
		return scheme + "://localhost" // HTTP/1.0 names none
	}
	return scheme + "://" + a.host
}
