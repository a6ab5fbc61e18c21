package ffmpeg

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const goldenHead = "-nostdin -hide_banner -nostats -y -loglevel warning -max_alloc 536870912" +
	" -progress pipe:3 -stats_period 0.5"

const goldenInput = "-protocol_whitelist file -format_whitelist <formats> -codec_whitelist <codecs>" +
	" -max_streams 64 -max_pixels 35389440 -probesize 33554432 -analyzeduration 15000000"

func TestArgsGolden(t *testing.T) {
	tests := []struct {
		name string
		cmd  Command
		want string
	}{
		{"smallest", toNull("/s/in.mp4"),
			goldenHead + " " + goldenInput + " -i file:/s/in.mp4 -map 0:v:0 -map_metadata -1 -map_chapters -1 -f null -"},
		{"ladder", ladder(),
			goldenHead + " -filter_complex_threads 2 -copyts " +
				goldenInput + " -f mov -threads 2 -ss 10.000000 -t 8.500000 -skip_frame nokey -i file:-version " +
				strings.Replace(goldenInput, "<formats>", "<formats>,"+trustedFormats, 1) +
				" -threads 2 -i file:/s/mark.png" +
				" -filter_complex [0:v:0][1:v:0]overlay=x=1,split=2[v0][v1]" +
				" -map [v0] -map 0:a:0? -map_metadata -1 -map_chapters -1 -threads 2 -c:v libx264 -b:v 800k" +
				" -movflags +faststart -f mp4 file:/s/a.mp4" +
				" -map [v1] -map_metadata -1 -map_chapters -1 -threads 1 -c:v libx264 -b:v 800k -f mp4 file:/s/b.mp4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args, err := tt.cmd.Args()
			if err != nil {
				t.Fatal(err)
			}
			got := newTail(0).redactAll(args)
			if diff := cmp.Diff(strings.Fields(tt.want), got); diff != "" {
				t.Errorf("argv (-want +got):\n%s", diff)
			}
			again, _ := tt.cmd.Args()
			if !slices.Equal(args, again) {
				t.Error("the same command gave two different argv")
			}
		})
	}
}

func ladder() Command {
	return Command{
		Inputs: []Input{
			{Path: "-version", Demuxer: "mov", Seek: 10 * time.Second, Limit: 8500 * time.Millisecond,
				Options: []Option{{"skip_frame", "nokey"}}},
			{Path: "/s/mark.png", Trusted: true},
		},
		Filter:  "[0:v:0][1:v:0]overlay=x=1,split=2[v0][v1]",
		Threads: 2,
		Global:  []Option{{"copyts", ""}},
		Outputs: []Output{
			{Path: "/s/a.mp4", Format: "mp4", Maps: []string{"[v0]", "0:a:0?"},
				Options: []Option{{"c:v", "libx264"}, {"b:v", "800k"}, {"movflags", "+faststart"}}},
			{Path: "/s/b.mp4", Format: "mp4", Maps: []string{"[v1]"},
				Options: []Option{{"threads", "1"}, {"c:v", "libx264"}, {"b:v", "800k"}}},
		},
	}
}

// TestArgsCollisions tests the library's traps: equal nodes, swapped options, the same file twice.
func TestArgsCollisions(t *testing.T) {
	opt := func(a, b string) []Option { return []Option{{"ss", a}, {"t", b}} }
	c := Command{
		Inputs: []Input{{Path: "a", Options: opt("1", "2")}, {Path: "a", Options: opt("2", "1")}, {Path: "a"}, {Path: "a"}},
		Outputs: []Output{
			{Path: "o", Format: "mp4", Maps: []string{"0:v:0"}}, {Path: "o", Format: "mp4", Maps: []string{"0:v:0"}},
		},
	}
	args, err := c.Args()
	if err != nil {
		t.Fatal(err)
	}
	if n := count(args, "file:a"); n != 4 {
		t.Errorf("%d of 4 inputs", n)
	}
	if n := count(args, "file:o"); n != 2 {
		t.Errorf("%d of 2 outputs", n)
	}
}

// TestArgsEverythingOnce: every part of a command stands in argv exactly once and in order.
func TestArgsEverythingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, want := drawCommand(t)
		args, err := c.Args()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, a := range args {
			if strings.HasPrefix(a, "-x_") {
				got = append(got, a[1:]+"="+args[i+1])
			}
			if a == "-filter_complex" || a == "-i" || a == "-map" {
				got = append(got, a+"="+args[i+1])
			}
			if strings.HasPrefix(a, "file:out") {
				got = append(got, a)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("argv lost or moved something (-want +got):\n%s\n%q", diff, args)
		}
	})
}

// drawCommand draws a command from few names and values, so that equal parts are common.
func drawCommand(t *rapid.T) (c Command, want []string) {
	options := func(label string) []Option {
		var out []Option
		for range rapid.IntRange(0, 3).Draw(t, label) {
			out = append(out, Option{
				"x_" + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"),
				rapid.SampledFrom([]string{"1", "2", "x_a", "-x", "é"}).Draw(t, "value"),
			})
		}
		return out
	}
	add := func(opts []Option) {
		for _, o := range opts {
			want = append(want, o.Key+"="+o.Value)
		}
	}
	for range rapid.IntRange(1, 4).Draw(t, "inputs") {
		in := Input{Path: rapid.SampledFrom([]string{"a", "b", "-i"}).Draw(t, "in"), Options: options("in options")}
		c.Inputs = append(c.Inputs, in)
		add(in.Options)
		want = append(want, "-i=file:"+in.Path)
	}
	if rapid.Bool().Draw(t, "filtered") {
		c.Filter = "[0:v]null[v]"
		want = append(want, "-filter_complex="+c.Filter)
	}
	for range rapid.IntRange(1, 4).Draw(t, "outputs") {
		out := Output{Path: rapid.SampledFrom([]string{"out1", "out2"}).Draw(t, "out"), Format: "mp4", Options: options("out options")}
		for range rapid.IntRange(1, 3).Draw(t, "maps") {
			out.Maps = append(out.Maps, rapid.SampledFrom([]string{"[v]", "0:a:0", "0"}).Draw(t, "map"))
		}
		c.Outputs = append(c.Outputs, out)
		for _, m := range out.Maps {
			want = append(want, "-map="+m)
		}
		add(out.Options)
		want = append(want, "file:"+out.Path)
	}
	return c, want
}

func TestArgsRefuses(t *testing.T) {
	tests := map[string]func(c *Command){
		"no input":           func(c *Command) { c.Inputs = nil },
		"no output":          func(c *Command) { c.Outputs = nil },
		"no path":            func(c *Command) { c.Inputs[0].Path = "" },
		"output no path":     func(c *Command) { c.Outputs[0].Format = "mp4" },
		"no format":          func(c *Command) { c.Outputs[0].Format = "" },
		"no maps":            func(c *Command) { c.Outputs[0].Maps = nil },
		"map as option":      func(c *Command) { c.Outputs[0].Maps = []string{"-y"} },
		"NUL in a path":      func(c *Command) { c.Inputs[0].Path = "a\x00b" },
		"NUL in a value":     func(c *Command) { c.Inputs[0].Options = []Option{{"loop", "1\x00"}} },
		"NUL in the filter":  func(c *Command) { c.Filter = "\x00" },
		"key with a space":   func(c *Command) { c.Outputs[0].Options = []Option{{"a b", "1"}} },
		"empty key":          func(c *Command) { c.Outputs[0].Options = []Option{{"", "1"}} },
		"weaker protocols":   func(c *Command) { c.Inputs[0].Options = []Option{{"protocol_whitelist", "http"}} },
		"weaker by stream":   func(c *Command) { c.Inputs[0].Options = []Option{{"codec_whitelist:v", "x"}} },
		"metadata back":      func(c *Command) { c.Outputs[0].Options = []Option{{"map_metadata", "0"}} },
		"another input":      func(c *Command) { c.Global = []Option{{"i", "/etc/passwd"}} },
		"demuxer as option":  func(c *Command) { c.Inputs[0].Demuxer = "-y" },
		"negative seek":      func(c *Command) { c.Inputs[0].Seek = -1 },
		"unknown log level":  func(c *Command) { c.LogLevel = "debug" },
		"format with spaces": func(c *Command) { c.Outputs[0].Format = "mp4 -y" },
	}
	for name, spoil := range tests {
		c := toNull("in.mp4")
		spoil(&c)
		if args, err := c.Args(); err == nil {
			t.Errorf("%s: accepted as %q", name, args)
		}
	}
}

func count(args []string, want string) (n int) {
	for _, a := range args {
		if a == want {
			n++
		}
	}
	return n
}

func ExampleCommand_Args() {
	args, err := Command{
		Inputs:  []Input{{Path: "in.mp4"}},
		Outputs: []Output{{Path: "out.mp4", Format: "mp4", Maps: []string{"0:v:0"}, Options: []Option{{"c", "copy"}}}},
	}.Args()
	fmt.Println(strings.Join(args[len(args)-13:], " "), err)
	// Output: -i file:in.mp4 -map 0:v:0 -map_metadata -1 -map_chapters -1 -c copy -f mp4 file:out.mp4 <nil>
}
