package transcode

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestCeilingsRiseWithPixels: the cap of a size between two steps is between their caps.
func TestCeilingsRiseWithPixels(t *testing.T) {
	for edge, want := range map[int]int{
		16: 400, 240: 400, 300: 625, 360: 900, 480: 2100, 600: 3452, 720: 4500, 880: 6277, 1080: 9000, 2160: 25400, 3000: 25400,
	} {
		if got := ceiling(edge); got != want {
			t.Errorf("%dp: %d kbit/s, want %d", edge, got, want)
		}
	}
}

// TestSizeOfItsOwnAsFile: a progressive file of a rung with the source's own size can be asked for by name.
func TestSizeOfItsOwnAsFile(t *testing.T) {
	m := pipeline.Media{Container: "mov", Duration: 8, Video: track(800, 600, 30, 1)}
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{MP4: []string{"600p"}}, m)
	if err != nil || len(jobs) != 2 || jobs[1].Name != "mp4-600p" {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
}

// TestPlanFollowsTheBits: all jobs of a rung have the same rate, limited by the bits of the source, and
// enough scratch space for it.
func TestPlanFollowsTheBits(t *testing.T) {
	m := pipeline.Media{Container: "mov", Duration: 60, Video: track(1280, 720, 24, 1)}
	m.Video.Codec, m.Video.Bitrate = "h264", 1000000
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{}, m)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i, p := range parts(t, jobs) {
		bits := 0
		for _, r := range p.Rungs {
			if before := seen[r.Name]; before != 0 && before != r.Maxrate {
				t.Errorf("%s has %d and %d kbit/s", r.Name, before, r.Maxrate)
			}
			seen[r.Name] = r.Maxrate
			bits += 1000 * r.Maxrate
		}
		if p.End > 0 && 8*jobs[i].Scratch < 2*int64(float64(bits)*float64(p.End-p.Start)/p.Rate.Float()) {
			t.Errorf("%s has %d bytes of scratch for twice %d bits/s", jobs[i].Name, jobs[i].Scratch, bits)
		}
	}
	if seen["720p"] >= 1300 || seen["720p"] < 1000 || seen["540p"] >= 1300*9/16 || seen["360p"] != seen["720p"]/4 {
		t.Errorf("rates %v", seen)
	}
}

// TestOutputHasNoMoreBitsThanItsSource: if the source has coding noise, a rung has at most 1.3 times the
// source's bits, scaled by the pixels, or 150 kbit/s if that is more.
func TestOutputHasNoMoreBitsThanItsSource(t *testing.T) {
	const seconds = 8
	source := workertest.Clip(t, "a.mp4", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=10:d=8,noise=alls=40:allf=t:all_seed=1",
		"-c:v", "libx264", "-preset", "medium", "-b:v", "200k", "-pix_fmt", "yuv420p")
	info, err := os.Stat(source)
	if err != nil {
		t.Fatal(err)
	}
	m := workertest.Media(320, 180, 10, seconds)
	m.Size, m.Video.Bitrate = info.Size(), 8*info.Size()/seconds
	root := runAll(t, `{"ladder":[104,180],"copy":"never"}`, source, m)
	for rung, most := range map[string]int64{"180p": info.Size() * 13 / 10, "104p": seconds * 150000 / 8 * 21 / 20} {
		segments, err := filepath.Glob(filepath.Join(root, rung, "seg_*.m4s"))
		if err != nil || len(segments) == 0 {
			t.Fatalf("segments %v, %v", segments, err)
		}
		var size int64
		for _, name := range segments {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		if size > most || size < most/2 {
			t.Errorf("%s: %d bytes of a source of %d, want at most %d and half of that", rung, size, info.Size(), most)
		}
	}
}
