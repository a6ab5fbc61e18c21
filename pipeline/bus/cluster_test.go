package bus

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// openCluster tries to open a bus until the cluster has room for its streams and these have leaders.
func openCluster(t *testing.T, urls string) *Bus {
	t.Helper()
	return openClusterAs(t, urls, Config{Replicas: 3})
}

func openClusterAs(t *testing.T, urls string, cfg Config) *Bus {
	t.Helper()
	cfg.Logger = testLog(t)
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	must(t, err)
	t.Cleanup(nc.Close)
	for ctx := soon(t); ; pause.For(ctx, 100*time.Millisecond) {
		if bus, err := Open(ctx, nc, cfg); err == nil {
			return bus
		} else if ctx.Err() != nil {
			t.Fatalf("open: %v", err)
		}
	}
}

func TestCluster(t *testing.T) {
	servers, urls := bustest.Cluster(t)
	one, two := openCluster(t, urls), openCluster(t, urls)
	e := event(t, "vid_1", "a")
	seq, err := one.Append(soon(t), e, 0)
	must(t, err)
	if _, err := two.Append(soon(t), event(t, "vid_1", "a"), 0); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("append to a subject that has an event: %v", err)
	}
	if again, err := two.Append(soon(t), e, 0); err != nil || again != seq {
		t.Errorf("append again: %d, %v", again, err)
	}
	last, err := two.Last(soon(t), e.Subject, pipeline.UploadedSubject("default", "vid_1"))
	must(t, err)
	if last[0].ID != e.ID || last[1].Sequence != 0 {
		t.Errorf("last is %+v", last)
	}
	for _, bus := range []*Bus{one, two} {
		must(t, bus.Enqueue(soon(t), task("a", "", 0)))
		must(t, bus.Schedule(soon(t), task("b", "", 7), time.Now().Add(time.Hour)))
		must(t, bus.DeadLetter(soon(t), pipeline.DeadLetter{Task: task("c", "", 0)}))
	}
	for stream, subject := range map[string]string{streamTasks: ">", streamDead: ">"} {
		want := map[string]uint64{streamTasks: 2, streamDead: 1}[stream]
		if n := storedOn(t, one, stream, subject); n != want {
			t.Errorf("%d messages in %s, want %d", n, stream, want)
		}
	}
	readCluster(t, two, e)
	must(t, next(t, two).Ack(soon(t)))
	raceInCluster(t, one, two)

	servers[0].Shutdown()
	servers[0].WaitForShutdown()
	e = event(t, "vid_1", "after")
	_, err = one.Append(soon(t), e, 0)
	must(t, err)
	if last, err = two.Last(soon(t), e.Subject); err != nil || last[0].ID != e.ID {
		t.Errorf("last after the loss of a server: %+v, %v", last, err)
	}
	must(t, two.Schedule(soon(t), task("d", "", 7), time.Now()))
	d, err := one.NextAtLeast(soon(t), "transcode", pipeline.Bulk)
	must(t, err)
	must(t, d.Ack(soon(t)))
}

// A process with default flags uses the streams of a cluster as they are. One with other flags gets an error. Only
// Change changes them, also while processes run.
func TestClusterKeepsItsReplicas(t *testing.T) {
	_, urls := bustest.Cluster(t)
	server := openCluster(t, urls)
	all := []string{streamEvents, streamTasks, streamDead, streamProgress, streamWorkers}
	before := map[string]jetstream.StreamConfig{}
	for _, name := range all {
		before[name] = configOf(t, server.js, name)
		if before[name].Replicas != 3 {
			t.Errorf("%s has %d replicas", name, before[name].Replicas)
		}
	}
	worker := openClusterAs(t, urls, Config{Join: true})
	if worker.direct.Load() {
		t.Error("the log of a cluster is read from any replica")
	}
	_, err := Open(soon(t), server.nc, Config{Replicas: 1})
	if !errors.Is(err, ErrDiffers) ||
		!strings.Contains(err.Error(), "EVENTS exists and differs: replicas is 3, want 1") ||
		!strings.Contains(err.Error(), "reelmill streams apply") {
		t.Errorf("opened with one replica: %v", err)
	}
	must(t, server.js.DeleteStream(soon(t), streamWorkers)) // as when all servers are restarted at once
	must(t, worker.Announce(soon(t), Presence{Type: "transcode", Process: "a"}))
	for _, name := range all {
		after := configOf(t, server.js, name)
		after.Metadata = before[name].Metadata
		if !reflect.DeepEqual(before[name], after) {
			t.Errorf("%s was %+v\nand is %+v", name, before[name], after)
		}
	}
	changeReplicas(t, urls, server, worker)
}

// changeReplicas changes the streams to one replica and back, while buses that were opened before go on.
func changeReplicas(t *testing.T, urls string, open ...*Bus) {
	t.Helper()
	for _, n := range []int{1, 3} {
		live, err := Look(soon(t), open[0].nc, Config{Replicas: n})
		must(t, err)
		for _, l := range live {
			must(t, Change(soon(t), open[0].nc, l))
		}
		open = append(open, openClusterAs(t, urls, Config{Replicas: n}))
		for i, bus := range open {
			e := event(t, "vid_1", fmt.Sprintf("n%d-%d", n, i))
			_, err := bus.Append(soon(t), e, 0)
			must(t, err)
			last, err := bus.Last(soon(t), e.Subject)
			must(t, err)
			if last[0].ID != e.ID {
				t.Errorf("with %d replicas bus %d reads %+v", n, i, last)
			}
		}
	}
}

// readCluster reads from another process than the one that wrote.
func readCluster(t *testing.T, bus *Bus, e pipeline.Event) {
	t.Helper()
	history, err := bus.History(soon(t), "default", "vid_1")
	must(t, err)
	if len(history) != 1 || history[0].ID != e.ID {
		t.Errorf("history %+v", history)
	}
	place, err := bus.Place(soon(t), task("a", "", 0))
	must(t, err)
	if !place.Queued || place.Taken || place.Ahead != 0 {
		t.Errorf("place %+v", place)
	}
	backlogs, err := bus.Backlogs(soon(t))
	must(t, err)
	if backlogs["transcode"].Tasks[pipeline.Normal] != 1 || backlogs["transcode"].Oldest.IsZero() {
		t.Errorf("backlogs %v", backlogs)
	}
	letters, _, err := bus.DeadLetters(soon(t), "default", "", 2)
	must(t, err)
	if len(letters) != 1 {
		t.Errorf("dead letters %+v", letters)
	}
}

// raceInCluster appends to one subject from two processes at once: the losers meet proposals that are in
// flight.
func raceInCluster(t *testing.T, buses ...*Bus) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	won := 0
	for i := range 16 {
		e := event(t, "vid_1", "race")
		wg.Go(func() {
			_, err := buses[i%len(buses)].Append(soon(t), e, 0)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, pipeline.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d winners", won)
	}
}
