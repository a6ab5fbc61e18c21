package embedded

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkStart measures a start on an event log of some events, and how much of it the check of its files
// takes. The files are in the page cache.
func BenchmarkStart(b *testing.B) {
	for _, events := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			dir := b.TempDir()
			fill(b, dir, events)
			b.SetBytes(sizeOf(b, dir))
			for b.Loop() {
				s, err := Start(b.Context(), Config{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Shutdown()
				b.StartTimer()
			}
			b.StopTimer()
			began := time.Now()
			if err := (&inspection{dir: dir, mend: func(string) bool { return false }}).run(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(began).Seconds(), "s/check")
		})
	}
}

// fill stores events of the usual size in a stream, without the sync of each one.
func fill(b *testing.B, dir string, events int) {
	b.Helper()
	o := options(dir)
	o.SyncAlways = false
	s, err := server.NewServer(o)
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(10_000))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"job.>"}}); err != nil {
		b.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 900)
	for n := range events {
		if _, err := js.PublishAsync(fmt.Sprintf("job.default.vid_%d.job-%d", n/30, n%10), body, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

// sizeOf returns the bytes of the files of streams.
func sizeOf(b *testing.B, dir string) (sum int64) {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream/*/streams/*/msgs/*.blk"))
	if err != nil || len(files) == 0 {
		b.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			b.Fatal(err)
		}
		sum += info.Size()
	}
	return sum
}
