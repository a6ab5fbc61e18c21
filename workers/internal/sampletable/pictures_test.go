package sampletable

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/workers/workertest"
)

// TestPictures: the groups have the pictures that ffmpeg copies from the file, at the times that it reports,
// and none is shown before it is decoded.
func TestPictures(t *testing.T) {
	closed := clip(t, "a.mp4", x264("")...)
	for _, path := range []string{
		closed,
		clip(t, "a.mp4", x264("bframes=0")...),
		workertest.Clip(t, "a.mp4", "-i", closed, "-c", "copy", "-movflags", "+faststart"),
		workertest.Clip(t, "a.mov", "-i", closed, "-c", "copy"),
	} {
		p, err := open(t, path).Pictures(t.Context(), 1, 0)
		if err != nil || p.Width != 64 || p.Height != 64 || len(p.Config) < 10 {
			t.Errorf("%s: %+v, %v", path, p, err)
			continue
		}
		second := int64(p.Timescale)
		if want := []int64{0, second, 2 * second, 3 * second}; !slices.Equal(p.Starts, want) || p.End != 4*second {
			t.Errorf("%s: groups at %v, end at %d", path, p.Starts, p.End)
		}
		// Parameter sets are only in the configuration. Each length becomes a start code of the same size.
		want := annexB(t, path)
		var got []byte
		var shown []int64
		for _, span := range [][2]int{{0, 1}, {1, 3}, {3, 4}, {4, 4}} {
			err := p.Each(t.Context(), span[0], span[1], func(g Group) error {
				at := g.Start
				for _, one := range g.Pictures {
					if one.Shift < 0 {
						t.Errorf("%s: a picture is shown %d ticks before it is decoded", path, -one.Shift)
					}
					shown = append(shown, at+int64(one.Shift)-p.Delay)
					at += int64(one.Length)
				}
				got = append(got, startCodes(t, g.Data)...)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of pictures, want %d", path, len(got), len(want))
		}
		slices.Sort(shown)
		for n, at := range shown {
			if at != int64(n)*second/10 {
				t.Errorf("%s: picture %d is shown at tick %d", path, n, at)
			}
		}
	}
}

// annexB returns the pictures of a file, with start codes of 4 bytes.
func annexB(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(workertest.Clip(t, "a.h264", "-i", path, "-c", "copy",
		"-bsf:v", "h264_mp4toannexb,filter_units=remove_types=7|8", "-f", "h264"))
	if err != nil {
		t.Fatal(err)
	}
	return startCodes3(data)
}

// startCodes replaces each length by a start code of 3 bytes.
func startCodes(t *testing.T, data []byte) (all []byte) {
	t.Helper()
	for len(data) > 4 {
		size := int(binary.BigEndian.Uint32(data))
		all, data = append(append(all, 0, 0, 1), data[4:4+size]...), data[4+size:]
	}
	return all
}

// startCodes3 makes all start codes 3 bytes long.
func startCodes3(data []byte) []byte {
	return bytes.ReplaceAll(data, []byte{0, 0, 0, 1}, []byte{0, 0, 1})
}

// TestPicturesThatCannotBeTaken: the error says what is wrong with the track.
func TestPicturesThatCannotBeTaken(t *testing.T) {
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	good := read(clip(t, "a.mp4", x264("")...))
	damaged := func(change func(sizes []byte)) []byte {
		data := bytes.Clone(good)
		change(data[bytes.LastIndex(data, []byte("stsz"))+16:]) // 8.7.3.2: flags, size, count, sizes
		return data
	}
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"open groups", "is open", read(clip(t, "a.mp4", x264("open-gop=1")...))},
		{"HEVC", "not have exactly one configuration of H.264", read(clip(t, "a.mp4", "-c:v", "libx265", "-x265-params", "log-level=error"))},
		{"fragments", "movie fragments", read(clip(t, "a.mp4", append(x264(""), "-movflags", "frag_keyframe+empty_moov")...))},
		{"shown at once", "at once", read(clip(t, "a.mp4",
			append(x264("bframes=0"), "-bsf:v", "setts=pts=PTS+1024*eq(mod(N\\,10)\\,3):dts=DTS")...))},
		{"an empty picture", "is empty", damaged(func(sizes []byte) { binary.BigEndian.PutUint32(sizes[4*7:], 0) })},
		{"a picture behind the end", "do not agree", damaged(func(sizes []byte) { binary.BigEndian.PutUint32(sizes[4*7:], 1<<26) })},
	} {
		_, err := parse(t, c.data).Pictures(t.Context(), 1, 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestPicturesAreDecodedWhenTheirGroupIsShown: even if decode times are uneven, a group begins when its
// keyframe is shown, and the first group when the video begins.
func TestPicturesAreDecodedWhenTheirGroupIsShown(t *testing.T) {
	late := clip(t, "a.mp4", append(x264("bframes=2"), "-bsf:v", "setts=pts=PTS+7168*gt(N\\,15):dts=DTS")...)
	p, err := open(t, late).Pictures(t.Context(), 1, 0.25)
	if err != nil {
		t.Fatal(err)
	}
	var starts, lengths []int64
	first := int64(0)
	err = p.Each(t.Context(), 0, len(p.Starts), func(g Group) error {
		length := int64(0)
		for _, one := range g.Pictures {
			length += int64(one.Length)
		}
		starts, lengths = append(starts, g.Start), append(lengths, length)
		if g.Start == 0 {
			first = int64(g.Pictures[0].Shift)
		}
		return nil
	})
	second := int64(p.Timescale)
	want := []int64{0, second * 125 / 100, second * 295 / 100, second * 395 / 100}
	if err != nil || !slices.Equal(starts, want) || !slices.Equal(p.Starts, want) {
		t.Errorf("groups at %v, want %v; %v", starts, want, err)
	}
	if p.Delay <= 0 || first != p.Delay {
		t.Errorf("the first picture is shown %d ticks after it is decoded, want %d", first, p.Delay)
	}
	for n, start := range starts {
		if start+lengths[n] != p.end(n) {
			t.Errorf("group %d at %d lasts %d ticks, want it to end at %d", n, start, lengths[n], p.end(n))
		}
	}
}

// TestParameterSetsAreTakenOut: parameter sets that repeat the header's are removed. Others stay, and are
// reported.
func TestParameterSetsAreTakenOut(t *testing.T) {
	repeated := workertest.Clip(t, "a.mp4", "-i", clip(t, "a.ts", x264("")...), "-c", "copy")
	p, err := open(t, repeated).Pictures(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	err = p.Each(t.Context(), 0, len(p.Starts), func(g Group) error {
		got = append(got, startCodes(t, g.Data)...)
		return nil
	})
	if want := annexB(t, repeated); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of pictures, want %d; %v", len(got), len(want), err)
	}
	other := bytes.ReplaceAll(readFile(t, repeated), p.track.entry.sets[1], []byte("\x68\xaa\xaa\xaa\xaa\xaa")[:len(p.track.entry.sets[1])])
	for name, c := range map[string]struct {
		data []byte
		want bool
	}{"repeated": {readFile(t, repeated), false}, "others": {restore(readFile(t, repeated), other), true}} {
		found, err := parse(t, c.data).Picture(t.Context(), 1, false, Grid{})
		if err != nil || found.Groups.Changes != c.want {
			t.Errorf("%s: %+v, %v", name, found.Groups, err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// restore returns the media of changed with the header of file, which comes after them.
func restore(file, changed []byte) []byte {
	at := bytes.Index(file, []byte("moov"))
	return append(bytes.Clone(changed[:at]), file[at:]...)
}

// TestSpacing measures the shortest and the longest time between two frames.
func TestSpacing(t *testing.T) {
	for name, c := range map[string]struct {
		path        string
		least, most float64
	}{
		"even":    {clip(t, "a.mp4", x264("")...), 0.1, 0.1},
		"a pause": {clip(t, "a.mp4", append(x264(""), "-vf", "select=lt(n\\,12)+gt(n\\,16)", "-fps_mode", "vfr")...), 0.1, 0.6},
		"uneven": {clip(t, "a.mp4", append(x264("bframes=0"), "-bsf:v",
			"setts=ts=PTS+384*eq(mod(N\\,5)\\,2)")...), 0.0625, 0.1375},
	} {
		p, err := open(t, c.path).Picture(t.Context(), 1, false, Grid{})
		if err != nil || !near(p.Groups.FrameLeast, c.least) || !near(p.Groups.FrameMost, c.most) {
			t.Errorf("%s: %+v, %v, want %g to %g s", name, p.Groups, err, c.least, c.most)
		}
	}
}
