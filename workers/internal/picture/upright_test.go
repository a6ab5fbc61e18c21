package picture

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestUprightIsAsFFmpegShows: for each display matrix with quarter turns and mirroring, frames are turned as
// ffmpeg turns them by itself, and a probe reports the facts that this needs.
func TestUprightIsAsFFmpegShows(t *testing.T) {
	for matrix, v := range map[[4]int32]pipeline.VideoTrack{
		{1, 0, 0, 1}: {}, {1, 0, 0, -1}: {Mirrored: true},
		{0, 1, -1, 0}: {Rotation: 90}, {0, 1, 1, 0}: {Rotation: 90, Mirrored: true},
		{-1, 0, 0, -1}: {Rotation: 180}, {-1, 0, 0, 1}: {Rotation: 180, Mirrored: true},
		{0, -1, 1, 0}: {Rotation: 270}, {0, -1, -1, 0}: {Rotation: 270, Mirrored: true},
	} {
		path := workertest.Clip(t, "a.mp4", append(workertest.Pattern("64x48", "5", "1"), "-c:v", "libx264",
			"-preset", "ultrafast", "-pix_fmt", "yuv420p")...)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(data, []byte("tkhd")) + 44 // ISO/IEC 14496-12, 8.3.2
		for i, offset := range []int{0, 4, 12, 16} {
			binary.BigEndian.PutUint32(data[at+offset:], uint32(matrix[i]<<16))
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		probed, err := (ffmpeg.Tools{}).Probe(t.Context(), path, ffmpeg.ProbeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if s := probed.Videos()[0]; s.Rotation != v.Rotation || s.Mirrored != v.Mirrored {
			t.Errorf("%v: probed as %d, mirrored %v", matrix, s.Rotation, s.Mirrored)
		}
		quiet := []string{"-loglevel", "error"}
		byItself := run(t, append(quiet, "-i", path, "-f", "framemd5", "-")...)
		byUs := run(t, append(quiet, "-noautorotate", "-i", path, "-filter_complex",
			ffmpeg.Link([]string{"0:0"}, ffmpeg.Chain("null", upright(v)), []string{"v"}), "-map", "[v]", "-f", "framemd5", "-")...)
		if byItself != byUs {
			t.Errorf("%v: ffmpeg shows\n%s\nwe make\n%s", matrix, byItself, byUs)
		}
	}
}
