package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"
)

// ICERequest is what Config.ICEServers is asked about.
type ICERequest struct {
	// Session names the session that the credentials are for: enough to tell it
	// from others in logs, not its address.
	Session string
	// Host is the one that the client reached us by, without port and brackets.
	Host string
}

// ICEServer is a STUN or TURN server that a client may use.
type ICEServer struct {
	URL        string // as turn:host:3478?transport=udp (RFC 7064, RFC 7065)
	Username   string // "" for STUN
	Credential string // password of Username; short-lived
}

// addICELinks tells the client of the servers, one header field each (RFC 9725,
// section 4.6).
func addICELinks(h http.Header, servers []ICEServer) {
	for _, s := range servers {
		if strings.ContainsAny(s.URL, "<> \t\r\n") || s.URL == "" {
			continue // would be read as something else
		}
		link := "<" + s.URL + `>; rel="ice-server"`
		if s.Username != "" {
			link += "; username=" + quote(s.Username) + "; credential=" + quote(s.Credential) + `; credential-type="password"`
		}
		h.Add("Link", link)
	}
}

// linkServers tells the client of the servers for a session of that name.
func (s *Server) linkServers(c *gin.Context, session string) {
	addICELinks(c.Writer.Header(), s.iceServers(c, session))
}

// iceServers are the servers for a session of that name, for this client.
func (s *Server) iceServers(c *gin.Context, session string) []ICEServer {
	if s.cfg.ICEServers == nil {
		return nil
	}
	host := "localhost"
	if u, err := url.Parse(s.baseURL(c)); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	return s.cfg.ICEServers(ICERequest{Session: session, Host: host})
}

// quote makes a quoted-string (RFC 9110, section 5.6.4). Control characters,
// which it cannot hold, are left out.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' && c != '\t', c == 0x7f:
		case c == '"', c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
