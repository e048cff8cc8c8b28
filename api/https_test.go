package api

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// httpsFor is a server configuration with a certificate, and a client
// configuration that trusts it.
func httpsFor(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.StartTLS()
	defer ts.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	cert := ts.TLS.Certificates[0]
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }},
		&tls.Config{RootCAs: roots, ServerName: "example.com"}
}

func TestHTTPS_SpeaksHTTP2AndHTTP1(t *testing.T) {
	s, _ := bareServer(t, func(c *Config) { c.HTTPSPort = 8443 })
	server, client := httpsFor(t)
	addr := serveOn(t, s, server, nil)
	for _, h2 := range []bool{true, false} {
		tr := &http.Transport{TLSClientConfig: client.Clone(), ForceAttemptHTTP2: h2}
		c := &http.Client{Transport: tr}
		resp, err := c.Get("https://" + addr + "/api/info")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // read only
		if want := map[bool]int{true: 2, false: 1}[h2]; resp.ProtoMajor != want || resp.StatusCode != 200 || len(body) == 0 {
			t.Errorf("got HTTP/%d %d, want HTTP/%d", resp.ProtoMajor, resp.StatusCode, want)
		}
		tr.CloseIdleConnections()
	}
}

func TestHTTPS_PlainRequestIsTold(t *testing.T) {
	s, _ := bareServer(t, nil)
	server, _ := httpsFor(t)
	addr := serveOn(t, s, server, nil)
	if got := sendRaw(t, addr, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.0 400 ") {
		t.Errorf("got %.80q, want 400", got)
	}
}

func TestHTTPS_SlowHandshakeIsCut(t *testing.T) {
	s, _ := bareServer(t, nil)
	server, _ := httpsFor(t)
	addr := serveOn(t, s, server, func(hs *http.Server) { hs.ReadHeaderTimeout = 200 * time.Millisecond })
	began := time.Now()
	sendRaw(t, addr, "\x16\x03\x01")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("still open after %s", took)
	}
}

// h2conn is an HTTP/2 client that may misbehave.
type h2conn struct {
	*http2.Framer
	nc  net.Conn
	buf bytes.Buffer
	enc *hpack.Encoder
}

func dialH2(t *testing.T, addr string, cfg *tls.Config) *h2conn {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	nc, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second)) // of a TCP connection: cannot fail
	c := &h2conn{Framer: http2.NewFramer(nc, nc), nc: nc}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.buf)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.WriteSettings(), c.WriteSettingsAck()); err != nil {
		t.Fatal(err)
	}
	return c
}

// header encodes a request header.
func (c *h2conn) header(method, path string, more ...string) []byte {
	c.buf.Reset()
	fields := append([]string{":method", method, ":scheme", "https", ":authority", "example.com", ":path", path}, more...)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // to memory
	}
	return bytes.Clone(c.buf.Bytes())
}

// status reads frames until the answer to a stream, and returns its status; ""
// when the connection or the stream ends first.
func (c *h2conn) status(stream uint32) string {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return ""
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == stream {
				return f.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				return ""
			}
		}
	}
}

// untilEnd reads frames until the connection ends, and says how: GOAWAY's code
// or nothing.
func (c *h2conn) untilEnd() (code http2.ErrCode, said bool) {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return code, said
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			code, said = f.ErrCode, true
		}
	}
}

func TestHTTP2_HalfAHeaderIsCut(t *testing.T) {
	s, _ := bareServer(t, nil)
	server, client := httpsFor(t)
	const limit = 300 * time.Millisecond
	addr := serveOn(t, s, server, func(hs *http.Server) { hs.IdleTimeout, hs.ReadHeaderTimeout, hs.ReadTimeout = limit, limit, limit })
	c := dialH2(t, addr, client)
	block := c.header("GET", "/healthz")
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:2], EndStream: true}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.untilEnd()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("still open after %s", took)
	}
}

func TestHTTP2_SlowBodyIsCut(t *testing.T) {
	g := newGateway(t, nil)
	server, client := httpsFor(t)
	addr := serveOn(t, g.Server, server, func(hs *http.Server) { hs.ReadTimeout = 200 * time.Millisecond })
	c := dialH2(t, addr, client)
	block := c.header("POST", "/whip/algebra", "authorization", "Bearer "+adminKey, "content-type", "application/sdp", "content-length", "1000")
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteData(1, false, []byte("v=0")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if got := c.status(1); got != "" && got[0] != '4' {
		t.Errorf("got %s, want 4xx or a reset", got)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("still open after %s", took)
	}
}

func TestHTTP2_HugeHeaderIs431(t *testing.T) {
	s, _ := bareServer(t, nil)
	server, client := httpsFor(t)
	c := dialH2(t, serveOn(t, s, server, nil), client)
	block := c.header("GET", "/healthz", "x-a", strings.Repeat("~", 2*maxHeaderBytes))
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16000], EndStream: true}); err != nil {
		t.Fatal(err)
	}
	for rest := block[16000:]; len(rest) > 0; {
		n := min(len(rest), 16000)
		if err := c.WriteContinuation(1, n == len(rest), rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if got := c.status(1); got != "431" && got != "" {
		t.Errorf("got %s, want 431 or the end of the connection", got)
	}
}

// A client that opens streams and resets them at once (CVE-2023-44487) is cut
// or kept within the bound on streams; the server goes on for others.
func TestHTTP2_RapidResetIsBounded(t *testing.T) {
	s, _ := bareServer(t, nil)
	server, client := httpsFor(t)
	addr := serveOn(t, s, server, nil)
	c := dialH2(t, addr, client)
	for i := range uint32(20000) {
		id := 2*i + 1
		err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.header("GET", "/api/info"), EndStream: true, EndHeaders: true})
		if err = errors.Join(err, c.WriteRSTStream(id, http2.ErrCodeCancel)); err != nil {
			break // cut
		}
	}
	tr := &http.Transport{TLSClientConfig: client, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	hc := &http.Client{Transport: tr, Timeout: 5 * time.Second}
	resp, err := hc.Get("https://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // read only
	if resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestHTTP2_BoundsItsStreams(t *testing.T) {
	s, _ := bareServer(t, nil)
	server, client := httpsFor(t)
	c := dialH2(t, serveOn(t, s, server, nil), client)
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := f.(*http2.SettingsFrame); ok && !f.IsAck() {
			if v, ok := f.Value(http2.SettingMaxConcurrentStreams); !ok || v != h2Streams {
				t.Errorf("got %d streams, want %d", v, h2Streams)
			}
			return
		}
	}
}

// An upload over HTTP/2 goes on for longer than a body may take, as long as it
// moves.
func TestHTTP2_LetsLargeBodiesMove(t *testing.T) {
	g := newGateway(t, nil)
	server, client := httpsFor(t)
	const limit = 150 * time.Millisecond
	addr := serveOn(t, g.Server, server, func(hs *http.Server) { hs.ReadTimeout, hs.WriteTimeout = limit, limit })
	c := dialH2(t, addr, client)
	const sum = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9" // of "hello world"
	block := c.header("PUT", "/api/rooms/algebra/files/1?name=a.txt&sha256="+sum, "authorization", "Bearer "+adminKey, "content-length", "11")
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteData(1, false, []byte("hello ")); err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * limit)
	if err := c.WriteData(1, true, []byte("world")); err != nil {
		t.Fatal(err)
	}
	if got := c.status(1); got != "201" {
		t.Errorf("got %q, want 201", got)
	}
}
