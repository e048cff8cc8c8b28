package api

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lectern/lectern/internal/rtc"
)

// routes builds the handler: what every request passes, then the addresses.
func (s *Server) routes() (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	// A redirect of gin's would turn a POST without its last slash into another
	// request (301) or tell a client that a wrong address is nearly right.
	e.RedirectTrailingSlash = false
	e.HandleMethodNotAllowed = true
	if err := e.SetTrustedProxies(nil); err != nil { // arrive knows them
		return nil, fmt.Errorf("trusting no proxies: %w", err)
	}
	e.Use(identify, s.arrive, s.logRequests, s.recoverPanics, secure, s.gate, s.crossOrigin, s.toHTTPS, s.handle(plainPath))
	e.NoRoute(s.handle(s.noRoute))
	e.NoMethod(s.handle(func(*gin.Context) error {
		return fail(http.StatusMethodNotAllowed, "method_not_allowed", "This address does not take that method.")
	}))
	s.signallingRoutes(e)
	s.apiRoutes(e)
	s.rightsRoutes(e)
	s.diagnoseRoutes(e)
	s.lectureRoutes(e)
	for _, path := range pageRoutes() {
		e.GET(path, s.handle(s.page))
		e.HEAD(path, s.handle(s.page))
	}
	e.GET("/healthz", s.handle(s.healthy))
	e.GET("/readyz", s.handle(s.ready))
	e.GET("/metrics", s.handle(s.metricsPage(promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))))
	return e, nil
}

// signallingRoutes are those of WHIP (RFC 9725) and WHEP.
func (s *Server) signallingRoutes(e *gin.Engine) {
	for _, end := range []*endpoint{
		{way: wayWHIP, dir: rtc.Publish, may: mayPublishTo, open: s.openPublisher},
		{way: wayWHEP, dir: rtc.View, may: mayWatchAny, open: s.openViewer},
	} {
		limit := s.rateLimit(s.signalling)
		g := e.Group("/" + string(end.way) + "/:room")
		for _, path := range []string{"", "/:slot"} {
			g.POST(path, limit, s.handle(s.post(end)))
			g.GET(path, s.handle(s.describe(end)))
			g.HEAD(path, s.handle(s.describe(end)))
			g.OPTIONS(path, s.handle(s.optionsOf(end)))
		}
		const one = "/session/:id"
		g.PATCH(one, limit, s.handle(s.patch(end)))
		g.DELETE(one, limit, s.handle(s.remove(end)))
		g.GET(one, s.handle(s.state(end)))
		g.HEAD(one, s.handle(s.state(end)))
		g.OPTIONS(one, s.handle(options(typeSDPFrag, "DELETE, GET, HEAD, OPTIONS, PATCH")))
		if end.way == wayWHEP {
			s.extensionRoutes(g.Group(one), end)
		}
	}
}

// extensionRoutes are those of the extensions of WHEP, below its sessions.
func (s *Server) extensionRoutes(g *gin.RouterGroup, end *endpoint) {
	limit := s.rateLimit(s.signalling)
	g.POST("/sse", limit, s.handle(s.postEvents(end)))
	g.OPTIONS("/sse", s.handle(options(typeJSON, "OPTIONS, POST")))
	g.GET("/sse/:events", s.handle(s.getEvents(end)))
	g.DELETE("/sse/:events", limit, s.handle(s.deleteEvents(end)))
	g.OPTIONS("/sse/:events", s.handle(options("", "DELETE, GET, OPTIONS")))
	g.POST("/layer", limit, s.handle(s.selectLayer(end)))
	g.OPTIONS("/layer", s.handle(options(typeJSON, "OPTIONS, POST")))
}

// apiRoutes are those of people and rooms.
func (s *Server) apiRoutes(e *gin.Engine) {
	limit := s.rateLimit(s.changes)
	g := e.Group("/api")
	g.GET("/info", s.handle(s.info))
	g.GET("/me", s.handle(s.me))
	g.POST("/tokens", limit, s.handle(s.issueToken))
	g.DELETE("/tokens/:id", limit, s.handle(s.revokeToken))
	g.GET("/rooms", s.handle(s.listRooms))
	g.GET("/rooms/:room", s.handle(s.getRoom))
	g.POST("/rooms/:room/class", limit, s.handle(s.startClass))
	g.DELETE("/rooms/:room/class", limit, s.handle(s.endClass))
	g.GET("/rooms/:room/events", s.handle(s.roomEvents))
	g.GET("/rooms/:room/viewers", s.handle(s.listViewers))
	g.GET("/rooms/:room/files", s.handle(s.listFiles))
	g.GET("/rooms/:room/files/:id", s.handle(s.getFile))
	g.HEAD("/rooms/:room/files/:id", s.handle(s.getFile))
	g.PUT("/rooms/:room/files/:id", limit, s.handle(s.putFile))
	g.DELETE("/rooms/:room/files/:id", limit, s.handle(s.deleteFile))
}

// rightsRoutes are those by which people come in, and that say who may.
func (s *Server) rightsRoutes(e *gin.Engine) {
	limit := s.rateLimit(s.changes)
	coming := s.rateLimit(s.signalling) // a class comes in at once, behind one address
	e.POST("/api/invitations/redeem", coming, s.handle(s.redeem))
	g := e.Group("/api/rooms/:room")
	g.GET("/door", s.handle(s.door))
	g.POST("/enter", coming, s.handle(s.comeIn))
	g.GET("/access", s.handle(s.getAccess))
	g.PUT("/access", limit, s.handle(s.putAccess))
	g.POST("/invitations", limit, s.handle(s.invite))
	g.GET("/invitations", s.handle(s.listInvitations))
	g.DELETE("/invitations/:id", limit, s.handle(s.revokeInvitation))
	g.POST("/keys", limit, s.handle(s.addKey))
	g.GET("/keys", s.handle(s.listKeys))
	g.DELETE("/keys/:id", limit, s.handle(s.removeKey))
}

// lectureRoutes are those of the archive.
func (s *Server) lectureRoutes(e *gin.Engine) {
	e.GET("/api/lectures", s.handle(s.listLectures))
	g := e.Group("/api/lectures/:id")
	g.GET("", s.handle(s.getLecture))
	g.DELETE("", s.rateLimit(s.changes), s.handle(s.deleteLecture))
	g.GET("/events", s.handle(s.lectureEvents))
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		g.Handle(method, "/files/:file", s.handle(s.lectureFile))
		g.Handle(method, "/dash.mpd", s.handle(s.lectureMedia))
		g.Handle(method, "/media/*path", s.handle(s.lectureMedia))
		g.Handle(method, "/download/*path", s.handle(s.lectureMedia))
		g.Handle(method, "/poster", s.handle(s.lectureMedia))
	}
}
