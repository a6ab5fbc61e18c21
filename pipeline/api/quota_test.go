package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/quota"
)

// withLimits returns a server whose projects have limits.
func withLimits(t *testing.T, limits map[string]access.Limits) *env {
	t.Helper()
	return newEnv(t, func(c *Config) {
		byHeader(c)
		known := func(project string) access.Limits { return limits[project] }
		c.Quotas = &quota.Keeper{
			Limits: func(_ context.Context, project string) (access.Limits, error) { return known(project), nil },
			Known:  known, Counts: c.Catalog.(quota.Counts), Notes: c.Log.(quota.Notes), Log: c.Log,
		}
	})
}

func wantQuota(t *testing.T, resp *http.Response, raw []byte, q access.Quota) {
	t.Helper()
	p := wantProblem(t, resp, raw, codeQuotaExceeded)
	if p.Quota == nil || p.Quota.Quota != q || !strings.Contains(p.Detail, string(q)) {
		t.Errorf("%s", raw)
	}
}

// TestUploadsWithinAQuota: an upload that announces more than is left is refused before its first byte, one
// that does not say how long it is is cut at the limit, and what did not arrive can be uploaded by others.
func TestUploadsWithinAQuota(t *testing.T) {
	e := withLimits(t, map[string]access.Limits{project: {UploadBytesPerDay: 1000}})
	create := func(size int) (*http.Response, []byte) {
		return e.do("POST", "/v1/uploads", strings.NewReader(`{"filename":"a.mp4","size":`+strconv.Itoa(size)+`}`))
	}
	resp, raw := create(1001)
	wantQuota(t, resp, raw, access.UploadBytes)
	resp, raw = answerOn(t, e.announce(100_000, "")) // a form
	wantQuota(t, resp, raw, access.UploadBytes)
	resp, raw = create(900)
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	first := decode[uploadView](t, raw)
	resp, raw = create(101)
	wantQuota(t, resp, raw, access.UploadBytes)
	if resp, raw := e.do("POST", "/v1/uploads/"+first.ID+"/cancel", nil); resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = create(0)
	wantProblem(t, resp, raw, codeUploadEmpty)
	resp, raw = e.do("POST", "/v1/uploads", strings.NewReader(`{"filename":"a.mp4"}`)) // of any length
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	unknown := decode[uploadView](t, raw)
	at := strings.TrimPrefix(unknown.ContentURL, e.config.PublicURL)
	resp, raw = e.do("PUT", at, bytes.NewReader(make([]byte, 1001)))
	wantQuota(t, resp, raw, access.UploadBytes)
	if kept := read[uploadView](e, "/v1/uploads/"+unknown.ID); kept.Offset > 1000 {
		t.Errorf("%d bytes are kept", kept.Offset)
	}
	e.uploaded("X-Project", "other")
}

// TestUploadsAtOnceOfAProject: further requests that send bytes are refused, and those of others are not.
func TestUploadsAtOnceOfAProject(t *testing.T) {
	e := withLimits(t, map[string]access.Limits{project: {UploadsAtOnce: 1}})
	slow := e.announce(1000, partHead+"x")
	defer slow.Close()
	resp, raw := e.post([]part{file("cat.mp4", "meow")})
	for resp.StatusCode == http.StatusCreated { // the slow one has not begun yet
		resp, raw = e.post([]part{file("cat.mp4", "meow")})
	}
	wantProblem(t, resp, raw, codeProjectUploads)
	e.uploaded("X-Project", "other")
}

// TestNothingIsAdmittedWithoutMinutes: uploads and URLs are refused while the project has used up its minutes.
func TestNothingIsAdmittedWithoutMinutes(t *testing.T) {
	e := withLimits(t, map[string]access.Limits{project: {MinutesStored: 1}})
	v := e.uploaded()
	e.Tell(t, pipeline.VideoInspected, pipeline.InspectedSubject(project, v.ID), pipeline.Inspected{
		Inspection: pipeline.Inspection{Verdict: pipeline.VerdictAccept, Media: &pipeline.Media{Duration: 60}},
	})
	resp, raw := e.post([]part{file("cat.mp4", "meow")})
	wantQuota(t, resp, raw, access.Stored)
	resp, raw = e.do("POST", "/v1/videos", strings.NewReader(`{"url":"https://media.example/a.mp4"}`),
		"Content-Type", "application/json")
	wantQuota(t, resp, raw, access.Stored)
	use := read[quota.Report](e, "/v1/usage")
	if use.Stored.Minutes != 1 || use.Stored.Videos != 1 || use.Period.Uploads != 1 || use.Period.UploadedBytes != 4 ||
		use.Period.EncodedMinutes != 1 || len(use.Quotas) != 1 || use.Quotas[0].Percent != 100 || use.Limits.MinutesStored != 1 {
		t.Errorf("%+v", use)
	}
	resp, raw = e.get("/v1/usage?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z")
	wantProblem(t, resp, raw, codeInvalid)
	if e.do("DELETE", "/v1/videos/"+v.ID, nil); read[quota.Report](e, "/v1/usage").Stored.Minutes != 0 {
		t.Error("the minutes of a deleted video are stored")
	}
	e.uploaded()
}

// TestAFetchIsCutAtTheQuota: the worker gets what is left of the day as its limit.
func TestAFetchIsCutAtTheQuota(t *testing.T) {
	e := withLimits(t, map[string]access.Limits{project: {UploadBytesPerDay: 100}})
	e.uploaded() // four bytes
	resp, raw := e.do("POST", "/v1/videos", strings.NewReader(`{"url":"https://media.example/a.mp4"}`),
		"Content-Type", "application/json")
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	up := e.uploadOf(decode[pipeline.VideoView](t, raw).ID)
	if up.Fetch == nil || up.Fetch.MaxBytes != 96 {
		t.Errorf("%+v", up.Fetch)
	}
}

// TestRatesOfAProject: of a burst, exactly as many requests pass as the limit says, by a clock that stands
// still; then as many as time allows. Other projects and keys have rates of their own.
func TestRatesOfAProject(t *testing.T) {
	limits := map[string]access.Limits{"shop": {RequestsPerSecond: 10, RequestBurst: 25}, "other": {RequestsPerSecond: 10}}
	s := &server{cfg: Config{Quotas: &quota.Keeper{Known: func(p string) access.Limits { return limits[p] }}}}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s.projectRates = newProjectRates()
	s.projectRates.now = func() time.Time { return now }
	passed := func(project, key string, rate int) int {
		t.Helper()
		var mu sync.Mutex
		var group sync.WaitGroup
		n := 0
		for range 200 {
			group.Go(func() {
				if s.limitRate(http.Header{}, project, key, rate) == nil {
					mu.Lock()
					defer mu.Unlock()
					n++
				}
			})
		}
		group.Wait()
		return n
	}
	if n := passed("shop", "key_1", 0); n != 25 {
		t.Errorf("%d of a burst passed; 25 may", n)
	}
	if n := passed("other", "", 0); n != 20 {
		t.Errorf("%d of the other project passed; 20 may", n)
	}
	now = now.Add(500 * time.Millisecond)
	if n := passed("shop", "key_1", 0); n != 5 {
		t.Errorf("%d passed after half a second; 5 may", n)
	}
	now = now.Add(time.Hour)
	if n := passed("shop", "key_2", 2); n != 4 {
		t.Errorf("%d of a key with a rate of its own passed; 4 may", n)
	}
	if n := passed("free", "key_3", 0); n != 200 {
		t.Errorf("%d passed without a limit", n)
	}
	limits["shop"] = access.Limits{RequestsPerSecond: 1}
	now = now.Add(time.Hour)
	if n := passed("shop", "", 0); n != 2 {
		t.Errorf("%d passed after the limit was lowered; 2 may", n)
	}
	now = now.Add(time.Hour)
	passed("last", "", 0)
	passed("other", "", 0)
	if n := len(s.projectRates.of); n != 1 {
		t.Errorf("%d rates are kept, and one is in use: %v", n, s.projectRates.of)
	}
}

// TestRateLimitHeaders: every answer says how the limits stand, and a refusal when to come again.
func TestRateLimitHeaders(t *testing.T) {
	s := &server{cfg: Config{Quotas: &quota.Keeper{Known: func(string) access.Limits {
		return access.Limits{RequestsPerSecond: 2, RequestBurst: 3}
	}}}}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s.projectRates = newProjectRates()
	s.projectRates.now = func() time.Time { return now }
	for i, want := range []string{`"project";r=2;t=1`, `"project";r=1;t=1`, `"project";r=0;t=2`, `"project";r=0;t=2`} {
		h := http.Header{}
		err := s.limitRate(h, "shop", "", 0)
		if h.Get("RateLimit") != want || h.Get("RateLimit-Policy") != `"project";q=3;w=2` || (err == nil) != (i < 3) {
			t.Errorf("request %d: %v, %v; want %s", i, h, err, want)
		}
		if err != nil && classify(err).document(t.Context()).GetHeaders().Get("Retry-After") != "1" {
			t.Errorf("%+v", classify(err))
		}
	}
	h := http.Header{}
	if err := s.limitRate(h, "shop", "key_1", 5); err == nil || !strings.HasPrefix(h.Get("RateLimit"), `"key";r=9;t=1, "project";`) {
		t.Errorf("%v, %v", h, err)
	}
}

// TestQuotaInAProblem: a client can read which quota refuses it, without parsing the text.
func TestQuotaInAProblem(t *testing.T) {
	s := access.Limits{UploadBytesPerDay: 10}.Stand(access.UploadBytes, 9, time.Date(2026, 11, 28, 1, 0, 0, 0, time.UTC))
	raw, err := json.Marshal(classify(&quota.Exceeded{Standing: s, Asked: 5}).document(t.Context()))
	must(t, err)
	want := `"quota":{"quota":"upload_bytes_per_day","limit":10,"used":9,"percent":90,"period":"2026-11-28",` +
		`"renews_at":"2026-11-29T00:00:00Z"}`
	if !strings.Contains(string(raw), want) || !strings.Contains(string(raw), "and 5 more are asked for") {
		t.Errorf("%s", raw)
	}
}
