package api

import (
	"net/http"
	"strings"
	"testing"
)

// Requests that no honest client sends are refused without a 5xx, and nothing
// behind them is taken for another request.
func TestHTTP1_AbuseIsRefused(t *testing.T) {
	s, logged := bareServer(t, nil)
	addr := serveOn(t, s, nil, nil)
	const host = "Host: example.com\r\n"
	const smuggled = "GET /healthz HTTP/1.1\r\nHost: example.com\r\nX-Smuggled: 1\r\n\r\n"
	for name, tt := range map[string]struct {
		request string
		want    string // statuses, any of them
	}{
		"no host":                   {"GET /healthz HTTP/1.1\r\n\r\n", "400"},
		"two hosts":                 {"GET /healthz HTTP/1.1\r\n" + host + "Host: b\r\n\r\n", "400"},
		"host with a space":         {"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
		"host with markup":          {"GET /healthz HTTP/1.1\r\nHost: a<script>\r\n\r\n", "400"},
		"space before the colon":    {"GET /healthz HTTP/1.1\r\n" + host + "X-A : b\r\n\r\n", "400"},
		"header without a colon":    {"GET /healthz HTTP/1.1\r\n" + host + "nonsense\r\n\r\n", "400"},
		"zero byte in a header":     {"GET /healthz HTTP/1.1\r\n" + host + "X-A: \x00\r\n\r\n", "400"},
		"lone carriage return":      {"GET /healthz HTTP/1.1\r\n" + host + "X-A: a\rX-B: b\r\n\r\n", "400"},
		"method that is none":       {"G(T /healthz HTTP/1.1\r\n" + host + "\r\n", "400"},
		"method nobody knows":       {"BREW /whip/algebra HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", "405"},
		"TRACE":                     {"TRACE /whip/algebra HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", "405"},
		"CONNECT":                   {"CONNECT example.com:443 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", "404 405"},
		"version that is none":      {"GET /healthz HTTP/9.9\r\n" + host + "\r\n", "505 400"},
		"HTTP/0.9":                  {"GET /healthz\r\n\r\n", "400"},
		"HTTP/2 without TLS":        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 400 405 404"},
		"TLS on the plain port":     {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		"broken escape":             {"GET /%zz HTTP/1.1\r\n" + host + "\r\n", "400"},
		"one huge header":           {"GET /healthz HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("a", 2*maxHeaderBytes) + "\r\n\r\n", "431"},
		"many headers":              {"GET /healthz HTTP/1.1\r\n" + host + strings.Repeat("X-A: a\r\n", 20000) + "\r\n", "431"},
		"long address":              {"GET /" + strings.Repeat("a", maxURI) + " HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", "414"},
		"endless address":           {"GET /" + strings.Repeat("a", 2*maxHeaderBytes) + " HTTP/1.1\r\n" + host + "\r\n", "431 414"},
		"two lengths":               {"POST /whip/a HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nv=0" + smuggled, "400"},
		"lengths in one line":       {"POST /whip/a HTTP/1.1\r\n" + host + "Content-Length: 3, 4\r\n\r\nv=0" + smuggled, "400"},
		"signed length":             {"POST /whip/a HTTP/1.1\r\n" + host + "Content-Length: +3\r\n\r\nv=0" + smuggled, "400"},
		"negative length":           {"POST /whip/a HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n" + smuggled, "400"},
		"length that is none":       {"POST /whip/a HTTP/1.1\r\n" + host + "Content-Length: 0x3\r\n\r\nv=0" + smuggled, "400"},
		"length and chunks":         {"POST /whip/a HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "401 400"},
		"chunks under a false name": {"POST /whip/a HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, "501 400"},
		"chunks twice":              {"POST /whip/a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, "501 400"},
		"chunk of no size":          {"POST /whip/a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + smuggled, "401 400"},
	} {
		answer := sendRaw(t, addr, tt.request)
		status, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(answer, "HTTP/1.1 "), "HTTP/1.0 "), " ")
		if status == "" || !strings.Contains(tt.want, status) {
			t.Errorf("%s: got %.80q, want %s", name, answer, tt.want)
		}
		if n := strings.Count(answer, "HTTP/1.1 "); n > 1 {
			t.Errorf("%s: %d answers to one request: %.200q", name, n, answer)
		}
	}
	if strings.Contains(logged.String(), "panic") {
		t.Error("a handler panicked")
	}
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // read only
	http.DefaultClient.CloseIdleConnections()
}

// Who has no token costs no more than the reading of a header: the body of an
// offer is not even awaited.
func TestOffer_WithoutATokenIsRefusedBeforeItsBody(t *testing.T) {
	s, _ := bareServer(t, nil)
	addr := serveOn(t, s, nil, nil)
	answer := sendRaw(t, addr, "POST /whip/algebra HTTP/1.1\r\nHost: example.com\r\nContent-Type: application/sdp\r\n"+
		"Content-Length: 1000000\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 401 ") {
		t.Errorf("got %.80q, want 401", answer)
	}
}
