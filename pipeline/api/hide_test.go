package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestWebhookTokensAreNotAnswered checks that the events of a video, as a list and as a stream, and a dead
// letter say where its webhooks go without the token, which the log keeps.
func TestWebhookTokensAreNotAnswered(t *testing.T) {
	e := newEnv(t, nil)
	const address = "https://hooks.example:8443/T0/s3cr3t?key=s3cr3t"
	resp, raw := e.post([]part{file("a.mp4", "meow"), field("webhook_url", address)})
	if resp.StatusCode != 201 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	video := decode[pipeline.VideoView](t, raw).ID
	if up := e.uploadOf(video); up.Webhook == nil || up.Webhook.URL != address {
		t.Errorf("the log has %+v", up.Webhook)
	}
	e.finished(video)
	for _, accept := range []string{"application/json", "text/event-stream"} {
		resp, raw := e.get("/v1/videos/"+video+"/events", "Accept", accept)
		if resp.StatusCode != 200 || strings.Contains(string(raw), "s3cr3t") ||
			!strings.Contains(string(raw), `"url":"https://hooks.example:8443/***"`) ||
			!strings.Contains(string(raw), `"source":{"key"`) {
			t.Errorf("%s: %s %s", accept, resp.Status, raw)
		}
	}
	delivery, err := json.Marshal(pipeline.Delivery{ID: "evt_1", URL: address})
	must(t, err)
	task := pipeline.Task{Video: video, Job: pipeline.Job{Name: "notify", Worker: pipeline.NotifyWorker, Part: delivery}}
	shown, err := json.Marshal(viewOfLetter(pipeline.DeadLetter{Task: task}))
	must(t, err)
	if strings.Contains(string(shown), "s3cr3t") || !strings.Contains(string(shown), `"url":"https://hooks.example:8443/***"`) {
		t.Errorf("the letter is shown as %s", shown)
	}
	if string(task.Job.Part) != string(delivery) {
		t.Errorf("the task became %s", task.Job.Part)
	}
	resp, raw = e.post([]part{file("a.mp4", "meow"), field("webhook_url", "ftp://me:s3cr3t@hooks.example/s3cr3t")})
	if resp.StatusCode != 422 || strings.Contains(string(raw), "s3cr3t") {
		t.Errorf("refused with %s: %s", resp.Status, raw)
	}
}

// TestHideURLLeavesTheRest has documents without an address.
func TestHideURLLeavesTheRest(t *testing.T) {
	for _, doc := range []string{
		`{"webhook":{}}`, `{}`, `{"webhook":null,"a":1}`, `{"webhook":{"url":""}}`, `{"webhook":{"url":7}}`, `[1]`, `null`, ``,
		`{ "b":1, "a":{"url":"https://a/b"} }`,
	} {
		if got := hideURL(json.RawMessage(doc), "webhook"); string(got) != doc {
			t.Errorf("%s became %s", doc, got)
		}
	}
	got := hideURL(json.RawMessage(`{"z":1e3,"webhook":{"x":[1],"url":"https://a/b"}}`), "webhook")
	if string(got) != `{"webhook":{"url":"https://a/***","x":[1]},"z":1e3}` {
		t.Errorf("got %s", got)
	}
}

// TestFetchURLIsHidden: answers say only where a source comes from.
func TestFetchURLIsHidden(t *testing.T) {
	up := pipeline.Upload{Fetch: &pipeline.Fetch{URL: "https://example.org/a.mp4?sig=hidden"}}
	e, err := pipeline.NewEvent("upload", pipeline.VideoUploaded, pipeline.UploadedSubject("p", "vid_1"), "vid_1", pipeline.Event{}, up)
	if err != nil {
		t.Fatal(err)
	}
	task := pipeline.Task{Job: pipeline.Job{Worker: pipeline.FetchStep, Part: []byte(`{"url":"https://example.org/a.mp4?sig=hidden"}`)}}
	for _, shown := range []string{string(shownEvent(e).Data), string(shownTask(task).Job.Part)} {
		if strings.Contains(shown, "hidden") || !strings.Contains(shown, `"https://example.org/***"`) {
			t.Errorf("shown as %s", shown)
		}
	}
}
