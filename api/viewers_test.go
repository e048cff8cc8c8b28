package api

import (
	"testing"

	"github.com/lectern/lectern/room/access"
)

func TestViewers_TellWhatTheyGetAndWhy(t *testing.T) {
	g := newGateway(t, nil)
	hold := g.publishes("algebra", "main", "teacher")
	defer hold.Release(true)
	sends(t, hold)
	student := g.token("algebra", access.Student)
	g.opens(wayWHEP, student, false)
	g.opens(wayWHEP, g.token("algebra", access.Student), false)
	for _, tt := range []struct {
		token string
		want  int
	}{{g.token("algebra", access.Assistant), 2}, {student, 1}} {
		var got struct{ Viewers []viewerView }
		g.want(200, g.call(tt.token, "GET", "/api/rooms/algebra/viewers", nil), &got)
		if len(got.Viewers) != tt.want || got.Viewers[0].Reason == "" || got.Viewers[0].Detail == "" || got.Viewers[0].Slot != "main" {
			t.Errorf("got %+v, want %d", got.Viewers, tt.want)
		}
	}
	g.want(403, g.call(g.token("history", access.Teacher), "GET", "/api/rooms/algebra/viewers", nil), nil)
	g.want(401, g.call("", "GET", "/api/rooms/algebra/viewers", nil), nil)
}
