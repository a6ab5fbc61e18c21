package sampletable

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// small makes clips of 1 to 5 KB, so that fuzzing tries many. x264's own settings, of 700 bytes, are left out.
func small(f *testing.F) (pictures, both []byte) {
	f.Helper()
	video := []string{"-c:v", "libx264", "-x264-params", "keyint=3:bframes=2", "-bsf:v", "filter_units=remove_types=6",
		"-pix_fmt", "yuv420p", "-c:a", "aac"}
	for _, c := range []struct {
		data   *[]byte
		inputs []string
	}{
		{&pictures, workertest.Pattern("32x32", "5", "0.6")},
		{&both, slices.Concat(workertest.Pattern("32x32", "5", "1"), workertest.Tone("0.2"))},
	} {
		data, err := os.ReadFile(workertest.Clip(f, "a.mp4", slices.Concat(c.inputs, video)...))
		if err != nil {
			f.Fatal(err)
		}
		*c.data = data
	}
	return pictures, both
}

// FuzzRead: any file is read without a panic, with memory in proportion to its size; samples lie in the file, and are
// as many as the index says.
func FuzzRead(f *testing.F) {
	pictures, both := small(f)
	f.Add(pictures)
	f.Add(both)
	f.Fuzz(checkFile)
}

// tables are the boxes that FuzzTable exchanges.
var tables = []string{
	"elst", "stts", "ctts", "stss", "stsz", "stsc", "stco", "co64", "stsd", "mdhd", "tkhd", "hdlr", "mvhd",
}

// FuzzTable: the same of a file that is right but for one table or edit list, which has any contents.
func FuzzTable(f *testing.F) {
	_, both := small(f)
	for i, name := range tables {
		at := bytes.Index(both, []byte(name))
		if at < 0 {
			continue
		}
		f.Add(byte(i), both[at+4:at-4+int(binary.BigEndian.Uint32(both[at-4:]))])
	}
	edit := func(version byte, fields ...byte) []byte {
		return append([]byte{version, 0, 0, 0, 0, 0, 0, 1}, fields...)
	}
	f.Add(byte(0), edit(1, bytes.Repeat([]byte{0x7f, 0xff, 0xff, 0xff}, 5)...))
	f.Add(byte(0), edit(0, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0))
	f.Add(byte(0), []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, which byte, contents []byte) {
		checkFile(t, exchanged(both, tables[int(which)%len(tables)], contents))
	})
}

// exchanged returns a file with other contents in the first box of that name.
func exchanged(data []byte, name string, contents []byte) []byte {
	var made []byte
	for len(data) > 0 {
		size := binary.BigEndian.Uint32(data)
		inside := data[8:size]
		switch kind := string(data[4:8]); kind {
		case name:
			inside, name = contents, ""
		case "moov", "trak", "edts", "mdia", "minf", "stbl":
			if changed := exchanged(inside, name, contents); !bytes.Equal(changed, inside) {
				inside, name = changed, ""
			}
		}
		made = binary.BigEndian.AppendUint32(made, uint32(8+len(inside)))
		made = append(append(made, data[4:8]...), inside...)
		data = data[size:]
	}
	return made
}

func checkFile(t *testing.T, data []byte) {
	var x *File
	var err error
	used := pipelinetest.Allocated(func() { x, err = Read(bytes.NewReader(data), int64(len(data))) })
	if most := 4<<20 + uint64(50*len(data)); used > most {
		t.Fatalf("%d bytes of memory for a file of %d", used, len(data))
	}
	if found, err := FindProtected(bytes.NewReader(data), int64(len(data))); err == nil {
		for _, p := range found {
			if p.Track < 0 || len(p.Entry) != 4 || len(p.Scheme) > 4 {
				t.Fatalf("%+v", p)
			}
		}
	}
	if err != nil {
		return
	}
	for id := range int64(4) {
		checkPicture(t, x, id, len(data))
		checkFrames(t, x, id, len(data))
		checkGroups(t, x, id)
		for _, rate := range []int{0, 48000} {
			if e, _ := x.Edits(id, rate); e != "" && e != pipeline.EditsSimple && e != pipeline.EditsComplex {
				t.Fatalf("edits %q", e)
			}
		}
	}
}

func checkPicture(t *testing.T, x *File, id int64, size int) {
	t.Helper()
	p, err := x.Picture(t.Context(), id, true, Grid{})
	if err == nil && (p.Samples < 0 || p.Bytes < 0 || p.Length < 0 || p.Groups.Longest < 0 || p.Groups.Average < 0 ||
		p.Whole && p.Bytes > int64(size)) {
		t.Fatalf("%+v", p)
	}
	times, tick, err := x.Times(t.Context(), id, 1000)
	if err == nil && (len(times) > 1000 || !(tick > 0)) {
		t.Fatalf("%d times, a tick of %v", len(times), tick)
	}
}

func checkFrames(t *testing.T, x *File, id int64, size int) {
	t.Helper()
	s, err := x.Frames(t.Context(), id, 0)
	if err != nil {
		return
	}
	n, sum := 0, 0
	err = s.Each(t.Context(), 0, s.Count, func(frame []byte) error {
		if n++; len(frame) == 0 {
			t.Fatal("an empty frame")
		}
		sum += len(frame)
		return nil
	})
	if err != nil || n != s.Count || n == 0 || sum > size {
		t.Fatalf("%d frames of %+v, %d bytes of %d, %v", n, s, sum, size, err)
	}
}

func checkGroups(t *testing.T, x *File, id int64) {
	t.Helper()
	p, err := x.Pictures(t.Context(), id, 0.25)
	if err != nil {
		return
	}
	n := 0
	err = p.Each(t.Context(), 0, len(p.Starts), func(g Group) error {
		sum := 0
		for _, one := range g.Pictures {
			sum += int(one.Size)
		}
		if sum != len(g.Data) || sum == 0 || g.Start != p.Starts[n] {
			t.Fatalf("group %d: %d bytes, not %d", n, len(g.Data), sum)
		}
		n++
		return nil
	})
	if err != nil || n != len(p.Starts) {
		t.Fatalf("%d groups of %d, %v", n, len(p.Starts), err)
	}
}
