package webhooks_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// TestEveryType: each type of event is delivered, once, with a signature that the reference library
// accepts, and with the thing as it is just after the event.
func TestEveryType(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, nil)
	e := r.endpoint(v.URL, "*")
	const video = "vid_1"
	on := func(subject func(project, video string) string) string { return subject(project, video) }
	job := pipeline.JobSubject(project, video, "transcode-0000")
	added := pipeline.ExtendedEndSubject(project, video, 1)
	finish := func(s pipeline.VideoState) pipeline.Finish { return pipeline.Finish{State: s} }
	data := map[pipeline.EventType]struct {
		subject string
		data    any
		want    string // of data.status
	}{
		pipeline.VideoUploaded: {on(pipeline.UploadedSubject), pipeline.Upload{Title: "Film"}, "queued"},
		pipeline.VideoInspected: {on(pipeline.InspectedSubject), pipeline.Inspected{
			Inspection: pipeline.Inspection{Verdict: pipeline.VerdictAccept}, Plan: []pipeline.Job{{Name: "transcode-0000", Step: "transcode", Worker: "transcode"}},
		}, "processing"},
		pipeline.VideoPlayable: {on(pipeline.PlayableSubject), pipeline.Playable{Path: "master.m3u8"}, "processing"},
		pipeline.VideoReady:    {on(pipeline.FinishedSubject), finish(pipeline.StateVideoReady), "ready"},
		pipeline.VideoErrored:  {on(pipeline.FinishedSubject), finish(pipeline.StateVideoErrored), "errored"},
		pipeline.VideoRejected: {on(pipeline.FinishedSubject), finish(pipeline.StateVideoRejected), "rejected"},
		pipeline.VideoCanceled: {on(pipeline.FinishedSubject), finish(pipeline.StateVideoCanceled), "canceled"},
		pipeline.VideoReopened: {on(pipeline.FinishedSubject), finish(pipeline.StateVideoProcessing), "processing"},
		pipeline.VideoChanged:  {on(pipeline.ChangedSubject), pipeline.Label{Title: "New"}, "processing"},
		pipeline.VideoOutputsRequested: {
			pipeline.ExtendedSubject(project, video, 1), pipeline.Addition{Number: 1}, "processing",
		},
		pipeline.VideoOutputsAdded: {
			added, pipeline.AdditionEnd{Number: 1, State: pipeline.StateAdditionReady}, "processing",
		},
		pipeline.VideoOutputsFailed: {
			added, pipeline.AdditionEnd{Number: 1, State: pipeline.StateAdditionErrored}, "processing",
		},
		pipeline.VideoOutputsReopened: {
			added, pipeline.AdditionEnd{Number: 1, State: pipeline.StateAdditionProcessing}, "processing",
		},
		pipeline.VideoHeld:          {on(pipeline.HeldSubject), pipeline.Held{Reason: "a case"}, "processing"},
		pipeline.VideoReleased:      {on(pipeline.HeldSubject), struct{}{}, "processing"},
		pipeline.VideoSourceDeleted: {on(pipeline.SourceDeletedSubject), pipeline.Deletion{}, "processing"},
		pipeline.VideoSourcePurged:  {on(pipeline.SourceDeletedSubject), struct{}{}, "processing"},
		pipeline.VideoDeleted:       {on(pipeline.DeletedSubject), struct{}{}, ""},
		pipeline.VideoPurged:        {on(pipeline.DeletedSubject), pipeline.Purged{}, ""},
		pipeline.JobStarted:         {job, pipeline.JobEvent{}, "processing"},
		pipeline.JobCompleted:       {job, pipeline.JobEvent{}, "completed"},
		pipeline.JobRetrying:        {job, pipeline.JobEvent{}, "retrying"},
		pipeline.JobInterrupted:     {job, pipeline.JobEvent{}, "pending"},
		pipeline.JobErrored:         {job, pipeline.JobEvent{}, "errored"},
		pipeline.JobCanceled:        {job, pipeline.JobEvent{}, "canceled"},
		pipeline.JobRequeued:        {job, pipeline.JobEvent{}, "pending"},
	}
	for _, kind := range pipeline.EventTypes {
		want, listed := data[kind]
		if !listed {
			t.Fatalf("the test does not know %s", kind)
		}
		sent := r.tell(kind, want.subject, want.data)
		got := pipelinetest.Receive(t, string(kind), v.got)
		if err := got.verify(e.Secrets[0].Value); err != nil {
			t.Errorf("%s: the reference library refuses the signature: %v", kind, err)
		}
		if got.id != sent.ID || got.kind != string(kind) {
			t.Errorf("%s came as %s %s", kind, got.kind, got.id)
		}
		if status, _ := got.body["status"].(string); status != want.want {
			t.Errorf("%s: status %q, want %q: %s", kind, status, want.want, got.raw)
		}
		if url := got.body["play_url"]; kind == pipeline.VideoReady &&
			url != "https://video.example.org/play/vid_1/master.m3u8" {
			t.Errorf("%s has the URL %v", kind, url)
		}
		record := r.record(e, sent.ID, ended)
		if record.Status != webhooks.Succeeded || len(record.Attempts) != 1 || record.Attempts[0].Status != 200 {
			t.Errorf("%s: record %+v", kind, record)
		}
	}
	select {
	case extra := <-v.got:
		t.Errorf("%s came, too", extra.kind)
	default:
	}
}

// TestOnlyWhatIsAsked: an endpoint gets the types that it lists, after it was made, while it is enabled.
func TestOnlyWhatIsAsked(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, nil)
	r.uploaded("vid_early")
	r.endpoint(v.URL, "video.deleted", "job.*")
	off := r.endpoint(v.URL, "*")
	_, err := r.desk.Change(t.Context(), project, off.ID, func(e *webhooks.Endpoint) error { e.Enabled = false; return nil })
	must(t, err)
	r.uploaded("vid_1")
	started := r.tell(pipeline.JobStarted, pipeline.JobSubject(project, "vid_1", "inspect"), pipeline.JobEvent{})
	deleted := r.tell(pipeline.VideoDeleted, pipeline.DeletedSubject(project, "vid_1"), struct{}{})
	for range 2 {
		if got := pipelinetest.Receive(t, "a delivery", v.got); got.id != started.ID && got.id != deleted.ID {
			t.Errorf("got %s %s", got.kind, got.raw)
		}
	}
	settled(t, r)
	if len(v.got) > 0 {
		t.Errorf("%d more came", len(v.got))
	}
}

// settled waits until every event is dispatched and no attempt is due.
func settled(t *testing.T, r *rig) {
	t.Helper()
	pipelinetest.Until(t, "everything to be delivered", func() bool {
		lag, err := r.bus.DispatchLag(t.Context())
		must(t, err)
		due, later, err := r.bus.HookBacklog(t.Context())
		must(t, err)
		return lag == 0 && due == 0 && later == 0
	})
}

// TestDeletedBeforeItIsDispatched: video.deleted is delivered when the events of the video are removed
// already, and they are not.
func TestDeletedBeforeItIsDispatched(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, nil)
	r.endpoint(v.URL, "video.deleted", "video.uploaded")
	r.halt()
	up := r.uploaded("vid_1")
	deleted := r.tell(pipeline.VideoDeleted, pipeline.DeletedSubject(project, "vid_1"), struct{}{})
	must(t, r.bus.Purge(t.Context(), project, "vid_1", func(n uint64) bool { return n == up.Sequence }))
	r.restart()
	got := pipelinetest.Receive(t, "video.deleted", v.got)
	if got.id != deleted.ID || got.body["id"] != "vid_1" {
		t.Errorf("got %s", got.raw)
	}
	settled(t, r)
	if len(v.got) > 0 {
		t.Errorf("%d more came", len(v.got))
	}
}

// TestDispatchedAgain: an event that is dispatched again makes no second delivery, however long after.
func TestDispatchedAgain(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, nil)
	e := r.endpoint(v.URL, "*")
	sent := r.uploaded("vid_1")
	r.record(e, sent.ID, ended)
	task := webhooks.Task{ // as the dispatcher queues it; another round keeps the broker from dropping it as a double
		Delivery: webhooks.DeliveryID(sent.ID, e.ID), Project: project, Endpoint: e.ID, Event: sent.ID,
		Type: string(sent.Type), Body: []byte(`{}`), Attempt: 2,
	}
	must(t, r.hooks.Push(t.Context(), task))
	settled(t, r)
	if n := v.count(sent.ID); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestTooLargeToQueue: an event whose delivery the broker does not take gets a record that failed and says why, and
// holds up no other event. It can be sent again, with its ids.
func TestTooLargeToQueue(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, nil)
	e := r.endpoint(v.URL, "*")
	r.halt()
	large := r.largest("vid_large")
	small := r.uploaded("vid_small")
	r.restart()
	if got := pipelinetest.Receive(t, "the event after it", v.got); got.id != small.ID {
		t.Errorf("got %s", got.id)
	}
	record := r.record(e, large.ID, ended)
	if record.Status != webhooks.Failed || record.Video != "vid_large" || !strings.Contains(record.Reason, "payload") {
		t.Errorf("the record is %s: %s", record.Status, record.Reason)
	}
	settled(t, r)
	_, err := r.desk.Redeliver(t.Context(), project, e.ID, record.ID)
	must(t, err)
	got := pipelinetest.Receive(t, "the event that was given up", v.got)
	if got.id != large.ID || got.kind != string(pipeline.VideoUploaded) || got.body["id"] != "vid_large" {
		t.Errorf("got %.200s", got.raw)
	}
}

// largest appends the event of an upload that is as large as the broker takes, so that its delivery, which says more,
// is larger.
func (r *rig) largest(video string) pipeline.Event {
	r.t.Helper()
	subject := pipeline.UploadedSubject(project, video)
	for room := 400; ; room += 50 {
		up := pipeline.Upload{Title: strings.Repeat("x", embedded.MaxPayload-room)}
		e, err := pipeline.NewEvent("test", pipeline.VideoUploaded, subject, video, pipeline.Event{}, up)
		must(r.t, err)
		if e.Sequence, err = r.bus.Append(r.t.Context(), e, 0); err == nil {
			return e
		}
		if !errors.Is(err, nats.ErrMaxPayload) {
			r.t.Fatal(err)
		}
	}
}

// TestRetries: attempts go on until the receiver accepts, with the same id and body.
func TestRetries(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, answers(500, 302, 404, 204))
	e := r.endpoint(v.URL, "*")
	sent := r.uploaded("vid_1")
	record := r.record(e, sent.ID, ended)
	if record.Status != webhooks.Succeeded || record.Done != 4 || record.Next != nil {
		t.Errorf("record %+v", record)
	}
	first := <-v.got
	for i, a := range record.Attempts {
		want := []int{500, 302, 404, 204}[i]
		if a.Status != want || a.Number != i+1 || (a.Error == "") != (want == 204) {
			t.Errorf("attempt %d: %+v", i+1, a)
		}
		if want != 204 && !strings.HasPrefix(a.Answer, "answer ") || a.Response["x-receiver"] == "" {
			t.Errorf("attempt %d: answer %q, headers %v", i+1, a.Answer, a.Response)
		}
		if s := a.Request["webhook-signature"]; s != "v1,***" || a.Request["webhook-id"] != sent.ID {
			t.Errorf("attempt %d: request headers %v", i+1, a.Request)
		}
	}
	for range 3 {
		next := <-v.got
		if next.id != first.id || string(next.raw) != string(first.raw) || next.verify(e.Secrets[0].Value) != nil {
			t.Errorf("a later attempt differs: %s", next.raw)
		}
	}
	if string(record.Body) != string(first.raw) {
		t.Errorf("the record has the body %s", record.Body)
	}
}

// TestExhausted: after the last attempt a delivery has failed, and can be sent again with the same id.
func TestExhausted(t *testing.T) {
	var well atomic.Bool
	v := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := newRig(t, webhooks.SenderConfig{})
	e := r.endpoint(v.URL, "*")
	sent := r.uploaded("vid_1")
	record := r.record(e, sent.ID, ended)
	if record.Status != webhooks.Failed || record.Done != 10 || v.count(sent.ID) != 10 {
		t.Errorf("record %+v after %d requests", record, v.count(sent.ID))
	}
	well.Store(true)
	again, err := r.desk.Redeliver(t.Context(), project, e.ID, record.ID)
	must(t, err)
	if again.Status != webhooks.Pending || again.Round != 1 {
		t.Errorf("record %+v", again)
	}
	record = r.record(e, sent.ID, ended)
	if record.Status != webhooks.Succeeded || v.count(sent.ID) != 11 || len(record.Attempts) != 11 {
		t.Errorf("record %+v after %d requests", record, v.count(sent.ID))
	}
}

// TestGone: 410 disables the endpoint at once, tells the other endpoints, and ends what is queued.
func TestGone(t *testing.T) {
	v, other := newReceiver(t, answers(410)), newReceiver(t, nil)
	r := newRig(t, webhooks.SenderConfig{})
	e := r.endpoint(v.URL, "video.*")
	r.endpoint(other.URL, webhooks.TypeDisabled)
	sent := r.uploaded("vid_1")
	record := r.record(e, sent.ID, ended)
	if record.Status != webhooks.Failed || v.count(sent.ID) != 1 {
		t.Errorf("record %+v", record)
	}
	got := pipelinetest.Receive(t, "the notice", other.got)
	reason, _ := got.body["disabled_reason"].(map[string]any)
	if got.kind != webhooks.TypeDisabled || got.body["id"] != e.ID || reason["code"] != webhooks.ReasonGone ||
		strings.Contains(string(got.raw), "whsec_") {
		t.Errorf("the notice is %s", got.raw)
	}
	disabled, err := r.desk.Get(t.Context(), project, e.ID)
	must(t, err)
	if disabled.Enabled || disabled.Disabled == nil || r.sender.Counts().Gone != 1 {
		t.Errorf("endpoint %+v", disabled)
	}
	if _, err := r.desk.Redeliver(t.Context(), project, e.ID, record.ID); err == nil {
		t.Error("a disabled endpoint gets a delivery again")
	}
	enabled, err := r.desk.Change(t.Context(), project, e.ID, func(e *webhooks.Endpoint) error { e.Enabled = true; return nil })
	must(t, err)
	if enabled.Disabled != nil {
		t.Errorf("endpoint %+v", enabled)
	}
}

// TestFailing: an endpoint whose attempts all failed for five days is disabled; one success begins anew.
func TestFailing(t *testing.T) {
	var well atomic.Bool
	v := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := newRig(t, webhooks.SenderConfig{})
	e := r.endpoint(v.URL, "*")
	enabled := func() bool {
		now, err := r.desk.Get(t.Context(), project, e.ID)
		must(t, err)
		return now.Enabled
	}
	r.record(e, r.uploaded("vid_1").ID, ended)
	for i := range 3 {
		r.clock.forward(39 * time.Hour)
		r.record(e, r.uploaded("vid_early_"+strconv.Itoa(i)).ID, ended)
	}
	if !enabled() {
		t.Fatal("disabled after 117 hours")
	}
	well.Store(true)
	r.record(e, r.uploaded("vid_3").ID, ended)
	well.Store(false)
	r.clock.forward(2 * time.Hour)
	r.record(e, r.uploaded("vid_4").ID, ended)
	if !enabled() {
		t.Fatal("disabled two hours after a success")
	}
	for i := range 4 { // an event each day
		r.clock.forward(25 * time.Hour)
		r.record(e, r.uploaded("vid_day_"+strconv.Itoa(i)).ID, ended)
	}
	if !enabled() {
		t.Fatal("disabled after 100 hours")
	}
	r.clock.forward(21 * time.Hour)
	last := r.record(e, r.uploaded("vid_5").ID, ended)
	if enabled() || r.sender.Counts().Failing != 1 {
		t.Fatal("still enabled after 121 hours of failures")
	}
	if last.Status != webhooks.Canceled {
		t.Errorf("record %+v", last)
	}
	now, err := r.desk.Get(t.Context(), project, e.ID)
	must(t, err)
	if now.Disabled.Code != webhooks.ReasonFailing || !strings.Contains(now.Disabled.Detail, "answered 500") {
		t.Errorf("reason %+v", now.Disabled)
	}
}

// TestFailingAfterAQuietWeek: time without attempts does not count. The first failures after a quiet week do not
// disable an endpoint whose last attempt had failed, five days of failures do.
func TestFailingAfterAQuietWeek(t *testing.T) {
	v := newReceiver(t, answers(500))
	r := newRig(t, webhooks.SenderConfig{})
	e := r.endpoint(v.URL, "*")
	r.record(e, r.uploaded("vid_1").ID, ended)
	r.clock.forward(7 * 24 * time.Hour)
	after := r.record(e, r.uploaded("vid_2").ID, ended)
	if after.Status != webhooks.Failed || after.Done != 10 {
		t.Errorf("record %+v", after)
	}
	now, err := r.desk.Get(t.Context(), project, e.ID)
	must(t, err)
	if !now.Enabled {
		t.Fatalf("disabled by the first failure after a quiet week: %+v", now.Disabled)
	}
	for i := range 5 {
		r.clock.forward(25 * time.Hour)
		id := webhooks.DeliveryID(r.uploaded("vid_day_"+strconv.Itoa(i)).ID, e.ID)
		// The endpoint is judged after the record of an attempt is written. So the last attempt of a day may count
		// for the next one, whose event then finds the endpoint disabled, and has no record.
		pipelinetest.Until(t, "the end of a delivery, or of the endpoint", func() bool {
			now, err := r.desk.Get(t.Context(), project, e.ID)
			must(t, err)
			got, err := r.hooks.Record(t.Context(), project, e.ID, id)
			return !now.Enabled || err == nil && ended(got)
		})
	}
	if now, err = r.desk.Get(t.Context(), project, e.ID); err != nil || now.Enabled {
		t.Errorf("enabled after 125 hours of failures, %v", err)
	}
}

// TestRotation: while both secrets are valid, each delivery has both signatures.
func TestRotation(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, nil)
	e := r.endpoint(v.URL, "*")
	old := e.Secrets[0].Value
	rotated, err := r.desk.Rotate(t.Context(), project, e.ID, 24*time.Hour)
	must(t, err)
	fresh := rotated.Secrets[0].Value
	r.uploaded("vid_1")
	both := pipelinetest.Receive(t, "a delivery", v.got)
	if both.verify(old) != nil || both.verify(fresh) != nil || old == fresh {
		t.Errorf("signatures %q", both.header.Get("webhook-signature"))
	}
	r.clock.forward(25 * time.Hour)
	r.uploaded("vid_2")
	one := pipelinetest.Receive(t, "a delivery", v.got)
	if one.verify(old) == nil || one.verify(fresh) != nil {
		t.Errorf("signatures %q after the overlap", one.header.Get("webhook-signature"))
	}
}

// TestHangingHost: a host that hangs holds one slot at a time, and the others get everything meanwhile.
func TestHangingHost(t *testing.T) {
	release := make(chan struct{})
	var under, most atomic.Int64
	hangs := newReceiver(t, func(_ int, _ http.ResponseWriter, _ *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-release
	})
	t.Cleanup(func() { close(release) }) // before the server is closed
	well := newReceiver(t, nil)
	r := newRig(t, webhooks.SenderConfig{Slots: 4, PerHost: 2, Timeout: time.Minute})
	r.endpoint(hangs.URL, "*")
	r.endpoint(well.URL, "*")
	const videos = 40
	for i := range videos {
		r.uploaded("vid_" + strconv.Itoa(i))
	}
	for range videos {
		pipelinetest.Receive(t, "a delivery beside the host that hangs", well.got)
	}
	if n := most.Load(); n > 2 {
		t.Errorf("%d attempts at once at the host that hangs", n)
	}
}
