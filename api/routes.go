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
	if err := e.SetTrustedProxies(s.cfg.Proxies); err != nil {
		return nil, fmt.Errorf("reading addresses of proxies: %w", err)
	}
	e.Use(identify, s.logRequests, s.recoverPanics, secure, s.crossOrigin)
	e.NoRoute(s.handle(s.noRoute))
	e.NoMethod(s.handle(func(*gin.Context) error {
		return fail(http.StatusMethodNotAllowed, "method_not_allowed", "This address does not take that method.")
	}))
	s.signallingRoutes(e)
	s.apiRoutes(e)
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
		{way: wayWHIP, dir: rtc.Publish, may: mayPublish, open: s.openPublisher},
		{way: wayWHEP, dir: rtc.View, may: mayWatch, open: s.openViewer},
	} {
		limit := s.rateLimit(s.signalling)
		g := e.Group("/" + string(end.way) + "/:room")
		for _, path := range []string{"", "/:slot"} {
			g.POST(path, limit, s.handle(s.post(end)))
			g.GET(path, s.handle(s.describe(end)))
			g.HEAD(path, s.handle(s.describe(end)))
			g.OPTIONS(path, s.handle(options))
		}
		const one = "/session/:id"
		g.PATCH(one, limit, s.handle(s.patch(end)))
		g.DELETE(one, limit, s.handle(s.remove(end)))
		g.GET(one, s.handle(s.state(end)))
		g.HEAD(one, s.handle(s.state(end)))
		g.OPTIONS(one, s.handle(options))
	}
}

// apiRoutes are those of people and rooms.
func (s *Server) apiRoutes(e *gin.Engine) {
	limit := s.rateLimit(s.changes)
	g := e.Group("/api")
	g.GET("/info", s.handle(s.info))
	g.GET("/me", s.handle(s.me))
	g.POST("/tokens", limit, s.handle(s.issueToken))
	g.GET("/rooms", s.handle(s.listRooms))
	g.GET("/rooms/:room", s.handle(s.getRoom))
	g.POST("/rooms/:room/class", limit, s.handle(s.startClass))
	g.DELETE("/rooms/:room/class", limit, s.handle(s.endClass))
	g.GET("/rooms/:room/events", s.handle(s.roomEvents))
	g.GET("/rooms/:room/files", s.handle(s.listFiles))
	g.GET("/rooms/:room/files/:id", s.handle(s.getFile))
	g.HEAD("/rooms/:room/files/:id", s.handle(s.getFile))
	g.PUT("/rooms/:room/files/:id", limit, s.handle(s.putFile))
	g.DELETE("/rooms/:room/files/:id", limit, s.handle(s.deleteFile))
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
