package loss

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// books are a real log and a read model that has applied all of it. Event n and event n+8 are those of vid-n.
type books struct {
	t       *testing.T
	js      jetstream.JetStream
	bus     *bus.Bus
	catalog *catalog.Catalog
}

const (
	videos = 8
	events = 2 * videos
)

func newBooks(t *testing.T) *books {
	t.Helper()
	conn := bustest.Connect(t, filepath.Join(t.TempDir(), "broker"))
	b := &books{t: t}
	var err error
	b.bus, err = bus.Open(t.Context(), conn, bus.Config{Exclusive: true})
	must(t, err)
	b.js, err = jetstream.New(conn)
	must(t, err)
	b.catalog, err = catalog.Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"))
	must(t, err)
	t.Cleanup(func() { must(t, b.catalog.Close()) })
	b.write("vid-")
	b.apply()
	return b
}

// write appends two events of each of eight videos.
func (b *books) write(prefix string) {
	b.t.Helper()
	for v := range videos {
		_, _, err := pipeline.Accept(b.t.Context(), b.bus, "p", fmt.Sprint(prefix, v+1), pipeline.Upload{
			Source: pipeline.Object{Key: "videos/v/source/x.mp4", Size: 1}, Pipeline: pipeline.Default(),
		}, "")
		must(b.t, err)
	}
	for v := range videos {
		video := fmt.Sprint(prefix, v+1)
		b.append(pipeline.JobStarted, pipeline.JobSubject("p", video, "a"), video, pipeline.JobEvent{Job: "a"}, 0)
	}
}

func (b *books) append(kind pipeline.EventType, subject, video string, data any, after uint64) pipeline.Event {
	b.t.Helper()
	e, err := pipeline.NewEvent("test", kind, subject, video, pipeline.Event{}, data)
	must(b.t, err)
	e.Sequence, err = b.bus.Append(b.t.Context(), e, after)
	must(b.t, err)
	return e
}

// apply applies the whole log to the read model.
func (b *books) apply() bus.Replayed {
	b.t.Helper()
	last, err := b.bus.LastSequence(b.t.Context())
	must(b.t, err)
	replayed, err := b.bus.Replay(b.t.Context(), last, b.catalog.Apply)
	must(b.t, err)
	return replayed
}

func (b *books) stream() jetstream.Stream {
	b.t.Helper()
	stream, err := b.js.Stream(b.t.Context(), "EVENTS")
	must(b.t, err)
	return stream
}

// lose removes events without a word.
func (b *books) lose(sequences ...uint64) {
	b.t.Helper()
	for _, s := range sequences {
		must(b.t, b.stream().DeleteMsg(b.t.Context(), s))
	}
}

// delete deletes a video. Earlier versions did not tell which events they removed.
func (b *books) delete(video string, told bool) {
	b.t.Helper()
	history, err := b.bus.History(b.t.Context(), "p", video)
	must(b.t, err)
	var gone []uint64
	for _, e := range history {
		gone = append(gone, e.Sequence)
	}
	subject := pipeline.DeletedSubject("p", video)
	deleted := b.append(pipeline.VideoDeleted, subject, video, struct{}{}, 0)
	var data pipeline.Purged
	if told {
		data.Removed = pipeline.SequencesOf(gone).Runs()
	}
	b.append(pipeline.VideoPurged, subject, video, data, deleted.Sequence)
	must(b.t, b.bus.Purge(b.t.Context(), "p", video, func(s uint64) bool { return slices.Contains(gone, s) }))
}

// restart makes the log anew and empty.
func (b *books) restart() {
	b.t.Helper()
	config := b.stream().CachedInfo().Config
	must(b.t, b.js.DeleteStream(b.t.Context(), "EVENTS"))
	_, err := b.js.CreateStream(b.t.Context(), config)
	must(b.t, err)
}

// check looks with a Check of its own, with and without the read model.
func (b *books) check(model ReadModel) (bus.Extent, *Error) {
	b.t.Helper()
	return look(b.t, NewCheck(b.bus, model, "at home"))
}

func look(t *testing.T, c *Check) (bus.Extent, *Error) {
	t.Helper()
	extent, lost, err := c.Look(pipelinetest.Context(t))
	must(t, err)
	return extent, lost
}

// run runs a Watch until the test ends, and counts its looks.
func run(t *testing.T, w *Watch) (looks <-chan struct{}) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	looked, ended := make(chan struct{}, 1000), make(chan struct{})
	go func() { defer close(ended); w.Run(ctx, func() { looked <- struct{}{} }) }()
	t.Cleanup(func() { stop(); <-ended })
	return looked
}
