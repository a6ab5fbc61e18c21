package hls

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// FuzzCut: a file that a program in the cage wrote cannot make this process panic or take more memory than its size
// explains. What is cut is in the folder, as long as the track says, and no more than the file had.
func FuzzCut(f *testing.F) {
	data := read(f, fragments(f, 12))
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte("\x00\x00\x00\x08ftyp\x00\x00\x00\x10moov\x00\x00\x00\x08mvex\x00\x00\x00\x01moof\x00\x00\x00\x00\x00\x00\x00\x08"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(root, "f.mp4")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var track manifest.Track
		n := pipelinetest.Allocated(func() { track, err = Cut(t.Context(), file, dir, Options{}) })
		if n > 8<<20+uint64(100*len(data)) {
			t.Fatalf("%d bytes of memory for a file of %d", n, len(data))
		}
		if err != nil {
			return
		}
		sum := track.InitSize
		for _, s := range track.Segments {
			if sum += s.Size; s.Size <= 0 || !(s.Duration > 0) {
				t.Errorf("%+v", s)
			}
			for _, k := range s.Keys {
				if k.Offset < 0 || k.Size <= 0 || k.Offset+k.Size > s.Size {
					t.Errorf("%+v of %d bytes", k, s.Size)
				}
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1+len(track.Segments) || sum > int64(len(data)) {
			t.Errorf("%d files of %+v, %d bytes of %d, %v", len(entries), track, sum, len(data), err)
		}
	})
}
