package ingest_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"

	"github.com/lectern/lectern/stream"
)

func TestLayers_MainCarriesTheBest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "q", "h", "f")
		defer c.close()
		units := c.play(3 * time.Second)
		checkMain(t, units)
		if u := units[len(units)-1]; u.Layer != 2 {
			t.Errorf("got layer %d on main, want the best", u.Layer)
		}
		if d := units[len(units)-1].PTS; d < 2900*ms {
			t.Errorf("main ends at %v", d)
		}
		if n := slices.IndexFunc(units, func(u *stream.Unit) bool { return u.Layer == 2 }); n > 4 {
			t.Errorf("the best came after %d units, want it with its first keyframe", n)
		}
		if asks := c.asked(); len(asks) > 0 {
			t.Errorf("got keyframes asked of %v, want none", asks)
		}
		for i, l := range c.s.Layers() {
			w, h := l.Stream.Size()
			if l.ID != c.ids[i] || w != 320<<i || h != 180<<i || !l.Stream.Flowing() || l.Stream.Origin() != c.s.Origin() {
				t.Errorf("layer %d: got %s of %dx%d", i, l.ID, w, h)
			}
			if r, want := l.Stream.Rate(), float64(30*2*8*(6+20*(i+1))); r < want*0.9 || r > want*1.1 {
				t.Errorf("layer %d: got %.0f bit/s, want %.0f", i, r, want)
			}
		}
	})
}

func TestLayers_OrderIsBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "f", "h", "q")
		defer c.close()
		for i := range c.layers {
			c.layers[i].w, c.layers[i].h = 1280>>i, 720>>i
		}
		units := c.play(2 * time.Second)
		checkMain(t, units)
		if u := units[len(units)-1]; u.Layer != 0 {
			t.Errorf("got layer %d on main, want 0, the largest", u.Layer)
		}
		var ids []string
		for _, l := range c.s.Layers() {
			ids = append(ids, l.ID)
		}
		if !slices.Equal(ids, []string{"q", "h", "f"}) {
			t.Errorf("got %v, want the lowest first", ids)
		}
	})
}

func TestLayers_AllStopExceptOne(t *testing.T) {
	for keep, name := range []string{"lowest", "middle"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCaster(t, "q", "h", "f")
				defer c.close()
				units := c.play(3 * time.Second)
				stopped := time.Now()
				changed := c.s.Changed()
				for i := range c.layers {
					c.layers[i].off = i != keep
				}
				units = append(units, c.play(480*ms)...)
				select {
				case <-changed:
				default:
					t.Error("Changed was not closed")
				}
				for i, id := range c.ids {
					if got := c.layer(id).Flowing(); got != (i == keep) {
						t.Errorf("layer %s flows: %v", id, got)
					}
				}
				units = append(units, c.play(time.Second)...)
				checkMain(t, units)
				n := slices.IndexFunc(units, func(u *stream.Unit) bool { return int(u.Layer) == keep && u.Arrival.After(stopped) })
				if n < 0 || units[n].Arrival.Sub(stopped) > 500*ms {
					t.Fatalf("main did not go to the layer that is left")
				}
				t.Logf("after %v", units[n].Arrival.Sub(stopped))
				if asks := c.asked(); len(asks) != 1 || asks[0] != c.layers[keep].ssrc {
					t.Errorf("got keyframes asked of %v, want one of layer %d", asks, keep)
				}
			})
		})
	}
}

func TestLayers_TopComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "q", "h", "f")
		defer c.close()
		r, err := c.layer("f").NewReader(stream.ReaderOptions{Queue: 1 << 14})
		if err != nil {
			t.Fatal(err)
		}
		units := c.play(2 * time.Second)
		for round := range 3 {
			c.layers[2].off = true
			units = append(units, c.play(2*time.Second)...)
			if u := units[len(units)-1]; u.Layer != 1 {
				t.Fatalf("round %d: got layer %d, want the middle one", round, u.Layer)
			}
			back := time.Now()
			c.layers[2].off, c.layers[2].key = false, true
			c.asked()
			units = append(units, c.play(2*time.Second)...)
			n := slices.IndexFunc(units, func(u *stream.Unit) bool { return u.Layer == 2 && u.Arrival.After(back) })
			if n < 0 {
				t.Fatalf("round %d: main did not go up", round)
			}
			if d := units[n].Arrival.Sub(back); d < time.Second || d > 1200*ms {
				t.Errorf("round %d: main went up after %v, want a second and a keyframe", round, d)
			}
			if asks := c.asked(); !slices.Equal(asks, []uint32{c.layers[2].ssrc}) {
				t.Errorf("round %d: got keyframes asked of %v, want one of the top", round, asks)
			}
		}
		checkMain(t, units)
		own := make([]*stream.Unit, 1<<14)
		if own = own[:r.TryReadBatch(own)]; len(own) < 400 {
			t.Errorf("got %d units of the layer itself", len(own))
		}
		checkMain(t, own)
	})
}

func TestLayers_StillScreenAndStallStopNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "q", "h", "f")
		defer c.close()
		c.play(3 * time.Second)
		check := func(what string) {
			t.Helper()
			units := c.read()
			checkMain(t, units)
			for _, u := range units {
				if u.Layer != 2 {
					t.Errorf("%s: got layer %d on main", what, u.Layer)
				}
			}
			for _, id := range c.ids {
				if !c.layer(id).Flowing() {
					t.Errorf("%s: layer %s does not flow", what, id)
				}
			}
			if asks := c.asked(); len(asks) > 0 {
				t.Errorf("%s: got keyframes asked of %v", what, asks)
			}
		}
		for range 5 { // one picture a second
			time.Sleep(time.Second)
			for i := range c.layers {
				c.layers[i].ts += 90000
				c.picture(i)
				time.Sleep(3 * ms)
			}
		}
		check("still screen")
		c.play(time.Second)
		time.Sleep(600 * ms)
		for range 18 { // what a network held up comes in a burst
			for i := range c.layers {
				c.picture(i)
				c.layers[i].ts += 3000
			}
		}
		check("stall")
	})
}

func TestLayers_CrossBetweenPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "q", "f")
		defer c.close()
		c.layers[1].off = true
		units := c.play(2 * time.Second)
		c.layers[1].off = false
		units = append(units, c.play(900*ms)...)
		// A keyframe of the better layer within a picture of the other.
		time.Sleep(200 * ms)
		c.packet(0, 0, false)
		c.layers[1].pid++
		c.packet(1, 0, true)
		c.packet(1, 1, true)
		c.layers[0].pid-- // packet 0 had the id of the picture before
		units = append(units, c.read()...)
		if u := units[len(units)-1]; u.Layer != 0 {
			t.Fatal("main crossed within a picture")
		}
		c.packet(0, 1, false)
		rest := c.read()
		if len(rest) != 3 || rest[0].Layer != 0 || rest[1].Layer != 1 || !rest[1].Keyframe || rest[2].Layer != 1 {
			t.Fatalf("got %d units after the end of the picture, want it and the keyframe", len(rest))
		}
		if rest[1].Packet.SequenceNumber != rest[0].Packet.SequenceNumber+1 {
			t.Error("got a hole between whole pictures")
		}
	})
}

func TestLayers_CrossWithoutTheEndLeavesAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "q", "f")
		defer c.close()
		c.layers[1].off = true
		c.play(2 * time.Second)
		c.layers[1].off = false
		c.play(900 * ms)
		time.Sleep(200 * ms)
		c.packet(0, 0, false) // its end never comes
		for n := range 10 {
			c.packet(1, n%2, n == 0)
			time.Sleep(10 * ms)
		}
		units := c.read()
		n := slices.IndexFunc(units, func(u *stream.Unit) bool { return u.Layer == 1 })
		if n < 1 || units[n].Packet.SequenceNumber != units[n-1].Packet.SequenceNumber+2 {
			t.Fatalf("got no hole before the keyframe, unit %d", n)
		}
	})
}

func TestLayers_FeedbackNamesEachLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "q", "h", "f")
		defer c.close()
		c.play(3 * time.Second)
		c.others, c.asks = nil, nil
		for i := range c.layers { // one packet of each is lost
			c.layers[i].seq++
		}
		c.play(40 * ms)
		synctest.Wait()
		c.answer()
		var nacked []uint32
		for _, p := range c.others {
			if n, ok := p.(*rtcp.TransportLayerNack); ok {
				nacked = append(nacked, n.MediaSSRC)
			}
		}
		slices.Sort(nacked)
		if nacked = slices.Compact(nacked); !slices.Equal(nacked, []uint32{10, 11, 12}) {
			t.Errorf("got NACKs of %v, want one of each layer", nacked)
		}
		c.play(1500 * ms) // given up: each layer gets its keyframe
		if asks := c.asked(); !slices.Equal(slices.Sorted(slices.Values(asks)), []uint32{10, 11, 12}) {
			t.Errorf("got keyframes asked of %v, want one of each layer", asks)
		}
		n := slices.IndexFunc(c.others, func(p rtcp.Packet) bool { _, ok := p.(*rtcp.ReceiverReport); return ok })
		if rr := c.others[n].(*rtcp.ReceiverReport); len(rr.Reports) != 3 {
			t.Errorf("got %d reports, want one of each layer together", len(rr.Reports))
		}
		time.Sleep(time.Second)
		c.s.RequestKeyframe()
		c.layer("q").RequestKeyframe()
		synctest.Wait()
		if asks := c.asked(); !slices.Equal(slices.Sorted(slices.Values(asks)), []uint32{10, 12}) {
			t.Errorf("got keyframes asked of %v, want of the layer that main carries and of the lowest", asks)
		}
		st, each := c.p.Stats(stream.Video), c.p.LayerStats()
		if st.Lost != 3 || st.SSRC != 12 || len(each) != 3 || each[0].Lost != 1 || each[0].Layer != "q" || each[0].SSRC != 10 {
			t.Errorf("got %+v of all, %+v", st, each)
		}
	})
}

func TestLayers_PTSAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "q", "h", "f")
		defer c.close()
		// The layers of a picture leave one after the other, the upper two only
		// begin later, and all take 100 ms longer than the sound.
		c.layers[1].off, c.layers[2].off = true, true
		var readers []*stream.Reader
		for _, id := range c.ids {
			r, err := c.layer(id).NewReader(stream.ReaderOptions{Queue: 1 << 14})
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, r)
		}
		pts := make([]map[int]time.Duration, len(c.ids)) // by number of the picture
		for i := range pts {
			pts[i] = map[int]time.Duration{}
		}
		for n := range 420 {
			c.push(opusFormat, 1, uint16(n), uint32(n)*1600, []byte{0xf8, 1})
			if n == 10 {
				c.p.PushRTCP([]rtcp.Packet{&rtcp.SenderReport{
					SSRC: 1, NTPTime: ntp(wallClock.Add(time.Duration(c.tick)*frameTime + 100*ms)), RTPTime: uint32(n) * 1600,
				}}, time.Now())
			}
			if n == 120 {
				c.layers[1].off, c.layers[2].off = false, false
			}
			for i := range c.layers {
				if !c.layers[i].off {
					c.picture(i)
				}
				for u := make([]*stream.Unit, 8); readers[i].TryReadBatch(u) > 0; {
					pts[i][n] = u[0].PTS
				}
				time.Sleep(7 * ms)
				c.layers[i].ts += 3000
			}
			c.tick++
			if n == 20 || n == 190 {
				time.Sleep(ms)
				for i := range c.layers {
					l := &c.layers[i]
					c.p.PushRTCP([]rtcp.Packet{&rtcp.SenderReport{
						SSRC: l.ssrc, NTPTime: ntp(wallClock.Add(time.Duration(c.tick) * frameTime)), RTPTime: l.ts,
					}}, time.Now())
				}
			}
			time.Sleep(frameTime - 21*ms)
		}
		for n, most := range map[int]time.Duration{125: frameTime, 189: frameTime, 419: 3 * ms} {
			for i := range pts {
				if d := pts[i][n] - pts[0][n]; d.Abs() > most {
					t.Errorf("picture %d: layer %d is %v off, want at most %v", n, i, d, most)
				}
			}
		}
	})
}
