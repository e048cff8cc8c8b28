package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/room/access"
)

// both are the ways of signalling with a role that may use them.
func both() map[way]access.Role {
	return map[way]access.Role{wayWHIP: access.Teacher, wayWHEP: access.Student}
}

// rawAsk sends bytes over a connection of their own and reads one answer.
func rawAsk(t *testing.T, addr, request string) (*http.Response, string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()                                       // nothing is left to lose
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))    // of a TCP connection: cannot fail
	if _, err := io.WriteString(nc, request); err != nil { // the answer may come before the end
		t.Logf("writing the request: %v", err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return resp, string(body)
}

func TestPost_Is201WithLocationStrongETagAndSDP(t *testing.T) {
	g := newGateway(t, nil)
	for w, role := range both() {
		f := newForeign(t, g, g.token("algebra", role), w == wayWHIP)
		resp := f.open("/"+string(w)+"/algebra", "Prefer", "wait")
		if resp.StatusCode != 201 || resp.Header.Get("Content-Type") != "application/sdp" {
			t.Errorf("%s: got %d, %v", w, resp.StatusCode, resp.Header)
		}
		if !regexp.MustCompile(`^/` + string(w) + `/algebra/session/[A-Z2-7]{26,}$`).MatchString(f.location) {
			t.Errorf("%s: got Location %q", w, f.location)
		}
		if !regexp.MustCompile(`^"[!#-~]+"$`).MatchString(f.etag) {
			t.Errorf("%s: got ETag %q, want a strong quoted one", w, f.etag)
		}
		if got := resp.Header.Values("Access-Control-Expose-Headers"); !strings.Contains(fmt.Sprint(got), "Location, Link, ETag") {
			t.Errorf("%s: exposes %q", w, got)
		}
	}
}

func TestEndpoint_GetAndHeadAre2xxWithoutContent(t *testing.T) {
	g := newGateway(t, nil)
	addr := g.serve(nil)
	for _, path := range []string{"/whip/algebra", "/whep/algebra", "/whep/algebra/screen"} {
		for _, method := range []string{"GET", "HEAD"} {
			resp, body := rawAsk(t, addr, method+" "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/sdp" || body != "" {
				t.Errorf("%s %s: got %d %s %q", method, path, resp.StatusCode, resp.Header.Get("Content-Type"), body)
			}
		}
	}
}

func TestOptions_TellsOtherOriginsWhatTheyMay(t *testing.T) {
	g := newGateway(t, nil)
	for path, accept := range map[string]string{
		"/whip/algebra": "Accept-Post: application/sdp", "/whep/algebra/screen": "Accept-Post: application/sdp",
		"/whip/algebra/session/X": "Accept-Patch: application/trickle-ice-sdpfrag", "/whep/algebra/session/X": "Accept-Patch: application/trickle-ice-sdpfrag",
		"/whep/algebra/session/X/sse": "Accept-Post: application/json", "/whep/algebra/session/X/layer": "Accept-Post: application/json",
	} {
		resp := g.call("", "OPTIONS", path, nil, "Origin", "https://portal.example.org",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,if-match")
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: got %d, origin %q", path, resp.StatusCode, h.Get("Access-Control-Allow-Origin"))
		}
		name, want, _ := strings.Cut(accept, ": ")
		if h.Get(name) != want {
			t.Errorf("%s: got %s %q, want %q", path, name, h.Get(name), want)
		}
		for header, words := range map[string]string{
			"Access-Control-Allow-Methods":  "POST PATCH DELETE OPTIONS GET",
			"Access-Control-Allow-Headers":  "Authorization Content-Type If-Match Link Prefer",
			"Access-Control-Expose-Headers": "Location Link ETag",
		} {
			for word := range strings.FieldsSeq(words) {
				if !slices.Contains(strings.Split(h.Get(header), ", "), word) {
					t.Errorf("%s: %s %q lacks %s", path, header, h.Get(header), word)
				}
			}
		}
	}
}

// The Allow of a 405 lists the methods that work at an address, no more and no
// less, whatever the address.
func TestAnyAddress_OtherMethodsAre405WithExactAllow(t *testing.T) {
	g := newGateway(t, nil)
	param := regexp.MustCompile(`[:*]([a-z]+)`)
	methods := map[string][]string{}
	for _, r := range g.engine.Routes() {
		path := param.ReplaceAllString(r.Path, "x")
		methods[path] = append(methods[path], r.Method)
	}
	for path, works := range methods {
		slices.Sort(works)
		for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if slices.Contains(works, m) {
				continue
			}
			resp := g.call(adminKey, m, path, nil)
			allow := strings.Split(resp.Header.Get("Allow"), ", ")
			slices.Sort(allow)
			if resp.StatusCode != 405 || !slices.Equal(allow, works) {
				t.Errorf("%s %s: got %d, Allow %v, want 405, %v", m, path, resp.StatusCode, allow, works)
			}
		}
	}
	for path, want := range map[string]string{"/whip/x": "GET HEAD OPTIONS POST", "/whep/x/session/x": "DELETE GET HEAD OPTIONS PATCH"} {
		if got := strings.Join(methods[path], " "); got != want {
			t.Errorf("%s takes %s, want %s", path, got, want)
		}
		resp := g.call("", "OPTIONS", path, nil)
		if got := strings.ReplaceAll(resp.Header.Get("Allow"), ",", ""); got != want {
			t.Errorf("OPTIONS %s: got Allow %s, want %s", path, got, want)
		}
	}
}

func TestPost_MediaTypesWithoutCaseAndWithParameters(t *testing.T) {
	g := newGateway(t, nil)
	student := g.token("algebra", access.Student)
	offer := newForeign(t, g, student, false).offer(nil)
	for media, want := range map[string]int{
		"application/sdp": 201, "Application/SDP": 201, "application/sdp; charset=utf-8": 201, "application/sdp;charset=\"UTF-8\"": 201,
		"": 415, "text/plain": 415, "application/sdpx": 415, "application/json": 415, "sdp": 415, "application/sdp, text/plain": 415,
		"application/x-www-form-urlencoded": 415, "application/trickle-ice-sdpfrag": 415,
	} {
		resp := g.call(student, "POST", "/whep/algebra", offer, "Content-Type", media, "Prefer", "wait")
		if resp.StatusCode != want || want == 415 && resp.Header.Get("Accept-Post") != "application/sdp" {
			t.Errorf("%q: got %d, Accept-Post %q, want %d", media, resp.StatusCode, resp.Header.Get("Accept-Post"), want)
		}
	}
	resp := g.call(student, "POST", "/whep/algebra", offer, "Content-Type", "application/sdp", "Content-Encoding", "gzip")
	if resp.StatusCode != 415 || resp.Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("a coding: got %d, Accept-Encoding %q, want 415", resp.StatusCode, resp.Header.Get("Accept-Encoding"))
	}
}

func TestPost_WithoutContentTypeIs415(t *testing.T) {
	g := newGateway(t, nil)
	resp, _ := rawAsk(t, g.serve(nil), "POST /whep/algebra HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+adminKey+
		"\r\nContent-Length: 3\r\nConnection: close\r\n\r\nv=0")
	if resp.StatusCode != 415 {
		t.Errorf("got %d, want 415", resp.StatusCode)
	}
}

// 404 and 400 of the name, then 401, 403, 415, 413, 400, 422, 409: each check
// is made although all that follow it would fail too.
func TestPost_ChecksInOrder(t *testing.T) {
	g := newGateway(t, nil)
	student := g.token("algebra", access.Student)
	view, publish := newForeign(t, g, student, false).offer(nil), newForeign(t, g, student, true).offer(nil)
	large := bytes.Repeat([]byte("a=x\r\n"), maxSDP)
	for i, tt := range []struct {
		path, token, media string
		body               []byte
		status             int
	}{
		{"/whep/a/b/c", "", "", large, 404},
		{"/whep/.a", "", "", large, 400},
		{"/whep/algebra", "", "", large, 401},
		{"/whep/algebra", "nonsense", "", large, 401},
		{"/whep/physics", student, "", large, 403},
		{"/whep/algebra", student, "", large, 415},
		{"/whep/algebra", student, "application/sdp", large, 413},
		{"/whep/algebra", student, "application/sdp", []byte{}, 400},
		{"/whep/algebra", student, "application/sdp", []byte("no SDP"), 400},
		{"/whep/algebra", student, "application/sdp", publish, 422},
		{"/whep/algebra", student, "application/sdp", view, 409},
	} {
		resp := g.call(tt.token, "POST", tt.path, tt.body, "Content-Type", tt.media)
		if resp.StatusCode != tt.status {
			t.Errorf("%d: got %d, want %d", i, resp.StatusCode, tt.status)
		}
	}
}

func TestPost_TooLargeIs413AlsoInChunks(t *testing.T) {
	g := newGateway(t, nil)
	addr := g.serve(nil)
	head := "POST /whip/algebra HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + adminKey + "\r\nContent-Type: application/sdp\r\nConnection: close\r\n"
	for name, request := range map[string]string{
		"with a length": head + "Content-Length: 70000\r\n\r\n" + strings.Repeat("x", 70000),
		"announced":     head + "Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n",
		"in chunks":     head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n", 17) + "0\r\n\r\n",
	} {
		if resp, _ := rawAsk(t, addr, request); resp.StatusCode != 413 {
			t.Errorf("%s: got %d, want 413", name, resp.StatusCode)
		}
	}
}

func TestPost_ExpectContinueIsRefusedBeforeTheBody(t *testing.T) {
	g := newGateway(t, nil)
	resp, _ := rawAsk(t, g.serve(nil), "POST /whip/algebra HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n"+
		"Expect: 100-continue\r\nContent-Length: 3000\r\n\r\n")
	if resp.StatusCode != 401 {
		t.Errorf("got %d first, want 401", resp.StatusCode)
	}
}

// Addresses that name nothing: 400 or 404, never a redirect or an error of ours.
func TestEndpoint_NamesThatCannotBe(t *testing.T) {
	g := newGateway(t, nil)
	addr := g.serve(nil)
	tail := " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + adminKey + "\r\nContent-Type: application/sdp\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	long := strings.Repeat("x", 65)
	for _, room := range []string{
		"", "/", "//", "//main", "/algebra/", "/algebra//", "/algebra/main/", "/algebra/main/more", "/.", "/..", "/../..", "/./algebra",
		"/%2e%2e", "/%2E%2E/%2e%2e", "/..%2f..", "/algebra%2Fmain", "/algebra%2fsession%2fx", "/%2F", "/%00", "/a%00b", "/%5c..", "/a%20b", "/a+b",
		"/caf%C3%A9", "/%FF%FE", "/a%0d%0ab", "/a;b", "/a:b", "/*", "/" + long, "/algebra/" + long, "/" + strings.Repeat("x", 5000), "/.hidden", "/a/.b",
	} {
		for _, w := range []string{"/whip", "/whep"} {
			for _, method := range []string{"POST", "GET", "OPTIONS"} {
				resp, _ := rawAsk(t, addr, method+" "+w+room+tail)
				if resp.StatusCode != 400 && resp.StatusCode != 404 || resp.Header.Get("Location") != "" {
					t.Errorf("%s %s%.40s: got %d", method, w, room, resp.StatusCode)
				}
			}
		}
	}
	for _, room := range []string{"/" + long[1:], "/a", "/%61lgebra", "/a.b_c-9/Main"} {
		if resp, _ := rawAsk(t, addr, "GET /whep"+room+tail); resp.StatusCode != 200 {
			t.Errorf("GET /whep%.40s: got %d, want 200", room, resp.StatusCode)
		}
	}
}

// What clients that are not ours send: older HTTP, other case, chunks.
func TestPost_TakesForeignWaysOfCalling(t *testing.T) {
	g := newGateway(t, nil)
	addr := g.serve(nil)
	token := g.token("algebra", access.Student)
	offer := string(newForeign(t, g, token, false).offer(nil))
	length := "\r\nContent-Length: " + strconv.Itoa(len(offer))
	chunks := fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 100, offer[:100], len(offer)-100, offer[100:])
	for name, request := range map[string]string{
		"HTTP/1.0":     "POST /whep/algebra HTTP/1.0\r\nAuthorization: Bearer " + token + "\r\nContent-Type: application/sdp\r\nPrefer: wait" + length + "\r\n\r\n" + offer,
		"other case":   "POST /whep/algebra HTTP/1.1\r\nhost: x\r\nAUTHORIZATION: bEARER " + token + "\r\ncontent-type: APPLICATION/sdp; charset=utf-8\r\nPREFER: Wait\r\nconnection: close" + length + "\r\n\r\n" + offer,
		"chunks":       "POST /whep/algebra HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nContent-Type: application/sdp\r\nPrefer: wait\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
		"in the query": "POST /whep/algebra?token=" + token + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nPrefer: wait\r\nConnection: close" + length + "\r\n\r\n" + offer,
	} {
		if resp, body := rawAsk(t, addr, request); resp.StatusCode != 201 {
			t.Errorf("%s: got %d %s", name, resp.StatusCode, body)
		}
	}
	// An answer "100 Continue" comes first when the body is waited for.
	resp, _ := rawAsk(t, addr, "POST /whep/algebra HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+
		"\r\nContent-Type: application/sdp\r\nExpect: 100-continue\r\nConnection: close"+length+"\r\n\r\n")
	if resp.StatusCode != 100 {
		t.Errorf("Expect: got %d, want 100", resp.StatusCode)
	}
}
