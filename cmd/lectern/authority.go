package main

import (
	"context"
	"fmt"

	"github.com/lectern/lectern/config"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// openAuthority opens the keys and tells whom else to believe.
func (g *gateway) openAuthority(ctx context.Context) (err error) {
	if g.authority, g.newKey, err = access.Open(g.cfg.Data.Dir, g.cfg.AdminKey); err != nil {
		return fmt.Errorf("open keys: %w", err)
	}
	if err = g.authority.Trust(ctx, g.outside()); err != nil {
		_ = g.dropAuthority() // the first error counts
		return fmt.Errorf("auth: %w", err)
	}
	return nil
}

// dropAuthority undoes openAuthority. The admin key is shown by a start that
// succeeds; the next makes another.
func (g *gateway) dropAuthority() error {
	g.authority.Close()
	return g.authority.DropNewAdminKey()
}

// outside is the configuration of auth in the words of access.
func (g *gateway) outside() access.Outside {
	h := g.cfg.Auth.Hook
	o := access.Outside{
		Hook: access.Hook{URL: h.URL, Secret: h.Secret, Timeout: h.Timeout, Cache: h.Cache},
		Log:  g.log,
	}
	for _, j := range g.cfg.Auth.JWT {
		o.Issuers = append(o.Issuers, issuerOf(j))
	}
	return o
}

func issuerOf(j config.JWT) access.Issuer {
	roles := make(map[string]access.Role, len(j.Roles))
	for value, role := range j.Roles {
		roles[value] = access.Role(role)
	}
	return access.Issuer{
		Name: j.Name, Issuer: j.Issuer, Audience: j.Audience, Algorithms: j.Algorithms,
		Secret: j.Secret, PublicKeyFile: j.PublicKeyFile, JWKSURL: j.JWKSURL, Refresh: j.Refresh,
		Claims: access.ClaimPaths{Role: j.Claims.Role, Room: j.Claims.Room, Name: j.Claims.Name, Subject: j.Claims.Subject},
		Roles:  roles, DefaultRole: access.Role(j.DefaultRole),
		RoomPattern: j.RoomPattern, Rooms: j.Rooms, MaxLife: j.MaxLife,
	}
}

// policy is what the rules of a room let its students do.
func (g *gateway) policy(name string) room.Policy {
	rules := g.authority.Rules(name)
	return room.Policy{Chat: rules.Chat, Files: rules.Files}
}
