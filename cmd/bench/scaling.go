package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
)

// site is an installation of several processes that share a broker and a store: a server without workers, and
// the workers added.
type site struct {
	b       *bench
	dir     string
	broker  *server.Server
	common  []string // arguments of every process
	server  *process
	workers []*process
}

// configuration has the pipelines of all servers besides the default one. The steps of the pipelines costs
// and quick run one after another, so that one kind of job does not slow down another.
const configuration = `pipelines:
  - name: transcode
    steps: [{name: transcode, worker: transcode}]
  - name: quick
    steps:
      - {name: thumbnail, worker: thumbnail}
      - {name: audio, worker: audio, after: [thumbnail]}
  - name: costs
    steps:
      - {name: thumbnail, worker: thumbnail}
      - {name: audio, worker: audio, after: [thumbnail]}
      - {name: transcode, worker: transcode, after: [audio]}
`

// shortLease is the lease in runs that kill workers; the default is 60 s.
const shortLease = 6 * time.Second

// newSite starts a server, and a broker in this process, which syncs every write as the embedded one does.
// Lease 0 is the default.
func (b *bench) newSite(ctx context.Context, lease time.Duration) (s *site, err error) {
	s = &site{b: b}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp(b.dir, "site-"); err != nil {
		return s, err
	}
	if s.broker, err = startBroker(filepath.Join(s.dir, "broker")); err != nil {
		return s, err
	}
	s.common = []string{"--nats", s.broker.ClientURL(), "--store", filepath.Join(s.dir, "objects")}
	if lease > 0 {
		s.common = append(s.common, "--lease", lease.String())
	}
	s.server, err = b.serve(ctx, append(s.common, "--no-workers")...)
	return s, err
}

func startBroker(dir string) (*server.Server, error) {
	broker, err := server.NewServer(&server.Options{
		ServerName: "bench", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		MaxPayload: embedded.MaxPayload, JetStream: true, StoreDir: dir, SyncAlways: true,
		JetStreamMaxStore: 1 << 40, JetStreamMaxMemory: 1 << 30,
	})
	if err != nil {
		return nil, err
	}
	broker.Start()
	if !broker.ReadyForConnections(30 * time.Second) {
		return broker, errors.New("the broker did not start")
	}
	return broker, nil
}

// addWorker starts a worker with one slot for transcoding and one thread.
func (s *site) addWorker(ctx context.Context) error {
	args := append([]string{"worker"}, s.common...)
	args = append(args, "--slots", "transcode=1;audio=1;thumbnail=1;inspect=1")
	if s.b.threadsFlag(ctx) {
		args = append(args, "--threads", "1")
	} else {
		s.b.warn("this reelmill has no --threads: its encoders are not single-threaded")
	}
	p, err := s.b.start(ctx, args...)
	if err == nil {
		s.workers = append(s.workers, p)
	}
	return err
}

// threadsFlag reports whether workers have a flag for encoder threads.
func (b *bench) threadsFlag(ctx context.Context) bool {
	help, err := exec.CommandContext(ctx, b.program, "worker", "--help").CombinedOutput()
	return err == nil && strings.Contains(string(help), "--threads")
}

func (s *site) close() {
	for _, w := range s.workers {
		w.stop()
	}
	if s.server != nil {
		s.server.stop()
	}
	if s.broker != nil {
		s.broker.Shutdown()
		s.broker.WaitForShutdown()
	}
	os.RemoveAll(s.dir)
}

// scaling compares the times of one worker and of two.
func (b *bench) scaling(ctx context.Context) error {
	source, err := b.clips.get(ctx, encodeForm, 300, "aac")
	if err != nil {
		return err
	}
	times := map[int][]float64{}
	for n := range b.runs(300) {
		for _, workers := range []int{1, 2} {
			t, err := b.scaled(ctx, source, workers)
			if err != nil {
				return err
			}
			times[workers] = append(times[workers], t)
			b.say("%-22s %d with %d workers %.2f s", source.name, n+1, workers, t)
		}
	}
	const name = "scaling 300s"
	b.add(name+": one worker", "s", times[1], aim{}, "one slot, one thread")
	b.add(name+": two workers", "s", times[2], aim{}, "")
	b.add(name+": one/two", "", ratios(times[1], times[2]), atLeast(1.9), "")
	return nil
}

func (b *bench) scaled(ctx context.Context, source clip, workers int) (float64, error) {
	s, err := b.newSite(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer s.close()
	for range workers {
		if err := s.addWorker(ctx); err != nil {
			return 0, err
		}
	}
	others, cpu := watchOthers(), s.processorTime()
	v, err := b.follow(ctx, s.server.url, source, "transcode", pipeline.VideoReady, nil)
	if err != nil {
		return 0, err
	}
	b.busyOthers(fmt.Sprintf("scaling with %d workers", workers), others(s.processorTime()-cpu))
	return v.took(v.begun, pipeline.VideoReady), nil
}

func (s *site) processorTime() float64 {
	sum := processorTime(s.server.pid)
	for _, w := range s.workers {
		sum += processorTime(w.pid)
	}
	return sum
}

// killed kills one of two workers during a chunk, once a third of the chunks is done, and counts the attempts
// that begin again.
func (b *bench) killed(ctx context.Context) error {
	source, err := b.clips.get(ctx, encodeForm, 300, "aac")
	if err != nil {
		return err
	}
	var again, late []float64
	for n := range b.runs(300) {
		repeated, seconds, err := b.killOnce(ctx, source)
		if err != nil {
			return err
		}
		again, late = append(again, repeated), append(late, seconds)
		b.say("%-22s %d a worker killed: %g chunks begun again, the first after %.2f s", source.name, n+1,
			repeated, seconds)
	}
	const name = "kill 300s"
	b.add(name+": chunks begun again, by slot of the killed worker", "", again, atMost(1), "it had one slot")
	lease := fmt.Sprintf("lease %s, not 60 s", shortLease)
	b.add(name+": from the kill to the first of them", "s", late, aim{}, lease)
	return nil
}

func (b *bench) killOnce(ctx context.Context, source clip) (repeated, seconds float64, err error) {
	s, err := b.newSite(ctx, shortLease)
	if err != nil {
		return 0, 0, err
	}
	defer s.close()
	for range 2 {
		if err := s.addWorker(ctx); err != nil {
			return 0, 0, err
		}
	}
	victim := s.workers[0]
	var died time.Time
	v, err := b.follow(ctx, s.server.url, source, "transcode", pipeline.VideoReady,
		func(v *story, _ pipeline.Event) {
			if died.IsZero() && toKill(v, victim.pid) {
				died = time.Now()
				victim.kill()
			}
		})
	switch {
	case err != nil:
		return 0, 0, err
	case died.IsZero():
		return 0, 0, errors.New("the worker had no chunk when it should be killed: the clip is too short")
	}
	count, again := repeats(v)
	if count == 0 {
		return 0, math.NaN(), nil // the killed attempt had finished its work
	}
	return float64(count), again.Sub(died).Seconds(), nil
}

// toKill reports whether a third of the chunks is done and the worker with this process id is at one.
func toKill(v *story, pid int) bool {
	chunks, done, busy := 0, 0, false
	for _, j := range v.plan {
		if j.costKind() == chunkKind {
			chunks++
		}
	}
	for _, a := range v.attempts() {
		switch {
		case !isChunk(a.job):
		case !a.ended.IsZero():
			done++
		case strings.HasSuffix(a.process, fmt.Sprintf("/%d", pid)):
			busy = true
		}
	}
	return chunks > 0 && 3*done >= chunks && busy
}

// repeats counts the repeated attempts at chunks, and returns when the first repeat began.
func repeats(v *story) (count int, first time.Time) {
	begun := map[string]bool{}
	for _, a := range v.attempts() {
		if !isChunk(a.job) {
			continue
		}
		if begun[a.job] {
			if count++; count == 1 {
				first = a.started
			}
		}
		begun[a.job] = true
	}
	return count, first
}
