package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestRetention follows the rules of a project on a running server: sources go, and what was made of them still
// plays; then everything goes, but for the video that is held. Another project keeps all.
func TestRetention(t *testing.T) {
	t.Setenv("REELMILL_CLEAN_EVERY", "200ms")
	t.Setenv("REELMILL_RETENTION_DAY", "1ms")
	data := t.TempDir()
	p := startServe(t, binary, data)
	api := p.client()
	film := clip(t, "film.mp4", 2, "320x180", 10)
	upload := func(path string) pipeline.VideoView {
		v, err := api.Upload(t.Context(), client.Upload{Path: path})
		check(t, err)
		return awaitEnd(t, api, v.ID)
	}
	bad := filepath.Join(t.TempDir(), "bad.mp4")
	check(t, os.WriteFile(bad, []byte("no video"), 0o600))
	ready, held, rejected := upload(film), upload(film), upload(bad)
	_, err := api.SetHold(t.Context(), held.ID, "case 7")
	check(t, err)
	_, err = api.CreateProject(t.Context(), "other", access.Settings{})
	check(t, err)

	var out, said bytes.Buffer
	rule := []string{"projects", "change", "default", "--server", p.url, "--source-days", "1"}
	err = run(t.Context(), rule, &out, &said)
	if exitCode(err) != exitFailure || !strings.Contains(said.String(), "delete 0 videos and 2 sources") {
		t.Fatalf("%v: %s", err, &said)
	}
	if v, err := api.Video(t.Context(), ready.ID); err != nil || v.SourceDeletedAt != nil {
		t.Fatalf("without --yes: %+v, %v", v, err)
	}
	command(t, append(rule, "--yes")...)
	sources := func(id string) []string { return files(t, filepath.Join(data, "objects", "videos", id, "source")) }
	for _, id := range []string{ready.ID, rejected.ID} {
		pipelinetest.Until(t, "the source of "+id+" is gone", func() bool { return len(sources(id)) == 0 })
		sourceDeletionTold(t, api, id, "source_days")
	}
	if len(sources(held.ID)) == 0 {
		t.Error("the source of the held video is gone")
	}
	usage, err := api.Usage(t.Context(), time.Time{}, time.Time{})
	if check(t, err); usage.Stored.SourceBytes != held.Size {
		t.Errorf("%d bytes of sources are counted, want %d", usage.Stored.SourceBytes, held.Size)
	}
	checkPlays(t, p.url, ready)
	for _, id := range []string{ready.ID, rejected.ID} { // neither can be tried again
		if _, err := api.Retry(t.Context(), id); err == nil {
			t.Errorf("%s was retried", id)
		}
	}

	days := 1
	_, err = api.ConfirmProjectChange(t.Context(), "default",
		access.Change{Retention: &access.RetentionChange{VideoDays: &days}})
	check(t, err)
	for _, id := range []string{ready.ID, rejected.ID} {
		folder := filepath.Join(data, "objects", "videos", id)
		pipelinetest.Until(t, "everything of "+id+" is gone", func() bool { return len(files(t, folder)) == 0 })
		if _, err := api.Video(t.Context(), id); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	deletions(t, api, ready.ID, rejected.ID)
	checkPlays(t, p.url, held)
	var refused *client.Error
	if err := api.Delete(t.Context(), held.ID); !errors.As(err, &refused) || refused.Code != "video_held" {
		t.Errorf("delete the held video: %v", err)
	}
	if len(sources(held.ID)) == 0 {
		t.Error("the source of the held video is gone")
	}
	p.stop(t)
}

// files returns the files below a folder; none if it is missing.
func files(t *testing.T, folder string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	check(t, err)
	return all
}

// sourceDeletionTold checks that the log says by which rule the source of a video was deleted, and that its bytes are gone.
func sourceDeletionTold(t *testing.T, api *client.Client, id, rule string) {
	t.Helper()
	pipelinetest.Until(t, "the log says that the bytes are gone", func() bool {
		all := events(t, api, id)
		return len(all) > 0 && all[len(all)-1].Type == pipeline.VideoSourcePurged
	})
	for _, e := range events(t, api, id) {
		var d pipeline.Deletion
		if e.Type != pipeline.VideoSourceDeleted {
			continue
		}
		if err := e.Decode(&d); err != nil || d.Rule != rule || d.Days != 1 || d.SourceBytes == 0 ||
			d.AgeDays < 1 || e.Actor != pipeline.ActorSystem {
			t.Errorf("%s: by %s, %s, %v", id, e.Actor, e.Data, err)
		}
	}
}

// deletions checks that the log has the deletions of these videos and of no others, with their rule.
func deletions(t *testing.T, api *client.Client, ids ...string) {
	t.Helper()
	left := map[string]bool{}
	for _, id := range ids {
		left[id] = true
	}
	for e, err := range api.AllEvents(t.Context(), client.EventFilter{Types: []pipeline.EventType{pipeline.VideoDeleted}}) {
		check(t, err)
		var d pipeline.Deletion
		if err := e.Decode(&d); err != nil || !left[e.CorrelationID] || d.Rule != "video_days" ||
			d.Reason != "retention" || e.Actor != pipeline.ActorSystem {
			t.Errorf("deletion of %s by %s: %s, %v", e.CorrelationID, e.Actor, e.Data, err)
		}
		delete(left, e.CorrelationID)
	}
	if len(left) > 0 {
		t.Errorf("the log has no deletion of %v", left)
	}
}

// checkPlays checks that the manifest of a video and its poster are answered.
func checkPlays(t *testing.T, server string, v pipeline.VideoView) {
	t.Helper()
	for _, url := range []string{server + v.PlayURL, server + "/play/" + v.ID + "/thumbnail.jpg"} {
		resp, err := http.Get(url)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", url, resp.Status)
		}
	}
}
