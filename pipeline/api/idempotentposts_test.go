package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// TestEveryPostTakesAnIdempotencyKey walks the document: each POST describes the header. One that succeeds is
// answered the same again, and does nothing; another request with its key is refused. One that fails leaves
// the key free.
func TestEveryPostTakesAnIdempotencyKey(t *testing.T) {
	e := newEnv(t, nil)
	v := e.uploaded()
	doc, _ := document(e)
	succeeded := []string{}
	for path, item := range doc.Paths {
		op, ok := item["post"]
		if !ok {
			continue
		}
		if !slices.ContainsFunc(op.Parameters, func(p parameter) bool { return p.Name == "Idempotency-Key" && p.In == "header" }) {
			t.Errorf("POST %s takes no Idempotency-Key", path)
		}
		if path == "/v1/videos" || path == "/v1/uploads" || path == "/v1/tus" { // they have tests of their own
			continue
		}
		address := strings.NewReplacer("{id}", v.ID, "{video}", v.ID, "{job}", "inspect").Replace(path)
		headers := []string{"Idempotency-Key", "key of " + path, "Content-Type", "application/json"}
		resp, raw := e.do("POST", address, strings.NewReader("{}"), headers...)
		again, rawAgain := e.do("POST", address, strings.NewReader("{}"), headers...)
		if resp.StatusCode >= 300 {
			if again.Header.Get("Idempotency-Replayed") != "" {
				t.Errorf("POST %s repeats a failure: %s", path, raw)
			}
			continue
		}
		succeeded = append(succeeded, path)
		if again.StatusCode != resp.StatusCode || again.Header.Get("Idempotency-Replayed") != "true" ||
			!bytes.Equal(raw, rawAgain) || again.Header.Get("X-Request-Id") == resp.Header.Get("X-Request-Id") ||
			again.Header.Get("Content-Type") != resp.Header.Get("Content-Type") {
			t.Errorf("POST %s: %s %v: %s\nagain %s %v: %s", path, resp.Status, resp.Header, raw, again.Status,
				again.Header, rawAgain)
		}
		other, rawOther := e.do("POST", address, strings.NewReader(`{"a":1}`), headers...)
		wantProblem(t, other, rawOther, codeKeyReused)
		if !strings.Contains(path, "{") {
			continue
		}
		elsewhere, rawElsewhere := e.do("POST", strings.Replace(address, v.ID, "vid_other", 1), strings.NewReader("{}"), headers...)
		wantProblem(t, elsewhere, rawElsewhere, codeKeyReused)
	}
	if !slices.Contains(succeeded, "/v1/videos/{id}/cancel") {
		t.Errorf("only these succeeded: %v", succeeded)
	}
}

// TestAReplayDoesNothing: after a retry of the video, the repeated cancellation does not cancel it again.
func TestAReplayDoesNothing(t *testing.T) {
	e := newEnv(t, nil)
	v := e.uploaded()
	first, raw := e.do("POST", "/v1/videos/"+v.ID+"/cancel", nil, "Idempotency-Key", "k")
	if first.StatusCode != 200 {
		t.Fatalf("%s: %s", first.Status, raw)
	}
	if resp, raw := e.do("POST", "/v1/videos/"+v.ID+"/retry", nil, "Idempotency-Key", "l"); resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	_, again := e.do("POST", "/v1/videos/"+v.ID+"/cancel", nil, "Idempotency-Key", "k")
	if diff := cmp.Diff(string(raw), string(again)); diff != "" {
		t.Error(diff)
	}
	if now := read[pipeline.VideoView](e, "/v1/videos/"+v.ID); now.Status == pipeline.StateVideoCanceled {
		t.Error("the replay canceled the video again")
	}
	for _, key := range e.objects() {
		if body := e.object(key); bytes.Contains(body, []byte(v.ID)) && strings.HasPrefix(key, answersPrefix) {
			t.Errorf("%s is readable without the key: %s", key, body)
		}
	}
}

func (e *env) object(key string) []byte {
	e.t.Helper()
	r, _, err := e.Store.Get(e.t.Context(), key, storage.Range{})
	must(e.t, err)
	raw, err := io.ReadAll(r)
	must(e.t, err)
	must(e.t, r.Close())
	return raw
}

// TestAKeyInUse: while a request is under way, another with its key is told so, and so is one after a crash;
// later the key is free again.
func TestAKeyInUse(t *testing.T) {
	e := newEnv(t, nil)
	v := e.uploaded()
	ask := func() (*http.Response, []byte) {
		return e.do("POST", "/v1/videos/"+v.ID+"/cancel", nil, "Idempotency-Key", "k")
	}
	k := e.api.s.answerKey(project, "k")
	claimed, err := k.claim(t.Context(), "", time.Now())
	must(t, err)
	resp, raw := ask()
	wantProblem(t, resp, raw, codeKeyBusy)
	must(t, e.Store.Delete(t.Context(), claimed))
	_, err = k.claim(t.Context(), "", time.Now().Add(-claimLease-time.Second)) // whose server has died
	must(t, err)
	if resp, raw := ask(); resp.StatusCode != 200 || resp.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("after a crash: %s: %s", resp.Status, raw)
	}
}

// TestRequestsWithOneKeyAtOnce: of many requests at once, one does the work.
func TestRequestsWithOneKeyAtOnce(t *testing.T) {
	e := newEnv(t, nil)
	done := make(chan int, 100)
	begun, end := make(chan struct{}, 100), make(chan struct{})
	h := e.api.s.idempotent(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-end
		w.WriteHeader(http.StatusAccepted)
	}))
	ask := func() {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/v1/x", strings.NewReader("{}")).
			WithContext(context.WithValue(t.Context(), projectKey{}, project))
		r.Header.Set("Idempotency-Key", "k")
		h.ServeHTTP(w, r)
		done <- w.Code
	}
	for range 8 {
		go ask()
	}
	for range 7 {
		if code := <-done; code != http.StatusConflict {
			t.Errorf("answered %d meanwhile", code)
		}
	}
	close(end)
	if code := <-done; code != http.StatusAccepted {
		t.Errorf("answered %d", code)
	}
	go ask()
	if code := <-done; code != http.StatusAccepted || len(begun) != 1 {
		t.Errorf("answered %d, done %d times", code, len(begun))
	}
}

func TestStoredAnswersAreForgotten(t *testing.T) {
	e := newEnv(t, nil)
	v := e.uploaded()
	before := e.objects()
	if resp, raw := e.do("POST", "/v1/videos/"+v.ID+"/cancel", nil, "Idempotency-Key", "k"); resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	must(t, e.api.s.sweepStoredAnswers(t.Context(), time.Now().Add(answerMemory-time.Hour)))
	if len(e.objects()) != len(before)+1 {
		t.Errorf("too early: %v", e.objects())
	}
	must(t, e.api.s.sweepStoredAnswers(t.Context(), time.Now().Add(answerMemory+time.Hour)))
	equal(t, "objects", e.objects(), before...)
}

// TestAnswersTooLargeToKeep: an answer that could not be read again is not stored, so the key stays usable.
func TestAnswersTooLargeToKeep(t *testing.T) {
	e := newEnv(t, nil)
	k := e.api.s.answerKey(project, "k")
	if err := k.save(t.Context(), storedAnswer{Request: "r", Status: 200, Body: make([]byte, maxStoredAnswer)}); err == nil {
		t.Error("it is stored")
	}
	if before, err := k.load(t.Context()); before != nil || err != nil {
		t.Errorf("%v, %v", before, err)
	}
}
