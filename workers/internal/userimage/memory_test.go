//go:build !race

// Tests of memory. The race detector takes several times as much, and its processes do not fit into limits.

package userimage

import (
	"bytes"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// TestLargest: pictures at the limits are decoded within them, whatever their kind, in the cage.
func TestLargest(t *testing.T) {
	d := Decoder{Cage: newCage(t), limits: sandbox.Limits{CPU: 10 * time.Minute, Memory: MaxMemory + ownMemory}, wait: time.Hour}
	for name, data := range map[string][]byte{
		"bomb":        pngOf(ihdr(8000, 5000, 8, pngTrueAlpha, 0), deflated(t, 0, 5000*(4*8000+1)), chunk("IEND", nil)),
		"interlaced":  pngOf(ihdr(8000, 5000, 8, pngTrueAlpha, 1), deflated(t, 0, 4*8000*5000+9375), chunk("IEND", nil)), // 9375 rows
		"deep":        pngOf(ihdr(6500, 5000, 16, pngTrueAlpha, 0), deflated(t, 0, 5000*(8*6500+1)), chunk("IEND", nil)),
		"progressive": progressive(8000, 5000, 3),
	} {
		img, err := d.Decode(t.Context(), file(t, data), 1920, 1080)
		if err != nil || img.Rect.Dy() != 1080 {
			t.Errorf("%s of %d bytes: %v", name, len(data), err)
		}
	}
}

// TestServerStaysSmall: ten hostile pictures at once cost this process little memory.
func TestServerStaysSmall(t *testing.T) {
	bomb := pngOf(ihdr(4000, 2500, 8, pngTrueAlpha, 0), deflated(t, 0, 2500*(4*4000+1)), chunk("IEND", nil))
	tall := pngOf(ihdr(1, 40000000, 8, pngGray, 0), deflated(t, 0, 80000000), chunk("IEND", nil))
	scans := progressive(1024, 1024, 120000)
	files := []*os.File{}
	for _, data := range [][]byte{bomb, tall, scans, bomb, tall, scans, bomb, tall, scans, bomb} {
		files = append(files, file(t, data))
	}
	d := Decoder{Cage: newCage(t)}
	before := resetPeak(t)
	var group sync.WaitGroup
	for _, f := range files {
		group.Go(func() {
			if _, err := d.Decode(t.Context(), f, 288, 162); err != nil {
				refusal(t, err)
			}
		})
	}
	group.Wait()
	if grown := status(t, "VmHWM") - before; grown > 64<<20 {
		t.Errorf("the peak grew by %d MiB", grown>>20)
	}
}

// TestInspectAllocatesLittle: the attacks, a text of 8 MB that would inflate to 8 GB, and a file of MaxBytes cost
// no more than the window.
func TestInspectAllocatesLittle(t *testing.T) {
	bomb := append([]byte("k\x00\x00"), make([]byte, 8<<20)...)
	for name, data := range map[string][]byte{
		"120,000 scans": progressive(1024, 1024, 120000),
		"text":          pngOf(ihdr(8, 8, 8, 6, 0), chunk("zTXt", bomb), chunk("iCCP", bomb), chunk("iTXt", bomb), chunk("IEND", nil)),
		"tall":          pngOf(ihdr(1, 40000000, 8, 0, 0)),
		"one segment":   append(slices.Concat([]byte{0xff, 0xd8}, sof(0xc0, 8, 8, 0x11)), make([]byte, 32<<20)...),
		"a WebP":        riff(webpChunk("ICCP", bomb), lossless(8, 8)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Inspect(bytes.NewReader(data))
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 256<<10 {
			t.Errorf("%s of %d bytes: %d bytes allocated, %v", name, len(data), got, err)
		}
	}
}
