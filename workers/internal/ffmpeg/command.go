package ffmpeg

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Input is one file to read. Every input is treated as hostile.
type Input struct {
	// Path is a local file that we named. It gets a "file:" prefix, so a leading dash or a colon is
	// harmless.
	Path string
	// Pipe reads RunOptions.Stdin instead of Path, which must be empty. Only one input may.
	Pipe bool
	// Demuxer forces the container parser (-f); Sniff returns the best. Empty: ffmpeg guesses within the
	// allow list.
	Demuxer string
	// Trusted allows our own image and raw formats. Set it only for files that this program wrote (frames,
	// a normalised watermark). All other limits stay.
	Trusted bool
	// Late searches more of the file than usual for tracks: one of them begins late.
	Late bool
	// Seek starts reading at this time (-ss before -i; exact to the frame when decoding). 0: from the
	// start.
	Seek time.Duration
	// Limit stops reading after this much input (-t). 0: to the end.
	Limit time.Duration
	// Pixels of the largest picture that is decoded, for the limit of memory. 0: unknown, taken for 4K.
	Pixels int
	// Options are further input options in order, such as {"skip_frame", "nokey"} or {"loop", "1"}.
	Options []Option
}

// Output is one file to write.
type Output struct {
	// Path is a local file; it gets a "file:" prefix and is overwritten. It may be empty for the Format
	// "null", and for "framecrc", "framemd5" and a fragmented "mov", which then go to stdout
	// (RunOptions.Stdout).
	Path string
	// Format is the muxer (-f). It is required, since guessing it from a name leads to surprises.
	Format string
	// Maps lists the streams of the output in order: "[v0]" for a label of the graph, "0:a:0" for a stream.
	// It is required: automatic selection would include attached pictures and data of hostile files.
	Maps []string
	// Options are codec and muxer options in order. When specifiers overlap, the later one wins.
	Options []Option
}

// Command is one ffmpeg call. The zero value of every optional field is usable.
type Command struct {
	Inputs []Input // at least one
	// Filter is the whole -filter_complex text from Graph; empty: none.
	Filter  string
	Outputs []Output // at least one
	// Threads is the number of decoder, filter and encoder threads, each; 0: ffmpeg decides.
	Threads int
	// Global are options of the whole call, such as {"copyts", ""} or {"xerror", ""}.
	Global []Option
	// LogLevel is what ffmpeg writes to stderr: "error", "warning" (default) or "info" (for filters that
	// report through the log, such as loudnorm).
	LogLevel string
	// Env is the environment of ffmpeg. Default: empty. Never put a secret here.
	Env []string
}

// progressFD is where ffmpeg writes -progress: the first of exec.Cmd.ExtraFiles. It keeps stdout free.
const progressFD = 3

// Args returns argv without the program name, or an error that names the malformed part of the command.
// Equal commands give equal argv. It includes "-progress pipe:3": whoever starts it without Run must open
// fd 3.
func (c Command) Args() ([]string, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("ffmpeg command: %w", err)
	}
	level := c.LogLevel
	if level == "" {
		level = "warning"
	}
	args := []string{
		"-nostdin", "-hide_banner", "-nostats", "-y", "-loglevel", level,
		"-max_alloc", strconv.Itoa(maxAlloc),
		"-progress", "pipe:" + strconv.Itoa(progressFD), "-stats_period", "0.5",
	}
	if c.Threads > 0 {
		args = append(args, "-filter_complex_threads", strconv.Itoa(c.Threads))
	}
	for _, o := range c.Global {
		args = appendOption(args, o)
	}
	compiled, err := c.compile()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg command: %w", err)
	}
	return append(args, compiled...), nil
}

func appendOption(args []string, o Option) []string {
	args = append(args, "-"+o.Key)
	if o.Value != "" {
		args = append(args, o.Value)
	}
	return args
}

// inputOptions returns everything that stands before an input, in order.
func (c Command) inputOptions(in Input) []Option {
	opts := hardenedInput(in)
	if in.Demuxer != "" {
		opts = append(opts, Option{"f", in.Demuxer})
	}
	if c.Threads > 0 && !hasKey(in.Options, "threads") {
		opts = append(opts, Option{"threads", strconv.Itoa(c.Threads)})
	}
	if in.Seek > 0 {
		opts = append(opts, Option{"ss", seconds(in.Seek)})
	}
	if in.Limit > 0 {
		opts = append(opts, Option{"t", seconds(in.Limit)})
	}
	return append(opts, in.Options...)
}

// outputOptions returns everything that stands before an output's name, in order.
func (c Command) outputOptions(out Output) []Option {
	opts := make([]Option, 0, len(out.Maps)+len(out.Options)+4)
	for _, m := range out.Maps {
		opts = append(opts, Option{"map", m})
	}
	opts = append(opts, Option{"map_metadata", "-1"}, Option{"map_chapters", "-1"})
	if c.Threads > 0 && !hasKey(out.Options, "threads") {
		opts = append(opts, Option{"threads", strconv.Itoa(c.Threads)})
	}
	opts = append(opts, out.Options...)
	return append(opts, Option{"f", out.Format})
}

// source returns the input's name in argv.
func (in Input) source() string {
	if in.Pipe {
		return "pipe:0"
	}
	return "file:" + in.Path
}

// target returns the output's name in argv.
func (o Output) target() string {
	if o.Path == "" {
		return "-"
	}
	return "file:" + o.Path
}

// seconds formats a duration for ffmpeg, exact to the microsecond.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 6, 64)
}

func hasKey(opts []Option, key string) bool {
	for _, o := range opts {
		if o.Key == key {
			return true
		}
	}
	return false
}

var (
	optionKey  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_:.#-]*$`)
	formatName = regexp.MustCompile(`^[a-z0-9][a-z0-9_,]*$`)
	mapSpec    = regexp.MustCompile(`^(\[[A-Za-z0-9_]+\]|[0-9]+(:[A-Za-z0-9_:#]+\??)?)$`)
	logLevel   = regexp.MustCompile(`^(quiet|panic|fatal|error|warning|info|verbose)?$`)
)

// check refuses text that would change the meaning of argv.
func (c Command) check() error {
	switch {
	case len(c.Inputs) == 0:
		return errors.New("no input")
	case len(c.Outputs) == 0:
		return errors.New("no output")
	case strings.ContainsRune(c.Filter, 0):
		return errors.New("filter: NUL byte")
	case !logLevel.MatchString(c.LogLevel):
		return fmt.Errorf("log level %q", c.LogLevel)
	}
	if err := checkOptions(c.Global); err != nil {
		return fmt.Errorf("global: %w", err)
	}
	for i, in := range c.Inputs {
		if err := in.check(); err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
	}
	for i, out := range c.Outputs {
		if err := out.check(); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

func (in Input) check() error {
	if in.Pipe {
		if in.Path != "" || in.Demuxer == "" {
			return errors.New("a pipe with a path, or without a demuxer")
		}
	} else if err := checkPath(in.Path); err != nil {
		return err
	}
	if in.Demuxer != "" && !formatName.MatchString(in.Demuxer) {
		return fmt.Errorf("demuxer %q", in.Demuxer)
	}
	if in.Seek < 0 || in.Limit < 0 {
		return errors.New("negative time")
	}
	return checkOptions(in.Options)
}

// nameless are the formats that can do without a file.
var nameless = map[string]bool{"null": true, "framecrc": true, "framemd5": true, "mov": true}

func (o Output) check() error {
	if o.Format == "" || !formatName.MatchString(o.Format) {
		return fmt.Errorf("format %q", o.Format)
	}
	if o.Path != "" || !nameless[o.Format] {
		if err := checkPath(o.Path); err != nil {
			return err
		}
	}
	if len(o.Maps) == 0 {
		return errors.New("nothing mapped")
	}
	for _, m := range o.Maps {
		if !mapSpec.MatchString(m) {
			return fmt.Errorf("map %q", m)
		}
	}
	return checkOptions(o.Options)
}

func checkPath(path string) error {
	if path == "" {
		return errors.New("no path")
	}
	if strings.ContainsRune(path, 0) {
		return errors.New("path: NUL byte")
	}
	return nil
}

func checkOptions(opts []Option) error {
	for _, o := range opts {
		if !optionKey.MatchString(o.Key) {
			return fmt.Errorf("option key %q", o.Key)
		}
		if base, _, _ := strings.Cut(o.Key, ":"); reservedKeys[base] {
			return fmt.Errorf("option %q is set by this package", o.Key)
		}
		if strings.ContainsRune(o.Value, 0) {
			return fmt.Errorf("option %q: NUL byte", o.Key)
		}
	}
	return nil
}
