package rtc

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// lookUpEvery follows an address that is handed out anew, as by a provider
	// at night.
	lookUpEvery   = time.Minute
	lookUpTimeout = 5 * time.Second
	maxPerName    = 8 // addresses
)

// names follows the addresses of the hosts that are offered.
type names struct {
	log    *slog.Logger
	hosts  []string // names and addresses, in the order of the configuration
	lookUp func(ctx context.Context, name string) ([]netip.Addr, error)
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	found   map[string][]netip.Addr
	failing map[string]bool
	changed time.Time
}

// newNames looks all names up once, for some seconds at most, and then keeps
// them fresh until close.
func newNames(hosts []string, log *slog.Logger) *names {
	resolve := func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
	return followNames(hosts, log, resolve, lookUpEvery)
}

func followNames(hosts []string, log *slog.Logger, lookUp func(context.Context, string) ([]netip.Addr, error), every time.Duration) *names {
	ctx, cancel := context.WithCancel(context.Background())
	n := &names{log: log, hosts: hosts, lookUp: lookUp, cancel: cancel, found: map[string][]netip.Addr{}, failing: map[string]bool{}}
	isName := func(h string) bool { _, err := netip.ParseAddr(h); return err != nil }
	if !slices.ContainsFunc(hosts, isName) {
		return n
	}
	n.refresh(ctx)
	n.wg.Go(func() { n.follow(ctx, every) }) // ended by close
	return n
}

func (n *names) follow(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.refresh(ctx)
		}
	}
}

// refresh looks the names up. A name that does not resolve keeps its addresses.
func (n *names) refresh(ctx context.Context) {
	for _, host := range n.hosts {
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		one, cancel := context.WithTimeout(ctx, lookUpTimeout)
		addrs, err := n.lookUp(one, host)
		cancel()
		if ctx.Err() != nil {
			return
		}
		n.store(host, addrs, err)
	}
}

func (n *names) store(host string, addrs []netip.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || len(addrs) == 0 {
		if !n.failing[host] { // said once, not every minute
			n.log.Warn("advertised name does not resolve", "host", host, "err", err)
		}
		n.failing[host] = true
		return
	}
	n.failing[host] = false
	var usable []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap().WithZone(""); len(usable) < maxPerName && !slices.Contains(usable, a) {
			usable = append(usable, a)
		}
	}
	// Resolvers turn the order round to spread load; that is no change.
	slices.SortFunc(usable, netip.Addr.Compare)
	if !slices.Equal(usable, n.found[host]) {
		n.found[host], n.changed = usable, time.Now()
	}
}

// addrs returns the addresses of all hosts.
func (n *names) addrs() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []netip.Addr
	for _, h := range n.hosts {
		if a, err := netip.ParseAddr(h); err == nil {
			out = append(out, a)
		} else {
			out = append(out, n.found[h]...)
		}
	}
	return out
}

// changedSince says whether addrs may return something else than it did at t.
func (n *names) changedSince(t time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.changed.Before(t)
}

func (n *names) close() {
	n.cancel()
	n.wg.Wait()
}

// hostFilter chooses the addresses of interfaces that are offered.
type hostFilter struct {
	interfaces, notInterfaces []string
	networks, notNetworks     []netip.Prefix
}

func newHostFilter(cfg Config) hostFilter {
	return hostFilter{cfg.Interfaces, cfg.ExcludeInterfaces, cfg.Networks, cfg.ExcludeNetworks}
}

func (f hostFilter) interfaceName(name string) bool {
	is := func(pattern string) bool {
		stem, open := strings.CutSuffix(pattern, "*")
		return name == pattern || open && strings.HasPrefix(name, stem)
	}
	return (len(f.interfaces) == 0 || slices.ContainsFunc(f.interfaces, is)) && !slices.ContainsFunc(f.notInterfaces, is)
}

func (f hostFilter) network(a netip.Addr) bool {
	has := func(p netip.Prefix) bool { return p.Contains(a) }
	return (len(f.networks) == 0 || slices.ContainsFunc(f.networks, has)) && !slices.ContainsFunc(f.notNetworks, has)
}
