package hls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline/manifest"
)

// cutBytes cuts data into a new folder.
func cutBytes(t *testing.T, data []byte, o Options) (manifest.Track, string, error) {
	t.Helper()
	file, dir := filepath.Join(t.TempDir(), "f.mp4"), t.TempDir()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	track, err := Cut(t.Context(), file, dir, o)
	return track, dir, err
}

// box is the place of a top-level box.
type box struct {
	name       string
	start, end int
}

// boxes lists the top-level boxes of an intact file.
func boxes(data []byte) (all []box) {
	for at := 0; at < len(data); {
		size := int(data[at])<<24 | int(data[at+1])<<16 | int(data[at+2])<<8 | int(data[at+3])
		all = append(all, box{string(data[at+4 : at+8]), at, at + size})
		at += size
	}
	return all
}

// TestCutOfEveryLength: a file that ends early is refused if it must have all borders. Without borders, it is
// accepted only where a fragment and its data end.
func TestCutOfEveryLength(t *testing.T) {
	name, dir := fragments(t, 12), t.TempDir()
	whole := read(t, name)
	ends, last := map[int]string{}, 0
	for _, b := range boxes(whole) {
		if ends[b.end] = b.name; b.name == "mdat" {
			last = b.end
		}
	}
	for n := len(whole); n >= 0; n-- {
		if err := os.Truncate(name, int64(n)); err != nil {
			t.Fatal(err)
		}
		_, err := Cut(t.Context(), name, dir, Options{Borders: []float64{0, 2}})
		if fits := n == last || n == len(whole); (err == nil) != fits {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
		if end := ends[n]; end != "" {
			track, err := Cut(t.Context(), name, dir, Options{})
			if fits := end == "mdat" || end == "mfra"; (err == nil) != fits {
				t.Errorf("%d bytes, after %s: %+v, %v", n, end, track, err)
			}
		}
	}
}

// TestCutOfDamagedHeaders: Cut returns, and what it accepts is consistent.
func TestCutOfDamagedHeaders(t *testing.T) {
	whole := read(t, fragments(t, 30))
	var headers []int
	for _, b := range boxes(whole) {
		for at := b.start; at < b.end && b.name != "mdat" && b.name != "mfra"; at++ {
			headers = append(headers, at)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	file, dir := filepath.Join(t.TempDir(), "f.mp4"), t.TempDir()
	for round := range 500 {
		data := bytes.Clone(whole)
		for range 1 + random.IntN(3) {
			data[headers[random.IntN(len(headers))]] = []byte{0, 1, 0x7f, 0x80, 0xff, byte(random.Int())}[random.IntN(6)]
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		track, err := Cut(t.Context(), file, dir, Options{Delay: int64(random.IntN(2) * 4096)})
		if err != nil {
			continue
		}
		checkTrack(t, fmt.Sprint("round ", round), track, dir)
	}
}

// checkTrack compares a track with the files that Cut wrote.
func checkTrack(t *testing.T, what string, track manifest.Track, dir string) {
	t.Helper()
	if n := len(read(t, filepath.Join(dir, manifest.InitName))); track.InitSize != int64(n) {
		t.Errorf("%s: init section of %d bytes, says %d", what, n, track.InitSize)
	}
	for i, s := range track.Segments {
		name := fmt.Sprintf(manifest.SegmentName, track.First+i)
		if n := len(read(t, filepath.Join(dir, name))); s.Size != int64(n) || !(s.Duration > 0) {
			t.Errorf("%s: %s of %d bytes, says %+v", what, name, n, s)
		}
		end, length := int64(0), 0.0
		for _, k := range s.Keys {
			if k.Offset < end || k.Size <= 0 || k.Offset+k.Size > s.Size {
				t.Errorf("%s: key %+v in %s of %d bytes", what, k, name, s.Size)
			}
			end, length = k.Offset+k.Size, length+k.Duration
		}
		if length > s.Duration+1e-6 {
			t.Errorf("%s: keys of %g s in %g s", what, length, s.Duration)
		}
	}
}

// TestCutRefusesFragments tests headers that are whole boxes but lie about what they hold.
func TestCutRefusesFragments(t *testing.T) {
	whole := read(t, fragments(t, 20))
	all := boxes(whole)
	at := func(name string) int { return bytes.Index(whole, []byte(name)) }
	replaced := func(at int, by string) []byte {
		return append(append(bytes.Clone(whole[:at]), by...), whole[at+len(by):]...)
	}
	first := all[3] // after ftyp, moov and moof
	for name, tt := range map[string]struct {
		data []byte
		o    Options
		says string
	}{
		"data missing":     {slices.Delete(bytes.Clone(whole), first.start, first.end), Options{}, "no data"},
		"data too short":   {shortData(whole), Options{}, "its samples"},
		"an empty run":     {emptyRun(t, whole), Options{}, "no samples"},
		"data first":       {append(bytes.Clone(whole[all[2].start:]), whole...), Options{}, ""},
		"no track header":  {replaced(at("tkhd"), "free"), Options{Delay: 8192}, "incomplete track"},
		"no media":         {replaced(at("mdia"), "free"), Options{}, "incomplete track"},
		"no defaults":      {replaced(at("mvex"), "free"), Options{}, "not a fragmented movie of one track"},
		"another codec":    {replaced(at("avc1"), "xvid"), Options{}, "neither H.264 nor AAC"},
		"timescale 0":      {replaced(at("mdhd")+16, "\x00\x00\x00\x00"), Options{}, "incomplete track"},
		"no decode time":   {replaced(at("tfdt"), "free"), Options{}, "not a fragment of one track"},
		"no samples":       {replaced(at("trun")+8, "\x00\x00\x00\x00"), Options{}, ""},
		"no place of data": {replaced(at("trun")+12, "\x00\x00\x00\x00"), Options{Delay: 8192}, "offset"},
		"too little delay": {whole, Options{Delay: 1}, "before it is decoded"},
		"too much delay":   {whole, Options{Delay: math.MaxInt32}, ""},
		"starts elsewhere": {whole, Options{Start: 1}, "begins at tick 0, want 1"},
	} {
		track, _, err := cutBytes(t, tt.data, tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %+v, %v", name, track, err)
		}
	}
}

// emptyRun puts a run without samples before that of the first fragment.
func emptyRun(t *testing.T, whole []byte) []byte {
	t.Helper()
	moof := boxes(whole)[2]
	decoded, err := decode(whole[moof.start:moof.end])
	if err != nil {
		t.Fatal(err)
	}
	traf, empty := decoded.(*mp4.MoofBox).Traf, mp4.CreateTrun(0)
	empty.DataOffset = traf.Trun.DataOffset
	at := slices.Index(traf.Children, mp4.Box(traf.Trun))
	traf.Children = slices.Insert(traf.Children, at, mp4.Box(empty))
	data, err := encode(decoded)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(whole[:moof.start], data, whole[moof.end:])
}

// shortData gives the last data box one byte less than its samples have.
func shortData(whole []byte) []byte {
	var last box
	for _, b := range boxes(whole) {
		if b.name == "mdat" {
			last = b
		}
	}
	short := bytes.Clone(whole[:last.end-1])
	for i := range 4 {
		short[last.start+i] = byte((last.end - last.start - 1) >> (24 - 8*i))
	}
	return short
}

// TestCutStops: a canceled context and a folder that is gone end Cut with their own error.
func TestCutStops(t *testing.T) {
	file := fragments(t, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Cut(ctx, file, t.TempDir(), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	for name, err := range map[string]error{
		"no folder": second(Cut(t.Context(), file, filepath.Join(t.TempDir(), "gone"), Options{})),
		"no file":   second(Cut(t.Context(), file+"x", t.TempDir(), Options{})),
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ manifest.Track, err error) error { return err }

// TestJoin writes the files in order, and neither overwrites a file nor hides a missing one.
func TestJoin(t *testing.T) {
	dir := t.TempDir()
	name := func(s string) string { return filepath.Join(dir, s) }
	for _, s := range []string{"a", "b"} {
		if err := os.WriteFile(name(s), []byte(s+s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Join(name("joined"), name("b"), name("a"), name("b")); err != nil {
		t.Fatal(err)
	}
	if got := string(read(t, name("joined"))); got != "bbaabb" {
		t.Errorf("joined %q", got)
	}
	if err := Join(name("a"), name("b")); !errors.Is(err, os.ErrExist) || string(read(t, name("a"))) != "aa" {
		t.Errorf("onto an existing file: %v, now %q", err, read(t, name("a")))
	}
	if err := Join(name("other"), name("a"), name("missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing part: %v", err)
	}
	if err := Append(full{}, name("a")); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
}

var errFull = errors.New("full")

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
