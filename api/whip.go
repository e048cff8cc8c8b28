package api

import "github.com/gin-gonic/gin"

func (s *Server) openPublisher(c *gin.Context, o *opening) (peer, func(bool), error) {
	return nil, nil, errStopping()
}

func (s *Server) lectureMedia(c *gin.Context) error { return errStopping() }
