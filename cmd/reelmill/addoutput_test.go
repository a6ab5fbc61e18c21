package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/quota"
)

// rung is a step that adds a rung.
func rung(edge int) pipeline.Step {
	return pipeline.Step{Worker: "transcode", With: map[string]any{"ladder": []int{edge}}}
}

// failingStep is a step that fails after two attempts: no encoder is done so soon.
func failingStep() pipeline.Step {
	return pipeline.Step{
		Worker: "watermark", With: map[string]any{"text": "late"}, Timeout: 0.001, Retry: []pipeline.Seconds{0.1},
	}
}

// added adds a step to a video, and waits for the end, which must be as expected.
func added(t *testing.T, p *process, id string, s pipeline.Step, want pipeline.AdditionState) pipeline.AdditionView {
	t.Helper()
	a, err := p.client().AddOutputs(t.Context(), id, s)
	check(t, err)
	a, err = p.client().WaitForAddition(pipelinetest.Context(t), id, a.Number, nil)
	check(t, err)
	if a.Status != want {
		t.Fatalf("addition %d is %s, want %s: %+v\n%s", a.Number, a.Status, want, a.Problem, p.stderr)
	}
	return a
}

// addPipelines is a pipeline with one rung, so that others can be added.
const addPipelines = `
pipelines:
  - name: one
    steps:
      - worker: audio
      - worker: thumbnail
      - worker: transcode
        with: {ladder: [360], copy: never}
`

// startOneRung starts a server with a ready video that has one rung, of 360 lines.
func startOneRung(t *testing.T) (p *process, data, id string) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(addPipelines), 0o600))
	data = t.TempDir()
	p = startServe(t, binary, data, "--config", config)
	view, err := p.client().Upload(t.Context(), client.Upload{Path: clip(t, "film.mp4", 8, "640x360", 25), Pipeline: "one"})
	check(t, err)
	if end := awaitEnd(t, p.client(), view.ID); end.Status != pipeline.StateVideoReady {
		t.Fatalf("%s %+v\n%s", end.Status, end.Problem, p.stderr)
	}
	return p, data, view.ID
}

// TestAddOutputs adds a rung, a watermarked copy and thumbnails to a ready video. Players find the rung by
// HLS and DASH, all of it decodes, and nothing else changes.
func TestAddOutputs(t *testing.T) {
	p, data, id := startOneRung(t)
	base := p.url + "/play/" + id + "/"
	before := played(t, base)
	if bytes.Contains(before["master.m3u8"], []byte("240p")) {
		t.Fatalf("%s", before["master.m3u8"])
	}

	var out, errOut bytes.Buffer
	err := run(t.Context(), []string{"videos", "add-output", id, "--rung", "240", "--wait", "--json", "--server", p.url}, &out, &errOut)
	var a pipeline.AdditionView
	if err != nil || json.Unmarshal(out.Bytes(), &a) != nil || a.Status != pipeline.StateAdditionReady {
		t.Fatalf("%v\n%s\n%s\n%s", err, out.String(), errOut.String(), p.stderr)
	}

	after := played(t, base)
	for path, content := range before {
		if path != "master.m3u8" && path != "manifest.mpd" && !bytes.Equal(after[path], content) {
			t.Errorf("%s was changed by the addition", path)
		}
	}
	if master := string(after["master.m3u8"]); !strings.Contains(master, "\n240p/index.m3u8\n") || !strings.Contains(master, "\n360p/index.m3u8\n") {
		t.Errorf("the master lists:\n%s", master)
	}
	if mpd := string(after["manifest.mpd"]); !strings.Contains(mpd, `height="240"`) || !strings.Contains(mpd, `height="360"`) {
		t.Errorf("the MPD lists:\n%s", mpd)
	}
	if new, old := framesOf(t, base+"240p/index.m3u8"), framesOf(t, base+"360p/index.m3u8"); new != "426,240,200" || old != "640,360,200" {
		t.Errorf("decoded: %s and %s", new, old)
	}

	view, err := p.client().Video(t.Context(), id)
	check(t, err)
	if view.Status != pipeline.StateVideoReady || len(view.Additions) != 1 || view.Progress != 100 {
		t.Errorf("%+v", view)
	}
	repeatsAreOne(t, p, id)
	mark := pipeline.Step{Worker: "watermark", With: map[string]any{"text": "draft"}}
	added(t, p, id, mark, pipeline.StateAdditionReady)
	added(t, p, id, pipeline.Step{Worker: "thumbnail"}, pipeline.StateAdditionReady)
	files := playable(t, p, id, pipeline.KindVideo, pipeline.KindPoster)
	if !slices.ContainsFunc(files, func(path string) bool {
		return strings.HasPrefix(path, "added-") && strings.HasSuffix(path, "thumbnail.jpg")
	}) {
		t.Errorf("files: %v", files)
	}
	check(t, p.client().Delete(t.Context(), id))
	pipelinetest.Until(t, "the removal of all objects", func() bool { return len(objectsOf(t, data, id)) == 0 })
}

// repeatsAreOne checks that a request with an idempotency key adds once, and that a rung that exists is
// refused.
func repeatsAreOne(t *testing.T, p *process, id string) {
	t.Helper()
	ctx := client.WithIdempotencyKey(t.Context(), "once")
	one, err := p.client().AddOutputs(ctx, id, rung(180))
	check(t, err)
	again, err := p.client().AddOutputs(ctx, id, rung(180))
	check(t, err)
	if one.Number != again.Number || one.ID != again.ID || one.Links == nil {
		t.Errorf("%+v and %+v", one, again)
	}
	_, err = p.client().WaitForAddition(pipelinetest.Context(t), id, one.Number, nil)
	check(t, err)
	_, err = p.client().AddOutputs(t.Context(), id, rung(240))
	if answer, ok := errors.AsType[*client.Error](err); !ok || answer.Code != "rendition_exists" || !strings.Contains(answer.Detail, "240p") {
		t.Errorf("a rung that exists: %v", err)
	}
	_, err = p.client().AddOutputs(t.Context(), id, pipeline.Step{Worker: "transcode", With: map[string]any{"lader": 1}}, pipeline.Step{Worker: "nobody"})
	if answer, ok := errors.AsType[*client.Error](err); !ok || answer.Status != http.StatusUnprocessableEntity || len(answer.Errors) != 2 || answer.Errors[0].Pointer != "/body/steps/0/with" || answer.Errors[1].Pointer != "/body/steps/1/worker" {
		t.Errorf("wrong steps: %v", err)
	}
}

var namesInPlaylist = regexp.MustCompile(`(?m)URI="([^"]+)"|^([^#\s].*)$`)

// played returns everything that the master playlist and the MPD of a video lead to, by path.
func played(t *testing.T, base string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"manifest.mpd": get(t, base+"manifest.mpd")}
	var follow func(path string)
	follow = func(path string) {
		if all[path] != nil {
			return
		}
		all[path] = get(t, base+path)
		if !strings.HasSuffix(path, ".m3u8") {
			return
		}
		folder := path[:strings.LastIndex(path, "/")+1]
		for _, m := range namesInPlaylist.FindAllStringSubmatch(string(all[path]), -1) {
			follow(folder + m[1] + m[2])
		}
	}
	follow("master.m3u8")
	return all
}

// framesOf decodes all of a playlist and returns width, height and number of frames.
func framesOf(t *testing.T, address string) string {
	t.Helper()
	if out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", address, "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("decode %s: %v\n%s", address, err, out)
	}
	raw, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v:0", "-count_frames",
		"-show_entries", "stream=width,height,nb_read_frames", "-of", "csv=p=0", address).Output()
	check(t, err)
	fields := strings.Fields(string(raw)) // ffprobe tells of a stream again for its program
	if len(fields) == 0 {
		t.Fatalf("%s has no picture", address)
	}
	return strings.Trim(fields[0], ",")
}

// playable fetches every output of some kinds, and compares it with its hash. It returns their paths.
func playable(t *testing.T, p *process, id string, kinds ...pipeline.OutputKind) (paths []string) {
	t.Helper()
	outputs, err := p.client().Outputs(t.Context(), id)
	check(t, err)
	for _, o := range outputs {
		if !slices.Contains(kinds, o.Kind) {
			continue
		}
		paths = append(paths, o.Path)
		if sum := sha256.Sum256(get(t, p.url+"/play/"+id+"/"+o.Path)); fmt.Sprintf("%x", sum) != o.SHA256 {
			t.Errorf("%s has other bytes", o.Path)
		}
	}
	return paths
}

// objectsOf returns the objects of a video in the store, below its folder.
func objectsOf(t *testing.T, data, id string) (all []string) {
	t.Helper()
	root := filepath.Join(data, "objects", "videos", id)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, strings.TrimPrefix(path, root+"/"))
		}
		return nil // what is being removed
	})
	check(t, err)
	return all
}

// TestFailedAddition adds a rung and a copy that fails after the rung is encoded. The video stays as it was,
// the bytes of the rung are given back, and everybody is told.
func TestFailedAddition(t *testing.T) {
	p, data, id := startOneRung(t)
	usage := func() quota.Report {
		report, err := p.client().Usage(t.Context(), time.Time{}, time.Time{})
		check(t, err)
		return report
	}
	base := p.url + "/play/" + id + "/"
	before, used := played(t, base), usage()
	late := failingStep()
	late.After = []string{"transcode"}
	a, err := p.client().AddOutputs(t.Context(), id, rung(240), late)
	check(t, err)
	all := events(t, p.client(), id) // until the addition has ended, too
	end := all[slices.IndexFunc(all, func(e pipeline.Event) bool { return e.Type == pipeline.VideoOutputsFailed })]
	var told pipeline.AdditionEnd
	check(t, end.Decode(&told))
	if told.State != pipeline.StateAdditionErrored || told.Problem == nil || told.Problem.Code != pipeline.CodeJobTimeout {
		t.Errorf("%s", end.Data)
	}
	a, err = p.client().WaitForAddition(pipelinetest.Context(t), id, a.Number, nil)
	check(t, err)
	if a.Status != pipeline.StateAdditionErrored || a.Problem == nil {
		t.Errorf("%+v", a)
	}
	pipelinetest.Until(t, "the removal of what was stored", func() bool {
		return !slices.ContainsFunc(objectsOf(t, data, id), func(key string) bool { return strings.HasPrefix(key, "added-") })
	})
	pipelinetest.Until(t, "the bytes that are given back", func() bool {
		return usage().Stored == used.Stored
	})
	if now := usage().Period.EncodedMinutes; now != 2*used.Period.EncodedMinutes {
		t.Errorf("encoded %v minutes, before %v", now, used.Period.EncodedMinutes)
	}
	for path, content := range played(t, base) {
		if !bytes.Equal(before[path], content) {
			t.Errorf("%s was changed", path)
		}
	}
	letters, _, err := p.client().DeadLetterPage(t.Context(), 10, "")
	check(t, err)
	if len(letters) != 1 || letters[0].Job != "added-1-watermark" {
		t.Errorf("dead letters: %+v", letters)
	}
	view, err := p.client().Video(t.Context(), id)
	check(t, err)
	if view.Status != pipeline.StateVideoReady {
		t.Errorf("the video is %s", view.Status)
	}
	var out, errOut bytes.Buffer
	err = run(t.Context(), []string{"videos", "add-output", id, "--rung", "240", "--server", p.url, "-o", "yaml"}, &out, &errOut)
	if err != nil || !strings.Contains(out.String(), "240p") {
		t.Errorf("the rung again: %v\n%s%s", err, out.String(), errOut.String())
	}
}

var addKillSeed = flag.Uint64("addkillseed", 0, "seed of TestAddOutputKill; 0 for one from the clock")

// TestAddOutputKill kills the server at random moments while rungs are added. Every addition that was
// answered ends ready, once, and the manifests list all of them.
func TestAddOutputKill(t *testing.T) {
	seed := *addKillSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-addkillseed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	p, data, id := startOneRung(t)
	rungs := []int{240, 180, 144}
	for i, edge := range rungs {
		ctx := client.WithIdempotencyKey(t.Context(), fmt.Sprint("add-", edge))
		_, err := p.client().AddOutputs(ctx, id, rung(edge))
		check(t, err)
		timer := time.NewTimer(time.Duration(random.IntN(2500)) * time.Millisecond)
		<-timer.C
		p.kill()
		p = startServe(t, binary, data)
		again, err := p.client().AddOutputs(ctx, id, rung(edge))
		check(t, err)
		if again.Number != i+1 {
			t.Errorf("the request for %dp, repeated after the kill, made addition %d", edge, again.Number)
		}
	}
	for n, edge := range rungs {
		a, err := p.client().WaitForAddition(pipelinetest.Context(t), id, n+1, nil)
		check(t, err)
		if want := fmt.Sprintf("%dp", edge); a.Status != pipeline.StateAdditionReady || !slices.Contains(a.Renditions, want) {
			t.Errorf("%+v", a)
		}
	}
	once := map[string]int{}
	for _, e := range events(t, p.client(), id) {
		if e.Type == pipeline.JobCompleted || e.Type == pipeline.VideoOutputsAdded || e.Type == pipeline.VideoOutputsRequested {
			once[string(e.Type)+" "+e.Subject]++
		}
	}
	for what, n := range once {
		if n != 1 {
			t.Errorf("%s happened %d times", what, n)
		}
	}
	all := played(t, p.url+"/play/"+id+"/")
	for _, edge := range append(rungs, 360) {
		if !strings.Contains(string(all["master.m3u8"]), fmt.Sprintf("\n%dp/index.m3u8\n", edge)) {
			t.Errorf("%dp is not in the master:\n%s", edge, all["master.m3u8"])
		}
	}
	emptyScratch(t, data)
}

// TestAddOutputToSigned adds a rung to a signed video: it plays with a token, and with no other.
func TestAddOutputToSigned(t *testing.T) {
	s := startSite(t, clip(t, "film.mp4", 8, "640x360", 25))
	added(t, s.process, s.video, rung(144), pipeline.StateAdditionReady)
	token := s.token(t, time.Now().Add(time.Hour))
	master := visit(t, s.at(s.url, "master.m3u8", token))
	playlist := regexp.MustCompile(`(?m)^(\S*)144p/index\.m3u8$`).FindStringSubmatch(master.body)
	if playlist == nil {
		t.Fatalf("%d\n%s", master.status, master.body)
	}
	address := s.at(s.url, playlist[0], "")
	if got := framesOf(t, address); got != "256,144,200" {
		t.Errorf("decoded: %s", got)
	}
	if a := visit(t, s.at(s.url, "144p/index.m3u8", "")); a.status != http.StatusForbidden {
		t.Errorf("without a token: %d", a.status)
	}
}
