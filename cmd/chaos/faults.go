package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // locks the read model's file

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// fault disturbs an installation.
type fault struct {
	name   string
	inject func(context.Context) // returns when it is over
}

// play injects the chosen faults in shuffled rounds, until ctx ends, and at, if it is chosen, before each of
// them. It pauses before each injection.
func (p *phase) play(ctx context.Context, at fault, faults []fault) {
	unwanted := func(f fault) bool { return !p.chosen(f.name) }
	before := slices.DeleteFunc([]fault{at}, unwanted)
	faults = slices.DeleteFunc(faults, unwanted)
	if len(faults) == 0 {
		before, faults = nil, before
	}
	if len(faults) == 0 {
		return
	}
	for ctx.Err() == nil {
		deck := append([]fault{}, faults...)
		p.mu.Lock()
		p.random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		p.mu.Unlock()
		for _, f := range deck {
			for _, f := range append(before, f) {
				pause.For(ctx, p.between(1, 3))
				if ctx.Err() != nil {
					return
				}
				f.inject(ctx)
			}
		}
	}
}

// workerFaults injects faults into the workers of phase A.
func (p *phase) workerFaults(ctx context.Context) {
	some := func() *unit { return p.workers[p.intN(len(p.workers))] }
	at := fault{atPoint, func(ctx context.Context) { p.killAtPoint(ctx, some(), "worker") }}
	kill := fault{"kill worker", func(ctx context.Context) { p.kill(ctx, some(), "worker") }}
	faults := []fault{
		kill, kill,
		{"freeze worker", func(ctx context.Context) { p.freeze(ctx, p.busy(ctx, some()), "worker") }},
		{"stop workers", p.rollWorkers},
	}
	p.play(ctx, at, append(faults, p.generations(some, []generation{
		{"worker: store fails 30%", environment{StoreFail: 0.3}},
		{"worker: log fails 20%", environment{LogFail: 0.2}},
		{"worker: deliveries doubled, reordered, delayed", environment{Double: 0.3, Reorder: 0.3, DelayMS: 800}},
	})...))
}

// serverFaults injects faults into the server and the broker of phase A.
func (p *phase) serverFaults(ctx context.Context) {
	at := fault{atPoint, func(ctx context.Context) { p.killAtPoint(ctx, p.serve, "server") }}
	kill := fault{"kill server", func(ctx context.Context) { p.kill(ctx, p.serve, "server") }}
	p.play(ctx, at, append(p.serverGenerations(), kill, kill,
		fault{"stop server", func(ctx context.Context) { p.restart(ctx, p.serve, "server") }},
		fault{"kill broker", func(ctx context.Context) { p.kill(ctx, p.broker, "broker") }},
		fault{"stop broker", func(ctx context.Context) { p.restart(ctx, p.broker, "broker") }},
		fault{"freeze broker", func(ctx context.Context) { p.freeze(ctx, p.broker, "broker") }},
		fault{"lock SQLite", p.lockCatalog},
		fault{"read-only", p.readOnly},
		fault{"memory of server", func(ctx context.Context) { p.exhaust(ctx, p.serve, "server") }},
		fault{"memory of broker", func(ctx context.Context) { p.exhaust(ctx, p.broker, "broker") }},
	))
}

// serverGenerations returns faults that a server process injects into itself.
func (p *phase) serverGenerations() []fault {
	return p.generations(func() *unit { return p.serve }, []generation{
		{"server: store fails 30%", environment{StoreFail: 0.3}},
		{"server: log fails 20%", environment{LogFail: 0.2}},
		{"server: events doubled, reordered, delayed", environment{Double: 0.3, Reorder: 0.3, DelayMS: 400}},
		{"server: tasks lost 20%", environment{DropTask: 0.2}},
	})
}

// generation is a process with faults that it injects into itself.
type generation struct {
	what string
	env  environment
}

// generations returns the faults that make a unit run generations.
func (p *phase) generations(of func() *unit, all []generation) (faults []fault) {
	for _, g := range all {
		faults = append(faults, fault{g.what, func(ctx context.Context) { p.generation(ctx, of(), g.what, g.env) }})
	}
	return faults
}

// allInOneFaults injects faults into the process of phase B.
func (p *phase) allInOneFaults(ctx context.Context) {
	at := fault{atPoint, func(ctx context.Context) { p.killAtPoint(ctx, p.serve, "both") }}
	kill := fault{"kill all in one", func(ctx context.Context) { p.kill(ctx, p.serve, "all in one") }}
	faults := append(p.serverGenerations(), kill, kill, kill,
		fault{"stop all in one", func(ctx context.Context) { p.restart(ctx, p.serve, "all in one") }},
		fault{"lock SQLite", p.lockCatalog},
		fault{"read-only", p.readOnly},
	)
	if p.disk != "" {
		full := fault{"full disk while encoding", p.fillWhileEncoding}
		if p.chosen(full.name) {
			full.inject(ctx) // at least once, however short the run
		}
		faults = append(faults, full, fault{"full disk", p.fillDisk})
	}
	p.play(ctx, at, faults)
}

// atPoint is the name of the fault that kills a process at a point.
const atPoint = "kill at a point"

// chosen reports whether -faults asks for a fault, by a part of its name.
func (p *phase) chosen(name string) bool {
	return p.choose == "" || slices.ContainsFunc(strings.Split(p.choose, ","), func(part string) bool {
		return strings.Contains(name, part)
	})
}

// kill kills a process without warning, and waits until it is back.
func (p *phase) kill(ctx context.Context, u *unit, what string) {
	p.count("SIGKILL "+what, 1)
	u.replace(ctx, syscall.SIGKILL, nil)
}

// restart asks a process to stop, and waits until it is back.
func (p *phase) restart(ctx context.Context, u *unit, what string) {
	p.count("SIGTERM "+what, 1)
	u.replace(ctx, syscall.SIGTERM, nil)
}

// killAtPoint makes the next two processes of a unit kill themselves, each at a chosen point. Then it waits
// for a healthy one.
func (p *phase) killAtPoint(ctx context.Context, u *unit, role string) {
	patience := 80
	if len(p.points.draw(role)) < 15 {
		patience = 200 // only rare points are left
	}
	u.replace(ctx, syscall.SIGTERM, p.armed(role))
	missed := false
	for left := 2; left >= 0 && ctx.Err() == nil; left-- {
		if left == 0 {
			u.arm(nil)
		} else {
			u.arm(p.armed(role))
		}
		before, kills := u.now(), p.points.kills()
		for wait := 0; u.now() == before && wait < patience && ctx.Err() == nil; wait++ {
			pause.For(ctx, 100*time.Millisecond)
		}
		if missed = u.now() == before; missed { // the load does not reach the point
			break
		}
		p.count("SIGKILL at a point: "+role, min(1, p.points.kills()-kills))
		u.awaitUp(ctx, before)
	}
	if role != "server" && p.intN(2) == 0 {
		p.killAtShutdown(ctx, u)
	} else if missed {
		u.replace(ctx, syscall.SIGTERM, nil)
	}
}

// armed returns the environment of a process that kills itself at a point of a role.
func (p *phase) armed(role string) *environment {
	env := p.clean()
	env.Covered = p.points.file
	env.Kill = &killPoint{Points: p.points.draw(role), At: 1, AfterMS: 500 + p.intN(2500)}
	return &env
}

// killAtShutdown lets a process with work kill itself at a point while it stops.
func (p *phase) killAtShutdown(ctx context.Context, u *unit) {
	env := p.clean()
	env.Covered, env.Kill = p.points.file, &killPoint{Points: p.points.drawShutdown(), At: 1}
	u.replace(ctx, syscall.SIGTERM, &env)
	pause.For(ctx, 2*time.Second)
	kills := p.points.kills()
	u.replace(ctx, syscall.SIGTERM, nil)
	p.count("SIGKILL at a point: shutdown", min(1, p.points.kills()-kills))
}

// generation runs a process for a while with faults that it injects into itself.
func (p *phase) generation(ctx context.Context, u *unit, what string, env environment) {
	p.count(what+" (generations)", 1)
	clean := p.clean()
	env.Seed, env.RetryMaxMS = clean.Seed, clean.RetryMaxMS
	u.replace(ctx, syscall.SIGTERM, &env)
	pause.For(ctx, p.between(10, 20))
	u.replace(ctx, syscall.SIGTERM, nil)
}

// freeze pauses a process for twice the lease, so that others take its jobs, and resumes it.
func (p *phase) freeze(ctx context.Context, u *unit, what string) {
	p.count("SIGSTOP "+what+" for 2 leases", 1)
	u.signal(syscall.SIGSTOP)
	pause.For(context.WithoutCancel(ctx), 2*lease)
	u.signal(syscall.SIGCONT)
}

// running returns the jobs of a worker type that run: the process of each, by its subject.
func (p *phase) running(ctx context.Context, worker string) map[string]string {
	running := map[string]string{}
	all, _ := p.events(ctx) // an error may pass: it is read again soon
	for _, events := range all {
		for _, e := range events {
			var data pipeline.JobEvent
			delete(running, e.Subject)
			if e.Type == pipeline.JobStarted && e.Decode(&data) == nil && data.Worker == worker {
				running[e.Subject] = data.Process
			}
		}
	}
	return running
}

// busy returns a worker that runs a heavy job, or otherwise if none does soon.
func (p *phase) busy(ctx context.Context, otherwise *unit) *unit {
	for range 20 {
		for _, process := range p.running(ctx, "chaos") {
			for _, u := range p.workers {
				if strings.HasSuffix(process, fmt.Sprintf("/%d", u.pid())) {
					return u
				}
			}
		}
		pause.For(ctx, 300*time.Millisecond)
	}
	return otherwise
}

// rollWorkers restarts the workers in turn, one every ten seconds.
func (p *phase) rollWorkers(ctx context.Context) {
	for _, u := range p.workers {
		if ctx.Err() == nil {
			p.restart(ctx, u, "worker")
			pause.For(ctx, 7*time.Second)
		}
	}
}

// lockCatalog holds the write lock of the read model's file for a while.
func (p *phase) lockCatalog(ctx context.Context) {
	hold := p.between(3, 8)
	err := func() error {
		db, err := sql.Open("sqlite", "file:"+p.catalogPath()+"?_pragma=busy_timeout(5000)")
		if err != nil {
			return err
		}
		defer db.Close()
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
			return err
		}
		pause.For(ctx, hold)
		_, err = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return err
	}()
	if err != nil {
		p.sayf("lock the catalog: %v", err)
		return
	}
	p.count("SQLite locked for 3 to 8 s", 1)
}

func (p *phase) catalogPath() string { return filepath.Join(p.data, "catalog.db") }
