package webhooks_test

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// TestNATSEndpoint: an event becomes a message on the subject of its endpoint, below that of its project, with the body
// that a web server gets. When it is sent again, subscribers get it twice, and a stream on the subject keeps it once.
func TestNATSEndpoint(t *testing.T) {
	r := newRig(t, webhooks.SenderConfig{})
	got := make(chan *nats.Msg, 10)
	_, err := r.conn.ChanSubscribe("reelmill.events.>", got)
	must(t, err)
	js, err := jetstream.New(r.conn)
	must(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "OWN", Subjects: []string{"reelmill.events.default.>"}, Storage: jetstream.MemoryStorage,
	})
	must(t, err)
	e, err := r.desk.Create(t.Context(), webhooks.Endpoint{
		Project: project, Kind: webhooks.NATS, Subject: "videos.new", Events: []string{"video.uploaded"}, Enabled: true,
	})
	must(t, err)
	if e.Secrets != nil {
		t.Errorf("it has a secret: %d", len(e.Secrets))
	}
	sent := r.uploaded("vid_1")
	record := r.record(e, sent.ID, ended)
	if record.Status != webhooks.Succeeded || record.Attempts[0].Request["subject"] != "reelmill.events.default.videos.new" {
		t.Errorf("record %+v", record)
	}
	_, err = r.desk.Redeliver(t.Context(), project, e.ID, record.ID)
	must(t, err)
	r.record(e, sent.ID, func(d webhooks.DeliveryRecord) bool { return d.Round == 1 && ended(d) })
	for range 2 {
		m := pipelinetest.Receive(t, "a message", got)
		var report pipeline.Report
		must(t, json.Unmarshal(m.Data, &report))
		var video pipeline.VideoView
		must(t, json.Unmarshal(report.Data, &video))
		if m.Subject != "reelmill.events.default.videos.new" || report.Type != pipeline.VideoUploaded ||
			video.ID != "vid_1" || m.Header.Get("webhook-id") != sent.ID ||
			m.Header.Get("webhook-type") != string(pipeline.VideoUploaded) {
			t.Errorf("%s %v: %s", m.Subject, m.Header, m.Data)
		}
	}
	ack, err := js.Publish(t.Context(), "reelmill.events.default.last", nil) // comes after what was sent before
	must(t, err)
	if ack.Sequence != 2 {
		t.Errorf("the stream kept %d messages", ack.Sequence-1)
	}
	if last := pipelinetest.Receive(t, "the last message", got); last.Subject != "reelmill.events.default.last" {
		t.Errorf("%s came too", last.Subject)
	}
}
