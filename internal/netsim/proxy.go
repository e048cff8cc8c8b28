package netsim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxSDP bounds the bodies that are rewritten, bytes.
const maxSDP = 1 << 20

// Handler passes HTTP on to target, the gateway, and sees to it that the media
// of those who signal through it take the relay and nothing else: candidates in
// answers and fragments become the relay's one, candidates of the client are
// taken out, so that the gateway finds it by its checks alone, and neither TURN
// servers nor ICE-TCP are offered. It serves any client of WHIP and WHEP and the
// gateway's own pages.
func (r *Relay) Handler(target *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host // addresses in answers are made of it
			if isSDP(p.Out.Header) && p.Out.Body != nil {
				p.Out.Body, p.Out.ContentLength = replaced(p.Out.Body, withoutCandidates)
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			withoutServers(resp.Header)
			if isSDP(resp.Header) {
				resp.Body, resp.ContentLength = replaced(resp.Body, func(sdp string) string { return WithCandidate(sdp, r.Addr()) })
				resp.Header.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			r.log.Debug("gateway not reached", "err", err)
			w.WriteHeader(http.StatusBadGateway)
		},
		FlushInterval: -1, // events of a stream are passed on at once
	}
}

func isSDP(h http.Header) bool {
	t := h.Get("Content-Type")
	return strings.HasPrefix(t, "application/sdp") || strings.HasPrefix(t, "application/trickle-ice-sdpfrag")
}

// replaced reads body and returns what change makes of it. A body that does not
// come whole is passed as far as it came, which is then refused.
func replaced(body io.ReadCloser, change func(string) string) (io.ReadCloser, int64) {
	b, _ := io.ReadAll(io.LimitReader(body, maxSDP))
	_ = body.Close()
	b = []byte(change(string(b)))
	return io.NopCloser(bytes.NewReader(b)), int64(len(b))
}

// withoutServers takes the links to STUN and TURN servers out.
func withoutServers(h http.Header) {
	links := h.Values("Link")
	h.Del("Link")
	for _, l := range links {
		if !strings.Contains(l, "ice-server") {
			h.Add("Link", l)
		}
	}
}

// WithCandidate returns an answer, or a fragment, whose candidates are replaced
// by one: addr by UDP. Sections without candidates get none.
func WithCandidate(sdp string, addr netip.AddrPort) string {
	line := fmt.Sprintf("a=candidate:1 1 udp 2130706431 %s %d typ host\r\n", addr.Addr(), addr.Port())
	var out strings.Builder
	given := false
	for l := range strings.Lines(sdp) {
		if strings.HasPrefix(l, "m=") {
			given = false
		}
		if !strings.HasPrefix(l, "a=candidate:") {
			out.WriteString(l)
			continue
		}
		if !given {
			out.WriteString(line)
			given = true
		}
	}
	return out.String()
}

func withoutCandidates(sdp string) string {
	var out strings.Builder
	for l := range strings.Lines(sdp) {
		if !strings.HasPrefix(l, "a=candidate:") {
			out.WriteString(l)
		}
	}
	return out.String()
}
