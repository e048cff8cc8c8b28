package test

import (
	"fmt"
	"testing"
	"time"
)

// Two browsers of different make talk at once, a third joins late: all three
// have the same words in the same order, none missing, none twice.
func TestChat_InOrderAndComplete(t *testing.T) {
	g := startGateway(t)
	student := watchOptions{URL: g.url("/whep/english"), Token: g.token("english", "student"), Wait: true}
	chromium, firefox := openBrowser(t, "chromium"), openBrowser(t, "firefox")
	var pages []*page
	var ids []int
	join := func(b *browser, name string) {
		p := b.open(g.url("/")).tools()
		id := p.watch(student)
		var welcome struct{ You struct{ ID, Name string } }
		p.eval("return T.hello(...arg)", []any{id, name}, &welcome)
		if welcome.You.Name != name || welcome.You.ID == "" {
			t.Fatalf("%s is welcomed as %+v", name, welcome.You)
		}
		pages, ids = append(pages, p), append(ids, id)
	}
	join(chromium, "Wei")
	join(firefox, "Ada")
	const each = 15
	done := make(chan error, 2)
	for i := range 2 {
		go func() { // waited for below
			done <- pages[i].tryEval(`for (let n = 0; n < arg.n; n++) { const a = await T.say(arg.id, arg.name + " " + n); if (a.type !== "ok") throw new Error(JSON.stringify(a)); await new Promise(r => setTimeout(r, 110)); }`,
				map[string]any{"id": ids[i], "n": each, "name": []string{"Wei", "Ada"}[i]}, nil)
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	join(chromium, "Late")
	var all [3][][]any
	for i := range all {
		eventually(t, 10*time.Second, "everything arrives", func() error {
			if err := pages[i].tryEval("return T.said(arg)", ids[i], &all[i]); err != nil {
				return err
			}
			return want(len(all[i]) == 2*each, "%d of %d", len(all[i]), 2*each)
		})
	}
	for i := 1; i < 3; i++ {
		if fmt.Sprint(all[i]) != fmt.Sprint(all[0]) {
			t.Errorf("member %d has\n%v, the first has\n%v", i, all[i], all[0])
		}
	}
	var seqs []int
	pages[0].eval("return T.seqs(arg)", ids[0], &seqs)
	for i := 1; i < len(seqs); i++ {
		if seqs[i] != seqs[i-1]+1 {
			t.Errorf("event %d follows %d", seqs[i], seqs[i-1])
		}
	}
}

// A file of 20 MB goes through one browser's data channel and arrives with the
// right digest in another; one that breaks off goes on where it stopped; one
// with a wrong digest leaves nothing.
func TestFiles_ArriveAndResume(t *testing.T) {
	g := startGateway(t)
	token := g.token("geology", "student")
	o := watchOptions{URL: g.url("/whep/geology"), Token: token, Wait: true}
	sender, receiver := openBrowser(t, "chromium"), openBrowser(t, "firefox")
	sp, rp := sender.open(g.url("/")).tools(), receiver.open(g.url("/")).tools()
	const key = "the-secret-of-this-page-0001"
	connect := func() int {
		id := sp.watch(o)
		sp.eval("return T.hello(arg.id, 'Sender', 0, arg.key)", map[string]any{"id": id, "key": key}, nil)
		return id
	}
	type result struct {
		Type, URL, SHA256, Code string
		From, Offset            int
	}
	put := func(id int, file string, size, breakAt int, wrong bool) (r result) {
		began := time.Now()
		sp.eval("return T.put(arg.session, arg)", map[string]any{"session": id, "file": file, "size": size, "seed": 7, "breakAt": breakAt, "wrong": wrong}, &r)
		t.Logf("%s: %s after %s", file, r.Type, time.Since(began).Round(time.Millisecond))
		return r
	}
	fetch := func(r result, size int) {
		t.Helper()
		var got struct {
			Status, Size int
			SHA256       string
		}
		rp.eval("return T.fetch(arg.url, arg.token)", map[string]any{"url": g.url(r.URL), "token": token}, &got)
		if got.Status != 200 || got.Size != size || got.SHA256 != r.SHA256 {
			t.Errorf("got %+v, want %d bytes of %s", got, size, r.SHA256)
		}
	}
	const size = 20_000_000
	id := connect()
	r := put(id, "whole", size, 0, false)
	if r.Type != "stored" {
		t.Fatalf("got %+v", r)
	}
	fetch(r, size)
	if r := put(id, "wrong", 300_000, 0, true); r.Type != "error" || r.Code != "digest_mismatch" {
		t.Errorf("a wrong digest: got %+v", r)
	}
	if r := put(id, "broken", size, size/2, false); r.Type != "broken" {
		t.Fatalf("got %+v", r)
	}
	id = connect()
	r = put(id, "broken", size, 0, false)
	if r.Type != "stored" || r.From < size/4 {
		t.Fatalf("after the break: got %+v, want it to go on", r)
	}
	fetch(r, size)
	var list struct{ Files []struct{ Name string } }
	g.call("GET", "/api/rooms/geology/files", token, nil, &list)
	if len(list.Files) != 2 {
		t.Errorf("the room has files %v, want two", list.Files)
	}
}
