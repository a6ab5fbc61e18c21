package bus

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
)

// BenchmarkHistory reads the events of one video from a log of 100,000 events: 4,000 videos of 25 events each, which
// were processed side by side.
func BenchmarkHistory(b *testing.B) {
	const videos, each = 4000, 25
	s := bustest.Start(b, &server.Options{DontListen: true, JetStream: true})
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	bus, err := Open(b.Context(), nc, Config{})
	if err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1000))
	if err != nil {
		b.Fatal(err)
	}
	for i := range videos * each {
		// A hundred videos are under way at a time.
		video := fmt.Sprint("vid_", i/(100*each)*100+i%100)
		subject := pipeline.UploadedSubject("p", video)
		if n := i / 100 % each; n > 0 {
			subject = pipeline.JobSubject("p", video, fmt.Sprint("job-", n/3))
		}
		e, err := pipeline.NewEvent("test", pipeline.JobStarted, subject, video, pipeline.Event{}, make([]byte, 400))
		if err != nil {
			b.Fatal(err)
		}
		doc, err := json.Marshal(e)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishAsync(subject, doc); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	b.ResetTimer()
	for i := range b.N {
		events, err := bus.History(b.Context(), "p", fmt.Sprint("vid_", i*997%videos))
		if err != nil || len(events) != each {
			b.Fatalf("%d events, %v", len(events), err)
		}
	}
}
