package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// newProfiled prepares nodes that serve their profiles, each on a free port.
func (b *bench) newProfiled(o Options) (*Cluster, error) {
	if err := os.MkdirAll(b.options.ProfileDir, 0o750); err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	b.pprof = make(map[string]string)
	var held listeners
	defer held.close()
	for i := range o.Nodes {
		p := port{what: "profile port of " + nodeName(i)}
		var err error
		if p.number, err = held.takeFree(p.what); err != nil {
			return nil, err
		}
		b.pprof[nodeName(i)] = p.addr()
	}
	return newCluster(o, b.options.Binary, func(s spec) (instance, error) { return startProcessWith(s, "--pprof-addr", b.pprof[s.name]) })
}

// profile runs each case once more, again and again until its profiles are taken.
func (b *bench) profile(ctx context.Context) error {
	for _, c := range b.cases {
		b.say("profiles of %s", c.Name)
		if err := b.profileCase(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

func (b *bench) profileCase(ctx context.Context, c BenchCase) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	taken := make(chan error, 1)
	go func() { taken <- b.takeProfiles(ctx, c.Name) }()
	for {
		if _, err := b.measure(ctx, c); err != nil {
			cancel()
			return errors.Join(err, <-taken)
		}
		select {
		case err := <-taken:
			return err
		default:
		}
	}
}

// takeProfiles profiles all nodes and this process at the same time.
func (b *bench) takeProfiles(ctx context.Context, name string) error {
	failures := make(chan error, len(b.pprof)+1)
	path := func(of string) string { return filepath.Join(b.options.ProfileDir, name+"."+of+".pprof") }
	for node, addr := range b.pprof {
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", addr, int(b.options.ProfileTime.Seconds()))
		go func() { failures <- writeFile(path(node), func(w io.Writer) error { return fetch(ctx, w, url) }) }()
	}
	go func() {
		failures <- writeFile(path("load"), func(w io.Writer) error { return profileSelf(ctx, w, b.options.ProfileTime) })
	}()
	var err error
	for range cap(failures) {
		err = errors.Join(err, <-failures)
	}
	return err
}

// writeFile makes a file of what write writes.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func fetch(ctx context.Context, w io.Writer, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	_, err = io.Copy(w, answer.Body)
	return err
}

// profileSelf profiles this process, which makes the load.
func profileSelf(ctx context.Context, w io.Writer, d time.Duration) error {
	if err := pprof.StartCPUProfile(w); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
