package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A whole class through the pages, each engine once as teacher and once as
// student: go live, invite, watch, talk, share a file, end, replay.
func TestPages_AWholeClass(t *testing.T) {
	for _, c := range []struct{ teacher, student string }{{"chromium", "firefox"}, {"firefox", "chromium"}} {
		t.Run(c.teacher+" teaches "+c.student, func(t *testing.T) { wholeClass(t, c.teacher, c.student) })
	}
}

func wholeClass(t *testing.T, teacherEngine, studentEngine string) {
	g := startGateway(t)
	teacher := openBrowser(t, teacherEngine).open(g.url("/studio/maths#key=" + adminKey))
	student := openBrowser(t, studentEngine)
	link := goLive(t, teacher)
	shot(teacher, "studio-live-"+teacherEngine)

	sp := student.open(link)
	attend(t, sp, "Wei")
	shot(sp, "class-live-"+studentEngine)
	talk(t, sp, "chat-input", "Is zero a unit?")
	says(t, teacher, "Is zero a unit?")
	talk(t, teacher, "chat-input", "No, it is not.")
	says(t, sp, "No, it is not.")
	share(t, sp)
	eventually(t, 10*time.Second, "the teacher sees the file", func() error {
		teacher.tap(testid("tab-files"))
		return want(contains(teacher.text(testid("file-list")), "notes.txt"), "files: %q", teacher.text(testid("file-list")))
	})

	teacher.click(testid("end-class"))
	teacher.wait(testid("end-confirm"))
	teacher.click(testid("end-confirm"))
	sp.wait(testid("ended"))
	shot(sp, "class-ended-"+studentEngine)
	l := g.lecture("complete")
	if len(l.Tracks) < 2 {
		t.Errorf("the recording has tracks %v", l.Tracks)
	}
	replay(t, teacher, g, l.ID)
	shot(teacher, "lecture-"+teacherEngine)
}

// tap clicks if the thing is there to be clicked.
func (p *page) tap(selector string) {
	_ = p.try("click", map[string]any{"selector": selector, "timeout": 300}, nil)
}

func testid(id string) string { return fmt.Sprintf("[data-testid=%q]", id) }

func contains(text, part string) bool { return bytes.Contains([]byte(text), []byte(part)) }

// shot keeps a screenshot if SHOTS_DIR names a directory.
func shot(p *page, name string) {
	if dir := os.Getenv("SHOTS_DIR"); dir != "" {
		p.shot(filepath.Join(dir, name+".png"))
	}
}

// goLive starts the class and returns the link for students.
func goLive(t *testing.T, p *page) string {
	t.Helper()
	eventually(t, 30*time.Second, "the studio is ready to start", func() error {
		p.tap(testid("ask-devices"))
		var ready bool
		err := p.tryEval(`const b = document.querySelector('[data-testid="start-class"]'); return !!b && !b.disabled`, nil, &ready)
		if err != nil {
			return err
		}
		return want(ready, "start-class is not ready")
	})
	shot(p, "studio-check-"+p.b.name)
	p.click(testid("start-class"))
	p.wait(testid("on-air"))
	var link string
	eventually(t, 15*time.Second, "there is an invitation", func() error {
		p.tap(testid("invite"))
		err := p.tryEval(`const e = document.querySelector('[data-testid="invite-dialog-link"]') ?? document.querySelector('[data-testid="invite-link"]');
			return e ? (e.value || e.textContent || "").trim() : ""`, nil, &link)
		if err != nil {
			return err
		}
		return want(contains(link, "/r/maths"), "link %q", link)
	})
	p.press("Escape")
	return link
}

// attend enters the class by its page and sees the picture move.
func attend(t *testing.T, p *page, name string) {
	t.Helper()
	p.wait(testid("name-input"))
	p.fill(testid("name-input"), name)
	p.click(testid("name-keep"))
	watching(t, p)
	if err := p.try("wait", map[string]any{"selector": testid("unmute"), "timeout": 5000}, nil); err == nil {
		p.click(testid("unmute"))
	}
}

// watching waits until a picture plays.
func watching(t *testing.T, p *page) {
	t.Helper()
	var last float64
	eventually(t, 30*time.Second, "the picture moves", func() error {
		var v struct{ Width, Time float64 }
		err := p.tryEval(`const v = [...document.querySelectorAll("video")].find((e) => e.videoWidth > 0 && !e.paused);
			return { Width: v?.videoWidth ?? 0, Time: v?.currentTime ?? 0 }`, nil, &v)
		if err != nil {
			return err
		}
		moved := v.Time > last && last > 0
		last = v.Time
		return want(v.Width > 0 && moved, "%+v", v)
	})
}

func talk(t *testing.T, p *page, field, text string) {
	t.Helper()
	eventually(t, 10*time.Second, "the chat can be written in", func() error {
		p.tap(testid("tab-chat"))
		return p.try("fill", map[string]any{"selector": testid(field), "text": text}, nil)
	})
	p.press("Enter")
}

func says(t *testing.T, p *page, text string) {
	t.Helper()
	eventually(t, 10*time.Second, "the chat shows "+text, func() error {
		p.tap(testid("tab-chat"))
		return want(contains(p.text(testid("chat-log")), text), "chat: %q", p.text(testid("chat-log")))
	})
}

func share(t *testing.T, p *page) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(file, bytes.Repeat([]byte("units and zero divisors\n"), 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the file can be chosen", func() error {
		p.tap(testid("tab-files"))
		return p.try("files", map[string]any{"selector": testid("file-input"), "file": file}, nil)
	})
}

// replay opens the lecture from the archive and plays it with its chat.
func replay(t *testing.T, p *page, g *gateway, id string) {
	t.Helper()
	p.do("goto", map[string]any{"url": g.url("/archive")}, nil)
	p.wait(testid("lecture-card"))
	shot(p, "archive-"+p.b.name)
	p.do("goto", map[string]any{"url": g.url("/archive/" + id)}, nil)
	eventually(t, 20*time.Second, "the lecture can be played", func() error {
		p.tap(testid("big-play"))
		var playing bool
		err := p.tryEval(`const v = document.querySelector("video"); return !!v && !v.paused && v.videoWidth > 0`, nil, &playing)
		if err != nil {
			return err
		}
		return want(playing, "not playing")
	})
	watching(t, p)
	eventually(t, 20*time.Second, "the chat replays", func() error {
		return want(contains(p.text(testid("replay-log")), "Is zero a unit?"), "log: %q", p.text(testid("replay-log")))
	})
}
