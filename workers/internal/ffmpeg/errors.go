package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// Kind says how a process failed.
type Kind int

// Kinds of Error.
const (
	KindExit     Kind = iota + 1 // it exited with ExitCode, which is 0 if it could not write an output
	KindSignal                   // killed by a signal that we did not send (crash, OOM killer); see Signal
	KindStalled                  // we killed it: no sign of life for RunOptions.Stall
	KindCanceled                 // we killed it: the caller's context ended; Unwrap gives the cause
	KindTimeout                  // we killed it: it exceeded this package's time limit (probes)
	KindOutput                   // we killed it: it wrote more than this package's limit (probes)
	KindStart                    // it never started; Unwrap gives the cause
)

// String returns the kind as a word for logs.
func (k Kind) String() string {
	names := [...]string{"unknown", "exit", "signal", "stalled", "canceled", "timeout", "output", "start"}
	if k < 0 || int(k) >= len(names) {
		k = 0
	}
	return names[k]
}

// Reasons for which this package kills a process. Test with errors.Is.
var (
	ErrStalled = errors.New("no sign of life")
	ErrTimeout = errors.New("time limit passed")
	ErrOutput  = errors.New("output limit passed")
)

// errHung is the cause of an ErrTimeout for RunOptions.Hang.
var errHung = errors.New("busy with one frame")

// Error is any failure of a process. Tail and Args never contain a directory name: they have <in0>, <out1>,
// <dir> in place of the command's paths.
type Error struct {
	Program  string // "ffmpeg" or "ffprobe"
	Kind     Kind
	ExitCode int            // KindExit only
	Signal   syscall.Signal // KindSignal, and SIGXCPU for a KindTimeout of CPU time
	CPU      time.Duration  // that the process used; 0 if it never started or was not waited for
	Tail     string         // the end of stderr: valid UTF-8, no control characters but newlines
	Args     []string       // argv after the program name
	Err      error          // the cause, if there is one
}

// Error is one line: what happened and the program's last message.
func (e *Error) Error() string {
	s := e.Program + ": " + e.what()
	if last := lastLine(e.Tail); last != "" {
		s += ": " + last
	}
	return s
}

func (e *Error) what() string {
	switch {
	case e.Kind == KindExit && e.ExitCode == 0:
		return "it exited with 0, but could not write an output"
	case e.Kind == KindExit:
		return fmt.Sprintf("exit status %d", e.ExitCode)
	case e.Kind == KindSignal:
		return "killed by " + e.Signal.String()
	}
	if e.Err != nil {
		return e.Kind.String() + ": " + e.Err.Error()
	}
	return e.Kind.String()
}

// Unwrap returns ErrStalled, ErrTimeout, ErrOutput, the context's cause, or the error of the start.
func (e *Error) Unwrap() error { return e.Err }

// DiskFull reports whether a write failed because the disk is full: try again elsewhere or later.
func (e *Error) DiskFull() bool {
	return containsAny(e.Tail, "no space left on device", "disk quota exceeded")
}

// noMemory are messages about memory that the program could not get, from ffmpeg, the loader, and libraries
// that do not pass on the system's error.
var noMemory = []string{
	"cannot allocate memory", "failed to map segment", "malloc of size", "bad_alloc",
	"cannot create shared object descriptor",
}

// NoMemory reports whether the program ended because the system refused it memory, or a thread, which needs
// some. If MemoryIsLimited, the machine is to blame. Otherwise a system gives out all that it has before it
// refuses, so the file is: it asked for more than ffmpeg may allocate for one file.
func (e *Error) NoMemory() bool {
	switch {
	case e.Kind == KindStart:
		return errors.Is(e.Err, syscall.ENOMEM)
	case e.Kind != KindExit && (e.Kind != KindSignal || e.Signal == syscall.SIGKILL):
		return false
	}
	return containsAny(e.Tail, noMemory...) || e.noThread()
}

// noThread reports whether a decoder or an encoder could not start its threads.
func (e *Error) noThread() bool {
	for line := range strings.Lines(strings.ToLower(e.Tail)) {
		if strings.Contains(line, "error while opening ") &&
			strings.HasSuffix(strings.TrimSpace(line), ": resource temporarily unavailable") {
			return true
		}
	}
	return false
}

// NotLoaded reports whether the program never ran: the system could not start it, or not load its libraries.
func (e *Error) NotLoaded() bool {
	return e.Kind == KindStart ||
		e.Kind == KindExit && e.ExitCode == 127 && containsAny(e.Tail, "error while loading shared libraries")
}

// hiddenOutput is the start of the name that replaces an output's path. No file can make ffmpeg write it.
const hiddenOutput = "<out"

// outputs are words in messages about an output; diskFaults are the endings of messages that blame its
// disk. ffmpeg appends the system's error text to both. The working directory's path is not among outputs,
// since inputs lie there too. EPERM is missing: it is -1, which ffmpeg returns for many other errors.
var (
	outputs = []string{
		hiddenOutput, "[out#", "ost#", "opening output", "av_interleaved_write_frame", "could not write header",
	}
	diskFaults = []string{
		": no space left on device", ": disk quota exceeded", ": input/output error", ": read-only file system",
		": permission denied", ": no such file or directory", ": not a directory", ": is a directory",
		": file too large", ": too many levels of symbolic links", ": stale file handle", ": no such device",
		": structure needs cleaning", ": transport endpoint is not connected",
	}
)

// Unwritten reports whether an output could not be written because its disk is full, broken, read-only or
// gone: try again elsewhere or later.
func (e *Error) Unwritten() bool {
	return e.DiskFull() || unwritten(e.Tail, outputs...) || e.Program == "ffmpeg" && e.Signal == syscall.SIGXFSZ
}

// unwritten reports whether a line with one of the words blames a disk.
func unwritten(tail string, words ...string) bool {
	for line := range strings.Lines(strings.ToLower(tail)) {
		line = strings.TrimSpace(line)
		if containsAny(line, words...) &&
			slices.ContainsFunc(diskFaults, func(fault string) bool { return strings.HasSuffix(line, fault) }) {
			return true
		}
	}
	return false
}

// GaveUp reports whether a program exited with an error by itself, and not because of the disk that it
// wrote to or because of memory: usually the reason is in the file.
func GaveUp(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == KindExit && !e.Unwritten() && !e.NoMemory() && !e.NotLoaded()
}

// badInput are messages about the input that will come again with the same file.
var badInput = []string{
	"invalid data found when processing input", "moov atom not found", "could not find codec parameters",
	"not on whitelist", "matches no streams", "does not contain any stream", "ebml header parsing failed",
	"invalid as first byte of an ebml", "exceeds specified max pixel count", "unknown decoder",
	"error while opening decoder", "partial file", "invalid frame size", "could not find corresponding trex",
	"picture size", "error reading header", "error while decoding stream", "decode_slice_header error",
	"unsupported codec", "cannot determine format of input stream",
}

// BadInput reports whether the input is at fault, so that trying again cannot help. It guesses from the
// messages on stderr, and is false for crashes, kills, disk faults and a lack of memory.
func (e *Error) BadInput() bool {
	if e.Kind != KindExit || e.Unwritten() || e.NoMemory() || e.NotLoaded() {
		return false
	}
	if containsAny(e.Tail, badInput...) {
		return true
	}
	low := strings.ToLower(e.Tail) // "Decoder (codec none) not found for input stream #0:2"
	return strings.Contains(low, "decoder ") && strings.Contains(low, "not found for input stream")
}

func containsAny(s string, words ...string) bool {
	s = strings.ToLower(s)
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// newError returns the failure of a process, or nil after a clean exit. ffmpeg 5 also exits with 0 when it
// could not write the end of an output. Then only a line with the output's own path counts, since a file
// can make ffmpeg print the other words.
// cpu is the process's limit of CPU time; 0 if it has none.
func newError(
	ctx context.Context, program string, args []string, cpu time.Duration, err error, t *tail,
) error {
	e := &Error{Program: program, Args: t.redactAll(args), Tail: t.String(), Err: err}
	if err == nil {
		if e.Kind = KindExit; program == "ffmpeg" && unwritten(e.Tail, hiddenOutput) {
			return e
		}
		return nil
	}
	var exit *exec.ExitError
	var start *sandbox.StartError
	cause := context.Cause(ctx)
	switch {
	case errors.As(err, &start) && cause == nil:
		e.Kind, e.Err = KindStart, start.Err
	case cause != nil:
		e.Kind, e.Err = kindOf(cause), cause
		if errors.Is(cause, errHung) {
			e.Signal = syscall.SIGXCPU
		}
	case errors.As(err, &exit):
		e.Kind, e.ExitCode, e.Err = KindExit, exit.ExitCode(), nil
		e.CPU = exit.UserTime() + exit.SystemTime()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Kind, e.ExitCode, e.Signal = KindSignal, 0, ws.Signal()
		}
		if e.spent(cpu) {
			e.Kind, e.ExitCode, e.Signal, e.Err = KindTimeout, 0, syscall.SIGXCPU, ErrTimeout
		}
	default: // a pipe that does not close, a failed wait
		e.Kind, e.ExitCode = KindExit, -1
	}
	return e
}

// measuredCPU is the share of its CPU limit that a process has at least used, as measured at its end, when
// the kernel kills it for that limit. The kernel counts clock ticks for the limit, but measures exactly in
// the end: on a busy virtual machine a tenth less.
const measuredCPU = 0.5

// spent reports whether a process ended because of its CPU limit. ffmpeg heeds SIGXCPU, and exits with 255,
// but only between frames: then SIGKILL comes first. Both can have other reasons, so the time decides.
func (e *Error) spent(cpu time.Duration) bool {
	ended := e.ExitCode == 255 || e.Signal == syscall.SIGKILL
	return e.Signal == syscall.SIGXCPU || cpu > 0 && ended && e.CPU.Seconds() >= measuredCPU*cpu.Seconds()
}

// Exhausted reports whether a program used up its CPU time (sandbox.Limits, RunOptions.Hang). If every good
// file needs less, the file is at fault, and trying again cannot help.
func Exhausted(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == KindTimeout && e.Signal == syscall.SIGXCPU
}

func kindOf(cause error) Kind {
	switch {
	case errors.Is(cause, ErrStalled):
		return KindStalled
	case errors.Is(cause, ErrTimeout):
		return KindTimeout
	case errors.Is(cause, ErrOutput):
		return KindOutput
	}
	return KindCanceled
}

// lastLine returns the most useful line: the last one, skipping ffmpeg's empty closing phrases and, if
// there is a better line, the general "file: Invalid data".
func lastLine(tail string) string {
	fallback := ""
	lines := strings.Split(tail, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		l := strings.TrimSpace(lines[i])
		switch {
		case l == "", l == "Conversion failed!", strings.HasPrefix(l, "Last message repeated"):
		case strings.HasPrefix(l, "file:<in"):
			fallback = l
		default:
			return clean(l, 300)
		}
	}
	return clean(fallback, 300)
}

// clean makes untrusted text printable: valid UTF-8, no control or formatting characters, at most limit
// characters.
func clean(s string, limit int) string {
	return cleanRunes(s, limit, false)
}

func cleanRunes(s string, limit int, keepNewlines bool) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			break
		}
		switch {
		case r == '\n' && keepNewlines:
		case r == utf8.RuneError:
			r = '?'
		case unicode.IsSpace(r):
			r = ' '
		case !unicode.IsPrint(r):
			continue
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimSpace(b.String())
}
