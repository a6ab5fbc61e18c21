package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/workertest"
)

var signing = secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

func delivery(url string) pipeline.Delivery {
	return pipeline.Delivery{ID: "evt_1", URL: url, Body: pipeline.Message{
		Type: "video.ready", Timestamp: time.Unix(1700000000, 0).UTC(), Data: pipeline.VideoView{ID: "vid_1"},
	}}
}

// deliver delivers as the worker loop does: through the registry, with the delivery as the job's part.
func deliver(t *testing.T, c Config, d pipeline.Delivery) (pipeline.Result, error) {
	t.Helper()
	part, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	r := workertest.Registry(pipeline.NotifyWorker, New(c))
	task := pipeline.Task{Job: pipeline.Job{Name: "notify", Worker: pipeline.NotifyWorker, Part: part}}
	return r.Work(t.Context(), workers.NewAttempt(workers.Attempt{Task: task, Dir: t.TempDir()}, nil, nil))
}

func code(err error) pipeline.Code {
	var e *pipeline.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

func TestDelivery(t *testing.T) {
	verifier, err := standardwebhooks.NewWebhook(signing.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		err = errors.Join(err, verifier.Verify(body, r.Header))
		var m pipeline.Message
		err = errors.Join(err, json.Unmarshal(body, &m))
		if r.Method != http.MethodPost || r.Header.Get("webhook-id") != "evt_1" || m.Data.ID != "vid_1" ||
			r.Header.Get("Content-Type") != "application/json" {
			err = errors.Join(err, fmt.Errorf("%s %v %s", r.Method, r.Header, body))
		}
		got <- err
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	result, err := deliver(t, Config{Secret: signing, AllowPrivate: true}, delivery(server.URL))
	if err != nil || result.Facts["status"] != http.StatusAccepted {
		t.Errorf("result %v, %v", result, err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestAnswers(t *testing.T) {
	for status, want := range map[int]pipeline.Code{
		200: "", 204: "", 299: "",
		301: pipeline.CodeWebhookFailed, 302: pipeline.CodeWebhookFailed, 307: pipeline.CodeWebhookFailed,
		400: pipeline.CodeWebhookFailed, 404: pipeline.CodeWebhookFailed, 410: pipeline.CodeWebhookRefused,
		429: pipeline.CodeWebhookFailed, 500: pipeline.CodeWebhookFailed, 503: pipeline.CodeWebhookFailed,
	} {
		requests := 0
		var server *httptest.Server
		server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.Header().Set("Location", server.URL+"/elsewhere")
			w.WriteHeader(status)
		}))
		if _, err := deliver(t, Config{Secret: signing, AllowPrivate: true}, delivery(server.URL)); code(err) != want {
			t.Errorf("%d: %v, want %q", status, err, want)
		}
		server.Close()
		if requests != 1 {
			t.Errorf("%d: %d requests", status, requests)
		}
	}
}

// TestEndlessAnswer: only the beginning of an endless answer is read.
func TestEndlessAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	if _, err := deliver(t, Config{Secret: signing, AllowPrivate: true}, delivery(server.URL)); err != nil {
		t.Error(err)
	}
}

func TestGuard(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for _, host := range []string{"127.0.0.1", "localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"} {
		_, err := deliver(t, Config{Secret: signing}, delivery("http://"+host+port))
		if c := code(err); c != pipeline.CodeWebhookRefused {
			t.Errorf("%s: %v", host, err)
		}
		if host == "127.0.0.1" && !strings.Contains(err.Error(), "--webhook-allow-private") {
			t.Errorf("%v does not say what to do", err)
		}
	}
	if asked != 0 {
		t.Fatalf("the guard allowed %d requests", asked)
	}
	// The operator's own server may be in the same network.
	own := Config{Secret: signing, URL: secret.New(server.URL)}
	for _, d := range []pipeline.Delivery{delivery(""), delivery(server.URL)} {
		if _, err := deliver(t, own, d); err != nil {
			t.Errorf("the operator's own server: %v", err)
		}
	}
	if _, err := deliver(t, own, delivery(server.URL+"/other")); code(err) != pipeline.CodeWebhookRefused {
		t.Errorf("another address of the operator's server: %v", err)
	}
}

func TestCheckURL(t *testing.T) {
	for _, u := range []string{
		"", "example.org", "ftp://example.org", "file:///etc/passwd", "http://", "https:///x", "http:example.org",
		"https://user:pass@example.org", "https://example.org/#x", "https://exa mple.org", "gopher://x", "unix:/x",
		"https://example.org/" + strings.Repeat("x", 2048), "javascript:alert(1)", "https://\x00",
	} {
		if err := CheckURL(u); code(err) != pipeline.CodeWebhookRefused {
			t.Errorf("%q: %v", u, err)
		}
	}
	for _, u := range []string{"https://example.org", "http://example.org:8080/hook?x=1", "https://[2606:4700::1]/"} {
		if err := CheckURL(u); err != nil {
			t.Errorf("%q: %v", u, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL + "/hook?token=hidden"
	server.Close()
	_, err := deliver(t, Config{Secret: signing, AllowPrivate: true}, delivery(address))
	if code(err) != pipeline.CodeWebhookFailed || strings.Contains(err.Error(), "hidden") {
		t.Errorf("got %v", err)
	}
}

func TestSecretIsHidden(t *testing.T) {
	c := Config{Secret: signing, URL: secret.New("https://example.org/MfKQ?token=MfKQ")}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s %q", c, c, c.Secret, c.Secret), string(data)} {
		if strings.Contains(text, "MfKQ") {
			t.Errorf("the secret is in %s", text)
		}
	}
	for bad, want := range map[string]pipeline.Code{
		"whsec_not base64!": pipeline.CodeParameters, "": pipeline.CodeInternal,
	} {
		if _, err := deliver(t, Config{Secret: secret.New(bad), AllowPrivate: true}, delivery("http://127.0.0.1:1")); code(err) != want {
			t.Errorf("secret %d bytes: %v", len(bad), err)
		} else if strings.Contains(err.Error(), "not base64!") {
			t.Errorf("the secret is in %v", err)
		}
	}
	if New(Config{Secret: secret.New("whsec_not base64!")}).Check(t.Context()) == nil || New(c).Check(t.Context()) != nil {
		t.Error("Check does not tell a good secret from a bad one")
	}
}

func TestConformance(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	part, err := json.Marshal(delivery(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	r := workertest.Registry(pipeline.NotifyWorker, New(Config{Secret: signing, AllowPrivate: true}))
	workertest.Run(t, workertest.Case{
		Registry: r, Worker: pipeline.NotifyWorker, Jobs: []pipeline.Job{{Name: "notify", Part: part}},
	})
}
