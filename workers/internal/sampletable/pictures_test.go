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

// TestPictures: the groups hold what ffmpeg takes out of the file, and are decoded and shown when it says.
func TestPictures(t *testing.T) {
	tagged := []string{"-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"}
	closed := clip(t, "a.mp4", append(x264(""), tagged...)...)
	for _, path := range []string{
		closed,
		clip(t, "a.mp4", x264("bframes=0")...),
		workertest.Clip(t, "a.mp4", "-i", closed, "-c", "copy", "-movflags", "+faststart"),
		workertest.Clip(t, "a.mov", "-i", closed, "-c", "copy"),
	} {
		p, err := open(t, path).Pictures(t.Context(), 1)
		if err != nil || p.Width != 64 || p.Height != 64 || len(p.Config) < 10 {
			t.Errorf("%s: %+v, %v", path, p, err)
			continue
		}
		second := int64(p.Timescale)
		if want := []int64{0, second, 2 * second, 3 * second}; !slices.Equal(p.Starts, want) || p.End != 4*second {
			t.Errorf("%s: groups at %v, end at %d", path, p.Starts, p.End)
		}
		// Without parameter sets, which are in the configuration, each length is a start code of as many bytes.
		want := annexB(t, path)
		var got []byte
		var shown []int64
		for _, span := range [][2]int{{0, 1}, {1, 3}, {3, 4}, {4, 4}} {
			err := p.Each(t.Context(), span[0], span[1], func(g Group) error {
				at := g.Start
				for _, one := range g.Pictures {
					shown = append(shown, at+int64(one.Shift))
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
	for path, want := range map[string][]byte{
		closed:                        {0, 1, 0, 1, 0, 1},
		clip(t, "a.mp4", x264("")...): nil,
		workertest.Clip(t, "a.mov", "-i", closed, "-c", "copy"): {0, 1, 0, 1, 0, 1},
	} {
		p, err := open(t, path).Pictures(t.Context(), 1)
		if err != nil || !bytes.Equal(p.Colour, want) {
			t.Errorf("%s: colour %v, want %v; %v", path, p.Colour, want, err)
		}
	}
}

// annexB returns the pictures of a file behind start codes of 4 bytes.
func annexB(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(workertest.Clip(t, "a.h264", "-i", path, "-c", "copy",
		"-bsf:v", "h264_mp4toannexb,filter_units=remove_types=7|8", "-f", "h264"))
	if err != nil {
		t.Fatal(err)
	}
	return startCodes3(data)
}

// startCodes writes a start code of 3 bytes in the place of each length.
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

// TestPicturesThatCannotBeTaken: what is wrong with a track is said.
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
		{"open groups", "ticks after it is decoded", read(clip(t, "a.mp4", x264("open-gop=1")...))},
		{"HEVC", "no one configuration of H.264", read(clip(t, "a.mp4", "-c:v", "libx265", "-x265-params", "log-level=error"))},
		{"fragments", "movie fragments", read(clip(t, "a.mp4", append(x264(""), "-movflags", "frag_keyframe+empty_moov")...))},
		{"shown late", "ticks after it is decoded", read(clip(t, "a.mp4",
			append(x264("bframes=0"), "-bsf:v", "setts=pts=PTS+if(gt(N\\,15)\\,1000\\,0):dts=DTS")...))},
		{"an empty picture", "is empty", damaged(func(sizes []byte) { binary.BigEndian.PutUint32(sizes[4*7:], 0) })},
		{"a picture behind the end", "do not agree", damaged(func(sizes []byte) { binary.BigEndian.PutUint32(sizes[4*7:], 1<<26) })},
	} {
		_, err := parse(t, c.data).Pictures(t.Context(), 1)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
