package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"github.com/lectern/lectern/room/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a writer for several goroutines.
type output struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// serve runs the gateway on free ports until the test ends.
func serve(t *testing.T, data string, environ ...string) (a addresses, out *output, stop func() int) {
	t.Helper()
	out = &output{}
	ctx, cancel := context.WithCancel(context.Background())
	const any = "127.0.0.1:0"
	args := []string{"serve", "--data", data, "--http", any, "--webrtc", any, "--rtsp", any, "--rtmp", any}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, args, std{out: out, err: out, environ: append(environ, "LECTERN_RTSP_UDP_PORT=0")})
	}()
	stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(out)
		}
	})
	deadline := time.After(10 * time.Second)
	for {
		var err error
		if a, err = readRunFile(data); err == nil {
			return a, out, stop
		}
		select {
		case c := <-code:
			t.Fatalf("serve ended with %d: %s", c, out)
		case <-deadline:
			t.Fatal("serve did not start")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A data directory that was there before, and that others can enter, shows them
// nothing all the same.
func TestServe_KeepsItsDataFromOthers(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	a, _, _ := serve(t, data)
	if a.PID != os.Getpid() {
		t.Errorf("the run file names process %d", a.PID)
	}
	seen := 0
	err := filepath.WalkDir(data, func(name string, d os.DirEntry, err error) error {
		if err != nil || name == data {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", d.Name(), info.Mode())
		}
		seen++
		return err
	})
	if err != nil || seen < 4 {
		t.Errorf("%d files, %v", seen, err)
	}
}

func TestServe_StartsAnswersAndStops(t *testing.T) {
	data := t.TempDir()
	a, out, stop := serve(t, data)
	resp, err := http.Get("http://" + a.HTTP + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("readyz answers %s", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	var health bytes.Buffer
	if c := run(t.Context(), []string{"health", "--data", data}, std{out: &health, err: &health}); c != exitOK {
		t.Errorf("health: exit %d: %s", c, &health)
	}
	http.DefaultClient.CloseIdleConnections()
	if !strings.Contains(out.String(), "/studio/my-class#key=") {
		t.Errorf("the first start does not print the studio with its key: %s", out)
	}
	if c := stop(); c != exitOK {
		t.Errorf("serve: exit %d, want 0", c)
	}
	if _, err := os.Stat(filepath.Join(data, runFile)); !os.IsNotExist(err) {
		t.Errorf("the run file is still there: %v", err)
	}
}

func TestServe_SecondStartKeepsTheKeyToItself(t *testing.T) {
	data := t.TempDir()
	_, _, stop := serve(t, data)
	stop()
	_, out, _ := serve(t, data)
	if strings.Contains(out.String(), "#key=") {
		t.Errorf("the second start prints the admin key: %s", out)
	}
}

func TestServe_KeyOfAFailedStartIsMadeAnew(t *testing.T) {
	other, _, _ := serve(t, t.TempDir())
	data := t.TempDir()
	var failed bytes.Buffer
	args := []string{"serve", "--data", data, "--http", other.HTTP, "--webrtc", "127.0.0.1:0"}
	if c := run(t.Context(), args, std{out: &failed, err: &failed}); c != exitError {
		t.Fatalf("exit %d: %s", c, &failed)
	}
	_, out, stop := serve(t, data)
	stop()
	if !strings.Contains(out.String(), "#key=") {
		t.Errorf("nobody ever learns the admin key: %s", out)
	}
}

func TestServe_GivenKeyIsNotPrinted(t *testing.T) {
	_, out, _ := serve(t, t.TempDir(), "LECTERN_ADMIN_KEY=given-by-the-operator")
	if strings.Contains(out.String(), "given-by-the-operator") {
		t.Errorf("the admin key is printed: %s", out)
	}
}

func TestServe_PortTakenIsAnError(t *testing.T) {
	a, _, _ := serve(t, t.TempDir())
	var out bytes.Buffer
	c := run(t.Context(), []string{"serve", "--data", t.TempDir(), "--http", a.HTTP, "--webrtc", "127.0.0.1:0"}, std{out: &out, err: &out})
	if c != exitError || !strings.Contains(out.String(), "address already in use") {
		t.Errorf("exit %d: %s", c, &out)
	}
}

func TestToken_IsGoodForTheRoomAndRole(t *testing.T) {
	data := t.TempDir()
	var out, errs bytes.Buffer
	args := []string{"token", "--data", data, "--room", "*", "--role", "teacher", "--ttl", "1h", "--name", "Ada"}
	if c := run(t.Context(), args, std{out: &out, err: &errs}); c != exitOK {
		t.Fatalf("exit %d: %s", c, &errs)
	}
	a, _, err := access.Open(data, "some-admin-key-here")
	if err != nil {
		t.Fatal(err)
	}
	claims, err := a.Verify(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !claims.MayPublish("any-room") || claims.MayAdmin() || claims.Name != "Ada" {
		t.Errorf("got %+v", claims)
	}
}

func TestCommands_WrongUseExits2(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"token", "--room", "a", "--role", "king"}, {"token", "--room", "a b", "--role", "teacher"}, {"serve", "--colour", "blue"}, {"token"}} {
		var out bytes.Buffer
		if c := run(t.Context(), args, std{out: &out, err: &out}); c != exitUsage || out.Len() == 0 {
			t.Errorf("%v: exit %d, %q", args, c, &out)
		}
	}
}

func TestVersion_NamesItself(t *testing.T) {
	var out bytes.Buffer
	if c := run(t.Context(), []string{"version"}, std{out: &out, err: &out}); c != exitOK || !strings.HasPrefix(out.String(), "lectern ") {
		t.Errorf("exit %d: %s", c, &out)
	}
}

// Players' ports are shut by an empty address, also on the command line.
func TestServe_AnEmptyAddressIsOff(t *testing.T) {
	parse := func(args ...string) map[string]any {
		var c serveCmd
		if _, err := kong.Must(&c).Parse(args); err != nil {
			t.Fatal(err)
		}
		return c.flags()
	}
	for _, key := range []string{"rtsp.addr", "rtmp.addr"} {
		if v, given := parse("--rtsp", "", "--rtmp=")[key]; !given || v != "" {
			t.Errorf("%s is %v, given %v", key, v, given)
		}
		if v, given := parse()[key]; given {
			t.Errorf("%s is %v though nobody gave it", key, v)
		}
	}
}
