package node

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// inFlight is how many videos, or raw publishes, the benchmark keeps under way.
const inFlight = 64

// BenchmarkPipeline measures the cost of messages: it sends videos through coordinator, queue and worker loop
// with workers that do nothing. It compares that with the rate at which the same server syncs publishes of as
// many publishers to the same disk. It reports
//
//	videos/s      through the whole pipeline
//	raw/s         synced publishes of 1 KiB, with nothing else running
//	writes/video  messages stored for a video, events and tasks
//	ratio         videos/s divided by (raw/s divided by writes/video); the aim is 0.6
func BenchmarkPipeline(b *testing.B) {
	r := newMill(b, 16, 0, nil)
	raw := r.raw(2000)
	r.videos(inFlight) // makes the consumers and warms the caches
	before, cpu := r.written(), cpuTime(b)
	b.ResetTimer()
	r.videos(b.N)
	b.StopTimer()
	cpu = cpuTime(b) - cpu
	writes := float64(r.written()-before) / float64(b.N)
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "videos/s")
	b.ReportMetric(raw, "raw/s")
	b.ReportMetric(cpu.Seconds()*1000/float64(b.N), "cpu-ms/video")
	b.ReportMetric(writes, "writes/video")
	b.ReportMetric(rate*writes/raw, "ratio")
	b.ReportMetric(0, "ns/op")
}

// cpuTime returns the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	check(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// videos uploads n videos, inFlight at once, and returns when all are ready.
func (m *mill) videos(n int) {
	m.tb.Helper()
	begun := int64(m.next)
	limit := time.After(pipelinetest.Left(m.tb))
	for sent := 0; m.ready.Load() < begun+int64(n); {
		for ; sent < n && int64(m.next)-m.ready.Load() < inFlight; sent++ {
			m.next++
			m.upload("p", fmt.Sprintf("v%d", m.next))
		}
		select {
		case <-m.bell:
		case <-limit:
			m.tb.Fatalf("%d of %d videos are ready", m.ready.Load()-begun, n)
		}
	}
}

// raw publishes n synced messages of 1 KiB, inFlight at once, and returns how many a second were stored.
func (m *mill) raw(n int) float64 {
	m.tb.Helper()
	js, err := jetstream.New(m.conn)
	check(m.tb, err)
	_, err = js.CreateStream(m.tb.Context(), jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.>"}})
	check(m.tb, err)
	body, err := json.Marshal(make([]byte, 760)) // 1 KiB in base64
	check(m.tb, err)
	var left atomic.Int64
	left.Store(int64(n))
	begun := time.Now()
	var publishers sync.WaitGroup
	for range inFlight {
		publishers.Go(func() {
			for i := left.Add(-1); i >= 0; i = left.Add(-1) {
				if _, err := js.Publish(m.tb.Context(), fmt.Sprintf("raw.%d", i), body); err != nil {
					m.tb.Error(err)
				}
			}
		})
	}
	publishers.Wait()
	return float64(n) / time.Since(begun).Seconds()
}
