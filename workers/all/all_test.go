package all

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/workers/webhook"
	"github.com/reelmill/reelmill/workers/workertest"
)

func TestEveryFolderIsListed(t *testing.T) {
	r, err := New(Config{Webhook: webhook.Config{Secret: secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}})
	if err != nil {
		t.Fatal(err)
	}
	var listed, folders []string
	for _, worker := range r.Types() {
		listed = append(listed, worker.Name)
		if !strings.HasPrefix(string(worker.Schema), "{") {
			t.Errorf("worker %s has the schema %s", worker.Name, worker.Schema)
		}
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains([]string{"all", "internal", "workertest", "testdata"}, e.Name()) {
			folders = append(folders, e.Name())
		}
	}
	if !slices.Equal(listed, folders) {
		t.Errorf("listed %v, folders %v", listed, folders)
	}
	for name, missing := range r.CheckMachine(t.Context()) {
		t.Errorf("worker %s: %v", name, missing)
	}
	if err := pipeline.Default().Validate(r); err != nil {
		t.Error(err)
	}
	if known := Programs(t.Context(), Config{}); len(known) != 1 || known[0].Name != "ffmpeg" || known[0].Version == "" {
		t.Errorf("ffmpeg has no version: %+v", known)
	}
}

func TestMissingProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "apt-get install ffmpeg") {
		t.Errorf("without ffmpeg: %v", err)
	}
}

// TestDefaultPipeline takes one upload through every worker, from inspection to playback of the outputs.
func TestDefaultPipeline(t *testing.T) { defaultPipeline(t, Config{}) }

func defaultPipeline(t *testing.T, c Config) {
	t.Helper()
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	source := workertest.Clip(t, "a.mkv", slices.Concat(workertest.Pattern("320x180", "10", "2"), workertest.Tone("2"),
		[]string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-metadata:s:a:0", "language=fra"})...)
	store := workertest.NewStore(t)
	in := workertest.Inspect(t, r, store, source)
	if in.Verdict != pipeline.VerdictAccept {
		t.Fatalf("finding %+v", in.Reason)
	}
	results := workertest.Video(t, r, store, source, *in.Media, pipeline.Default(),
		map[string]map[string]any{"watermark": {"text": "ReelMill"}})
	root := store.Tree(t, results)
	for _, name := range []string{"thumbnail.jpg", "storyboard.vtt", "audio.m4a", "watermarked.mp4", "180p/seg_00000.m4s"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%v", err)
		}
	}
	master, err := os.ReadFile(filepath.Join(root, "master.m3u8"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`LANGUAGE="fr"`, `URI="audio-fra/index.m3u8"`, "180p/index.m3u8", "RESOLUTION=320x180"} {
		if !strings.Contains(string(master), want) {
			t.Errorf("the master lacks %s:\n%s", want, master)
		}
	}
	// A player that follows the playlists reads video and audio to the end.
	workertest.Clip(t, "played.mkv", "-xerror", "-i", filepath.Join(root, "master.m3u8"), "-c", "copy")
}
