package api

import "github.com/gin-gonic/gin"

func (s *Server) lectureMedia(c *gin.Context) error { return errStopping() }
