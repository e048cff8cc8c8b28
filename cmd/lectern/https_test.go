package main

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// anyPort makes HTTPS listen on a free port.
const anyPort = "LECTERN_TLS_ADDR=127.0.0.1:0"

// insecure is a client that takes any certificate and follows no redirect.
func insecure(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// greeting is what serve printed, once that is all there: the run file, by which
// a start is known, comes first.
func greeting(t *testing.T, out *output) string {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for !strings.Contains(out.String(), "/studio/my-class") {
		select {
		case <-deadline:
			t.Fatalf("no greeting: %s", out)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return out.String()
}

func TestServe_SelfSignedHTTPSIsMadeOnceAndItsFingerprintPrinted(t *testing.T) {
	data := t.TempDir()
	a, out, stop := serve(t, data, anyPort, "LECTERN_TLS_MODE=self_signed")
	client := insecure(t)
	resp, err := client.Get("https://" + a.HTTPS + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // read only
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("got HTTP/%d %s, want HTTP/2 200", resp.ProtoMajor, resp.Status)
	}
	sum := sha256.Sum256(resp.TLS.PeerCertificates[0].Raw)
	print := strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
	if !strings.Contains(greeting(t, out), print) {
		t.Errorf("the greeting does not show %s:\n%s", print, out)
	}
	if !strings.Contains(out.String(), "https://"+a.HTTPS+"/") {
		t.Errorf("the greeting does not show the address of the pages:\n%s", out)
	}
	if st, err := os.Stat(filepath.Join(data, "tls", "self-signed.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", st, err)
	}
	if c := stop(); c != exitOK {
		t.Errorf("serve: exit %d, want 0", c)
	}
	_, again, _ := serve(t, data, anyPort, "LECTERN_TLS_MODE=self_signed")
	if !strings.Contains(greeting(t, again), print) {
		t.Errorf("the second start has another certificate:\n%s", again)
	}
}

func TestServe_PlainHTTPGoesToHTTPS(t *testing.T) {
	a, _, _ := serve(t, t.TempDir(), anyPort, "LECTERN_TLS_MODE=self_signed")
	client := insecure(t)
	for _, tt := range []struct {
		method, path string
		status       int
	}{{"GET", "/studio/algebra", 308}, {"POST", "/whip/algebra", 307}, {"GET", "/healthz", 200}} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+a.HTTP+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // read only
		want := ""
		if tt.status/100 == 3 {
			want = "https://" + a.HTTPS + tt.path
		}
		if got := resp.Header.Get("Location"); resp.StatusCode != tt.status || got != want {
			t.Errorf("%s %s: got %d to %q, want %d to %q", tt.method, tt.path, resp.StatusCode, got, tt.status, want)
		}
	}
}

func TestServe_PlainHTTPIsServedBesideIfWanted(t *testing.T) {
	a, out, _ := serve(t, t.TempDir(), anyPort, "LECTERN_TLS_MODE=self_signed", "LECTERN_HTTP_REDIRECT=false")
	client := insecure(t)
	resp, err := client.Get("http://" + a.HTTP + "/api/info")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // read only
	if resp.StatusCode != 200 || !strings.Contains(greeting(t, out), "http://"+a.HTTP+"/\n") {
		t.Errorf("got %s; greeting:\n%s", resp.Status, out)
	}
}

func TestServe_BrokenCertificateIsAnError(t *testing.T) {
	var out output
	args := []string{"serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--webrtc", "127.0.0.1:0", "--https", "files", "--https-addr", "127.0.0.1:0"}
	for _, environ := range [][]string{nil, {"LECTERN_TLS_CERT_FILE=/none", "LECTERN_TLS_KEY_FILE=/none"}} {
		if c := run(t.Context(), args, std{out: &out, err: &out, environ: environ}); c != exitError {
			t.Errorf("%v: exit %d: %s", environ, c, &out)
		}
	}
	if !strings.Contains(out.String(), "tls.cert_file") {
		t.Errorf("the error does not name the setting: %s", &out)
	}
}

// A fresh server says that nobody publishes without a token, and where a camera
// works.
func TestGreeting_SaysWhoMayPublishAndWhereCamerasWork(t *testing.T) {
	_, out, _ := serve(t, t.TempDir())
	for _, want := range []string{"Nobody can publish", "token", "camera and microphone", "--https self_signed"} {
		if !strings.Contains(greeting(t, out), want) {
			t.Errorf("the greeting does not say %q:\n%s", want, out)
		}
	}
	_, behind, _ := serve(t, t.TempDir(), "LECTERN_HTTP_PUBLIC_URL=https://class.example.org/")
	if !regexp.MustCompile(`(?m)^  pages    https://class\.example\.org/$`).MatchString(greeting(t, behind)) {
		t.Errorf("the public address does not come first:\n%s", behind)
	}
}
