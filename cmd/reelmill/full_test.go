package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestFullLogIsEmptiedByDeletion: a server whose event log is full says so and what to do, ends the videos
// that it took, and takes others once some are deleted.
func TestFullLogIsEmptiedByDeletion(t *testing.T) {
	data := t.TempDir()
	smallLog(t, data, 256<<10)
	p := startServe(t, binary, data)
	api := p.client()
	bad := filepath.Join(t.TempDir(), "bad.mp4")
	check(t, os.WriteFile(bad, []byte("no video at all, only a few words"), 0o600))
	upload := func(words int) (pipeline.VideoView, error) {
		return api.Upload(t.Context(), client.Upload{
			Path: bad, Metadata: map[string]string{"much": strings.Repeat("text", words)},
		})
	}
	var ids []string
	var refused *client.Error
	for _, words := range []int{4000, 0} {
		for range 100 {
			v, err := upload(words)
			if errors.As(err, &refused) {
				break
			}
			check(t, err)
			ids = append(ids, v.ID)
		}
	}
	if refused == nil || refused.Status != http.StatusInsufficientStorage || refused.Code != "log_full" ||
		!strings.Contains(refused.Remedy, "Delete videos") || len(ids) < 3 {
		t.Fatalf("after %d uploads: %+v", len(ids), refused)
	}
	status, checks := readyAnswer(t, p)
	if status != http.StatusServiceUnavailable || !strings.Contains(checks, "the event log has") {
		t.Errorf("/readyz: %d %s", status, checks)
	}
	for _, id := range ids {
		if end := awaitEnd(t, api, id); end.Status != pipeline.StateVideoRejected {
			t.Errorf("a video that was taken is %s: %+v", end.Status, end.Problem)
		}
	}
	for _, id := range ids {
		check(t, api.Delete(t.Context(), id))
	}
	pipelinetest.Until(t, "an upload is taken again", func() bool { _, err := upload(4000); return err == nil })
	pipelinetest.Until(t, "the server is ready again", func() bool { status, _ := readyAnswer(t, p); return status == http.StatusOK })
}

// smallLog makes the event log of a data folder, with a limit.
func smallLog(t *testing.T, data string, limit int64) {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: broker.Dir(data)})
	check(t, err)
	defer server.Shutdown()
	conn, err := server.Conn()
	check(t, err)
	defer conn.Close()
	_, err = bus.Open(t.Context(), conn, bus.Config{Exclusive: true, EventsMaxBytes: limit})
	check(t, err)
}

// readyAnswer asks /readyz.
func readyAnswer(t *testing.T, p *process) (status int, checks string) {
	t.Helper()
	answer, err := http.Get(p.url + "/readyz")
	check(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	check(t, err)
	return answer.StatusCode, string(body)
}

// TestWorkUnderWayWhenTheLogFills ends rightly: at once where only further attempts are refused, and else
// when there is room again.
func TestWorkUnderWayWhenTheLogFills(t *testing.T) {
	for name, test := range map[string]struct {
		filler pipeline.EventType
		sign   func(log string, done int) bool // that the attempts under way have ended, or could not
	}{
		"no attempt is begun": {pipeline.JobStarted, func(_ string, done int) bool { return done == 2 }},
		"nothing is taken": {pipeline.JobCompleted, func(log string, _ int) bool {
			return strings.Contains(log, "leave task to its next delivery")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			open, log := make(chan struct{}), &lockedBuffer{}
			config := bus.Config{EventsMaxBytes: 256 << 10, AckWait: pipelinetest.Slowly(time.Second)}
			n := shareNodeOf(t, slicer{until: open}, config,
				slog.New(slog.NewTextHandler(log, nil)))
			seen := make(chan pipeline.Event, 1000)
			n.startShare(t, func(e pipeline.Event) { seen <- e })
			n.uploadSlices(t, "v", 6)
			s := &sliceCount{seen: seen}
			s.until(t, func() bool { return s.started == 2 })
			fillLog(t, n.bus, test.filler)
			close(open)
			pipelinetest.Until(t, "the attempts under way end", func() bool {
				s.drain()
				return test.sign(log.String(), s.completed)
			})
			if s.started != 2 {
				t.Errorf("%d attempts were begun with a full log", s.started)
			}
			check(t, n.bus.Purge(t.Context(), "p", "filler", func(uint64) bool { return true }))
			s.until(t, func() bool { return s.ready })
			if s.completed != 6 {
				t.Errorf("%d of 6 jobs are completed", s.completed)
			}
		})
	}
}

// fillLog appends events of a type, of a video that there is not, until they are refused.
func fillLog(t *testing.T, b *bus.Bus, kind pipeline.EventType) {
	t.Helper()
	i := 0
	for _, size := range []int{500, 0} { // the last ones are smaller than any event that says something
		for full := false; !full; i++ {
			subject := pipeline.JobSubject("p", "filler", fmt.Sprint(i))
			e, err := pipeline.NewEvent("test", kind, subject, "filler", pipeline.Event{}, make([]byte, size))
			check(t, err)
			_, err = b.Append(t.Context(), e, 0)
			if full = errors.Is(err, bus.ErrFull); !full {
				check(t, err)
			}
		}
	}
}

// sliceCount counts what happened to the slices of a video.
type sliceCount struct {
	seen               chan pipeline.Event
	started, completed int
	ready              bool
}

func (s *sliceCount) count(e pipeline.Event) {
	slice := strings.HasPrefix(e.Subject, "job.p.v.slices")
	switch {
	case slice && e.Type == pipeline.JobStarted:
		s.started++
	case slice && e.Type == pipeline.JobCompleted:
		s.completed++
	case e.Type == pipeline.VideoReady:
		s.ready = true
	}
}

// drain counts what has come.
func (s *sliceCount) drain() {
	for {
		select {
		case e := <-s.seen:
			s.count(e)
		default:
			return
		}
	}
}

// until counts until done.
func (s *sliceCount) until(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		s.count(pipelinetest.Receive(t, "an event", s.seen))
	}
}
