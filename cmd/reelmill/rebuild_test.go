package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// TestRebuild deletes the read model and has it made anew: every answer of the API is the same to the byte.
func TestRebuild(t *testing.T) {
	data := t.TempDir()
	p := startServe(t, binary, data)
	api := p.client()
	bad := filepath.Join(t.TempDir(), "bad.mp4")
	if err := os.WriteFile(bad, []byte("no video at all, only a few words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, u := range []client.Upload{
		{Path: clip(t, "one.mp4", 2, "320x180", 25), Metadata: map[string]string{"a": "b"}},
		{Path: clip(t, "two.mp4", 2, "180x320", 30), Watermark: "text:two"},
		{Path: bad},
	} {
		view, err := api.Upload(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		awaitEnd(t, api, view.ID)
	}
	before := answers(t, p)
	p.stop(t)
	files, err := filepath.Glob(filepath.Join(data, "catalog.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("catalog files: %v, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	if err := run(t.Context(), []string{"rebuild", "--data", data}, &out, &errOut); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, errOut.String())
	}
	after := answers(t, startServe(t, binary, data))
	if len(before) != len(after) || len(before) < 13 {
		t.Fatalf("%d answers before, %d after", len(before), len(after))
	}
	for path, want := range before {
		if got := after[path]; !bytes.Equal(got, want) {
			t.Errorf("%s before\n%s\nafter\n%s", path, want, got)
		}
	}
}

// answers collects what the API says of every video.
func answers(t *testing.T, p *process) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"/v1/videos": get(t, p.url+"/v1/videos")}
	var list struct {
		Data []pipeline.VideoView `json:"data"`
	}
	if err := json.Unmarshal(all["/v1/videos"], &list); err != nil {
		t.Fatal(err)
	}
	for _, v := range list.Data {
		for _, suffix := range []string{"", "/jobs", "/outputs", "/events"} {
			path := "/v1/videos/" + v.ID + suffix
			all[path] = get(t, p.url+path)
		}
	}
	return all
}
