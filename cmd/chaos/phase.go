package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// phase is one installation of ReelMill, with its load and its faults.
type phase struct {
	*harness
	name    string
	data    string // of serve
	store   string // folder of the objects
	disk    string // small disk that has data; empty for none
	url     string
	api     *client.Client
	broker  *unit // nil when it is embedded
	serve   *unit
	workers []*unit
	load    *load
}

func (p *phase) units() []*unit {
	all := append([]*unit{p.serve}, p.workers...)
	if p.broker != nil {
		all = append([]*unit{p.broker}, all...)
	}
	return all
}

func (h *harness) newPhase(ctx context.Context, name, data string) (*phase, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	p := &phase{harness: h, name: name, data: data, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	p.api = client.New(p.url, &http.Client{
		Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	})
	p.load = newLoad(ctx, p)
	return p, os.MkdirAll(data, 0o700)
}

// common returns the flags of every process of ReelMill.
func (p *phase) common() []string {
	return []string{
		"--config", filepath.Join(p.dir, "config.yaml"), "--slots", slots, "--lease", lease.String(),
	}
}

func (p *phase) serveArgs(more ...string) []string {
	args := append([]string{p.program, "serve"}, p.common()...)
	args = append(args, "--data", p.data, "--listen", strings.TrimPrefix(p.url, "http://"),
		"--sweep-every", sweepEvery.String(), "--sweep-age", sweepAge.String(), "--min-free", "20MiB")
	return append(args, more...)
}

// distributed is phase A: a broker, a server and three workers, each in its process.
func (h *harness) distributed(ctx context.Context, d time.Duration) (*result, error) {
	p, err := h.newPhase(ctx, "A: broker, server and 3 workers", filepath.Join(h.dir, "a"))
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	p.store = filepath.Join(p.data, "objects")
	address := fmt.Sprintf("127.0.0.1:%d", port)
	shared := []string{"--nats", "nats://" + address, "--store", p.store}
	p.broker = h.newUnit("broker", answering(address), h.self, "broker",
		"-dir", filepath.Join(p.data, "broker"), "-port", fmt.Sprint(port))
	p.broker.address = address
	p.serve = h.newUnit("serve", readyLine, p.serveArgs(append(shared, "--no-workers")...)...)
	p.serve.address = strings.TrimPrefix(p.url, "http://")
	for i := range 3 {
		name := fmt.Sprintf("worker-%d", i+1)
		args := append([]string{h.program, "worker"}, p.common()...)
		args = append(args, shared...)
		args = append(args, "--data", filepath.Join(p.data, name))
		p.workers = append(p.workers, h.newUnit(name, readyLine, args...))
	}
	return p.run(ctx, d, p.workerFaults, p.serverFaults)
}

// allInOne is phase B: everything in one process, on a small disk.
func (h *harness) allInOne(ctx context.Context, d time.Duration) (*result, error) {
	disk := filepath.Join(h.dir, "b")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		return nil, err
	}
	err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%dm", smallDisk))
	p, err2 := h.newPhase(ctx, "B: all in one process", filepath.Join(disk, "data"))
	if err2 != nil {
		return nil, err2
	}
	if err == nil && h.inner {
		p.disk = disk
		defer h.keepDisk(ctx, disk)
	} else {
		h.count("disk full: NOT RUN, no small disk could be mounted", 0)
	}
	p.store = filepath.Join(p.data, "objects")
	p.serve = h.newUnit("all-in-one", readyLine, p.serveArgs()...)
	return p.run(ctx, d, p.allInOneFaults)
}

// keepDisk copies a mounted disk to a folder that outlives the mount.
func (h *harness) keepDisk(ctx context.Context, disk string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "cp", "-a", disk, disk+"-kept").CombinedOutput(); err != nil {
		h.sayf("keep %s: %v %s", disk, err, out)
	}
	if err := syscall.Unmount(disk, 0); err != nil {
		h.sayf("unmount %s: %v", disk, err)
	}
}

// run runs load and faults for d, ends both, and checks.
func (p *phase) run(ctx context.Context, d time.Duration, lanes ...func(context.Context)) (*result, error) {
	p.sayf("phase %s", p.name)
	alive, end := context.WithCancel(ctx)
	var processes sync.WaitGroup
	defer processes.Wait()
	defer end()
	for _, u := range p.units() {
		processes.Go(func() { u.run(alive) })
		u.awaitUp(ctx, 0)
		if _, runs := u.current(); !runs {
			return nil, fmt.Errorf("%s did not start; see %s/logs", u.name, p.dir)
		}
	}
	bad, calm := context.WithTimeout(ctx, d)
	defer calm()
	var doing sync.WaitGroup
	doing.Go(func() { p.load.run(bad) })
	doing.Go(func() { p.receiver.misbehave(bad, p.harness) })
	doing.Go(func() { p.progress(bad) })
	for _, lane := range lanes {
		doing.Go(func() { lane(bad) })
	}
	doing.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	p.sayf("no more faults; waiting until everything settles")
	for _, u := range p.units() {
		u.signal(syscall.SIGCONT)
		if u != p.broker {
			u.replace(ctx, syscall.SIGTERM, nil)
		}
	}
	return p.settle(ctx)
}

// progress prints every 15 s how far the phase is.
func (p *phase) progress(ctx context.Context) {
	for ctx.Err() == nil {
		pause.For(ctx, 15*time.Second)
		accepted, open := p.load.state()
		p.mu.Lock()
		n := 0
		for _, k := range p.faults {
			n += k
		}
		p.mu.Unlock()
		p.sayf("%d accepted, %d unfinished, %d faults, %d kill points", accepted, open, n, p.points.covered())
	}
}

// settle waits until every accepted video has ended and its webhooks are delivered, and checks them.
func (p *phase) settle(ctx context.Context) (*result, error) {
	deadline, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	began := time.Now()
	p.load.stop(deadline)
	var r *result
	for {
		var err error
		if r, err = p.check(ctx); err != nil {
			return nil, err
		}
		if len(r.pending) == 0 || deadline.Err() != nil {
			break
		}
		pause.For(deadline, time.Second)
	}
	p.sayf("settled after %s, %d pending", time.Since(began).Round(100*time.Millisecond), len(r.pending))
	r.Name = p.name
	return r, p.conclude(ctx, r)
}
