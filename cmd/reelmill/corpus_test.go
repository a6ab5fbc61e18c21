//go:build corpus

package main

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

var corpus = flag.String("corpus", "", "a folder of videos that TestSourcesOfCorpus processes")

// TestSourcesOfCorpus is TestSources with the videos of -corpus, some of which may be rejected.
func TestSourcesOfCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(*corpus, "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	ready := func(end pipeline.VideoView) bool { return end.Status == pipeline.StateVideoReady }
	if !slices.ContainsFunc(checkSources(t, files), ready) {
		t.Errorf("of %d videos none is ready", len(files))
	}
}

// TestSandboxOfCorpus checks that the videos of -corpus give the same files in a sandbox and without, and
// prints how long each took. Encoders have one thread: with more, the bytes that x264 makes at a bounded rate
// differ from run to run.
func TestSandboxOfCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(*corpus, "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	total := map[string]time.Duration{}
	made := 0
	for i, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			results, modes := map[string]map[string]string{}, []string{"required", "off"}
			if i%2 == 1 {
				slices.Reverse(modes) // whoever comes second finds the file in memory
			}
			for _, mode := range modes {
				out := filepath.Join(t.TempDir(), "out")
				began := time.Now()
				text, err := exec.CommandContext(t.Context(), binary, "run", file, "--out", out, "--watermark", "text:Draft",
					"--threads", "1", "--sandbox", mode).CombinedOutput()
				total[mode] += time.Since(began)
				results[mode] = hashes(t, out)
				made += len(results[mode])
				if err != nil {
					results[mode]["error"] = fmt.Sprint(err, " ", lastLine(text))
				}
				t.Logf("%s: %v, %d files, %s", mode, time.Since(began).Round(time.Millisecond), len(results[mode]), results[mode]["error"])
			}
			caged, free := results["required"], results["off"]
			for name := range maps.Keys(free) {
				if caged[name] != free[name] {
					t.Errorf("%s differs: %s in the sandbox, %s without", name, caged[name], free[name])
				}
			}
			if len(caged) != len(free) {
				t.Errorf("%d files in the sandbox, %d without", len(caged), len(free))
			}
		})
	}
	t.Logf("all together: %v in the sandbox, %v without, ratio %.3f", total["required"], total["off"],
		total["required"].Seconds()/total["off"].Seconds())
	if made == 0 {
		t.Error("no video made anything")
	}
}

// lastLine returns the last line of a text.
func lastLine(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(lines[len(lines)-1])
}

// hashes returns the hash of each file below dir, by its path.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		sums[name] = fmt.Sprintf("%d bytes, %x", len(data), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}
