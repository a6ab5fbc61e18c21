package thumbnail

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/disintegration/imaging"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// sheetName is the name of the storyboard's files.
const sheetName = "storyboard"

// Geometry of a storyboard.
const (
	cellHeight   = 160 // pixels
	maxCellWidth = 480 // cells of a very wide video are lower instead
	maxCells     = 100
	columns      = 10
	minInterval  = 1.0  // seconds
	keyShare     = 1.01 // of the interval: key frames at most this far apart are close enough
	keyInterval  = 5.0  // seconds: from this interval on, key frames at unknown distances are close enough
	longShare    = 2.0  // of the interval: the same as keyShare, for intervals from keyInterval on
	maxDrift     = 3.0  // seconds between key frames; with 10 the sky of a trailer became blotchy
)

// board is the plan of a storyboard, and its JSON.
type board struct {
	URL        string  `json:"url"` // relative to the JSON
	TileWidth  int     `json:"tile_width"`
	TileHeight int     `json:"tile_height"`
	Columns    int     `json:"columns"`
	Duration   float64 `json:"duration"` // seconds
	Interval   float64 `json:"interval"` // seconds from a tile to the next
	Tiles      []tile  `json:"tiles"`
}

// tile is one cell, which is shown from Start on.
type tile struct {
	Start float64 `json:"start"` // seconds
	X     int     `json:"x"`     // pixels from the left of the sheet
	Y     int     `json:"y"`     // from the top
}

// newBoard plans the cells of a video.
func newBoard(m pipeline.Media) board {
	cell := cellSize(m.Video)
	b := board{
		URL: sheetName + ".jpg", TileWidth: cell.Width, TileHeight: cell.Height, Duration: m.Duration,
		Interval: math.Max(minInterval, m.Duration/maxCells),
	}
	n := min(maxCells, max(1, int(math.Ceil(m.Duration/b.Interval-1e-6))))
	b.Columns = min(columns, n)
	for i := range n {
		b.Tiles = append(b.Tiles, tile{
			Start: float64(i) * b.Interval, X: i % b.Columns * cell.Width, Y: i / b.Columns * cell.Height,
		})
	}
	return b
}

// cellSize returns the size of a cell: 160 pixels high, with the video's aspect. It may be larger than the
// video.
func cellSize(v pipeline.VideoTrack) picture.Size {
	aspect := float64(max(1, v.Width)) / float64(max(1, v.Height))
	if cellHeight*aspect > maxCellWidth {
		return picture.Size{Width: maxCellWidth, Height: picture.Even(maxCellWidth / aspect)}
	}
	return picture.Size{Width: picture.Even(cellHeight * aspect), Height: cellHeight}
}

func (b board) size() picture.Size {
	rows := (len(b.Tiles) + b.Columns - 1) / b.Columns
	return picture.Size{Width: b.Columns * b.TileWidth, Height: rows * b.TileHeight}
}

// vtt writes a cue for each tile. Source: WebVTT, and Media Fragments URI 1.0, 4.2.2 (spatial dimension).
func (b board) vtt() string {
	var s strings.Builder
	s.WriteString("WEBVTT\n")
	for i, t := range b.Tiles {
		end := b.Duration
		if i+1 < len(b.Tiles) {
			end = b.Tiles[i+1].Start
		}
		end = math.Max(end, t.Start+0.001) // a cue must last
		fmt.Fprintf(&s, "\n%s --> %s\n%s#xywh=%d,%d,%d,%d\n",
			timestamp(t.Start), timestamp(end), b.URL, t.X, t.Y, b.TileWidth, b.TileHeight)
	}
	return s.String()
}

// timestamp writes seconds as WebVTT does: 01:02:03.004.
func timestamp(s float64) string {
	ms := int64(math.Round(s * 1000))
	return fmt.Sprintf("%02d:%02d:%02d.%03d", ms/3600000, ms/60000%60, ms/1000%60, ms%1000)
}

// scratch returns how many bytes of scratch a storyboard needs: for its cells, and the sheet, which is far
// smaller as a JPEG.
func (b board) scratch() int64 {
	cell := frameBytes(picture.Size{Width: b.TileWidth, Height: b.TileHeight})
	return int64(2*len(b.Tiles)+1) * cell
}

func (r run) storyboard(ctx context.Context) ([]pipeline.Output, error) {
	b := newBoard(r.media)
	if err := r.cells(ctx, b); err != nil {
		return nil, err
	}
	sheet, err := r.assemble(b)
	if err != nil {
		return nil, err
	}
	out := func(extension string) pipeline.Output {
		return pipeline.Output{Name: sheetName, Kind: pipeline.KindStoryboard, Path: sheetName + extension}
	}
	image, err := r.save(ctx, sheet, out(".jpg"))
	if err != nil {
		return nil, err
	}
	description, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode storyboard: %w", err)
	}
	outputs := []pipeline.Output{image}
	for extension, text := range map[string][]byte{".vtt": []byte(b.vtt()), ".json": description} {
		o := out(extension)
		if err := os.WriteFile(r.file(o.Path), text, 0o600); err != nil {
			return nil, err
		}
		if o, err = r.job.Publish(ctx, r.file(o.Path), o); err != nil {
			return nil, err
		}
		outputs = append(outputs, o)
	}
	return outputs, nil
}

// cells writes a frame for each tile, or at least for the first. If there are no key frames or they end
// early, the index was wrong about them or did not have them; then it decodes all frames.
func (r run) cells(ctx context.Context, b board) error {
	options := skip(r.media.Video, b.Interval)
	if err := r.decode(ctx, b, options); err != nil {
		return err
	}
	last := max(1, int(r.media.PictureEnd()/b.Interval-longShare))
	if r.exists(cell(min(last, len(b.Tiles)))) || len(options) == 0 && r.exists(cell(1)) {
		return nil
	}
	if len(options) > 0 { // there were no such frames, or they ended early
		if err := r.decode(ctx, b, nil); err != nil || r.exists(cell(1)) {
			return err
		}
	}
	return r.first(ctx, b)
}

// skip returns the decoder's options for tiles that are interval seconds apart. The decoder skips all frames
// but key frames if those suffice, else the frames that no other frame needs. It also skips deblocking, which
// is invisible at this size, unless the error would spread through many frames.
func skip(v pipeline.VideoTrack, interval float64) []ffmpeg.Option {
	option := func(key, value string) ffmpeg.Option { return ffmpeg.Option{Key: key, Value: value} }
	var o []ffmpeg.Option
	keys := keysSuffice(v, interval)
	if keys {
		o = append(o, option("skip_frame", "nokey"))
	} else {
		o = append(o, needed(v)...)
	}
	if (v.Codec == "h264" || v.Codec == "hevc") && (keys || keysApart(v) <= maxDrift) {
		o = append(o, option("skip_loop_filter", "all"))
	}
	return o
}

// keysSuffice reports whether key frames are enough for tiles that are interval seconds apart: they are close
// enough, or the interval is long and their distance is unknown.
func keysSuffice(v pipeline.VideoTrack, interval float64) bool {
	share := keyShare
	if interval >= keyInterval {
		share = longShare
	}
	return keysApart(v) <= share*interval || v.Groups == nil && interval >= keyInterval
}

// keysApart returns the longest time between key frames in seconds; infinity if it is unknown.
func keysApart(v pipeline.VideoTrack) float64 {
	if v.Groups == nil {
		return math.Inf(1)
	}
	return v.Groups.Longest
}

// needed makes the decoder skip frames that no other frame needs, if it can.
func needed(v pipeline.VideoTrack) []ffmpeg.Option {
	if !slices.Contains([]string{"h264", "hevc", "mpeg2video", "mpeg4"}, v.Codec) {
		return nil
	}
	return []ffmpeg.Option{{Key: "skip_frame", Value: "noref"}}
}

// decode writes the frame in the middle of each tile's interval. It shifts times by half an interval and
// rounds them down, so that the fps filter keeps the last frame before the middle. If the filter rounded to
// the nearest slot, it would drop the last frame of the video, unless that extends into the next slot. The
// constant rate of the encoder fills slots before the first frame.
func (r run) decode(ctx context.Context, b board, options []ffmpeg.Option) error {
	in := picture.Source(r.input, r.media)
	in.Options = append(in.Options, options...)
	rate := strconv.FormatFloat(1/b.Interval, 'f', 9, 64)
	option := func(key, value string) ffmpeg.Option { return ffmpeg.Option{Key: key, Value: value} }
	chain := ffmpeg.Chain(
		ffmpeg.Node("setpts", option("expr", fmt.Sprintf("PTS+%.6f/TB", b.Interval/2+picture.Shift(r.media)))),
		ffmpeg.Node("fps", option("fps", rate), option("round", "down"), option("eof_action", "pass")),
		r.tileFilter(b),
	)
	step := encode.Step{
		Tools: r.worker.tools, Dir: r.job.Dir, Duration: r.media.Duration, Progress: r.job.Progress, To: 0.9,
		Nice: r.job.Nice(), Work: r.work(),
	}
	cells := frames(r.file("cell-%05d."+frameCodec), "[v]", max(2, len(b.Tiles)),
		ffmpeg.Option{Key: "r:v", Value: rate}, ffmpeg.Option{Key: "fps_mode", Value: "cfr"})
	return step.Run(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{in}, Filter: ffmpeg.Link([]string{picture.Stream(r.media)}, chain, []string{"v"}),
		Outputs: append([]ffmpeg.Output{cells}, picture.Beside(r.media, r.media.Video.Start)...),
		Global:  []ffmpeg.Option{{Key: "max_error_rate", Value: "1"}},
	})
}

// first decodes the first frame, for the first tile: if a video is much shorter than a tile's interval, the
// fps filter outputs no frame.
func (r run) first(ctx context.Context, b board) error {
	return r.step(ctx, ffmpeg.Command{
		Inputs:  []ffmpeg.Input{picture.Source(r.input, r.media)},
		Filter:  ffmpeg.Link([]string{picture.Stream(r.media)}, r.tileFilter(b), []string{"v"}),
		Outputs: []ffmpeg.Output{frames(r.file(cell(1)), "[v]", 1)},
	})
}

func (r run) tileFilter(b board) string {
	return picture.Still(r.media.Video, picture.Size{Width: b.TileWidth, Height: b.TileHeight})
}

// cell returns the file name of tile n, counted from 1.
func cell(n int) string { return fmt.Sprintf("cell-%05d.%s", n, frameCodec) }

func (r run) exists(name string) bool {
	_, err := os.Stat(r.file(name))
	return err == nil
}

// assemble draws the sheet. A tile without a frame of its own shows the frame before it; the first must have
// one.
func (r run) assemble(b board) (image.Image, error) {
	size := b.size()
	sheet := imaging.New(size.Width, size.Height, black)
	var last image.Image
	for i, t := range b.Tiles {
		img, err := imaging.Open(r.file(cell(i + 1)))
		switch {
		case err == nil:
			last = img
		case last == nil && os.IsNotExist(err):
			return nil, pipeline.Fail(pipeline.CodeMalformed, "no frame of the video can be decoded")
		case !os.IsNotExist(err):
			return nil, pipeline.Fail(pipeline.CodeVerification, "read a cell of the storyboard: %w", err)
		}
		sheet = pasteInto(sheet, last, image.Pt(t.X, t.Y))
	}
	return sheet, nil
}

// pasteInto draws onto sheet itself: imaging.Paste copies the whole sheet for each cell.
func pasteInto(sheet *image.NRGBA, cell image.Image, at image.Point) *image.NRGBA {
	c := imaging.Clone(cell)
	for y := range c.Bounds().Dy() {
		to := sheet.PixOffset(at.X, at.Y+y)
		copy(sheet.Pix[to:to+4*c.Bounds().Dx()], c.Pix[y*c.Stride:])
	}
	return sheet
}

// black is the background of the sheet.
var black = color.NRGBA{A: 255}
