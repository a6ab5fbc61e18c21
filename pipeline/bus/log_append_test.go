package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

func TestAppendHasOneWinner(t *testing.T) {
	bus := newBus(t, Config{})
	const many = 16
	events := make([]pipeline.Event, many)
	for i := range events {
		events[i] = event(t, "vid_1", "inspect")
	}
	won := make([]uint64, many)
	var wg sync.WaitGroup
	for i, e := range events {
		wg.Go(func() {
			seq, err := bus.Append(soon(t), e, 0)
			if err != nil && !errors.Is(err, pipeline.ErrConflict) {
				t.Error(err)
			}
			won[i] = seq
		})
	}
	wg.Wait()
	last, err := bus.Last(soon(t), events[0].Subject)
	must(t, err)
	winners := 0
	for i, seq := range won {
		if seq != 0 {
			winners++
			if last[0].ID != events[i].ID || last[0].Sequence != seq {
				t.Errorf("%s won with %d, and the last event is %+v", events[i].ID, seq, last[0])
			}
		}
	}
	if winners != 1 {
		t.Errorf("%d winners", winners)
	}
}

func TestAppendSwaps(t *testing.T) {
	bus := newBus(t, Config{})
	first, second := event(t, "vid_1", "inspect"), event(t, "vid_1", "inspect")
	seq, err := bus.Append(soon(t), first, 0)
	must(t, err)
	if _, err := bus.Append(soon(t), second, 0); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("append to a subject that has an event: %v", err)
	}
	next, err := bus.Append(soon(t), second, seq)
	must(t, err)
	if next <= seq {
		t.Errorf("sequence %d after %d", next, seq)
	}
	if _, err := bus.Append(soon(t), event(t, "vid_1", "inspect"), seq); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("append after an event that is not the last: %v", err)
	}
}

// The answer to an append was lost: the event is stored, and the caller appends it again.
func TestAppendFindsItsOwnEvent(t *testing.T) {
	bus := newBus(t, Config{})
	e := event(t, "vid_1", "inspect")
	seq, err := bus.Append(soon(t), e, 0)
	must(t, err)
	again, err := bus.Append(soon(t), e, 0) // the compare fails, and the event there is e
	must(t, err)
	if again != seq {
		t.Errorf("sequence %d, want %d", again, seq)
	}
	duplicate, err := bus.Append(soon(t), e, seq) // the compare holds, and the server knows the id
	must(t, err)
	if duplicate != seq {
		t.Errorf("sequence %d of a duplicate, want %d", duplicate, seq)
	}
	if last, err := bus.LastSequence(soon(t)); err != nil || last != seq {
		t.Errorf("log ends at %d, %v, want %d", last, err, seq)
	}
}

func TestAppendIsACloudEvent(t *testing.T) {
	bus := newBus(t, Config{})
	seen := make(chan *nats.Msg, 1)
	_, err := bus.nc.ChanSubscribe("live.>", seen)
	must(t, err)
	e := event(t, "vid_1", "inspect")
	seq, err := bus.Append(soon(t), e, 0)
	must(t, err)
	m := receive(t, seen)
	if m.Subject != "live."+e.Subject || m.Header.Get("content-type") != contentType ||
		m.Header.Get("Nats-Sequence") != fmt.Sprint(seq) ||
		!strings.Contains(string(m.Data), `"specversion":"1.0"`) {
		t.Errorf("%s %v %s", m.Subject, m.Header, m.Data)
	}
}

func TestAppendRefusesUnusableSubjects(t *testing.T) {
	bus := newBus(t, Config{})
	for _, subject := range []string{
		"", "task.a.b.c", "job.default.vid_1.>", "job.*.vid_1.a", "video.uploaded.a b.vid_1",
	} {
		e := event(t, "vid_1", "inspect")
		e.Subject = subject
		if _, err := bus.Append(soon(t), e, 0); err == nil {
			t.Errorf("appended to %q", subject)
		}
		if _, err := bus.Last(soon(t), subject); err == nil {
			t.Errorf("read %q", subject)
		}
	}
}

// A log that fills up refuses uploads first, then attempts, then all but deletions. It drops nothing, each error says
// what to do, and the log takes the event again as soon as a deletion has made room.
func TestFullLogKeepsRoomForDeletions(t *testing.T) {
	bus := newBus(t, Config{EventsMaxBytes: 256 << 10})
	n := 0
	fill := func(e pipeline.EventType, subject func(video string) string) (last string, err error) {
		for ; err == nil; n++ {
			last = fmt.Sprint("vid_", n)
			event, made := pipeline.NewEvent("test", e, subject(last), last, pipeline.Event{}, make([]byte, 1500))
			must(t, made)
			_, err = bus.Append(soon(t), event, 0)
		}
		return last, err
	}
	ofJob := func(video string) string { return pipeline.JobSubject("default", video, "a") }
	of := func(subject func(p, v string) string) func(string) string {
		return func(video string) string { return subject("default", video) }
	}
	for _, tier := range []struct {
		event   pipeline.EventType
		subject func(string) string
		from    float64
	}{
		{pipeline.VideoUploaded, of(pipeline.UploadedSubject), 7. / 8},
		{pipeline.JobStarted, ofJob, 15. / 16},
		{pipeline.JobCompleted, ofJob, 31. / 32},
		{pipeline.VideoPurged, of(pipeline.DeletedSubject), 1},
	} {
		_, err := fill(tier.event, tier.subject)
		coded, _ := errors.AsType[*pipeline.Error](err)
		if !errors.Is(err, ErrFull) || coded == nil || coded.Code != pipeline.CodeLogFull {
			t.Fatalf("%s to a full log: %v", tier.event, err)
		}
		room, err := bus.Room(soon(t))
		must(t, err)
		if full := float64(room.Bytes) / float64(room.Max); full > tier.from || full < tier.from-0.02 {
			t.Errorf("%s is refused at %.3f of the log, want %.3f", tier.event, full, tier.from)
		}
		if err := bus.Fits(soon(t), pipeline.VideoUploaded); !errors.Is(err, ErrFull) {
			t.Errorf("an upload fits: %v", err)
		}
	}
	for i := range 40 {
		must(t, bus.Purge(soon(t), "default", fmt.Sprint("vid_", i), all))
	}
	must(t, bus.Fits(soon(t), pipeline.VideoUploaded))
	last, err := bus.Last(soon(t), pipeline.UploadedSubject("default", "vid_40"))
	must(t, err)
	if last[0].Sequence != 41 {
		t.Error("a full log dropped an event")
	}
}

// Events of another process count within a second. The server's own limit holds in any case.
func TestFullLogIsTheServersWord(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{EventsMaxBytes: 16 << 10})
	must(t, bus.Fits(soon(t), pipeline.VideoUploaded))
	bus.fill.set(Room{Max: 1 << 40, Uploads: 1 << 40})
	var err error
	for i := 0; err == nil && i < 100; i++ {
		e, made := pipeline.NewEvent("test", pipeline.VideoUploaded, pipeline.UploadedSubject("default",
			fmt.Sprint("vid_", i)), "vid_1", pipeline.Event{}, nil)
		must(t, made)
		_, err = bus.Append(soon(t), e, 0)
	}
	coded, _ := errors.AsType[*pipeline.Error](err)
	if !errors.Is(err, ErrFull) || coded == nil || coded.Code != pipeline.CodeLogFull {
		t.Errorf("append to a full log: %v", err)
	}
}

func TestLastReadsYourWrites(t *testing.T) {
	for name, direct := range map[string]bool{"batched": true, "one by one": false} {
		t.Run(name, func(t *testing.T) {
			bus := newBus(t, Config{})
			bus.direct.Store(direct)
			var subjects []string
			for i := range 300 { // more than one batch
				e := event(t, "vid_1", fmt.Sprint("job-", i))
				subjects = append(subjects, e.Subject)
				if i%3 == 0 {
					continue
				}
				seq, err := bus.Append(soon(t), e, 0)
				must(t, err)
				last, err := bus.Last(soon(t), e.Subject, pipeline.JobSubject("default", "vid_1", "none"))
				must(t, err)
				if last[0].Sequence != seq || last[0].ID != e.ID || last[1].Sequence != 0 {
					t.Fatalf("last is %+v, want %s at %d", last, e.ID, seq)
				}
			}
			last, err := bus.Last(soon(t), subjects...)
			must(t, err)
			for i, e := range last {
				if (e.Sequence == 0) != (i%3 == 0) || e.Sequence != 0 && e.Subject != subjects[i] {
					t.Errorf("%d: %+v", i, e)
				}
			}
			none, err := bus.Last(soon(t), pipeline.UploadedSubject("default", "vid_2"))
			must(t, err)
			if none[0].Sequence != 0 {
				t.Errorf("%+v of a subject without events", none[0])
			}
		})
	}
}

// The server cuts its answer at 64 MiB, and Last asks for the rest.
func TestLastReadsLargeEvents(t *testing.T) {
	bus := newBus(t, Config{PublishTimeout: time.Minute}) // under the race detector, an answer takes 10 s
	large := make([]byte, 6<<20)
	var subjects []string
	for i := range 12 {
		subject := pipeline.JobSubject("default", "vid_1", fmt.Sprint("job-", i))
		_, err := bus.js.Publish(soon(t), subject, large)
		must(t, err)
		subjects = append(subjects, subject)
	}
	_, more, err := bus.lastBatch(soon(t), subjects, len(subjects))
	must(t, err)
	if !more {
		t.Error("the answer was not cut: this test shows nothing")
	}
	found, err := bus.lastBatched(soon(t), subjects)
	must(t, err)
	if len(found) != len(subjects) {
		t.Errorf("%d messages, want %d", len(found), len(subjects))
	}
}

// refusing is a broker that is storing an event when it is asked: it refuses the compare, but the log has
// nothing later.
type refusing struct {
	jetstream.JetStream
	left int
}

func (r *refusing) PublishMsg(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if r.left--; r.left >= 0 {
		return nil, &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequenceConstant}
	}
	return r.JetStream.PublishMsg(ctx, m, o...)
}

// TestRefusalThatTheLogContradicts: it is no conflict, since nobody else has won.
func TestRefusalThatTheLogContradicts(t *testing.T) {
	bus := newBus(t, Config{})
	broker := &refusing{bus.js, 2}
	bus.js = broker
	at, err := bus.Append(soon(t), event(t, "vid_1", "inspect"), 0)
	must(t, err)
	broker.left = tries
	e := event(t, "vid_1", "inspect")
	if _, err := bus.Append(soon(t), e, at); err == nil || errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("%v; the caller takes it for the success of another", err)
	}
	if _, err := bus.Append(soon(t), e, at); err != nil {
		t.Errorf("later: %v", err)
	}
	if _, err := bus.Append(soon(t), event(t, "vid_1", "inspect"), at); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("%v, want a conflict", err)
	}
}

func TestRefusalsForWantOfRoom(t *testing.T) {
	for code, want := range map[jetstream.ErrorCode]bool{
		codeStoreFailed: true, codeAccountFull: true, codeNoResources: true, codeNoMemory: true,
		codeNoStorage: true, jetstream.JSErrCodeStreamWrongLastSequence: false, codeDuplicateInProcess: false,
	} {
		if got := isFull(fmt.Errorf("publish: %w", &jetstream.APIError{ErrorCode: code})); got != want {
			t.Errorf("code %d: %t, want %t", code, got, want)
		}
	}
	if isFull(nil) || isFull(nats.ErrTimeout) {
		t.Error("silence says nothing of room")
	}
}

// State returns the last event of each subject of a video, and none of other videos.
func TestState(t *testing.T) {
	bus := newBus(t, Config{})
	var want []uint64
	for i := range 5 {
		seq, err := bus.Append(soon(t), event(t, "vid_1", fmt.Sprint("job-", i)), 0)
		must(t, err)
		want = append(want, seq)
	}
	next := event(t, "vid_1", "job-0")
	seq, err := bus.Append(soon(t), next, want[0])
	must(t, err)
	want = append(want[1:], seq)
	_, err = bus.Append(soon(t), event(t, "vid_10", "job-0"), 0)
	must(t, err)
	events, err := bus.State(soon(t), "default", "vid_1")
	must(t, err)
	var got []uint64
	for _, e := range events {
		got = append(got, e.Sequence)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("sequences %v, want %v", got, want)
	}
	if events, err := bus.State(soon(t), "default", "vid_2"); err != nil || len(events) != 0 {
		t.Errorf("state of an unknown video: %v, %v", events, err)
	}
}

// State returns ErrTooMany for a video with more subjects than the server answers at once.
func TestStateOfTooMany(t *testing.T) {
	bus := newBus(t, Config{})
	for i := range maxBatch + 1 {
		_, err := bus.js.PublishAsync(pipeline.JobSubject("default", "vid_1", fmt.Sprint("job-", i)), []byte("{}"))
		must(t, err)
	}
	<-bus.js.PublishAsyncComplete()
	if _, err := bus.State(soon(t), "default", "vid_1"); !errors.Is(err, pipeline.ErrTooMany) {
		t.Errorf("error %v", err)
	}
}
