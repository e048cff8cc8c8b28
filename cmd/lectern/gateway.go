package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/lectern/lectern/api"
	"github.com/lectern/lectern/config"
	"github.com/lectern/lectern/egress/rtmp"
	"github.com/lectern/lectern/egress/rtsp"
	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/internal/certs"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/internal/turn"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/web"
)

// gateway is all parts of one process, wired. Its parts know nothing of each
// other but what they declare as interfaces.
type gateway struct {
	cfg config.Config
	log *slog.Logger

	authority  *access.Authority
	newKey     bool // the admin key was made just now
	store      *storage.Store
	endpoint   *rtc.Endpoint
	turn       *turn.Server // nil: off
	renditions *transcode.Pool
	hub        *room.Hub
	whep       *whep.Server
	rtsp       *rtsp.Server // nil: off
	rtmp       *rtmp.Server // nil: off
	rtmpAddr   net.Addr
	rtmpDone   sync.WaitGroup
	api        *api.Server
	listener   net.Listener

	certs       *certs.Source // nil: HTTPS is off
	tlsListener net.Listener
}

// open makes all parts, from the ground up, and listens. After an error
// everything that was opened is closed again.
func open(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *gateway, err error) {
	g := &gateway{cfg: cfg, log: log}
	var undo []func() error
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				err = errors.Join(err, undo[i]())
			}
		}
	}()
	if err = g.openAuthority(ctx); err != nil {
		return nil, err
	}
	undo = append(undo, g.dropAuthority)
	// The ports first: a second gateway on the same data directory must not get
	// as far as recovering the recordings of the first.
	if g.listener, err = net.Listen("tcp", cfg.HTTP.Addr); err != nil {
		return nil, fmt.Errorf("listen for http: %w", err)
	}
	undo = append(undo, g.listener.Close)
	if err = g.openHTTPS(); err != nil {
		return nil, err
	}
	undo = append(undo, g.closeHTTPS)
	if err = g.openMedia(); err != nil {
		return nil, err
	}
	undo = append(undo, g.closeMedia)
	if g.store, err = storage.Open(ctx, g.storageConfig()); err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	undo = append(undo, g.store.Close)
	if err = g.authority.UseLedger(ctx, ledger{g.store}); err != nil {
		return nil, err
	}
	g.renditions = transcode.New(transcode.Config{
		FFmpeg: cfg.Transcode.FFmpeg, MaxProcesses: cfg.Transcode.MaxProcesses, IdleStop: cfg.Transcode.IdleStop, Log: log,
	})
	undo = append(undo, func() error { g.renditions.Close(); return nil })
	logMissing(log, g.renditions)
	g.hub = room.NewHub(g.roomConfig())
	undo = append(undo, func() error { return g.hub.Close(context.WithoutCancel(ctx)) })
	if err = g.hub.Restore(ctx); err != nil {
		return nil, fmt.Errorf("restore classes: %w", err)
	}
	g.whep = whep.New(whep.Config{Endpoint: g.endpoint, Log: log})
	undo = append(undo, func() error { g.whep.Close(); return nil })
	undo = append(undo, func() error { return errors.Join(g.closePlayers()...) })
	if err = g.openPlayers(); err != nil {
		return nil, err
	}
	if g.api, err = api.New(g.apiConfig()); err != nil {
		return nil, fmt.Errorf("open api: %w", err)
	}
	undo = append(undo, g.api.Close)
	if err = writeRunFile(cfg.Data.Dir, g.addresses()); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *gateway) rtcConfig() rtc.Config {
	w := g.cfg.WebRTC
	return rtc.Config{
		Addr: w.Addr, AdvertiseIPs: w.AdvertiseIPs, Hosts: w.Hosts, ICELite: w.ICELite, DisableTCP: !w.TCP,
		Interfaces: w.Interfaces, ExcludeInterfaces: w.ExcludeInterfaces,
		Networks: w.Networks, ExcludeNetworks: w.ExcludeNetworks,
		ConnectTimeout: w.ConnectTimeout, ConsentTimeout: w.ConsentTimeout, NoGSO: !w.GSO, NoBatch: !w.Batching, Log: g.log,
	}
}

func (g *gateway) storageConfig() storage.Config {
	return storage.Config{
		Dir: g.cfg.Data.Dir, Log: g.log, KeyframeEvery: g.cfg.Recording.KeyframeInterval,
		FileLimit: g.cfg.Files.MaxBytes, RoomQuota: g.cfg.Files.RoomQuotaBytes, Writer: "lectern " + version,
	}
}

func (g *gateway) roomConfig() room.Config {
	keep := roomStore{g.store}
	return room.Config{
		Log: g.log, Grace: g.cfg.Rooms.Grace, Idle: g.cfg.Rooms.IdleEnd, NoRecord: !g.cfg.Recording.Enabled,
		Limits:       room.Limits{FileBytes: g.cfg.Files.MaxBytes, Connections: g.cfg.Rooms.MaxSessions},
		BeginLecture: beginLecture(g.store), ResumeLecture: resumeLecture(g.store),
		Events: keep, Classes: keep, Files: keep, Policy: g.policy,
	}
}

func (g *gateway) apiConfig() api.Config {
	h := g.cfg.HTTP
	c := api.Config{
		Hub: g.hub, Authority: g.authority, Store: g.store, WHEP: g.whep, Endpoint: g.endpoint, Renderer: g.renditions,
		Pages: web.Files(), Version: version, PublicURL: h.PublicURL,
		RTSPPort: portOf(g.addresses().RTSP), RTMPPort: portOf(g.addresses().RTMP),
		Recording: g.cfg.Recording.Enabled, FileLimit: g.cfg.Files.MaxBytes, RoomQuota: g.cfg.Files.RoomQuotaBytes,
		MaxSessions: g.cfg.Rooms.MaxSessions, Log: g.log,
		Ready: g.ready, ICEServers: g.iceServers,
		Origins: h.Origins, Proxies: g.proxies(), HTTPSPort: g.httpsPort(),
		MaxConns: h.MaxConnections, MaxConnsPerAddr: h.MaxConnectionsPerAddress, MaxSessionsPerAddr: h.MaxSessionsPerAddress,
	}
	if g.certs != nil {
		c.Plain = g.certs.HTTPHandler
	}
	return c
}

// ready tells whether what is kept can be read, which is what everything needs.
func (g *gateway) ready(ctx context.Context) error {
	_, err := g.store.List(ctx, storage.Filter{Limit: 1})
	return err
}

// openPlayers listens for legacy players.
func (g *gateway) openPlayers() error {
	door := doorkeeper{hub: g.hub, authority: g.authority, wrong: &guesses{}}
	if addr := g.cfg.RTSP.Addr; addr != "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return err
		}
		g.rtsp, err = rtsp.Listen(rtsp.Config{
			Addr: addr, UDP: net.JoinHostPort(host, strconv.Itoa(g.cfg.RTSP.UDPPort)),
			Directory: rtspDirectory{door}, Render: rtspRender(g.renditions), DigestHA1: g.authority.DigestHA1, Log: g.log,
		})
		if err != nil {
			return fmt.Errorf("listen for rtsp: %w", err)
		}
	}
	if addr := g.cfg.RTMP.Addr; addr != "" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("listen for rtmp: %w", err)
		}
		g.rtmpAddr = l.Addr()
		g.rtmp = rtmp.NewServer(rtmp.Config{Directory: rtmpDirectory{door}, Transcode: g.renditions, Log: g.log})
		g.rtmpDone.Go(func() { // ended by Close
			if err := g.rtmp.Serve(l); err != nil && !errors.Is(err, rtmp.ErrClosed) {
				g.log.Error("rtmp stopped", "err", err)
			}
		})
	}
	return nil
}

func (g *gateway) closePlayers() []error {
	var errs []error
	if g.rtsp != nil {
		errs = append(errs, g.rtsp.Close())
	}
	if g.rtmp != nil {
		errs = append(errs, g.rtmp.Close())
		g.rtmpDone.Wait()
	}
	return errs
}

// addresses are those that the parts listen at in truth.
func (g *gateway) addresses() addresses {
	a := addresses{HTTP: g.listener.Addr().String(), WebRTC: g.endpoint.Addr().String()}
	if g.tlsListener != nil {
		a.HTTPS = g.tlsListener.Addr().String()
	}
	if g.rtsp != nil {
		a.RTSP = g.rtsp.Addr().String()
	}
	if g.rtmp != nil {
		a.RTMP = g.rtmpAddr.String()
	}
	return a
}

// portOf is the port of addr, 0 for none.
func portOf(addr string) int {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0
	}
	return int(ap.Port())
}
