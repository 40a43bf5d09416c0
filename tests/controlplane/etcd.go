package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"
)

// startEtcd starts a one-member etcd that listens on a unix socket only: no port to
// collide with the servers of other tests, and nobody else can connect.
func startEtcd(ctx context.Context, w *workDir, fsync bool) (*embed.Etcd, string, error) {
	socket, err := w.socket("etcd.sock")
	if err != nil {
		return nil, "", err
	}
	cfg := embed.NewConfig()
	cfg.Dir = w.file("etcd")
	cfg.LogLevel = "fatal"
	cfg.UnsafeNoFsync = !fsync
	cfg.TickMs, cfg.ElectionMs = 10, 100 // the only member elects itself: do not make it wait
	listen := url.URL{Scheme: "unix", Path: socket}
	cfg.ListenClientUrls = []url.URL{listen}
	cfg.ListenPeerUrls = nil
	// Advertised URLs must have the form host:port; with one member nobody dials them.
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "localhost:2379"}}
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, "", fmt.Errorf("etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, listen.String(), nil
	case err = <-e.Err():
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-time.After(readyLimit):
		err = fmt.Errorf("not ready after %s", readyLimit)
	}
	e.Close()
	return nil, "", fmt.Errorf("etcd: %w", err)
}

// compact drops all history before the current revision.
func compact(ctx context.Context, e *embed.Etcd) (int64, error) {
	revision := e.Server.KV().Rev()
	_, err := e.Server.Compact(ctx, &pb.CompactionRequest{Revision: revision, Physical: true})
	return revision, err
}
