package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// Kind says how a process ended badly.
type Kind int

// The kinds of Error.
const (
	KindExit     Kind = iota + 1 // it exited by itself, with ExitCode: 0 if an output could not be written
	KindSignal                   // killed by a signal that we did not send (crash, OOM killer); see Signal
	KindStalled                  // we killed it: no sign of life for RunOptions.Stall
	KindCanceled                 // we killed it: the caller's context ended; Unwrap gives the cause
	KindTimeout                  // we killed it: it passed this package's own time limit (probes)
	KindOutput                   // we killed it: it wrote more than this package's own limit (probes)
	KindStart                    // it never started; Unwrap gives the cause
)

// String is the kind as a word for logs.
func (k Kind) String() string {
	names := [...]string{"unknown", "exit", "signal", "stalled", "canceled", "timeout", "output", "start"}
	if k < 0 || int(k) >= len(names) {
		k = 0
	}
	return names[k]
}

// Reasons for which this package ends a process itself. Test with errors.Is.
var (
	ErrStalled = errors.New("no sign of life")
	ErrTimeout = errors.New("time limit passed")
	ErrOutput  = errors.New("output limit passed")
)

// Error is every failure of a process. Tail and Args never hold a directory name: paths that we put into the
// command are replaced by <in0>, <out1>, <dir>.
type Error struct {
	Program  string // "ffmpeg" or "ffprobe"
	Kind     Kind
	ExitCode int            // KindExit only
	Signal   syscall.Signal // KindSignal only
	Tail     string         // the end of stderr: valid UTF-8, no control characters but newlines
	Args     []string       // argv after the program name
	Err      error          // the cause, where there is one
}

// Error is one line: what happened and the last thing the program said.
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

// Unwrap gives ErrStalled, ErrTimeout, ErrOutput, the context's cause, or the error of the start.
func (e *Error) Unwrap() error { return e.Err }

// DiskFull reports that a write failed for want of space: try again elsewhere or later.
func (e *Error) DiskFull() bool {
	return containsAny(e.Tail, "no space left on device", "disk quota exceeded")
}

// hiddenOutput begins what stands for the path of an output. No file can make ffmpeg say it.
const hiddenOutput = "<out"

// outputs are words of messages that speak of an output, and diskFaults how those end that blame its disk. A
// path in the working directory is none of the words: inputs lie there, too.
// ffmpeg puts the text of an error of the system behind all of them. EPERM is none of these: it is -1, which
// ffmpeg returns for much else.
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

// Unwritten reports that an output could not be written because of its disk, which is full, broken, read-only
// or gone: try again elsewhere or later.
func (e *Error) Unwritten() bool {
	return e.DiskFull() || unwritten(e.Tail, outputs...) || e.Program == "ffmpeg" && e.Signal == syscall.SIGXFSZ
}

// unwritten reports that a line with one of the words blames a disk.
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

// GaveUp reports that err is of a program that ended with an error by itself, and not because of a disk that
// it wrote to: as a rule, for what is in the file.
func GaveUp(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == KindExit && !e.Unwritten()
}

// badInput are messages that speak of the input and will come again with the same file.
var badInput = []string{
	"invalid data found when processing input", "moov atom not found", "could not find codec parameters",
	"not on whitelist", "matches no streams", "does not contain any stream", "ebml header parsing failed",
	"invalid as first byte of an ebml", "exceeds specified max pixel count", "unknown decoder",
	"error while opening decoder", "partial file", "invalid frame size", "could not find corresponding trex",
	"picture size", "error reading header", "error while decoding stream", "decode_slice_header error",
	"unsupported codec", "cannot determine format of input stream",
}

// BadInput reports that the input is at fault: trying again cannot help. It is a guess from the words on
// stderr, so it says nothing for crashes, kills and faults of the disk.
func (e *Error) BadInput() bool {
	if e.Kind != KindExit || e.Unwritten() {
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

// newError judges how a process ended: nil for a clean exit. ffmpeg 5 also exits with 0 when it could not
// write the end of an output. Only a line that names it by its path counts there: a file can make ffmpeg say
// the other words.
func newError(ctx context.Context, program string, args []string, res result, t *tail) error {
	e := &Error{Program: program, Args: t.redactAll(args), Tail: t.String(), Err: res.err}
	if res.err == nil {
		if e.Kind = KindExit; program == "ffmpeg" && unwritten(e.Tail, hiddenOutput) {
			return e
		}
		return nil
	}
	var exit *exec.ExitError
	cause := context.Cause(ctx)
	switch {
	case !res.started && cause == nil:
		e.Kind = KindStart
	case cause != nil:
		e.Kind, e.Err = kindOf(cause), cause
	case errors.As(res.err, &exit):
		e.Kind, e.ExitCode, e.Err = KindExit, exit.ExitCode(), nil
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Kind, e.ExitCode, e.Signal = KindSignal, 0, ws.Signal()
			if e.Signal == syscall.SIGXCPU {
				e.Kind, e.Err = KindTimeout, ErrTimeout
			}
		}
		if e.ExitCode == 255 && strings.Contains(e.Tail, "received signal 24") {
			e.Kind, e.ExitCode, e.Err = KindTimeout, 0, ErrTimeout // ffmpeg catches SIGXCPU
		}
	default: // a pipe that would not close, a wait that failed
		e.Kind, e.ExitCode = KindExit, -1
	}
	return e
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

// lastLine picks the line that says most: the last one that is neither one of ffmpeg's empty closing phrases
// nor, where there is a better one, the general "file: Invalid data".
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
