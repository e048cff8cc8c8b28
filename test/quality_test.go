package test

import (
	"testing"
	"time"
)

// oneQuality makes a page talk as to a server that takes one quality only, and
// keep its peer connections.
const oneQuality = `
	window.peers = [];
	const Peer = window.RTCPeerConnection;
	window.RTCPeerConnection = class extends Peer {
		constructor(...args) { super(...args); window.peers.push(this); }
	};
	const before = window.fetch;
	window.fetch = (url, init = {}) => {
		if (init.method === "POST" && typeof init.body === "string" && init.body.startsWith("v=0")) {
			window.offer = init.body;
			init.body = init.body.replace(/^a=(simulcast|rid):.*\r\n/gm, "");
		}
		return before(url, init);
	};`

// sending tells what a page sends of its picture.
const sendingVideo = `
	const pc = window.peers.findLast((p) => p.getSenders().some((s) => s.track?.kind === "video"));
	const sender = pc.getSenders().find((s) => s.track?.kind === "video");
	const height = Math.max(0, ...[...(await pc.getStats()).values()]
		.filter((r) => r.type === "outbound-rtp" && r.kind === "video").map((r) => r.frameHeight ?? 0));
	return {
		rids: [...window.offer.matchAll(/^a=rid:(\S+) send/gm)].map((m) => m[1]),
		encodings: sender.getParameters().encodings.filter((e) => e.active !== false),
		hint: sender.track.contentHint ?? "",
		lines: sender.track.getSettings().height, height,
	}`

type sentVideo struct {
	RIDs      []string
	Encodings []struct {
		ScaleResolutionDownBy float64
		MaxBitrate            int
	}
	Hint          string
	Lines, Height int
}

// A server that takes one quality gets the whole picture, not the smallest.
func TestPages_SeveralQualitiesBecomeOneWhereTheServerTakesOne(t *testing.T) {
	for _, engine := range []string{"chromium", "firefox"} {
		t.Run(engine, func(t *testing.T) {
			g := startGateway(t)
			teacher := openBrowser(t, engine).open(g.url("/studio/maths#key=" + adminKey))
			teacher.eval(oneQuality, nil, nil)
			link := goLive(t, teacher)
			student := openBrowser(t, "chromium").open(link)
			attend(t, student, "Wei")
			var v sentVideo
			eventually(t, 40*time.Second, "the picture grows", func() error {
				teacher.eval(sendingVideo, nil, &v)
				return want(v.Height > v.Lines/4, "%+v", v)
			})
			if len(v.RIDs) < 2 {
				t.Errorf("it offered %q", v.RIDs)
			}
			if len(v.Encodings) != 1 || v.Encodings[0].MaxBitrate < 2_000_000 || v.Encodings[0].ScaleResolutionDownBy > 1 {
				t.Errorf("it sends %+v", v.Encodings)
			}
			if engine == "chromium" && v.Hint != "motion" { // Firefox has no hints
				t.Errorf("a camera of hint %q", v.Hint)
			}
		})
	}
}

// threeQualities makes a page believe that its server has three, and keep what
// it asks for. window.tell tells of layers.
const threeQualities = `
	const before = window.fetch;
	const encoder = new TextEncoder();
	let out;
	window.asked = [];
	window.layers = [["q", 180, 150000], ["h", 360, 500000], ["f", 720, 2000000]];
	window.tell = () => {
		const list = window.layers.map(([rid, height, bitrate], i) => ({ rid, spatialLayerId: i, temporalLayerId: 0, bitrate, width: height * 16 / 9, height }));
		out?.enqueue(encoder.encode("event: layers\ndata: " + JSON.stringify({ 0: list }) + "\n\n"));
	};
	window.fetch = async (url, init = {}) => {
		if (/\/layer$/.test(url)) {
			window.asked.push(init.body);
			return new Response(null);
		}
		const response = await before(url, init);
		if (!/\/sse\/[^/]+$/.test(url)) return response;
		response.body.cancel();
		const body = new ReadableStream({ start(controller) { out = controller; window.tell(); } });
		return new Response(body, { status: 200 });
	};`

// asks waits until a page has asked for a layer, and for nothing else since.
func asks(t *testing.T, p *page, wanted string) {
	t.Helper()
	eventually(t, 10*time.Second, "the page asks for a layer", func() error {
		var last string
		p.eval(`return window.asked.at(-1) ?? ""`, nil, &last)
		return want(last == wanted, "it asked for %s", last)
	})
}

// A student chooses what to get where there is a choice; the page remembers.
func TestPages_AStudentChoosesTheQuality(t *testing.T) {
	g := startGateway(t)
	teacher := openBrowser(t, "chromium").open(g.url("/studio/maths#key=" + adminKey))
	link := goLive(t, teacher)
	student := openBrowser(t, "chromium").open(g.url("/"))
	student.eval(threeQualities, nil, nil)
	student.fill(testid("join-input"), link)
	student.click(testid("join-button"))
	attend(t, student, "Wei")
	choose := func(quality string) {
		student.eval(`const s = document.querySelector('[data-testid="quality"]');
			s.value = arg; s.dispatchEvent(new Event("change", { bubbles: true }))`, quality, nil)
	}
	eventually(t, 10*time.Second, "there is a choice", func() error {
		return want(contains(student.text(testid("quality")), "High (720p)"), "%q", student.text(testid("quality")))
	})
	choose("low")
	asks(t, student, `{"mediaId":"0","maxHeight":180}`)
	choose("high")
	asks(t, student, `{"mediaId":"0","rid":"f"}`)
	shot(student, "class-quality")
	// What is not sent any more is not asked for.
	student.eval(`window.layers[2][2] = 0; window.tell()`, nil, nil)
	asks(t, student, `{"mediaId":"0","rid":"h"}`)
	choose("auto")
	asks(t, student, `{}`)
	// One quality is no choice.
	student.eval(`window.layers = [["", 720, 2000000]]; window.tell()`, nil, nil)
	eventually(t, 10*time.Second, "there is no choice", func() error {
		var there bool
		student.eval(`return !!document.querySelector('[data-testid="quality"]')`, nil, &there)
		return want(!there, "still there")
	})
}
