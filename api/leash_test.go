package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/room/access"
)

// revocable issues a token of room algebra, and what takes it back.
func (g *gateway) revocable(role access.Role) (token string, revoke func()) {
	g.t.Helper()
	token, cl, err := g.cfg.Authority.IssueToken(access.Claims{Room: "algebra", Role: role, Name: "Ada"}, time.Time{}, time.Hour)
	if err != nil {
		g.t.Fatal(err)
	}
	return token, func() {
		if err := g.cfg.Authority.Revoke(g.t.Context(), cl.ID, cl.Expires); err != nil {
			g.t.Error(err)
		}
	}
}

// dial opens a connection that is read and written for 5 s at most.
func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })                // nothing is left to lose
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second)) // of a TCP connection: cannot fail
	return nc.(*net.TCPConn)
}

func TestPutFile_EndsWithTheToken(t *testing.T) {
	g := newGateway(t, nil)
	addr := g.serve(nil)
	token, revoke := g.revocable(access.Student)
	nc := dial(t, addr)
	if _, err := fmt.Fprintf(nc, "PUT /api/rooms/algebra/files/1?name=a.txt&sha256=%s HTTP/1.1\r\nHost: x\r\n"+
		"Authorization: Bearer %s\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n", strings.Repeat("ab", 32), token); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil { // "100 Continue": the body is being read
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(nc, "the beginning"); err != nil {
		t.Fatal(err)
	}
	revoke()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // read only
	if p := problemIn(t, resp); p.Status != 401 || p.Code != "token_revoked" {
		t.Errorf("got %+v", p)
	}
}

func TestGetFile_EndsWithTheToken(t *testing.T) {
	g := newGateway(t, nil)
	addr := g.serve(func(hs *http.Server) {
		hs.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			_ = c.(*net.TCPConn).SetWriteBuffer(8 << 10) // so that the file does not fit
			return ctx
		}
	})
	file := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sum := sha256.Sum256(file)
	teacher := g.token("algebra", access.Teacher)
	var v fileView
	g.want(201, g.call(teacher, "PUT", "/api/rooms/algebra/files/1?name=a.bin&sha256="+hex.EncodeToString(sum[:]), file), &v)
	token, revoke := g.revocable(access.Student)
	nc := dial(t, addr)
	_ = nc.SetReadBuffer(8 << 10) // likewise
	if _, err := fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", v.URL, token); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Fatalf("got %q, %v", line, err)
	}
	revoke()
	n, err := io.Copy(io.Discard, r)
	if err != nil && strings.Contains(err.Error(), "timeout") || n >= int64(len(file)) {
		t.Errorf("%d of %d bytes came, %v", n, len(file), err)
	}
}

// A connection whose request is over is left alone: it may serve another.
func TestLeash_LetsGoAtTheEndOfTheRequest(t *testing.T) {
	pulled := 0
	l := &leash{over: make(chan struct{}), set: func(time.Time) error { pulled++; return nil }, loose: true}
	l.pull(access.ErrRevoked)
	if pulled != 0 || l.err() != nil {
		t.Errorf("pulled %d times, %v", pulled, l.err())
	}
	l.loose = false
	l.pull(access.ErrRevoked)
	l.pull(access.ErrExpired)
	if err := l.renew(); pulled != 1 || err == nil {
		t.Errorf("pulled %d times, %v", pulled, err)
	}
}

// Who leads the room may read the events of others, for as long as they lead it.
func TestEvents_EndWithTheTokenOfTheReader(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	at := f.wantEvents(nil)
	token, revoke := g.revocable(access.Teacher)
	l := listen(t, "http://"+g.serve(nil)+at, token)
	revoke()
	l.await(l.ended, "the end of the stream")
	g.want(204, g.call(f.token, "GET", f.location, nil), nil)
}

func TestDiagnose_EndsWithTheToken(t *testing.T) {
	g := newGateway(t, nil)
	token, revoke := g.revocable(access.Student)
	p := newTester(t)
	location, _ := g.tests(p, token, "")
	within(t, "the channel", p.opened)
	revoke()
	g.eventually("the test is over", func() bool {
		var v probeView
		g.want(200, g.call("", "GET", location, nil), &v)
		return v.State == "ended"
	})
}
