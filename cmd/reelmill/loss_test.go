package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/catalog"
)

// The log of a site: videos vid-0 to vid-7, of seven events each, in turn.
const (
	siteVideos = 8
	siteEvents = 7 * siteVideos
)

// site is a data folder with a log and its read model.
type site struct {
	t    *testing.T
	data string
	nats string // empty: an embedded broker
}

func newSite(t *testing.T, nats string) *site {
	t.Helper()
	s := &site{t, t.TempDir(), nats}
	n := s.open()
	for v := range siteVideos {
		accept(t, n.bus, fmt.Sprint("vid-", v))
	}
	for j := range 6 {
		for v := range siteVideos {
			video := fmt.Sprint("vid-", v)
			appendEvent(t, n.bus, pipeline.JobStarted, pipeline.JobSubject("p", video, fmt.Sprint("job-", j)), video,
				pipeline.JobEvent{Job: fmt.Sprint("job-", j)}, 0)
		}
	}
	s.close(n)
	return s
}

func appendEvent(t *testing.T, b *bus.Bus, kind pipeline.EventType, subject, video string, data any,
	after uint64,
) pipeline.Event {
	t.Helper()
	e, err := pipeline.NewEvent("test", kind, subject, video, pipeline.Event{}, data)
	check(t, err)
	e.Sequence, err = b.Append(t.Context(), e, after)
	check(t, err)
	return e
}

// accept accepts a video, as an upload does.
func accept(t *testing.T, b *bus.Bus, video string) {
	t.Helper()
	_, _, err := pipeline.Accept(t.Context(), b, "p", video, pipeline.Upload{
		Source:   pipeline.Object{Key: "videos/" + video + "/source/x.mp4", Size: 1},
		Pipeline: pipeline.Default(),
	}, "")
	check(t, err)
}

func (s *site) config() node.ServerConfig {
	return node.ServerConfig{
		Config: node.Config{Data: s.data, NATS: broker.At(s.nats), MinFree: 1}, Pipelines: (&settings{}).pipelines,
	}
}

// serve opens a server as `reelmill serve` does, and closes it.
func (s *site) serve() error {
	s.t.Helper()
	n, err := node.OpenServer(s.t.Context(), s.config())
	if err != nil {
		return err
	}
	return n.Close()
}

// books are the log and the read model of a site.
type books struct {
	broker  *broker.Broker
	bus     *bus.Bus
	catalog *catalog.Catalog
}

// open opens the log and the read model.
func (s *site) open() (b books) {
	s.t.Helper()
	var err error
	b.broker, err = broker.Open(s.t.Context(), broker.At(s.nats), s.data, slog.New(slog.DiscardHandler))
	check(s.t, err)
	b.bus, err = bus.Open(s.t.Context(), b.broker.Conn, bus.Config{Exclusive: s.nats == ""})
	check(s.t, err)
	b.catalog, err = catalog.Open(s.t.Context(), s.config().CatalogPath())
	check(s.t, err)
	return b
}

func (b books) close() error { return errors.Join(b.catalog.Close(), b.broker.Close()) }

// close closes a site once its read model has all events of its log.
func (s *site) close(b books) {
	s.t.Helper()
	last, err := b.bus.LastSequence(s.t.Context())
	check(s.t, err)
	_, err = b.bus.Replay(s.t.Context(), last, b.catalog.Apply)
	check(s.t, err)
	check(s.t, b.close())
}

// noObjects is a store without objects.
type noObjects struct{}

func (noObjects) DeletePrefix(context.Context, string) error { return nil }

// delete deletes videos as the server does, with their events.
func (s *site) delete(b books, videos ...string) {
	s.t.Helper()
	c := &pipeline.Coordinator{Log: b.bus, Archive: b.bus, Tasks: b.bus, Objects: noObjects{}}
	for _, video := range videos {
		e, err := pipeline.Delete(s.t.Context(), b.bus, "p", video)
		check(s.t, err)
		check(s.t, c.Handle(s.t.Context(), e))
	}
}

// spoil changes the stream of the log directly.
func (s *site) spoil(do func(js jetstream.JetStream, stream jetstream.Stream) error) {
	s.t.Helper()
	b, err := broker.Open(s.t.Context(), broker.At(s.nats), s.data, slog.New(slog.DiscardHandler))
	check(s.t, err)
	js, err := jetstream.New(b.Conn)
	check(s.t, err)
	check(s.t, do(js, eventStream(s.t, js)))
	check(s.t, b.Close())
}

func eventStream(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	stream, err := js.Stream(t.Context(), "EVENTS")
	check(t, err)
	return stream
}

// command runs a command on the site.
func (s *site) command(args ...string) (out string, err error) {
	s.t.Helper()
	var b bytes.Buffer
	args = append(args, "--data", s.data)
	if s.nats != "" {
		args = append(args, "--nats", s.nats)
	}
	err = run(pipelinetest.Context(s.t), args, &b, io.Discard)
	return b.String(), err
}

// doctor runs the doctor on the site.
func (s *site) doctor(args ...string) (lines map[string]string, code int) {
	s.t.Helper()
	args = append(args, "--data", s.data, "--min-free", "1", "--sandbox", "off") // a cage takes longer than the rest
	if s.nats != "" {
		args = append(args, "--nats", s.nats)
	}
	return examine(s.t, args...)
}

// state returns the content of the site's read model.
func (s *site) state() [32]byte {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.data, "catalog.db"))
	check(s.t, err)
	return sha256.Sum256(raw)
}

// wantWhole checks that serve, doctor and rebuild accept the log.
func (s *site) wantWhole() {
	s.t.Helper()
	check(s.t, s.serve())
	lines, code := s.doctor()
	if code != 0 {
		s.t.Errorf("the doctor's exit code is %d", code)
	}
	wantLine(s.t, lines, "event log", "ok")
	if out, err := s.command("rebuild"); err != nil {
		s.t.Errorf("rebuild: %v\n%s", err, out)
	}
	check(s.t, s.serve())
}

// wantLost checks that serve, doctor and rebuild refuse the log with the same words.
func (s *site) wantLost(parts ...string) {
	s.t.Helper()
	wantText := func(who, text string) {
		s.t.Helper()
		for _, part := range append(parts, "from a backup", "`reelmill rebuild --force`") {
			if !strings.Contains(text, part) {
				s.t.Errorf("%s says %q, which lacks %q", who, text, part)
			}
		}
	}
	before := s.state()
	if err := s.serve(); err == nil {
		s.t.Error("serve starts")
	} else {
		wantText("serve", err.Error())
	}
	lines, code := s.doctor()
	if code != exitFailure {
		s.t.Errorf("the doctor's exit code is %d", code)
	}
	wantLine(s.t, lines, "event log", "FAIL", "to do: ")
	wantText("the doctor", lines["event log"])
	if _, err := s.command("rebuild"); err == nil {
		s.t.Error("rebuild has nothing against it")
	} else {
		wantText("rebuild", err.Error())
	}
	if s.state() != before {
		s.t.Error("the read model was changed")
	}
}

// wantVideos checks how many videos the read model has.
func (s *site) wantVideos(want int) {
	s.t.Helper()
	n := s.open()
	page, err := n.catalog.Videos(s.t.Context(), catalog.Query{Project: "p", Limit: 100})
	check(s.t, err)
	if len(page.Data) != want {
		s.t.Errorf("the read model has %d videos, want %d", len(page.Data), want)
	}
	check(s.t, n.close())
}

// recreate creates the stream of the log again, with some of its first messages.
func recreate(t *testing.T, keep int) func(jetstream.JetStream, jetstream.Stream) error {
	return func(js jetstream.JetStream, stream jetstream.Stream) error {
		var kept []*nats.Msg
		for i := range keep {
			m, err := stream.GetMsg(t.Context(), uint64(i+1))
			if err != nil {
				return err
			}
			kept = append(kept, &nats.Msg{Subject: m.Subject, Data: m.Data})
		}
		config := stream.CachedInfo().Config
		if err := js.DeleteStream(t.Context(), "EVENTS"); err != nil {
			return err
		}
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			return err
		}
		for _, m := range kept {
			if _, err := js.PublishMsg(t.Context(), m); err != nil {
				return err
			}
		}
		return nil
	}
}

// drop removes messages of the log.
func drop(t *testing.T, sequences ...uint64) func(jetstream.JetStream, jetstream.Stream) error {
	return func(_ jetstream.JetStream, stream jetstream.Stream) error {
		for _, s := range sequences {
			if err := stream.DeleteMsg(t.Context(), s); err != nil {
				return err
			}
		}
		return nil
	}
}

// purge empties the log.
func purge(t *testing.T) func(jetstream.JetStream, jetstream.Stream) error {
	return func(_ jetstream.JetStream, stream jetstream.Stream) error { return stream.Purge(t.Context()) }
}

// TestALossOfEventsIsNoticed checks that serve, doctor and rebuild refuse a log that has lost events. They
// say how many, of which videos, and what to do. Once the loss is accepted, they accept the log.
func TestALossOfEventsIsNoticed(t *testing.T) {
	for name, test := range map[string]struct {
		spoil    func(jetstream.JetStream, jetstream.Stream) error
		want     []string
		accepted bool // a loss remains to be accepted
	}{
		"a gap":       {drop(t, 23), []string{"1 of 56 events (sequence 23)", "1 video: vid-6"}, true},
		"gaps":        {drop(t, 2, 9, 10, 35), []string{"4 of 56 events", "9 to 10", "3 videos: vid-0"}, true},
		"no first":    {drop(t, 1, 2, 3), []string{"3 of 56 events", "1 to 3", "3 videos: "}, true},
		"no last":     {drop(t, 56), []string{"1 of 56 events (sequence 56)", "1 video: vid-7"}, true},
		"nothing":     {purge(t), []string{"56 of 56 events", "8 videos: "}, true},
		"a new one":   {recreate(t, 0), []string{"56 of 56 events", "it ends at 0", "8 videos: "}, false},
		"a short one": {recreate(t, 50), []string{"6 of 56 events", "it ends at 50", "6 videos: vid-2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			s.spoil(test.spoil)
			s.wantLost(test.want...)
			if out, err := s.command("rebuild", "--force"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			s.wantWhole()
			if out, err := s.command("rebuild"); err != nil || strings.Contains(out, "accepted") != test.accepted {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestAnotherLogIsNoticed checks that a replaced log is noticed, however long the new one is.
func TestAnotherLogIsNoticed(t *testing.T) {
	s := newSite(t, "")
	s.spoil(recreate(t, 0))
	b, err := broker.Open(t.Context(), broker.Address{}, s.data, slog.New(slog.DiscardHandler))
	check(t, err)
	other, err := bus.Open(t.Context(), b.Conn, bus.Config{})
	check(t, err)
	for v := range siteEvents + 10 {
		accept(t, other, fmt.Sprint("other-", v))
	}
	check(t, b.Close())
	s.wantLost("another event log", "event 56 differs", "8 videos: ")
	_, err = s.command("rebuild", "--force")
	check(t, err)
	s.wantWhole()
	s.wantVideos(siteEvents + 10)
}

// TestALossOfEventsIsNoticedElsewhere checks the same with a NATS server elsewhere.
func TestALossOfEventsIsNoticedElsewhere(t *testing.T) {
	s := newSite(t, bustest.Start(t, &server.Options{JetStream: true}).ClientURL())
	s.wantWhole()
	s.spoil(drop(t, 23))
	s.wantLost("1 of 56 events (sequence 23)", "1 video: vid-6", "EVENTS at nats://")
	model, err := catalog.Open(t.Context(), s.config().CatalogPath())
	check(t, err)
	if _, err := s.command("rebuild", "--force"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a read model that is open is rebuilt: %v", err)
	}
	check(t, model.Close())
	_, err = s.command("rebuild", "--force")
	check(t, err)
	s.wantWhole()
}

// TestALossOfEventsIsNoticedWithoutAReadModel checks that the log alone shows what it has lost, also after an
// accepted loss.
func TestALossOfEventsIsNoticedWithoutAReadModel(t *testing.T) {
	s := newSite(t, "")
	s.spoil(drop(t, 23))
	check(t, os.Remove(filepath.Join(s.data, "catalog.db")))
	wantError(t, "1 of 56 events (sequence 23)", func() error { _, err := s.command("rebuild"); return err })
	_, err := s.command("rebuild", "--force")
	check(t, err)
	s.wantWhole()
	s.spoil(drop(t, 40))
	s.wantLost("1 of 56 events", "1 video: vid-7")
	check(t, os.Remove(filepath.Join(s.data, "catalog.db")))
	wantError(t, "1 of 56 events", s.serve)
}

// wantError checks that do fails with words.
func wantError(t *testing.T, words string, do func() error) {
	t.Helper()
	if err := do(); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("error %v, want %q", err, words)
	}
}

// TestDeletedVideosAreNoLoss checks that no command takes deleted videos for a loss, even if the read model
// does not know of the deletion yet.
func TestDeletedVideosAreNoLoss(t *testing.T) {
	s := newSite(t, "")
	n := s.open()
	s.delete(n, "vid-0", "vid-3", "vid-7")
	check(t, n.close())
	s.wantWhole()
	s.close(s.open())
	s.wantWhole()
	n = s.open()
	s.delete(n, "vid-1", "vid-2", "vid-4", "vid-5", "vid-6")
	s.close(n)
	s.wantWhole()
	check(t, os.Remove(filepath.Join(s.data, "catalog.db")))
	s.wantWhole()
}

// TestVideosDeletedByAnEarlierVersionAreNoLoss checks the same for deletions that do not list the removed
// events. Missing events of other videos are a loss nevertheless.
func TestVideosDeletedByAnEarlierVersionAreNoLoss(t *testing.T) {
	s := newSite(t, "")
	n := s.open()
	subject := pipeline.DeletedSubject("p", "vid-2")
	e := appendEvent(t, n.bus, pipeline.VideoDeleted, subject, "vid-2", struct{}{}, 0)
	appendEvent(t, n.bus, pipeline.VideoPurged, subject, "vid-2", pipeline.Purged{}, e.Sequence)
	check(t, n.bus.Purge(t.Context(), "p", "vid-2", func(uint64) bool { return true }))
	check(t, n.close())
	s.wantWhole()
	s.close(s.open())
	out, err := s.command("rebuild")
	if err != nil || !strings.Contains(out, "7 before event 58 are gone, as an earlier version deleted") {
		t.Errorf("%v\n%s", err, out)
	}
	s.wantWhole()
	s.spoil(drop(t, 13))
	s.wantLost("1 of 58 events (sequence 13)", "1 video: vid-4")
}

// damage changes bytes of an event in the file of the stopped broker.
func (s *site) damage(subject string) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.data, "broker/jetstream/$G/streams/EVENTS/msgs/*.blk"))
	check(s.t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		check(s.t, err)
		if at := bytes.Index(raw, []byte(subject)); at > 0 {
			copy(raw[at+200:], "damaged damaged")
			check(s.t, os.WriteFile(file, raw, 0o600))
			return
		}
	}
	s.t.Fatalf("%s is in none of %v", subject, files)
}

// TestADamagedEventIsNoticed checks that serve, the doctor and a rebuild refuse a log with a damaged event, and
// change nothing. A rebuild with --force leaves out that event alone.
func TestADamagedEventIsNoticed(t *testing.T) {
	s := newSite(t, "")
	s.damage("job.p.vid-3.job-2")
	words := []string{"EVENTS/msgs/1.blk is damaged at byte", "number 28, job.p.vid-3.job-2", "in this file: 28"}
	lines, code := s.doctor()
	if code != exitFailure {
		t.Errorf("the doctor's exit code is %d", code)
	}
	wantLine(t, lines, "broker", "FAIL", append(words, "to do: ", "from a backup", "`reelmill rebuild --force`")...)
	rebuild := func() error { _, err := s.command("rebuild"); return err }
	for _, word := range append(words, "nothing was changed. To do: restore", "`reelmill rebuild --force`") {
		wantError(t, word, s.serve)
		wantError(t, word, rebuild)
	}
	out, err := s.command("rebuild", "--force")
	if err != nil || !strings.Contains(out, "left out of the broker: ") || !strings.Contains(out, "message 28, job.p") ||
		!strings.Contains(out, "from 55 events; 1 are lost, and that was accepted") {
		t.Errorf("%v\n%s", err, out)
	}
	s.wantWhole()
	s.wantVideos(siteVideos)
}

// TestAnUnreadableEventIsNoticed checks that a rebuild without an old read model never leaves out an event
// silently, whose document is none.
func TestAnUnreadableEventIsNoticed(t *testing.T) {
	s := newSite(t, "")
	s.spoil(func(js jetstream.JetStream, _ jetstream.Stream) error {
		_, err := js.Publish(t.Context(), pipeline.JobSubject("p", "vid-1", "b"), []byte("damaged"))
		return err
	})
	check(t, os.Remove(filepath.Join(s.data, "catalog.db")))
	wantError(t, "1 event (sequence 57) that cannot be read; nothing was changed", func() error {
		_, err := s.command("rebuild")
		return err
	})
	out, err := s.command("rebuild", "--force")
	if err != nil || !strings.Contains(out, "from 56 events; left out 1 event (sequence 57)") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestARunningServerTellsOfALoss checks that a running server reports lost events at /readyz and in a metric
// until it is restarted. Deletions are no loss.
func TestARunningServerTellsOfALoss(t *testing.T) {
	s := newSite(t, bustest.Start(t, &server.Options{JetStream: true}).ClientURL())
	p := startServe(t, binary, s.data, "--nats", s.nats, "--min-free", "1")
	conn, err := nats.Connect(s.nats)
	check(t, err)
	defer conn.Close()
	b, err := bus.Open(t.Context(), conn, bus.Config{Join: true})
	check(t, err)
	for _, video := range []string{"vid-0", "vid-1"} {
		_, err := pipeline.Delete(t.Context(), b, "p", video)
		check(t, err)
		pipelinetest.Until(t, "all events are gone but those of the deletion", func() bool {
			history, err := b.History(t.Context(), "p", video)
			check(t, err)
			return len(history) == 2
		})
	}
	lost := func(count int) bool {
		return strings.Contains(string(get(t, p.url+"/metrics")), fmt.Sprintf("\nreelmill_log_lost_events %d\n", count))
	}
	if !lost(0) {
		t.Error("events are said to be lost")
	}
	js, err := jetstream.New(conn)
	check(t, err)
	check(t, drop(t, 23)(js, eventStream(t, js)))
	var checks string
	pipelinetest.Until(t, "the server is not ready", func() bool {
		var status int
		status, checks = readyAnswer(t, p)
		return status == http.StatusServiceUnavailable
	})
	for _, part := range []string{"1 of ", "(sequence 23)", "vid-6", "rebuild --force"} {
		if !strings.Contains(checks, part) {
			t.Errorf("/readyz says %q, which lacks %q", checks, part)
		}
	}
	if !lost(1) {
		t.Error("not one event is said to be lost")
	}
}
