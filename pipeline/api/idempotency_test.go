package api

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

func TestIdempotencyKey(t *testing.T) {
	e := newEnv(t, nil)
	first := e.uploaded("Idempotency-Key", "k1")
	keys := e.objects()
	resp, raw := e.post([]part{file("cat.mp4", "meow")}, "Idempotency-Key", "k1")
	if resp.StatusCode != 201 || resp.Header.Get("Idempotency-Replayed") != "true" {
		t.Fatalf("%s %v: %s", resp.Status, resp.Header, raw)
	}
	if diff := cmp.Diff(first, decode[pipeline.VideoView](t, raw)); diff != "" {
		t.Error(diff)
	}
	equal(t, "objects after the replay", e.objects(), keys...)
	for _, parts := range [][]part{
		{file("cat.mp4", "woof")}, {file("cat.mp4", "meow"), field("passthrough", "x")},
	} {
		resp, raw = e.post(parts, "Idempotency-Key", "k1")
		wantProblem(t, resp, raw, codeKeyReused)
		equal(t, "objects after the reuse", e.objects(), keys...)
	}
	if other := e.uploaded("Idempotency-Key", "k2"); other.ID == first.ID {
		t.Error("two keys, one video")
	}
	if resp, raw := e.do("DELETE", "/v1/videos/"+first.ID, nil); resp.StatusCode != 204 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw = e.post([]part{file("cat.mp4", "meow")}, "Idempotency-Key", "k1")
	wantProblem(t, resp, raw, codeVideoDeleted)
}

// The catalog may not have the deletion yet, or may already have removed the video.
func TestIdempotencyKeyOfADeletedVideo(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Catalog = lateCatalog{c.Catalog} })
	v := e.uploaded("Idempotency-Key", "k")
	_, err := pipeline.Delete(t.Context(), e.Bus, project, v.ID)
	must(t, err)
	resp, raw := e.post([]part{file("cat.mp4", "meow")}, "Idempotency-Key", "k")
	wantProblem(t, resp, raw, codeVideoDeleted)
}

func TestIdempotencyKeyAtOnce(t *testing.T) {
	e := newEnv(t, nil)
	ids := make([]string, 6)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { ids[i] = e.uploaded("Idempotency-Key", "same").ID })
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("videos %v", ids)
		}
	}
	up := e.uploadOf(ids[0])
	equal(t, "objects", e.objects(), up.Source.Key)
}
