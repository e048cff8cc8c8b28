package api

import (
	"testing"

	"github.com/lectern/lectern/room/access"
)

func TestLayer_PostSelectsOrTellsWhyNot(t *testing.T) {
	g := newGateway(t, nil)
	hold := g.publishes("algebra", "main", "teacher")
	defer hold.Release(true)
	sends(t, hold)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	for body, want := range map[string]int{
		`{}`:                                   200,
		`{"mediaId":"1"}`:                      200,
		`{"spatialLayerId":0}`:                 200,
		`{"maxWidth":320,"maxHeight":180}`:     200,
		`{"mediaId":"1","temporalLayerId":0}`:  200,
		`{"maxSpatialLayerId":9}`:              200,
		`{"unheardOf":true}`:                   200,
		`{"rid":null}`:                         200,
		`{"mediaId":"0"}`:                      422,
		`{"mediaId":"7"}`:                      422,
		`{"mediaId":"video"}`:                  422,
		`{"mediaId":""}`:                       422,
		`{"rid":"hd"}`:                         422,
		`{"rid":""}`:                           422,
		`{"spatialLayerId":1}`:                 422,
		`{"mediaId":"1","temporalLayerId":99}`: 422,
		`{"mediaId":1}`:                        400,
		`{"rid":5}`:                            400,
		`{"spatialLayerId":"0"}`:               400,
		`{"spatialLayerId":0.5}`:               400,
		`{"spatialLayerId":-1}`:                400,
		`{"maxWidth":1e99}`:                    400,
		`[]`:                                   400,
		`null`:                                 400,
		`"x"`:                                  400,
		``:                                     400,
		`{`:                                    400,
		`{} {}`:                                400,
	} {
		resp := g.call(f.token, "POST", f.location+"/layer", []byte(body), "Content-Type", "application/json")
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", body, resp.StatusCode, want)
		}
	}
	for _, media := range []string{"", "application/sdp"} {
		g.want(415, g.call(f.token, "POST", f.location+"/layer", []byte(`{}`), "Content-Type", media), nil)
	}
	g.want(401, g.call("", "POST", f.location+"/layer", nil), nil)
	g.want(403, g.call(g.token("algebra", access.Student), "POST", f.location+"/layer", nil), nil)
	g.want(404, g.call(f.token, "POST", "/whep/algebra/session/"+newID()+"/layer", nil), nil)
}
