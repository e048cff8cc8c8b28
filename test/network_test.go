package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// world is a network of its own: a server and two clients, each in a network
// namespace, with a firewall in front of each client. Client i reaches the
// server at 10.77.i.1 and fd77:i::1 and nowhere else.
type world struct {
	t       *testing.T
	server  string // names of the namespaces
	clients [2]string
	ca      authority
	home    string // with the authority that browsers trust
	log     *logBuffer
}

// newWorld makes the network, or skips the test where that is not permitted.
func newWorld(t *testing.T) *world {
	t.Helper()
	for _, tool := range []string{"ip", "nft", "certutil"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no network of its own: %s is missing (scripts/need.sh netns)", tool)
		}
	}
	name := fmt.Sprintf("lectern%d", os.Getpid())
	w := &world{t: t, server: name + "s", clients: [2]string{name + "a", name + "b"}, log: &logBuffer{}}
	all := append([]string{w.server}, w.clients[:]...)
	t.Cleanup(func() {
		for _, ns := range all {
			_ = exec.Command("ip", "netns", "del", ns).Run() // it may never have been made
		}
	})
	for _, ns := range all {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("network namespaces are not permitted here (root and CAP_SYS_ADMIN are needed): %s", out)
		}
		w.run("ip", "-n", ns, "link", "set", "lo", "up")
	}
	for i, ns := range w.clients {
		ours, theirs := fmt.Sprintf("lec%ds", i), fmt.Sprintf("lec%dc", i)
		w.run("ip", "-n", w.server, "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", ns)
		for _, end := range []struct{ ns, dev, host string }{{w.server, ours, "1"}, {ns, theirs, "2"}} {
			w.run("ip", "-n", end.ns, "addr", "add", fmt.Sprintf("10.77.%d.%s/24", i, end.host), "dev", end.dev)
			w.run("ip", "-n", end.ns, "addr", "add", fmt.Sprintf("fd77:%d::%s/64", i, end.host), "dev", end.dev, "nodad")
			w.run("ip", "-n", end.ns, "link", "set", end.dev, "up")
		}
	}
	w.ca = newAuthority(t, "10.77.0.1", "10.77.1.1", "fd77:0::1", "fd77:1::1")
	w.trust()
	return w
}

func (w *world) run(args ...string) {
	w.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// in is a command that runs in a namespace.
func in(ns string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
}

// trust makes a home directory whose browsers trust the authority.
func (w *world) trust() {
	w.t.Helper()
	w.home = w.t.TempDir()
	db := filepath.Join(w.home, ".pki", "nssdb")
	if err := os.MkdirAll(db, 0o700); err != nil {
		w.t.Fatal(err)
	}
	w.run("certutil", "-d", "sql:"+db, "-N", "--empty-password")
	w.run("certutil", "-d", "sql:"+db, "-A", "-t", "C,,", "-n", "lectern test", "-i", w.ca.root)
}

// block puts a firewall in front of both clients: lines are rules of nftables
// for what leaves, the same for what comes.
func (w *world) block(policy string, out, in []string) {
	w.t.Helper()
	rules := fmt.Sprintf("flush ruleset\ntable inet wall {\n"+
		"chain out { type filter hook output priority 0; policy %s;\n oif lo accept\n meta l4proto icmpv6 accept\n%s\n}\n"+
		"chain in { type filter hook input priority 0; policy %s;\n iif lo accept\n meta l4proto icmpv6 accept\n%s\n}\n}\n",
		policy, strings.Join(out, "\n"), policy, strings.Join(in, "\n"))
	for _, ns := range w.clients {
		cmd := exec.Command("ip", "netns", "exec", ns, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if msg, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("firewall: %v: %s", err, msg)
		}
	}
}

// serve runs the gateway in its namespace with HTTPS and the default ports.
func (w *world) serve() {
	w.t.Helper()
	data := w.t.TempDir()
	cmd := in(w.server, must[string](w.t)(filepath.Abs(lecternBin(w.t))), "serve", "--data", data)
	cmd.Env = append(os.Environ(), "LECTERN_ADMIN_KEY="+adminKey, "LECTERN_LOG_LEVEL=debug",
		"LECTERN_RTSP_ADDR=", "LECTERN_RTMP_ADDR=",
		"LECTERN_TLS_MODE=files", "LECTERN_TLS_CERT_FILE="+w.ca.cert, "LECTERN_TLS_KEY_FILE="+w.ca.key)
	cmd.Stdout, cmd.Stderr = w.log, w.log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if w.t.Failed() {
			w.t.Logf("the gateway's log:\n%s", w.log)
		}
	})
	poll(w.t, 15*time.Second, "the gateway", func() error {
		_, err := os.Stat(filepath.Join(data, "lectern.run.json"))
		return err
	})
}

// poll repeats try until it returns nil.
func poll(t *testing.T, patience time.Duration, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// open opens a page of the server in client i's browser.
func (w *world) open(b *browser, base string) *page {
	w.t.Helper()
	return b.open(base + "/").tools()
}

// browse starts a browser in a client's namespace.
func (w *world) browse(client int) *browser {
	w.t.Helper()
	cmd := in(w.clients[client], "node", "browser/driver.mjs", "chromium")
	cmd.Env = append(os.Environ(), "HOME="+w.home)
	return runBrowser(w.t, "chromium", cmd)
}

// way is T.path of page.js.
type way struct{ Protocol, Type, Relay, Remote string }

func (p *page) way(id int) way {
	p.b.t.Helper()
	var v way
	p.eval("return T.path(arg)", id, &v)
	return v
}

// lesson has the first client publish and the second watch until pictures are
// decoded, and returns how media went at both.
func (w *world) lesson(room string, browsers [2]*browser, bases [2]string, useServers bool) (ways [2]way) {
	w.t.Helper()
	var pages [2]*page
	var ids [2]int
	for i, b := range browsers {
		pages[i] = w.open(b, bases[i])
		defer pages[i].close()
		url := bases[i] + "/" + []string{"whip", "whep"}[i] + "/" + room
		if useServers {
			var servers []string
			pages[i].eval("return T.useServers(arg.url, arg.token)", map[string]string{"url": url, "token": adminKey}, &servers)
			if !slices.ContainsFunc(servers, func(s string) bool { return strings.HasPrefix(s, "turns:") }) {
				w.t.Fatalf("no TURN over TLS among %v", servers)
			}
		}
		if i == 0 {
			ids[i] = pages[i].publish(publishOptions{URL: url, Token: adminKey, Source: "clap", Codec: "vp8"})
		} else {
			ids[i] = pages[i].watch(watchOptions{URL: url, Token: adminKey, Wait: true})
		}
	}
	poll(w.t, 40*time.Second, "pictures at the viewer", func() error {
		seen, sent := pages[1].stats(ids[1]), pages[0].stats(ids[0])
		if seen.Video.FramesDecoded < 60 || seen.Audio.TotalSamplesReceived < 48000 {
			return fmt.Errorf("publisher %s sent %d packets; viewer %s decoded %d frames, %.0f samples",
				sent.State, sent.Video.PacketsSent, seen.State, seen.Video.FramesDecoded, seen.Audio.TotalSamplesReceived)
		}
		return nil
	})
	for i, p := range pages {
		ways[i] = p.way(ids[i])
		if status := p.end(ids[i]); status != 200 {
			w.t.Errorf("end of session: got %d", status)
		}
	}
	return ways
}

func TestNetwork_WhereUDPIsBlockedOrOnlyTURNIsLeft(t *testing.T) {
	w := newWorld(t)
	w.serve()
	browsers := [2]*browser{w.browse(0), w.browse(1)}
	v4 := [2]string{"https://10.77.0.1:8443", "https://10.77.1.1:8443"}
	v6 := [2]string{"https://[fd77:0::1]:8443", "https://[fd77:1::1]:8443"}

	t.Run("UDP blocked, by ICE-TCP", func(t *testing.T) {
		w.block("accept", []string{"meta l4proto udp drop"}, []string{"meta l4proto udp drop"})
		for i, got := range w.lesson("tcp", browsers, v4, false) {
			if got.Protocol != "tcp" || got.Type == "relay" {
				t.Errorf("client %d: media went by %+v", i, got)
			}
		}
	})
	t.Run("nothing but HTTPS and TURN over TLS", func(t *testing.T) {
		w.block("drop", []string{"tcp dport { 8443, 5349 } accept"}, []string{"tcp sport { 8443, 5349 } accept"})
		for i, got := range w.lesson("tls", browsers, v4, true) {
			if got.Type != "relay" || got.Relay != "tls" {
				t.Errorf("client %d: media went by %+v", i, got)
			}
		}
	})
	t.Run("IPv6 alone", func(t *testing.T) {
		w.block("accept", []string{"meta nfproto ipv4 drop"}, []string{"meta nfproto ipv4 drop"})
		for i, got := range w.lesson("six", browsers, v6, false) {
			if got.Protocol != "udp" || !strings.Contains(got.Remote, ":") {
				t.Errorf("client %d: media went by %+v", i, got)
			}
		}
	})
}

// Our own pages find the relay by themselves.
func TestNetwork_PagesTeachAndAttendThroughTURNOverTLSAlone(t *testing.T) {
	w := newWorld(t)
	w.serve()
	w.block("drop", []string{"tcp dport { 8443, 5349 } accept"}, []string{"tcp sport { 8443, 5349 } accept"})
	teacher := w.browse(0).open("https://10.77.0.1:8443/studio/maths#key=" + adminKey)
	link := goLive(t, teacher)
	student := w.browse(1).open(strings.Replace(link, "10.77.0.1", "10.77.1.1", 1))
	attend(t, student, "Wei")
}
