package bus

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

// cluster starts three servers on loopback ports and returns their addresses for clients.
func cluster(t *testing.T) (servers []*server.Server, urls string) {
	t.Helper()
	const size = 3
	var routes []*url.URL
	var ports []int
	for range size {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: l.Addr().String()})
		must(t, l.Close())
	}
	for i := range size {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 30, JetStreamMaxMemory: 1 << 30,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
		must(t, err)
		servers = append(servers, s)
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	}
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server of the cluster does not start")
		}
		urls += s.ClientURL() + ","
	}
	return servers, urls[:len(urls)-1]
}

// openCluster opens a bus, again until the cluster has elected its leaders.
func openCluster(t *testing.T, urls string) *Bus {
	t.Helper()
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	must(t, err)
	t.Cleanup(nc.Close)
	ctx := within(t, time.Minute)
	for {
		bus, err := Open(within(t, 5*time.Second), nc, Config{Replicas: 3, Logger: testLog(t)})
		if err == nil {
			return bus
		}
		must(t, errors.Join(ctx.Err(), wait(ctx, 100*time.Millisecond)))
	}
}

func TestCluster(t *testing.T) {
	servers, urls := cluster(t)
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
	_, err = one.Append(within(t, time.Minute), e, 0)
	must(t, err)
	if last, err = two.Last(within(t, time.Minute), e.Subject); err != nil || last[0].ID != e.ID {
		t.Errorf("last after the loss of a server: %+v, %v", last, err)
	}
	must(t, two.Schedule(within(t, time.Minute), task("d", "", 7), time.Now()))
	d, err := one.Next(within(t, time.Minute), "transcode")
	must(t, err)
	must(t, d.Ack(within(t, time.Minute)))
}

// readCluster reads what is there, from another process than the one that wrote it.
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
	depth, err := bus.Depth(soon(t))
	must(t, err)
	if depth["transcode"][pipeline.Normal] != 1 {
		t.Errorf("depth %v", depth)
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
