package ffmpeg

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// probeDoc is ffprobe's JSON: most numbers are strings, and unknown ones are missing.
type probeDoc struct {
	Format struct {
		Name      string `json:"format_name"`
		Duration  text   `json:"duration"`
		StartTime text   `json:"start_time"`
		BitRate   text   `json:"bit_rate"`
		Size      text   `json:"size"`
		NbStreams text   `json:"nb_streams"`
	} `json:"format"`
	Streams []probeStream `json:"streams"`
}

type probeStream struct {
	Index            text   `json:"index"`
	ID               text   `json:"id"`
	CodecType        string `json:"codec_type"`
	CodecName        string `json:"codec_name"`
	CodecTag         string `json:"codec_tag_string"`
	Profile          text   `json:"profile"`
	Level            text   `json:"level"`
	Width            text   `json:"width"`
	Height           text   `json:"height"`
	PixFmt           string `json:"pix_fmt"`
	BitsPerRawSample text   `json:"bits_per_raw_sample"`
	SAR              string `json:"sample_aspect_ratio"`
	DAR              string `json:"display_aspect_ratio"`
	FieldOrder       string `json:"field_order"`
	RFrameRate       string `json:"r_frame_rate"`
	AvgFrameRate     string `json:"avg_frame_rate"`
	StartTime        text   `json:"start_time"`
	Duration         text   `json:"duration"`
	NbFrames         text   `json:"nb_frames"`
	NbReadPackets    text   `json:"nb_read_packets"`
	BitRate          text   `json:"bit_rate"`
	Channels         text   `json:"channels"`
	ChannelLayout    string `json:"channel_layout"`
	SampleRate       text   `json:"sample_rate"`
	ColorSpace       string `json:"color_space"`
	ColorTransfer    string `json:"color_transfer"`
	ColorPrimaries   string `json:"color_primaries"`
	ColorRange       string `json:"color_range"`
	Tags             struct {
		Language string `json:"language"`
	} `json:"tags"`
	Disposition map[string]int  `json:"disposition"`
	SideData    []probeSideData `json:"side_data_list"`
}

type probeSideData struct {
	Type     string `json:"side_data_type"`
	Rotation text   `json:"rotation"`
	Matrix   string `json:"displaymatrix"`
}

// text decodes a JSON string or number: ffprobe uses both for the same fields.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(t))
	}
	*t = text(data)
	return nil
}

func (t text) int() int64 {
	n, err := strconv.ParseInt(string(t), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// id parses a number that ffprobe writes as "0x1".
func (t text) id() int64 {
	n, err := strconv.ParseInt(string(t), 0, 64)
	if err != nil {
		return 0
	}
	return n
}

// float returns a finite number; ok is false if it is missing or unreadable.
func (t text) float() (f float64, ok bool) {
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// century is about the longest duration, in seconds, that we believe: damaged headers declare more, and a
// time.Duration holds less than three of it.
const century = 100 * 365 * 24 * 60 * 60

// seconds returns 0 for a missing or absurd time.
func (t text) seconds() float64 {
	f, _ := t.float()
	if math.Abs(f) > century {
		return 0
	}
	return f
}

const maxText = 256

func (d probeDoc) result() ProbeResult {
	f := d.Format
	r := ProbeResult{Format: Format{
		Name: clean(f.Name, maxText), StartTime: f.StartTime.seconds(), BitRate: f.BitRate.int(),
		Size: f.Size.int(), NbStreams: int(f.NbStreams.int()),
	}}
	if dur := f.Duration.seconds(); dur > 0 {
		r.Format.Duration, r.Format.DurationKnown = dur, true
	}
	for _, s := range d.Streams {
		one := s.stream()
		if _, told := s.StartTime.float(); !told {
			one.StartTime = r.Format.StartTime
		}
		r.Streams = append(r.Streams, one)
	}
	return r
}

func (s probeStream) stream() Stream {
	out := Stream{
		Index: int(s.Index.int()), ID: s.ID.id(), CodecType: clean(s.CodecType, maxText),
		CodecName: clean(s.CodecName, maxText), CodecTag: clean(s.CodecTag, maxText),
		Profile: clean(string(s.Profile), maxText), Level: int(s.Level.int()),
		Width: int(s.Width.int()), Height: int(s.Height.int()),
		PixFmt: clean(s.PixFmt, maxText), BitsPerRawSample: int(s.BitsPerRawSample.int()),
		SAR: parseRational(s.SAR), DAR: parseRational(s.DAR), FieldOrder: clean(s.FieldOrder, maxText),
		RFrameRate: parseRational(s.RFrameRate), AvgFrameRate: parseRational(s.AvgFrameRate),
		StartTime: s.StartTime.seconds(), Duration: s.Duration.seconds(), NbFrames: s.NbFrames.int(),
		Packets: s.NbReadPackets.int(), BitRate: s.BitRate.int(), Channels: int(s.Channels.int()),
		ChannelLayout: clean(s.ChannelLayout, maxText), SampleRate: int(s.SampleRate.int()),
		Language: clean(s.Tags.Language, maxText), ColorSpace: clean(s.ColorSpace, maxText),
		ColorTransfer: clean(s.ColorTransfer, maxText), ColorPrimaries: clean(s.ColorPrimaries, maxText),
		ColorRange: clean(s.ColorRange, maxText),
		Disposition: Disposition{
			Default: s.Disposition["default"] != 0, AttachedPic: s.Disposition["attached_pic"] != 0,
			StillImage: s.Disposition["still_image"] != 0, TimedThumbnails: s.Disposition["timed_thumbnails"] != 0,
		},
	}
	for _, d := range s.SideData {
		if d.Type == "Display Matrix" {
			if m := corner(d.Matrix); m == nil || *m != (matrix{}) {
				out.Rotation, out.RotationBad = clockwise(d.Rotation)
				out.Mirrored = m.mirrors()
			}
		}
	}
	return out
}

// clockwise converts ffprobe's counter-clockwise angle in [-180,180]. For a matrix without an angle,
// ffprobe prints a number far outside of that range.
func clockwise(angle text) (degrees int, bad bool) {
	a, ok := angle.float()
	if !ok || a < -360 || a > 360 {
		return 0, true
	}
	return ((-int(math.Round(a)))%360 + 360) % 360, false
}

// matrix is the upper left 2x2 of a display matrix, row by row. A matrix of zeros means no rotation, as in
// players.
type matrix [4]float64

// mirrors reports whether the matrix flips: its determinant is negative. An unreadable matrix does not.
func (m *matrix) mirrors() bool { return m != nil && m[0]*m[3]-m[1]*m[2] < 0 }

// corner parses a display matrix as ffprobe prints it, row by row ("00000000: a b u"); nil if unreadable.
func corner(printed string) *matrix {
	var m matrix
	row := 0
	for line := range strings.Lines(printed) {
		_, text, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		nums := strings.Fields(text)
		if len(nums) < 2 {
			return nil
		}
		for i := range 2 {
			f, err := strconv.ParseFloat(nums[i], 64)
			if err != nil {
				return nil
			}
			m[2*row+i] = f
		}
		if row++; row == 2 {
			return &m
		}
	}
	return nil
}

// Rational is a fraction as ffmpeg prints it. 0/1 means unknown; Den is never 0.
type Rational struct{ Num, Den int64 }

// Float returns the value, 0 if unknown.
func (r Rational) Float() float64 {
	if r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

// String formats the fraction as "30000/1001".
func (r Rational) String() string {
	return strconv.FormatInt(r.Num, 10) + "/" + strconv.FormatInt(r.Den, 10)
}

// parseRational parses "30000/1001" and "16:9". Anything else, and a zero denominator, is 0/1.
func parseRational(s string) Rational {
	num, den, ok := strings.Cut(s, "/")
	if !ok {
		num, den, ok = strings.Cut(s, ":")
	}
	n, err1 := strconv.ParseInt(num, 10, 64)
	d, err2 := strconv.ParseInt(den, 10, 64)
	if !ok || err1 != nil || err2 != nil || d <= 0 {
		return Rational{0, 1}
	}
	return Rational{n, d}
}
