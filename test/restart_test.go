package test

import (
	"testing"
	"time"
)

// The gateway is killed in the middle of a class and started again: the
// teacher's and the student's pages come back by themselves, what is said
// meanwhile is not lost, and the lecture is one recording with its gap marked.
func TestPages_ComeBackAfterARestart(t *testing.T) {
	g := startGateway(t)
	teacher := openBrowser(t, "chromium").open(g.url("/studio/maths#key=" + adminKey))
	link := goLive(t, teacher)
	student := openBrowser(t, "firefox").open(link)
	attend(t, student, "Wei")
	talk(t, student, "chat-input", "Before the fall")
	says(t, teacher, "Before the fall")
	pause(2 * time.Second)
	g.kill()
	killed := time.Now()
	teacher.wait(testid("reconnecting"))
	student.wait(testid("veil"))
	t.Logf("the pages say so after %s", time.Since(killed).Round(100*time.Millisecond))
	g.restart()
	back := time.Now()
	watching(t, student)
	teacher.wait(testid("on-air"))
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("everybody is back after %s, want within 5 s", took)
	}
	t.Logf("the student's picture moves again %s after the start", time.Since(back).Round(100*time.Millisecond))
	talk(t, teacher, "chat-input", "After the fall")
	says(t, student, "After the fall")
	says(t, student, "Before the fall")
	pause(2 * time.Second)
	teacher.click(testid("end-class"))
	teacher.wait(testid("end-confirm"))
	teacher.click(testid("end-confirm"))
	l := g.lecture("complete", "recovered")
	if len(l.Gaps) == 0 {
		t.Error("no gap is marked")
	}
	t.Logf("%d tracks, gaps %+v", len(l.Tracks), l.Gaps)
	decodesAll(t, l)
}
