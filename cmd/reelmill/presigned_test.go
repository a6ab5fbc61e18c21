package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/s3"
	"github.com/reelmill/reelmill/storage/s3/s3test"
)

// tollgate is before the bucket of the server: it kills the server at one of its requests.
type tollgate struct {
	on http.Handler

	mu   sync.Mutex
	p    *process
	left int  // requests until the kill; 0: never
	late bool // the bucket gets the request, and the server no answer
}

// ServeHTTP implements http.Handler.
func (g *tollgate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left == 0 {
		g.on.ServeHTTP(w, r)
		return
	}
	if g.left--; g.left > 0 {
		g.on.ServeHTTP(w, r)
		return
	}
	if g.late {
		g.on.ServeHTTP(httptest.NewRecorder(), r)
	}
	g.p.kill()
	panic(http.ErrAbortHandler)
}

// arm kills p at the n-th request from now on.
func (g *tollgate) arm(p *process, n int, late bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.p, g.left, g.late = p, n, late
}

// disarm reports whether the server was not killed.
func (g *tollgate) disarm() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	alive := g.left > 0
	g.left = 0
	return alive
}

// gatedBucket starts a bucket behind a tollgate, and returns the --store of a server that goes through it. Its
// clients go past it, to the public address.
func gatedBucket(t *testing.T) (*tollgate, s3.Config, string) {
	t.Helper()
	config := s3test.StartGateway(t)
	t.Setenv("REELMILL_S3_ACCESS_KEY", config.AccessKey.Reveal())
	t.Setenv("REELMILL_S3_SECRET_KEY", config.SecretKey.Reveal())
	at, err := url.Parse(config.Endpoint)
	check(t, err)
	gate := &tollgate{on: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { // the signature is for the host that the server called
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = at.Scheme, at.Host, r.In.Host
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	}}
	front := httptest.NewServer(gate)
	t.Cleanup(front.Close)
	config.Prefix = "store"
	return gate, config, fmt.Sprintf("s3://%s/store?endpoint=%s&public_endpoint=%s&path_style=true&create_bucket=true"+
		"&part_size=%d", config.Bucket, front.URL, config.Endpoint, 5<<20)
}

// call sends a request of the API, and decodes the answer if the status is 2xx. It returns 0 for a connection
// that breaks.
func (p *process) call(t *testing.T, method, path, body string, into any) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(body))
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return 0
	}
	if resp.StatusCode/100 == 2 && into != nil {
		check(t, json.Unmarshal(raw, into))
	}
	return resp.StatusCode
}

// sendParts uploads a file to the bucket, with plain requests, without completing the upload.
func (p *process) sendParts(t *testing.T, body []byte) client.UploadView {
	t.Helper()
	var u client.UploadView
	status := p.call(t, "POST", "/v1/uploads", fmt.Sprintf(`{"size":%d,"method":"multipart"}`, len(body)), &u)
	if status != http.StatusCreated || u.PartSize == nil {
		t.Fatalf("create upload: status %d, %+v", status, u)
	}
	var urls struct {
		Parts []struct {
			Number int
			Size   int64
			URL    string
		}
	}
	if status := p.call(t, "POST", "/v1/uploads/"+u.ID+"/parts", `{"numbers":[1,2]}`, &urls); status != 200 {
		t.Fatalf("ask for URLs: status %d", status)
	}
	for _, part := range urls.Parts {
		from := int64(part.Number-1) * *u.PartSize
		r, err := http.NewRequestWithContext(t.Context(), "PUT", part.URL, bytes.NewReader(body[from:from+part.Size]))
		check(t, err)
		resp, err := http.DefaultClient.Do(r)
		check(t, err)
		check(t, resp.Body.Close())
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("part %d: %s", part.Number, resp.Status)
		}
	}
	return u
}

// TestPresignedSurvivesKills kills the server before and after its requests to the bucket, while it completes a
// multipart upload. With TEST_SWEEP, it is each of them. Completing the upload again then always makes the one
// video, and nothing of the upload is left in the bucket.
func TestPresignedSurvivesKills(t *testing.T) {
	step := 6
	if pipelinetest.Whole() {
		step = 1
	}
	gate, config, store := gatedBucket(t)
	file := filepath.Join(t.TempDir(), "noise.mp4")
	const size = 5<<20 + 4321
	sum := makeNoise(t, file, size)
	body, err := os.ReadFile(file)
	check(t, err)
	data := t.TempDir()
	p := startServe(t, binary, data, "--store", store)
	videos, kills := 0, 0
	for at, alive := 1, false; !alive; at += step {
		for _, late := range []bool{false, true} {
			u := p.sendParts(t, body)
			gate.arm(p, at, late)
			status := p.call(t, "POST", "/v1/uploads/"+u.ID+"/complete", "", nil)
			if alive = gate.disarm(); alive && status != http.StatusOK {
				t.Fatalf("complete: status %d", status)
			}
			if !alive {
				kills++
				p = startServe(t, binary, data, "--store", store)
			}
			if status := p.call(t, "POST", "/v1/uploads/"+u.ID+"/complete", "", nil); status != http.StatusOK {
				t.Fatalf("complete again, after a kill at request %d: status %d", at, status)
			}
			videos++
			wantSource(t, p, u.Video, size, sum)
		}
	}
	n := 0
	for _, err := range p.client().Videos(t.Context(), client.ListOptions{}) {
		check(t, err)
		n++
	}
	if n != videos || kills == 0 {
		t.Errorf("%d videos of %d uploads, %d kills", n, videos, kills)
	}
	t.Logf("%d kills, %d videos", kills, videos)
	bucket, err := s3.Open(t.Context(), config)
	check(t, err)
	defer bucket.Close()
	if left, err := bucket.Reclaim(t.Context(), 0); left != 0 || err != nil {
		t.Errorf("%d things of unfinished uploads are left in the bucket, %v", left, err)
	}
}
