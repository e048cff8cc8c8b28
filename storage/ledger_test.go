package storage_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
)

func TestGrants_AreKeptReplacedAndForgotten(t *testing.T) {
	ctx := context.Background()
	now := new(clock)
	began := time.UnixMilli(1_800_000_000_000)
	now.set(began)
	cfg := storage.Config{Dir: t.TempDir(), Now: now.now}
	s := open(t, cfg)
	key := storage.Grant{Kind: "key", ID: "k1", Room: "algebra", Data: []byte(`{"a":1}`)}
	gone := storage.Grant{Kind: "revoked", ID: "t1", Expires: began.Add(time.Minute), Data: []byte(`{}`)}
	stays := storage.Grant{Kind: "revoked", ID: "t2", Expires: began.Add(time.Hour), Data: []byte(`{}`)}
	for _, g := range []storage.Grant{key, gone, stays, {Kind: "room", ID: "k1", Data: []byte(`{}`)}} {
		if err := s.PutGrant(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	key.Data = []byte(`{"a":2}`)
	if err := s.PutGrant(ctx, key); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is not there
		if err := s.DeleteGrant(ctx, "room", "k1"); err != nil {
			t.Fatal(err)
		}
	}
	now.add(2 * time.Minute)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, cfg).LoadGrants(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := []storage.Grant{key, stays}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
