package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
	"github.com/reelmill/reelmill/storage"
)

// target is a webhooks.Target that answers as it is told.
type target struct {
	mu   sync.Mutex
	sent []webhooks.Task
	out  webhooks.Outcome
}

func (t *target) Host(e webhooks.Endpoint) string { return e.URL }

func (t *target) Send(_ context.Context, _ webhooks.Endpoint, task webhooks.Task) webhooks.Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = append(t.sent, task)
	return t.out
}

// deskOf returns a desk whose web endpoints are reached by to.
func deskOf(b *bus.Bus, to webhooks.Target) *webhooks.Desk {
	kept := b.Hooks()
	return &webhooks.Desk{LastSequence: b.LastSequence, Sender: webhooks.NewSender(webhooks.SenderConfig{
		Bucket: kept, Queue: kept, Records: kept, Targets: map[webhooks.Kind]webhooks.Target{webhooks.Web: to},
	})}
}

// hooked returns a server with webhook endpoints, whose deliveries are sent until the test ends.
func hooked(t *testing.T, out webhooks.Outcome) (*env, *target) {
	to := &target{out: out}
	e := newEnv(t, func(c *Config) {
		c.Webhooks = deskOf(c.Progress.(*bus.Bus), to)
		c.CheckWebhookURL = func(u string) error {
			if strings.HasPrefix(u, "https://") {
				return nil
			}
			return errors.New("it is not https")
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Webhooks.Sender.Run(ctx) }()
		t.Cleanup(func() { stop(); must(t, <-done) })
	})
	return e, to
}

func sendJSON(e *env, method, path string, body any) (*http.Response, []byte) {
	e.t.Helper()
	raw, err := json.Marshal(body)
	must(e.t, err)
	return e.do(method, path, strings.NewReader(string(raw)), "Content-Type", "application/json")
}

type members = map[string]any

const hookURL = "https://example.org/in/token"

func (e *env) endpoint(events ...string) webhooks.EndpointView {
	e.t.Helper()
	resp, raw := sendJSON(e, "POST", endpointsPath, members{"url": hookURL, "events": events})
	if resp.StatusCode != http.StatusCreated {
		e.t.Fatalf("%s %s", resp.Status, raw)
	}
	return decode[webhooks.EndpointView](e.t, raw)
}

func TestEndpoints(t *testing.T) {
	e, _ := hooked(t, webhooks.Outcome{Accepted: true})
	made := e.endpoint("video.*", "job.errored")
	if !strings.HasPrefix(made.Secret, "whsec_") || !strings.HasPrefix(made.ID, "whe_") || !made.Enabled ||
		made.Kind != webhooks.Web || made.URL != "https://example.org/***" {
		t.Errorf("made %+v", made)
	}
	at := endpointsPath + "/" + made.ID
	resp, raw := sendJSON(e, "PATCH", at, members{
		"description": "Ours", "enabled": false, "events": []string{"*"}, "metadata": members{"a": "1", "b": "2"},
	})
	changed := decode[webhooks.EndpointView](t, raw)
	if resp.StatusCode != 200 || changed.Description != "Ours" || changed.Enabled || changed.Events[0] != "*" {
		t.Errorf("%s %s", resp.Status, raw)
	}
	_, raw = sendJSON(e, "PATCH", at, members{"metadata": members{"a": nil, "c": "3"}})
	if m := decode[webhooks.EndpointView](t, raw).Metadata; len(m) != 2 || m["b"] != "2" || m["c"] != "3" {
		t.Errorf("metadata %v", m)
	}
	list := read[list[webhooks.EndpointView]](e, endpointsPath)
	if len(list.Data) != 1 || list.Data[0].ID != made.ID || list.HasMore {
		t.Errorf("list %+v", list)
	}
	resp, raw = sendJSON(e, "POST", at+"/rotate_secret", members{"overlap": "1h"})
	rotated := decode[webhooks.EndpointView](t, raw)
	if resp.StatusCode != 200 || rotated.Secret == made.Secret || rotated.Secret == "" || rotated.SecretExpires == nil {
		t.Errorf("%s %s", resp.Status, raw)
	}
	for _, path := range []string{at, endpointsPath} { // no secret is shown again
		if _, raw := e.get(path); strings.Contains(string(raw), "whsec_") || strings.Contains(string(raw), "token") {
			t.Errorf("GET %s: %s", path, raw)
		}
	}
	if resp, _ := e.do("DELETE", at, nil); resp.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE: %s", resp.Status)
	}
	for _, call := range [][2]string{
		{"GET", at}, {"DELETE", at}, {"PATCH", at}, {"POST", at + "/test"}, {"POST", at + "/rotate_secret"},
		{"GET", at + "/deliveries"}, {"GET", at + "/deliveries/dlv_1"}, {"POST", at + "/deliveries/dlv_1/redeliver"},
	} {
		resp, raw := sendJSON(e, call[0], call[1], members{})
		wantProblem(t, resp, raw, codeNotFound)
	}
}

func TestEndpointsRefuse(t *testing.T) {
	e, _ := hooked(t, webhooks.Outcome{})
	for _, c := range []struct {
		body members
		at   string
		code code
	}{
		{members{"url": hookURL, "events": []string{"video.raedy"}}, "/body/events", codeInvalid},
		{members{"url": hookURL, "events": []string{}}, "/body/events", codeInvalid},
		{members{"url": hookURL}, "/body", codeInvalid},
		{members{"url": "http://example.org", "events": []string{"*"}}, "/body/url", codeWebhookRefused},
		{members{"events": []string{"*"}}, "/body/url", codeInvalid},
		{members{"url": hookURL, "email": "a@example.org", "events": []string{"*"}}, "/body/email", codeInvalid},
		{members{"kind": "email", "email": "a@example.org", "events": []string{"*"}}, "/body/kind", codeInvalid},
		{members{"url": hookURL, "events": []string{"*"}, "secret": "whsec_x"}, "/body/secret", codeInvalid},
	} {
		resp, raw := sendJSON(e, "POST", endpointsPath, c.body)
		p := wantProblem(t, resp, raw, c.code)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != c.at {
			t.Errorf("%v: %+v", c.body, p)
		}
	}
	made := e.endpoint("*")
	resp, raw := sendJSON(e, "POST", endpointsPath+"/"+made.ID+"/rotate_secret", members{"overlap": "1000h"})
	wantProblem(t, resp, raw, codeInvalid)
	resp, raw = sendJSON(e, "POST", endpointsPath+"/"+made.ID+"/test", members{"type": "video.raedy"})
	if p := wantProblem(t, resp, raw, codeInvalid); !strings.Contains(p.Detail, "video.ready") {
		t.Errorf("%s does not name the type that was meant", p.Detail)
	}
}

func TestDeliveries(t *testing.T) {
	e, to := hooked(t, webhooks.Outcome{Final: true, Status: 500, Error: "it answered 500", Answer: []byte("no")})
	made := e.endpoint("*")
	at := endpointsPath + "/" + made.ID
	kinds := []string{"video.ready", "video.errored", "job.started"}
	var ids []string
	for _, kind := range kinds {
		resp, raw := sendJSON(e, "POST", at+"/test", members{"type": kind})
		r := decode[webhooks.DeliveryRecord](t, raw)
		if resp.StatusCode != 200 || r.Status != webhooks.Failed || r.Attempts[0].Answer != "no" || r.Type != kind {
			t.Errorf("%s %s", resp.Status, raw)
		}
		ids = append(ids, r.ID)
	}
	if resp, raw := e.do("POST", at+"/test", nil); resp.StatusCode != 200 {
		t.Errorf("a test without a body: %s %s", resp.Status, raw)
	}
	types := func(path string) (all []string, next string) {
		l := read[list[webhooks.DeliveryRecord]](e, path)
		for _, r := range l.Data {
			all = append(all, r.Type)
		}
		if l.NextCursor != nil {
			next = *l.NextCursor
		}
		return all, next
	}
	first, next := types(at + "/deliveries?limit=3")
	equal(t, "first page", first, webhooks.TypeTest, "job.started", "video.errored")
	second, last := types(at + "/deliveries?limit=3&cursor=" + next)
	equal(t, "second page", second, "video.ready")
	some, _ := types(at + "/deliveries?types=video.ready,job.started&status=failed,pending")
	equal(t, "filtered", some, "job.started", "video.ready")
	none, _ := types(at + "/deliveries?status=succeeded")
	equal(t, "succeeded", none)
	future, _ := types(at + "/deliveries?after=2999-01-01T00:00:00Z")
	equal(t, "later", future)
	if last != "" || next == "" {
		t.Errorf("cursors %q, %q", next, last)
	}
	resp, raw := e.get(at + "/deliveries?cursor=x")
	wantProblem(t, resp, raw, codeCursor)

	resp, raw = sendJSON(e, "POST", at+"/redeliver", members{"after": "2020-01-01T00:00:00Z", "dry_run": true})
	if got := decode[redelivered](t, raw); resp.StatusCode != 202 || got.Count != 4 || !got.DryRun {
		t.Errorf("%s %s", resp.Status, raw)
	}
	to.mu.Lock()
	before := len(to.sent)
	to.mu.Unlock()
	resp, raw = sendJSON(e, "POST", at+"/redeliver", members{"after": "2020-01-01T00:00:00Z", "types": kinds[:2]})
	if got := decode[redelivered](t, raw); resp.StatusCode != 202 || got.Count != 2 {
		t.Errorf("%s %s", resp.Status, raw)
	}
	resp, raw = e.do("POST", at+"/deliveries/"+ids[2]+"/redeliver", nil)
	if r := decode[webhooks.DeliveryRecord](t, raw); resp.StatusCode != 202 || r.Status != webhooks.Pending || r.Round != 1 {
		t.Errorf("%s %s", resp.Status, raw)
	}
	pipelinetest.Until(t, "the deliveries", func() bool {
		to.mu.Lock()
		defer to.mu.Unlock()
		return len(to.sent) == before+3
	})
	pipelinetest.Until(t, "the deliveries", func() bool {
		return len(read[list[webhooks.DeliveryRecord]](e, at+"/deliveries?status=failed").Data) == 4
	})
	one := read[webhooks.DeliveryRecord](e, at+"/deliveries/"+ids[2])
	if one.Done != 1 || len(one.Attempts) != 2 || one.Attempts[1].Round != 1 {
		t.Errorf("record %+v", one)
	}
	sendJSON(e, "PATCH", at, members{"enabled": false})
	resp, raw = e.do("POST", at+"/deliveries/"+ids[0]+"/redeliver", nil)
	wantProblem(t, resp, raw, codeState)
}

// brokenHealth is a bucket in which nobody can read how deliveries fare.
type brokenHealth struct{ webhooks.Bucket }

// Health implements webhooks.Bucket.
func (brokenHealth) Health(context.Context, string, string) (webhooks.Health, error) {
	return webhooks.Health{}, errFault
}

// TestCreatedEndpointIsAnswered: once an endpoint is kept, nothing keeps its secret from the one who asked for
// it. So nobody asks again, and gets everything twice.
func TestCreatedEndpointIsAnswered(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.CheckWebhookURL = func(string) error { return nil }
		c.Webhooks.Sender.Bucket = brokenHealth{c.Webhooks.Sender.Bucket}
	})
	if made := e.endpoint("*"); made.Secret == "" || made.FailingSince != nil {
		t.Errorf("%+v", made)
	}
}

// forgetful is a store that keeps no answer to an Idempotency-Key, as a server that dies before it can.
type forgetful struct{ storage.Store }

// Put implements storage.Store.
func (f forgetful) Put(
	ctx context.Context, key string, body io.Reader, o storage.PutOptions,
) (storage.Info, error) {
	if strings.HasPrefix(key, answersPrefix) && strings.HasSuffix(key, "/answer") {
		return storage.Info{}, errFault
	}
	return f.Store.Put(ctx, key, body, o)
}

// TestOneEndpointForOneKey: a request for an endpoint whose answer was lost makes no second one when it comes again
// with its key, and gets the secret. Another request with the key is refused, and one after the endpoint was deleted
// makes a new one.
func TestOneEndpointForOneKey(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.CheckWebhookURL = func(string) error { return nil }
		c.Store = forgetful{c.Store}
	})
	ask := func(body string) (*http.Response, []byte) {
		return e.do("POST", endpointsPath, strings.NewReader(body), "Idempotency-Key", "k1", "Content-Type", "application/json")
	}
	const body = `{"url":"https://example.com/hook","events":["video.ready"],"metadata":{"a":"b"}}`
	var made []webhooks.EndpointView
	for range 2 {
		resp, raw := ask(body)
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s %s", resp.Status, raw)
		}
		made = append(made, decode[webhooks.EndpointView](t, raw))
	}
	if made[0].ID != made[1].ID || made[0].Secret == "" || made[0].Secret != made[1].Secret {
		t.Errorf("one key made %+v", made)
	}
	if all := read[list[webhooks.EndpointView]](e, endpointsPath); len(all.Data) != 1 {
		t.Errorf("there are %d endpoints", len(all.Data))
	}
	resp, raw := ask(`{"url":"https://example.com/other","events":["video.ready"]}`)
	wantProblem(t, resp, raw, codeKeyReused)
	if resp, raw := e.do("DELETE", endpointsPath+"/"+made[0].ID, nil); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	resp, raw = ask(body)
	if v := decode[webhooks.EndpointView](t, raw); resp.StatusCode != http.StatusCreated || v.ID == made[0].ID {
		t.Errorf("%s %s", resp.Status, raw)
	}
}
