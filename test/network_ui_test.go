package test

import (
	"strings"
	"testing"
	"time"
)

// keepRequests makes a page note its requests of signalling from now on.
const keepRequests = `
	const before = window.fetch;
	window.requests = [];
	window.fetch = async (url, init = {}) => {
		const made = { method: init.method ?? "GET", url: String(url), match: new Headers(init.headers).get("If-Match") ?? "", status: 0 };
		if (/\/whip\/|\/whep\//.test(made.url)) window.requests.push(made);
		const response = await before(url, init);
		made.status = response.status;
		return response;
	};`

// request is one that the page made.
type request struct {
	Method, URL, Match string
	Status             int
}

func requests(t *testing.T, p *page) []request {
	t.Helper()
	var all []request
	p.eval(`return window.requests`, nil, &all)
	return all
}

// restarted says whether the page restarted ICE in the session that it had.
func restarted(t *testing.T, p *page) error {
	t.Helper()
	var restarts, posts int
	for _, r := range requests(t, p) {
		if r.Method == "PATCH" && r.Match == "*" && r.Status == 200 {
			restarts++
		}
		if r.Method == "POST" {
			posts++
		}
	}
	return want(restarts > 0 && posts == 0, "%d restarts, %d new sessions", restarts, posts)
}

// The page that tests the connection goes through UDP and TCP, and says so.
func TestDiagnosePage_SaysThatUDPAndTCPWork(t *testing.T) {
	for _, engine := range []string{"chromium", "firefox"} {
		t.Run(engine, func(t *testing.T) {
			g := startGateway(t)
			p := openBrowser(t, engine).open(g.url("/diagnose#key=" + adminKey))
			p.wait(testid("path-udp") + `[data-outcome="works"]`)
			if engine == "chromium" { // Firefox makes no TCP candidates on loopback
				p.wait(testid("path-tcp") + `[data-outcome="works"]`)
			}
			p.wait(`[data-testid="diagnose"][data-verdict="good"]`)
			p.wait(`[data-testid="diagnose"][data-running="false"]`)
			shot(p, "diagnose-"+engine)
			if text := p.text(testid("path-udp")); !strings.Contains(text, "127.0.0.1") && !strings.Contains(text, "udp ") {
				t.Errorf("the page names no candidates: %s", text)
			}
		})
	}
}

// Without a credential nothing is tested, and the page says what it needs.
func TestDiagnosePage_AsksStrangersForALink(t *testing.T) {
	g := startGateway(t)
	p := openBrowser(t, "chromium").open(g.url("/diagnose"))
	p.wait(testid("gate"))
}

// Another network is met by an ICE restart: the session stays, the picture goes
// on, for the student as for the teacher.
func TestPages_ANewNetworkKeepsTheSession(t *testing.T) {
	g := startGateway(t)
	teacher := openBrowser(t, "chromium").open(g.url("/studio/maths#key=" + adminKey))
	link := goLive(t, teacher)
	student := openBrowser(t, "chromium").open(link)
	attend(t, student, "Wei")
	for _, p := range []*page{teacher, student} {
		p.eval(keepRequests, nil, nil)
		p.eval(`dispatchEvent(new Event("offline")); dispatchEvent(new Event("online"))`, nil, nil)
	}
	for _, p := range []*page{student, teacher} {
		eventually(t, 5*time.Second, "ICE is restarted", func() error { return restarted(t, p) })
	}
	watching(t, student)
	teacher.wait(testid("on-air"))
	pause(2 * time.Second) // a session that broke would show by now
	for _, p := range []*page{student, teacher} {
		if err := restarted(t, p); err != nil {
			t.Error(err)
		}
	}
	student.wait(`[data-testid="status"][data-link="up"][data-phase="live"]`)
	student.click(testid("connection"))
	student.wait(`[data-testid="connection-path"][data-path="udp"]`)
	shot(student, "connection-student")
	teacher.click(testid("uplink"))
	teacher.wait(`[data-testid="connection-path"][data-path="udp"]`)
	shot(teacher, "connection-teacher")
}

// A colleague takes the stream over: the studio that had it says so, claims
// nothing and does not fight; a press takes it back.
func TestPages_ATakenStreamIsOfferedBack(t *testing.T) {
	g := startGateway(t)
	studio := func(subject string) *page {
		token := g.token("maths", "teacher", "--name", subject)
		return openBrowser(t, "chromium").open(g.url("/studio/maths#token=" + token))
	}
	anna := studio("Anna")
	goLive(t, anna)
	bob := studio("Bob")
	eventually(t, 20*time.Second, "Bob is ready to start", func() error {
		bob.tap(testid("ask-devices"))
		var ready bool
		err := bob.tryEval(`const b = document.querySelector('[data-testid="start-class"]'); return !!b && !b.disabled`, nil, &ready)
		return want(err == nil && ready, "not ready: %v", err)
	})
	bob.click(testid("start-class"))
	bob.wait(testid("start-problem"))
	bob.click(testid("take-over"))
	bob.wait(testid("on-air"))
	anna.wait(`[data-testid="veil"][data-standing="failed"][data-code="taken_over"]`)
	pause(3 * time.Second) // a fight would show by now
	bob.wait(`[data-testid="status"][data-live="true"]`)
	anna.wait(`[data-testid="status"][data-live="false"]`)
	anna.click(testid("take-over"))
	anna.wait(testid("on-air"))
	bob.wait(`[data-testid="veil"][data-code="taken_over"]`)
}
