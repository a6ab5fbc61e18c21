package bus

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
)

// BenchmarkTake measures how long it takes to take a task and acknowledge it, when tasks of one project or of
// many wait.
func BenchmarkTake(b *testing.B) {
	for _, projects := range []int{1, 200} {
		b.Run(fmt.Sprintf("projects=%d", projects), func(b *testing.B) {
			r := newTakeBench(b, bustest.Connect(b, b.TempDir()), Config{Exclusive: true})
			for i := range projects { // the first take of each project makes its consumer
				r.enqueue(fmt.Sprint("p", i), "first")
			}
			for range projects {
				r.take()
			}
			for i := range b.N {
				r.enqueue(fmt.Sprint("p", i%projects), fmt.Sprint("job-", i))
			}
			b.ResetTimer()
			for range b.N {
				r.take()
			}
		})
	}
}

// BenchmarkFirstTake measures the take of a project's first task, which makes a consumer. It does so beside the
// consumers of 200 other projects, too.
func BenchmarkFirstTake(b *testing.B) {
	for _, others := range []int{0, 200} {
		b.Run(fmt.Sprintf("embedded/others=%d", others), func(b *testing.B) {
			newTakeBench(b, bustest.Connect(b, b.TempDir()), Config{Exclusive: true}).first(others)
		})
	}
	b.Run("cluster/others=0", func(b *testing.B) {
		_, urls := bustest.Cluster(b)
		nc, err := nats.Connect(urls)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		newTakeBench(b, nc, Config{Replicas: 3}).first(0)
	})
}

type takeBench struct {
	b   *testing.B
	bus *Bus
}

func newTakeBench(b *testing.B, nc *nats.Conn, cfg Config) *takeBench {
	b.Helper()
	for {
		bus, err := Open(b.Context(), nc, cfg)
		if err == nil {
			return &takeBench{b, bus}
		}
		b.Logf("open: %v", err) // a cluster needs a moment
	}
}

func (r *takeBench) enqueue(project, job string) {
	r.b.Helper()
	if err := r.bus.Enqueue(r.b.Context(), taskOf(project, job, pipeline.Normal)); err != nil {
		r.b.Fatal(err)
	}
}

func (r *takeBench) take() {
	r.b.Helper()
	d, err := r.bus.NextAtLeast(r.b.Context(), "transcode", pipeline.Bulk)
	if err == nil {
		err = d.Ack(r.b.Context())
	}
	if err != nil {
		r.b.Fatal(err)
	}
}

func (r *takeBench) first(others int) {
	for i := range others {
		r.enqueue(fmt.Sprint("other", i), "job")
		r.take()
	}
	for i := range r.b.N {
		r.enqueue(fmt.Sprint("p", i), "job")
	}
	r.b.ResetTimer()
	for range r.b.N {
		r.take()
	}
}
