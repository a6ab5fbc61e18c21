package webhooks_test

import (
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// TestQuota: endpoints of the project get the events of its quotas, and none of its keys.
func TestQuota(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, nil)
	e := r.endpoint(v.URL, "quota.*")
	all := r.endpoint(v.URL+"/all", "*")
	tell := func(kind pipeline.EventType, project, thing string) pipeline.Event {
		subject := pipeline.AccessSubject(project, thing)
		sent, err := pipeline.NewEvent("test", kind, subject, project, pipeline.Event{}, map[string]any{"percent": 80})
		must(t, err)
		sent, err = pipeline.Append(t.Context(), r.bus, sent, 0)
		must(t, err)
		return sent
	}
	tell(pipeline.KeyCreated, project, "key_1")
	tell(pipeline.QuotaWarned, "other", "quota-minutes_stored")
	sent := tell(pipeline.QuotaExceeded, project, "quota-minutes_stored")
	for range 2 {
		got := pipelinetest.Receive(t, "the event of the quota", v.got)
		if got.id != sent.ID || got.kind != "quota.exceeded" || got.body["percent"] != 80.0 {
			t.Errorf("%s came as %s: %s", got.id, got.kind, got.raw)
		}
	}
	for _, to := range []webhooks.Endpoint{e, all} {
		if record := r.record(to, sent.ID, ended); record.Status != webhooks.Succeeded {
			t.Errorf("%+v", record)
		}
	}
}
