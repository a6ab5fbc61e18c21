package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

var killSeed = flag.Uint64("killseed", 0, "seed of TestKill; 0 for one from the clock")

// TestKill uploads short clips while the server is killed at random moments and started again on the same
// folder. Every video that was answered 201 ends ready, exactly once, and no job is completed twice. With
// TEST_SWEEP, there are more of both.
func TestKill(t *testing.T) {
	uploads, kills := 8, 5
	if pipelinetest.Whole() {
		uploads, kills = 20, 10
	}
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-killseed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	source := clip(t, "short.mp4", 2, "320x180", 25)
	data := t.TempDir()

	server := &restarting{t: t, data: data}
	server.start()
	var accepted []string
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range uploads {
		group.Go(func() {
			id := server.upload(t.Context(), source, fmt.Sprintf("kill-%d-%d", seed, i))
			mu.Lock()
			defer mu.Unlock()
			accepted = append(accepted, id)
		})
	}
	for range kills {
		timer := time.NewTimer(time.Duration(300+random.IntN(3000)) * time.Millisecond)
		<-timer.C
		server.current().kill()
		server.start()
	}
	group.Wait()
	p := server.current()
	api := p.client()
	for _, id := range accepted {
		end := awaitEnd(t, api, id)
		if end.Status != pipeline.StateVideoReady {
			t.Errorf("%s ended %s: %+v", id, end.Status, end.Problem)
		}
		once := map[string]int{}
		for _, e := range events(t, api, id) {
			if e.Type == pipeline.JobCompleted || e.Type == pipeline.VideoReady {
				once[string(e.Type)+" "+e.Subject]++
			}
		}
		for what, n := range once {
			if n != 1 {
				t.Errorf("%s: %s happened %d times", id, what, n)
			}
		}
	}
	if len(accepted) != uploads {
		t.Errorf("%d of %d uploads were accepted", len(accepted), uploads)
	}
	emptyScratch(t, data)
	if left, _ := filepath.Glob(filepath.Join(data, "objects", ".tmp", "*")); len(left) > 0 {
		t.Errorf("left in the store: %v", left)
	}
}

// restarting is a server that restarts on the same folder, at another address.
type restarting struct {
	t    *testing.T
	data string
	mu   sync.Mutex
	p    *process
}

func (r *restarting) start() {
	p := startServe(r.t, binary, r.data)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.p = p
}

func (r *restarting) current() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.p
}

// upload tries until the server answers 201, always with the same idempotency key.
func (r *restarting) upload(ctx context.Context, source, key string) string {
	for patience := 5 * time.Second; ctx.Err() == nil; patience *= 2 { // a machine may be too slow for the first
		once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		try, cancel := context.WithTimeout(ctx, patience)
		view, err := client.New(r.current().url, once).Upload(try, client.Upload{Path: source, IdempotencyKey: key})
		cancel()
		if err == nil {
			return view.ID
		}
		var answer *client.Error
		if errors.As(err, &answer) && answer.Status < 500 && answer.Status != http.StatusConflict {
			r.t.Errorf("upload %s: %v", key, err)
			return ""
		}
	}
	return ""
}
