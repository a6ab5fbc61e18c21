package audio

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// FuzzPackets: a file that a program in the cage wrote cannot make this process panic or take more memory than its
// size explains; the packets lie in the file.
func FuzzPackets(f *testing.F) {
	seed, err := os.ReadFile(workertest.Clip(f, "a.mp4", "-f", "lavfi", "-i", "sine=d=0.2", "-c:a", "aac",
		"-movflags", "empty_moov+default_base_moof+frag_keyframe"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)*2/3])
	f.Add([]byte("\x00\x00\x00\x10moov\x00\x00\x00\x08mvex\x00\x00\x00\x08moof"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(root, "f.mp4")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		used := pipelinetest.Allocated(func() {
			p, err := openPackets(file)
			if err != nil {
				return
			}
			defer p.Close()
			if err := p.each(t.Context(), func(one packet) error {
				if len(one.data) > len(data) {
					t.Errorf("a packet of %d bytes in a file of %d", len(one.data), len(data))
				}
				return nil
			}); err == nil && p.at != p.size {
				t.Errorf("%d bytes of %d were read", p.at, p.size)
			}
		})
		// Each run of samples may be read again, by a header of 20 bytes.
		if n := uint64(len(data)); used > 8<<20+64*n+n*n/20 {
			t.Fatalf("%d bytes of memory for a file of %d", used, n)
		}
	})
}

// FuzzFrameList: an accepted list has a clock, and no more frames than lines.
func FuzzFrameList(f *testing.F) {
	f.Add("#tb 0: 1/44100\n#sample_rate 0: 44100\n0, 0, 0, 1024, 4096, 0x1\n")
	f.Add("#tb 0: -1/0\n#sample_rate 0: 9223372036854775808\n")
	f.Add("#tb 0: 1/1\n#sample_rate 0: 1\n0, -9223372036854775808, 9223372036854775807, -1,\n0,0\n")
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(root, "list")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := readFrames(file)
		if err == nil && (l.num <= 0 || l.den <= 0 || l.rate <= 0 || len(l.frames) > strings.Count(text, "\n")+1) {
			t.Errorf("%q: %+v", text, l)
		}
	})
}
