package main

import (
	"context"
	"fmt"
	"time"
)

// crowds are the numbers of viewers of the fan-out.
func (b *bench) crowds() []int {
	if b.quick {
		return []int{10, 100}
	}
	return []int{1, 10, 100, 200, 450}
}

// fanout compares what a delivered packet costs with pion's PeerConnection, in
// turns. Without the tools it prints what our own viewers show.
func (b *bench) fanout(ctx context.Context) error {
	b.out.title("Fan-out")
	b.out.line("H.264 of 2.5 Mbit/s at 30 fps and Opus; processor time of the server, user and system, per delivered packet. The class is recorded meanwhile.\n")
	if b.tools == nil {
		b.out.line("The comparison with PeerConnection is not here: its tools were not given (`-tools`). Own viewers:\n")
		return b.ownFanout(ctx)
	}
	var rows [][]string
	var joins [2][]figures
	for _, n := range b.crowds() {
		ours, theirs, err := b.turns(ctx, n)
		if err != nil {
			return fmt.Errorf("%d viewers: %w", n, err)
		}
		a, p := summary(ours), summary(theirs)
		ratio := a.Micros / p.Micros
		rows = append(rows, []string{
			f("%d", n), f("%.2f", a.Micros), f("%.2f", p.Micros), f("%.2f", ratio), f("%.2f / %.2f", a.LossPct, p.LossPct),
			f("%.1f / %.1f", a.P95, p.P95), f("%.0f / %.0f", a.RSS, p.RSS),
		})
		switch n {
		case 10:
			b.out.bar("CPU per packet of PeerConnection's, 10 viewers", ratio, 1/2.5, "")
		case 100:
			b.out.bar("CPU per packet of PeerConnection's, 100 viewers", ratio, .30, "")
			b.out.bar("CPU per packet, 100 viewers (aim)", a.Micros, 2.0, " µs")
		case 200:
			joins = [2][]figures{ours, theirs}
		}
		for name, s := range map[string]figures{"Lectern": a, "PeerConnection": p} {
			if s.LossPct > .5 || s.Failed > 0 {
				used := s.CPUPercent/100 + s.OwnCPU/max(1, s.Seconds)
				defer b.out.line("With %d viewers of %s %.1f %% of the pictures were lost and %d viewers did not connect; server and load generator used %.1f cores.",
					n, name, s.LossPct, s.Failed, used)
			}
		}
	}
	b.out.table([]string{"viewers", "Lectern, µs", "PeerConnection, µs", "ratio", "lost pictures, %", "latency p95, ms", "resident, MiB"}, rows)
	if joins[0] != nil {
		a, p := summary(joins[0]), summary(joins[1])
		b.out.line("200 viewers, eight at a time, are connected after %.2f s and %.2f s of processor time; by PeerConnection after %.2f s and %.2f s.\n",
			a.Connect, a.ConnectCPU, p.Connect, p.ConnectCPU)
	}
	return nil
}

// turns measures A B A B with n viewers, each on a fresh server.
func (b *bench) turns(ctx context.Context, n int) (ours, theirs []figures, err error) {
	g, err := b.newGateway()
	if err != nil {
		return nil, nil, err
	}
	defer g.stop()
	p, err := b.tools.plain()
	if err != nil {
		return nil, nil, err
	}
	defer p.stop()
	d := b.seconds(5)
	if n <= 10 {
		d *= 3 // so little is used that the ticks of the clock show
	}
	for i := range b.rounds {
		room := f("load%d", i)
		a, err := b.tools.load(ctx, g.whip(room), g.whep(room), g.token, g.cmd.Process.Pid, n, d)
		if err != nil {
			return nil, nil, fmt.Errorf("lectern: %w", err)
		}
		ours = append(ours, a)
		c, err := b.tools.load(ctx, "http://"+p.http+"/whip", "http://"+p.http+"/whep", "", p.cmd.Process.Pid, n, d)
		if err != nil {
			return nil, nil, fmt.Errorf("PeerConnection: %w", err)
		}
		theirs = append(theirs, c)
	}
	return ours, theirs, nil
}

// summary is the median of each figure.
func summary(all []figures) figures {
	pick := func(get func(figures) float64) float64 {
		var v []float64
		for _, x := range all {
			v = append(v, get(x))
		}
		return median(v)
	}
	out := figures{
		Micros: pick(func(x figures) float64 { return x.Micros }), LossPct: pick(func(x figures) float64 { return x.LossPct }),
		P95: pick(func(x figures) float64 { return x.P95 }), RSS: pick(func(x figures) float64 { return x.RSS }),
		Connect: pick(func(x figures) float64 { return x.Connect }), ConnectCPU: pick(func(x figures) float64 { return x.ConnectCPU }),
		CPUPercent: pick(func(x figures) float64 { return x.CPUPercent }), OwnCPU: pick(func(x figures) float64 { return x.OwnCPU }),
		Seconds: pick(func(x figures) float64 { return x.Seconds }),
	}
	for _, x := range all {
		out.Failed = max(out.Failed, x.Failed)
	}
	return out
}

func (b *bench) ownFanout(ctx context.Context) error {
	var rows [][]string
	for _, n := range b.crowds() {
		c, err := b.costOf(ctx, course{rooms: 1, viewers: n, kbits: 2500})
		if err != nil {
			return fmt.Errorf("%d viewers: %w", n, err)
		}
		rows = append(rows, []string{f("%d", n), f("%.2f", c.micros), f("%.0f", c.perSecond), f("%.2f", c.cores), f("%.0f", mib(c.rss))})
		if n == 100 {
			b.out.bar("CPU per packet, 100 viewers (aim)", c.micros, 2.0, " µs")
		}
	}
	b.out.table([]string{"viewers", "µs per packet", "packets/s", "cores", "resident, MiB"}, rows)
	return nil
}

// procs shows what a second core gives.
func (b *bench) procs(ctx context.Context) error {
	var rows [][]string
	for _, env := range []string{"GOMAXPROCS=1", "GOMAXPROCS=2"} {
		c, err := b.costOf(ctx, course{rooms: 1, viewers: 200, kbits: 2500, env: []string{env}})
		if err != nil {
			return err
		}
		rows = append(rows, []string{env, f("%.2f", c.micros), f("%.0f", c.perSecond), f("%.2f", c.cores)})
	}
	b.out.title("Cores")
	b.out.line("200 viewers of one stream of 2.5 Mbit/s, own viewers.\n")
	b.out.table([]string{"", "µs per packet", "packets/s", "cores used"}, rows)
	return nil
}

// bitrate shows how the cost grows with the publisher's bitrate.
func (b *bench) bitrate(ctx context.Context) error {
	var rows [][]string
	for _, kbits := range []int{500, 2500, 8000} {
		c, err := b.costOf(ctx, course{rooms: 1, viewers: 50, kbits: kbits})
		if err != nil {
			return err
		}
		rows = append(rows, []string{f("%.1f", float64(kbits)/1000), f("%.0f", c.perSecond/50), f("%.2f", c.micros), f("%.2f", 1000*c.cores/50)})
	}
	b.out.title("Bitrate")
	b.out.line("50 viewers of one stream.\n")
	b.out.table([]string{"Mbit/s", "packets/s per viewer", "µs per packet", "thousandths of a core per viewer"}, rows)
	return nil
}

// rooms shows what many small classes cost.
func (b *bench) rooms(ctx context.Context) error {
	rooms := 100
	if b.quick {
		rooms = 20
	}
	var rows [][]string
	for _, k := range []course{{rooms: rooms, viewers: 2, kbits: 500}, {rooms: 1, viewers: 2 * rooms, kbits: 500}} {
		c, err := b.costOf(ctx, k)
		if err != nil {
			return err
		}
		rows = append(rows, []string{f("%d × %d", k.rooms, k.viewers), f("%.2f", c.micros), f("%.0f", c.perSecond), f("%.2f", c.cores), f("%.0f", mib(c.rss))})
	}
	b.out.title("Rooms")
	b.out.line("Streams of 0.5 Mbit/s, each recorded; the packets that come in cost as well, and are counted in.\n")
	b.out.table([]string{"rooms × viewers", "µs per delivered packet", "packets/s", "cores", "resident, MiB"}, rows)
	return nil
}

// settle is how long a crowd is left alone before it is measured.
const settle = 1500 * time.Millisecond
