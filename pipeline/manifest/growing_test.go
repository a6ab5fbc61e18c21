package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

// chunk returns the outputs of a completed job for a rung: its run of segments of 6 s, and the init section.
func chunk(rung string, height, first, count int, last bool) []pipeline.Output {
	o := pipeline.Output{
		Name: rung, Path: rung + "/" + SegmentName, Key: fmt.Sprintf("videos/v/%d/%s/", first, rung) + SegmentName,
		Kind: pipeline.KindRendition, Size: int64(count) * 600000, Duration: 6 * float64(count),
		Width: height * 16 / 9, Height: height, FrameRate: 25, Codecs: "avc1.64001F",
		Bandwidth: int64(1000*height + first), AverageBandwidth: int64(900 * height),
		Segments: &pipeline.Segments{First: first, Count: count, Last: last, Header: "h"},
	}
	for range count {
		o.Segments.Durations = append(o.Segments.Durations, 6)
	}
	header := pipeline.Output{Name: rung, Kind: pipeline.KindInit, Path: rung + "/" + InitName}
	return []pipeline.Output{o, header}
}

// voice returns the outputs of a completed audio job.
func voice(name, language string) []pipeline.Output {
	all := chunk(name, 0, 0, 2, true)
	all[0].Kind, all[0].Codecs, all[0].Bandwidth, all[0].AverageBandwidth = pipeline.KindAudioRendition,
		"mp4a.40.2", 130000, 128000
	all[0].Language, all[0].Channels, all[0].FrameRate = language, 2, 0
	return all
}

// spoiled returns outputs with a change to the first.
func spoiled(outputs []pipeline.Output, change func(*pipeline.Output)) []pipeline.Output {
	change(&outputs[0])
	return outputs
}

func TestJoin(t *testing.T) {
	header := func(o *pipeline.Output) { o.Segments.Header = "other" }
	codecs := func(o *pipeline.Output) { o.Codecs = "avc1.4D401F" }
	unlisted := func(o *pipeline.Output) { o.Segments.Durations = nil }
	for _, c := range []struct {
		name     string
		outputs  [][]pipeline.Output
		segments int // of 720p; -1 if it is missing
		complete bool
	}{
		{"nothing", nil, -1, false},
		{"the first", [][]pipeline.Output{chunk("720p", 720, 0, 3, false)}, 3, false},
		{"a whole", [][]pipeline.Output{chunk("720p", 720, 0, 3, true)}, 3, true},
		{"in order", [][]pipeline.Output{chunk("720p", 720, 0, 3, false), chunk("720p", 720, 3, 2, true)}, 5, true},
		{"the other way", [][]pipeline.Output{chunk("720p", 720, 3, 2, true), chunk("720p", 720, 0, 3, false)}, 5, true},
		{"a hole", [][]pipeline.Output{chunk("720p", 720, 0, 3, false), chunk("720p", 720, 4, 2, true)}, 3, false},
		{"no first", [][]pipeline.Output{chunk("720p", 720, 3, 2, true)}, -1, false},
		{"of another rung", [][]pipeline.Output{chunk("720p", 720, 0, 3, false), chunk("360p", 360, 3, 2, true)}, 3, false},
		{"another header", [][]pipeline.Output{chunk("720p", 720, 0, 3, false),
			spoiled(chunk("720p", 720, 3, 2, true), header)}, 3, false},
		{"other codecs", [][]pipeline.Output{chunk("720p", 720, 0, 3, false),
			spoiled(chunk("720p", 720, 3, 2, true), codecs)}, 3, false},
		{"no durations", [][]pipeline.Output{chunk("720p", 720, 0, 3, false),
			spoiled(chunk("720p", 720, 3, 2, true), unlisted)}, 3, false},
		{"no durations at all", [][]pipeline.Output{spoiled(chunk("720p", 720, 0, 3, true), unlisted)}, -1, false},
		{"no init section", [][]pipeline.Output{chunk("720p", 720, 0, 3, true)[:1]}, -1, false},
		{"made twice", [][]pipeline.Output{chunk("720p", 720, 0, 3, false), chunk("720p", 720, 0, 2, false)}, 2, false},
		{"overlapping", [][]pipeline.Output{chunk("720p", 720, 0, 3, false), chunk("720p", 720, 2, 2, true)}, 3, false},
		{"a file", [][]pipeline.Output{{{Kind: pipeline.KindVideo, Path: "720p/" + SegmentName}}}, -1, false},
	} {
		segments, complete := -1, false
		for _, r := range Join(slices.Concat(c.outputs...)) {
			if r.Dir == "720p" {
				segments, complete = len(r.Track.Segments), r.Complete
			}
		}
		if segments != c.segments || complete != c.complete {
			t.Errorf("%s: %d segments, complete %v; want %d, %v", c.name, segments, complete, c.segments, c.complete)
		}
	}
}

// TestJoinOrder: what an earlier step of the pipeline made comes first, whatever the steps are called.
func TestJoinOrder(t *testing.T) {
	var dirs []string
	for _, r := range Join(slices.Concat(
		voice("another/audio-eng", "eng"), chunk("720p", 720, 0, 1, true), voice("audio-eng", "eng"), voice("audio-fra", "fra"),
	)) {
		dirs = append(dirs, r.Dir)
	}
	if diff := cmp.Diff([]string{"720p", "audio-eng", "audio-fra", "another/audio-eng"}, dirs); diff != "" {
		t.Error(diff)
	}
}

func TestJoinMeasures(t *testing.T) {
	second := chunk("720p", 720, 1, 3, false)
	second[0].Bandwidth, second[0].AverageBandwidth = 5000000, 1000000
	outputs := slices.Concat(second, chunk("720p", 720, 0, 1, false))
	r := Join(outputs)[0]
	if o := r.Output; o.Bandwidth != 5000000 || o.AverageBandwidth != 912000 || o.Duration != 24 ||
		o.Size != 2400000 || o.Segments.Count != 4 || o.Height != 720 {
		t.Errorf("%+v", o)
	}
}

// paths lists the playlists of a tree, the master first; none while there is no picture.
func paths(tree Tree) []string {
	if len(tree.pictures) == 0 {
		return nil
	}
	all := []string{MasterName}
	for _, r := range slices.Concat(tree.pictures, tree.sounds) {
		all = append(all, r.Dir+"/"+PlaylistName)
	}
	return all
}

// text reads a playlist of a tree.
func text(t *testing.T, tree Tree, path string) string {
	t.Helper()
	got, err := tree.Text(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestGrowing(t *testing.T) {
	outputs := slices.Concat(voice("audio-und", "und"), chunk("360p", 360, 0, 2, false))
	tree := Growing(outputs)
	want := []string{"master.m3u8", "360p/index.m3u8", "audio-und/index.m3u8"}
	if diff := cmp.Diff(want, paths(tree)); diff != "" {
		t.Error(diff)
	}
	check(t, []byte(text(t, tree, MasterName)), nil, `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio-und/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=490000,AVERAGE-BANDWIDTH=452000,CODECS="avc1.64001F,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=25.000,VIDEO-RANGE=SDR,AUDIO="audio",CLOSED-CAPTIONS=NONE
360p/index.m3u8
`)
	if got := text(t, tree, "360p/index.m3u8"); !strings.Contains(got, ":EVENT\n") ||
		strings.Contains(got, "ENDLIST") || strings.Count(got, "\nseg_") != 2 {
		t.Errorf("growing:\n%s", got)
	}
	if got := text(t, tree, "audio-und/index.m3u8"); !strings.Contains(got, ":VOD\n") ||
		!strings.HasSuffix(got, "#EXT-X-ENDLIST\n") {
		t.Errorf("whole:\n%s", got)
	}
}

// TestGrowingTarget: the target covers a longer segment that comes later, as in a copied rung.
func TestGrowingTarget(t *testing.T) {
	var all []pipeline.Output
	for n, last := range []bool{false, false, true} {
		longest := func(o *pipeline.Output) {
			if o.Segments != nil {
				o.Segments.Longest = 9.6
			}
		}
		run := spoiled(chunk("720p", 720, n, 1, last), longest)
		if last {
			run[0].Segments.Durations = []float64{9.6}
		}
		all = append(all, run...)
		if got := text(t, Growing(all), "720p/index.m3u8"); !strings.Contains(got, "TARGETDURATION:10\n") {
			t.Errorf("after run %d:\n%s", n, got)
		}
	}
}

// TestGrowingEnds: the playlists of a video that will not be completed end, so players do not wait for more.
func TestGrowingEnds(t *testing.T) {
	tree := Growing(slices.Concat(voice("audio-und", "und"), chunk("360p", 360, 0, 2, false))).Ended()
	got := text(t, tree, "360p/index.m3u8")
	if !strings.Contains(got, ":VOD\n") || !strings.HasSuffix(got, "seg_00001.m4s\n#EXT-X-ENDLIST\n") {
		t.Errorf("ended:\n%s", got)
	}
}

// variants returns the playlists that a master lists, in order.
func variants(t *testing.T, tree Tree) string {
	t.Helper()
	var uris []string
	for line := range strings.Lines(text(t, tree, MasterName)) {
		if !strings.HasPrefix(line, "#") {
			uris = append(uris, strings.TrimSpace(line))
		}
	}
	return strings.Join(uris, " ")
}

func TestGrowingListsWhatPlaysToTheEnd(t *testing.T) {
	begun := slices.Concat(chunk("360p", 360, 0, 2, false), chunk("1080p", 1080, 0, 1, false))
	if got := variants(t, Growing(begun)); got != "360p/index.m3u8 1080p/index.m3u8" {
		t.Errorf("while all grow: %s", got)
	}
	copied := append(begun, chunk("source", 1080, 0, 9, true)...)
	if got := variants(t, Growing(copied)); got != "source/index.m3u8" {
		t.Errorf("with one complete: %s", got)
	}
	// A player that began with a growing playlist can go on with it.
	if got := text(t, Growing(copied), "360p/index.m3u8"); !strings.Contains(got, "EVENT") {
		t.Errorf("360p:\n%s", got)
	}
	both := append(copied, chunk("360p", 360, 2, 1, true)...)
	if got := variants(t, Growing(both)); got != "360p/index.m3u8 source/index.m3u8" {
		t.Errorf("with two complete: %s", got)
	}
}

func TestGrowingHasNothingToShow(t *testing.T) {
	silent := func(o *pipeline.Output) { o.Bandwidth = 0 }
	for name, outputs := range map[string][]pipeline.Output{
		"nothing": nil, "audio only": voice("audio-eng", "eng"), "a hole": chunk("360p", 360, 1, 1, true),
		"not measured": spoiled(chunk("360p", 360, 0, 1, true), silent),
	} {
		tree := Growing(outputs)
		if got := paths(tree); got != nil {
			t.Errorf("%s: %v", name, got)
		}
		for _, path := range []string{MasterName, "360p/index.m3u8", "audio-eng/index.m3u8"} {
			if got, err := tree.Text(path); !errors.Is(err, pipeline.ErrNotFound) {
				t.Errorf("%s: %s, %v", name, got, err)
			}
		}
	}
	tree := Growing(chunk("360p", 360, 0, 1, true))
	if got, err := tree.Text("360p/init.mp4"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a path without a playlist: %s, %v", got, err)
	}
	if got := text(t, tree, MasterName); strings.Contains(got, "AUDIO") {
		t.Errorf("a video without audio:\n%s", got)
	}
}

func TestSounds(t *testing.T) {
	var renditions []pipeline.Output
	for _, code := range []string{"eng", "und", "ger", "eng", "x-y-z!", "", "zxx"} {
		renditions = append(renditions, pipeline.Output{
			Path: "audio-" + code + "/" + SegmentName, Language: code, Channels: 2, Codecs: "mp4a.40.2", Bandwidth: 3,
			AverageBandwidth: 2,
		})
	}
	var got []string
	for _, a := range audioRenditions(renditions) {
		got = append(got, a.Language+"="+a.Name+"@"+a.URI)
		if a.Channels != 2 || a.Codecs != "mp4a.40.2" || a.Peak != 3 || a.Average != 2 {
			t.Errorf("%+v", a)
		}
	}
	want := []string{
		"en=English@audio-eng/index.m3u8", "=Audio@audio-und/index.m3u8", "de=German@audio-ger/index.m3u8",
		"en=English 2@audio-eng/index.m3u8", "=Audio 2@audio-x-y-z!/index.m3u8", "=Audio 3@audio-/index.m3u8",
		"zxx=No linguistic content@audio-zxx/index.m3u8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestGrowingOnlyAppends: in whatever order jobs complete, the text of a growing playlist is the beginning
// of every later one, up to the complete one, whose segments begin in the same way. No segment is listed
// before its job completes, and every listed one exists.
func TestGrowingOnlyAppends(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		jobs, lengths := drawJobs(rt)
		stored, before := map[string]bool{}, map[string]string{}
		var done []pipeline.Output
		for _, outputs := range jobs {
			done = append(done, outputs...)
			for _, o := range outputs {
				for i := range count(o) {
					stored[fmt.Sprintf(o.Path, o.Segments.First+i)] = true
				}
			}
			tree := Growing(done)
			if before[MasterName] != "" && len(paths(tree)) == 0 {
				rt.Fatal("a playlist that could be played is missing")
			}
			for _, path := range paths(tree) {
				got, err := tree.Text(path)
				if err != nil {
					rt.Fatal(err)
				}
				checkGrowth(rt, path, before[path], string(got), stored)
				before[path] = string(got)
			}
		}
		for rung, n := range lengths {
			got := before[rung+"/"+PlaylistName]
			if !strings.HasSuffix(got, "#EXT-X-ENDLIST\n") || strings.Count(got, "\nseg_") != n {
				rt.Fatalf("all is done, and %s of %d segments is\n%s", rung, n, got)
			}
		}
	})
}

func count(o pipeline.Output) int {
	if o.Segments == nil {
		return 0
	}
	return o.Segments.Count
}

// drawJobs draws the outputs of jobs in the order in which they complete, and the final number of segments
// of each rung.
func drawJobs(rt *rapid.T) (jobs [][]pipeline.Output, lengths map[string]int) {
	lengths = map[string]int{}
	for i := range rapid.IntRange(1, 3).Draw(rt, "rungs") {
		rung := fmt.Sprintf("%dp", 360*(i+1))
		chunks := rapid.IntRange(1, 6).Draw(rt, "chunks")
		for c := range chunks {
			n := rapid.IntRange(1, 4).Draw(rt, "segments")
			jobs = append(jobs, chunk(rung, 360*(i+1), lengths[rung], n, c == chunks-1))
			lengths[rung] += n
		}
	}
	if rapid.Bool().Draw(rt, "sound") {
		jobs, lengths["audio-eng"] = append(jobs, voice("audio-eng", "eng")), 2
	}
	return rapid.Permutation(jobs).Draw(rt, "order"), lengths
}

// checkGrowth compares a playlist with its previous text.
func checkGrowth(rt *rapid.T, path, before, now string, stored map[string]bool) {
	if path == MasterName {
		return
	}
	whole := strings.HasSuffix(now, "#EXT-X-ENDLIST\n")
	was, is := listed(before), listed(now)
	switch {
	case strings.HasSuffix(before, "#EXT-X-ENDLIST\n") && now != before:
		rt.Fatalf("%s was complete, and is\n%s", path, now)
	case !whole && !strings.HasPrefix(now, before):
		rt.Fatalf("%s was\n%s\nand is\n%s", path, before, now)
	case !strings.HasPrefix(is, was):
		rt.Fatalf("%s listed\n%s\nand lists\n%s", path, was, is)
	}
	for line := range strings.Lines(is) {
		if dir, _, _ := strings.Cut(path, "/"); !strings.HasPrefix(line, "#") && !stored[dir+"/"+strings.TrimSpace(line)] {
			rt.Fatalf("%s lists %s, which no completed job has stored", path, line)
		}
	}
}

// listed is the segments of a playlist, with their lengths.
func listed(text string) string {
	at := max(0, strings.Index(text, "#EXTINF"))
	return strings.TrimSuffix(text[at:], "#EXT-X-ENDLIST\n")
}
