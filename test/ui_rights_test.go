package test

import (
	"strings"
	"testing"
	"time"
)

// refused is how long a page may go on after somebody has ended its right.
const refused = 5 * time.Second

type invitation struct {
	ID, Link string
	Used     int
}

// invitation makes one to the room maths.
func (g *gateway) invitation(role, name string, uses int) (i invitation) {
	g.t.Helper()
	g.call("POST", "/api/rooms/maths/invitations", adminKey,
		map[string]any{"role": role, "name": name, "uses": uses, "ttl": "1h"}, &i)
	return i
}

// rules changes who may come into the room maths.
func (g *gateway) rules(change map[string]any) {
	g.t.Helper()
	g.call("PUT", "/api/rooms/maths/access", adminKey, change, &struct{}{})
}

// teach starts a class in the studio of the room maths.
func teach(t *testing.T, g *gateway) *page {
	t.Helper()
	p := openBrowser(t, "chromium").open(g.url("/studio/maths#key=" + adminKey))
	goLive(t, p)
	return p
}

// shows waits until the thing has a text with part in it.
func (p *page) shows(within time.Duration, id, part string) {
	p.b.t.Helper()
	var text string
	eventually(p.b.t, within, id+" says "+part, func() error {
		err := p.tryEval(`return document.querySelector(arg)?.textContent ?? ""`, testid(id), &text)
		if err != nil {
			return err
		}
		return want(contains(text, part), "%s: %q", id, text)
	})
}

// address is what the address bar and the lists of the browser may know.
func (p *page) address() (address string) {
	p.eval(`return location.href + " " + performance.getEntriesByType("resource").map((e) => e.name).join(" ")`, nil, &address)
	return address
}

func TestPages_AnInvitationLetsAStudentInUntilItIsWithdrawn(t *testing.T) {
	g := startGateway(t)
	teacher := teach(t, g)
	inv := g.invitation("student", "", 1)
	student := openBrowser(t, "chromium").open(inv.Link)
	attend(t, student, "Wei")
	talk(t, student, "chat-input", "I was invited.")
	says(t, teacher, "I was invited.")
	_, code, _ := strings.Cut(inv.Link, "#invite=")
	if at := student.address(); contains(at, code) || contains(at, "token=") {
		t.Errorf("a secret stands in an address: %s", at)
	}

	// The link again, in the same browser: no second use is taken.
	student.do("goto", map[string]any{"url": "about:blank"}, nil)
	student.do("goto", map[string]any{"url": inv.Link}, nil)
	watching(t, student)
	stranger := openBrowser(t, "chromium").open(inv.Link)
	stranger.shows(10*time.Second, "door-why", "used as often")
	shot(stranger, "door-used-up")

	if resp := g.call("DELETE", "/api/rooms/maths/invitations/"+inv.ID, adminKey, nil, nil); resp.StatusCode != 204 {
		t.Fatalf("withdrawing: %s", resp.Status)
	}
	student.shows(refused, "door-why", "withdrawn")
	shot(student, "door-withdrawn")
}

func TestPages_APasscodeOpensTheDoor(t *testing.T) {
	g := startGateway(t)
	g.rules(map[string]any{"mode": "passcode", "passcode": "open sesame"})
	p := openBrowser(t, "chromium").open(g.url("/r/maths"))
	p.wait(testid("door-passcode"))
	p.fill(testid("door-name"), "Wei")
	p.fill(testid("door-passcode"), "sesame")
	p.click(testid("door-enter"))
	p.shows(10*time.Second, "door-problem", "not the passcode")
	shot(p, "door-wrong-passcode")
	p.fill(testid("door-passcode"), "open sesame")
	p.click(testid("door-enter"))
	p.wait(testid("waiting"))
	if at := p.address(); contains(at, "sesame") || contains(at, "token=") {
		t.Errorf("a secret stands in an address: %s", at)
	}
	// Guessing is slowed, and the page counts down.
	g.rules(map[string]any{"passcode": "another one"})
	guesser := openBrowser(t, "chromium").open(g.url("/r/maths"))
	guesser.wait(testid("door-passcode"))
	guesser.fill(testid("door-name"), "Mo")
	eventually(t, 30*time.Second, "guesses are slowed", func() error {
		_ = guesser.try("fill", map[string]any{"selector": testid("door-passcode"), "text": "guess"}, nil)
		guesser.tap(testid("door-enter"))
		text := guesser.text(testid("door-problem"))
		return want(contains(text, "Too many attempts"), "door: %q", text)
	})
	shot(guesser, "door-slowed")
}

func TestPages_ARoomThatClosesSaysSoAndOpensAgain(t *testing.T) {
	g := startGateway(t)
	g.rules(map[string]any{"mode": "open"})
	teach(t, g)
	p := openBrowser(t, "chromium").open(g.url("/r/maths"))
	p.wait(testid("door-name"))
	p.fill(testid("door-name"), "Wei")
	p.click(testid("door-enter"))
	watching(t, p)
	g.rules(map[string]any{"mode": "closed"})
	p.shows(refused, "door-closed", "The room is closed")
	shot(p, "door-closed")
	g.rules(map[string]any{"mode": "open"})
	// Without a click: what let the student in before still does.
	watching(t, p)
}

func TestPages_ARoomByLinkAsksForOne(t *testing.T) {
	g := startGateway(t)
	p := openBrowser(t, "chromium").open(g.url("/r/maths"))
	p.wait(testid("door-link"))
	inv := g.invitation("student", "Lin", 0)
	p.fill(testid("key-input"), inv.Link)
	p.click(testid("key-open"))
	p.wait(testid("waiting"))
	p.tap(testid("tab-people"))
	p.shows(10*time.Second, "people-list", "Lin")
}

func TestPages_AnAssistantSpeaksAndLowersHandsAndCannotLead(t *testing.T) {
	g := startGateway(t)
	teacher := teach(t, g)
	student := openBrowser(t, "chromium").open(g.invitation("student", "Wei", 0).Link)
	student.wait(testid("raise-hand"))
	student.click(testid("raise-hand"))
	p := openBrowser(t, "chromium").open(g.invitation("assistant", "Chen", 0).Link)
	p.wait(testid("assistant-note"))
	for _, id := range []string{"invite-link", "record", "title-input"} {
		if err := p.try("wait", map[string]any{"selector": testid(id), "timeout": 200}, nil); err == nil {
			t.Errorf("an assistant sees %s", id)
		}
	}
	eventually(t, 30*time.Second, "the assistant is on air", func() error {
		p.tap(testid("ask-devices"))
		p.tap(testid("start-class"))
		return p.try("wait", map[string]any{"selector": testid("on-air"), "timeout": 500}, nil)
	})
	shot(p, "assistant-on-air")
	student.wait(testid("video-assistant"))
	teacher.wait(testid("other-assistant"))
	p.wait(testid("other-main"))
	p.wait(testid("lower-hand"))
	p.click(testid("lower-hand"))
	eventually(t, 10*time.Second, "the hand is down", func() error {
		var up string
		err := student.tryEval(`return document.querySelector(arg)?.dataset.up ?? ""`, testid("raise-hand"), &up)
		if err != nil {
			return err
		}
		return want(up == "false", "data-up %q", up)
	})
	teacher.tap(testid("tab-people"))
	teacher.shows(10*time.Second, "people-list", "Assistant")
	p.click(testid("leave-air"))
	p.wait(testid("assistant-note"))
	watching(t, student) // the class goes on
}

func TestPages_ATeacherMakesAndWithdrawsAnInvitation(t *testing.T) {
	g := startGateway(t)
	teacher := openBrowser(t, "chromium").open(g.url("/studio/maths#key=" + adminKey))
	teacher.wait(testid("invite-link"))
	for _, id := range []string{"access-open", "tab-invitations", "invitation-new"} {
		teacher.wait(testid(id))
		teacher.click(testid(id))
	}
	teacher.fill(testid("invitation-name"), "Lin")
	teacher.click(testid("invitation-create"))
	teacher.wait(testid("invitation-link"))
	student := openBrowser(t, "chromium").open(teacher.text(testid("invitation-link")))
	student.wait(testid("waiting"))
	teacher.click(testid("invitation-done"))
	teacher.shows(10*time.Second, "invitations", "used 1×")
	shot(teacher, "access-invitations")

	// What a click chooses is not done before it is applied.
	teacher.click(testid("tab-room"))
	teacher.wait(testid("mode-closed"))
	teacher.click(testid("mode-closed"))
	var rules struct{ Mode string }
	if g.call("GET", "/api/rooms/maths/access", adminKey, nil, &rules); rules.Mode != "link" {
		t.Errorf("the room is %q before the change is applied", rules.Mode)
	}
	teacher.click(testid("mode-apply"))
	student.shows(refused, "door-closed", "The room is closed")
	teacher.click(testid("mode-link"))
	teacher.click(testid("mode-apply"))
	student.wait(testid("waiting"))

	teacher.click(testid("tab-invitations"))
	teacher.wait(testid("invitation-withdraw"))
	teacher.click(`[data-testid="invitation"]:has([title="Lin"]) ` + testid("invitation-withdraw"))
	teacher.click(testid("invitation-sure"))
	student.shows(refused, "door-why", "withdrawn")
}
