package ffmpeg

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

func TestRunWritesAndReports(t *testing.T) {
	in := video(t, "in.mp4", 3)
	dir := t.TempDir()
	c := Command{
		Inputs: []Input{{Path: in, Demuxer: "mov"}}, Threads: 1,
		Outputs: []Output{{
			Path: filepath.Join(dir, "-version"), Format: "mp4", Maps: []string{"0:v:0"},
			Options: []Option{{"c:v", "libx264"}, {"preset", "ultrafast"}},
		}},
	}
	var reports []Progress
	err := Tools{}.Run(testContext(t), c, RunOptions{
		Dir: dir, Duration: 3 * time.Second, Nice: 5,
		Progress: func(p Progress) { reports = append(reports, p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	last := reports[len(reports)-1]
	if last.Frame != 75 || last.Fraction < 0.95 || last.OutTime < 2900*time.Millisecond {
		t.Errorf("last report %+v", last)
	}
	if info, err := os.Stat(c.Outputs[0].Path); err != nil || info.Size() == 0 {
		t.Errorf("output: %v %v", info, err)
	}
}

func TestRunFileNamedLikeAnOption(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Rename(video(t, "in.mp4", 1), "-version"); err != nil {
		t.Fatal(err)
	}
	frames := int64(0)
	o := RunOptions{Progress: func(p Progress) { frames = p.Frame }}
	if err := (Tools{}).Run(testContext(t), toNull("-version"), o); err != nil || frames != 25 {
		t.Errorf("%d frames, %v", frames, err)
	}
	if r, err := (Tools{}).Probe(testContext(t), "-version", ProbeOptions{}); err != nil || len(r.Streams) != 2 {
		t.Errorf("probe: %+v, %v", r, err)
	}
}

// TestRunRefusesPlaylists: a playlist with a video's file name must not lead ffmpeg to another user's file.
func TestRunRefusesPlaylists(t *testing.T) {
	secret := video(t, "secret.mp4", 1)
	for name, body := range map[string]string{
		"hls":    "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n" + secret + "\n#EXT-X-ENDLIST\n",
		"concat": "ffconcat version 1.0\nfile '" + secret + "'\n",
		"dash":   `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>`,
		"sdp":    "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
	} {
		for _, trusted := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "upload.mp4")
			if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			c := toNull(path)
			c.Inputs[0].Trusted = trusted
			err := Tools{}.Run(testContext(t), c, RunOptions{})
			var e *Error
			if !errors.As(err, &e) || !e.BadInput() {
				t.Errorf("%s: run: %v", name, err)
			}
			_, err = Tools{}.Probe(testContext(t), path, ProbeOptions{Trusted: trusted})
			if !errors.As(err, &e) || !e.BadInput() {
				t.Errorf("%s: probe: %v", name, err)
			}
			if d, known := Sniff([]byte(body)); known {
				t.Errorf("%s: sniffed as %s", name, d)
			}
		}
	}
}

// TestRunStripsMetadata: outputs lose what a file says about its owner.
func TestRunStripsMetadata(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.mp4"), filepath.Join(dir, "out.mp4")
	generate(t, "-i", video(t, "a.mp4", 1), "-c", "copy", "-metadata", "location=+59.33+018.07/",
		"-metadata", "comment=private", in)
	c := Command{Inputs: []Input{{Path: in}}, Outputs: []Output{{
		Path: out, Format: "mp4", Maps: []string{"0:v:0", "0:a:0"}, Options: []Option{{"c", "copy"}}}}}
	if err := (Tools{}).Run(testContext(t), c, RunOptions{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("+59.33")) || bytes.Contains(data, []byte("private")) {
		t.Error("metadata survived")
	}
}

func TestRunBadInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.mp4")
	generate(t, "-f", "lavfi", "-i", "testsrc2=s=160x90:d=1", path) // with the index at the end
	truncate(t, path, 0.7)
	err := Tools{}.Run(testContext(t), toNull(path), RunOptions{})
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindExit || e.ExitCode != 1 || !e.BadInput() || e.DiskFull() {
		t.Fatalf("%#v", err)
	}
	if !strings.Contains(err.Error(), "moov atom not found") || strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("message %q", err)
	}
	if s := fmt.Sprint(e.Args) + e.Tail; strings.Contains(s, filepath.Dir(path)) {
		t.Errorf("path in %q", s)
	}
}

func TestRunCancelKillsTheGroup(t *testing.T) {
	dir := t.TempDir()
	tools := script(t, `trap '' TERM
sleep 1000 & echo $! > `+dir+`/child
echo $$ > `+dir+`/leader
wait`)
	ctx, cancel := context.WithCancelCause(testContext(t))
	why := errors.New("job canceled")
	done := make(chan error, 1)
	go func() { done <- tools.Run(ctx, toNull("in.mp4"), RunOptions{}) }()
	waitFor(t, "the stand-in", func() bool { return readPid(dir+"/leader") != 0 })
	canceled := time.Now()
	cancel(why)
	err := <-done
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindCanceled || !errors.Is(err, why) || e.BadInput() {
		t.Errorf("%#v", err)
	}
	for _, name := range []string{"leader", "child"} { // both ignore SIGTERM
		pid := readPid(dir + "/" + name)
		waitFor(t, name+" to die", func() bool { return gone(pid) })
	}
	pipelinetest.Promptly(t, "their death", canceled, 2*time.Second)
}

func TestRunCanceledBeforeTheStart(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var e *Error
	err := Tools{}.Run(ctx, toNull("in.mp4"), RunOptions{})
	if !errors.As(err, &e) || e.Kind != KindCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%#v", err)
	}
}

func mkfifo(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.mp4")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunStall(t *testing.T) {
	const stall = 150 * time.Millisecond
	tests := []struct {
		name    string
		tools   Tools
		input   string
		stall   time.Duration
		atLeast time.Duration
	}{
		{"input never comes", Tools{}, mkfifo(t), stall, stall},
		{"stopped", script(t, "kill -STOP $$"), "in.mp4", stall, stall},
		// When many processes wait for a CPU, even a busy one gets none for a while.
		{"busy without a report", script(t, "while :; do :; done"), "in.mp4", 5 * stall, busyFactor * 5 * stall},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			err := tt.tools.Run(testContext(t), toNull(tt.input), RunOptions{Stall: tt.stall})
			var e *Error
			if !errors.As(err, &e) || e.Kind != KindStalled || !errors.Is(err, ErrStalled) {
				t.Errorf("%#v", err)
			}
			if took := time.Since(begin); took < tt.atLeast {
				t.Errorf("killed after %v, before %v", took, tt.atLeast)
			}
		})
	}
}

// TestRunsThatWaitForEachOther: a run that waits for its input is alive while another with its pulse is.
func TestRunsThatWaitForEachOther(t *testing.T) {
	pipelinetest.Longer(t, 400*time.Millisecond, 7*time.Second, func(stall time.Duration) error {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		var other Pulse
		ended := make(chan error, 1)
		go func() {
			ended <- script(t, "read line && [ $line = go ]").Run(testContext(t), toNull("in.mp4"),
				RunOptions{Stall: stall, Stdin: r, Pulse: &other})
		}()
		tick := time.NewTicker(stall / 20)
		defer tick.Stop()
		for range 60 { // three times as long as the stall limit
			<-tick.C
			other.report()
		}
		_, _ = w.WriteString("go\n") // fails if the run has ended; its error says why
		return <-ended
	})
}

// TestRunReadsAPipe also checks that the pipe's writer notices the end.
func TestRunReadsAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- Tools{}.Run(testContext(t), Command{
			Inputs: []Input{{Pipe: true, Demuxer: "f32le", Trusted: true, Limit: time.Second,
				Options: []Option{{"ar", "8000"}, {"ac", "1"}}}},
			Outputs: []Output{{Format: "framecrc", Maps: []string{"0:0"}, Options: []Option{{"c:a", "pcm_s16le"}}}},
		}, RunOptions{Stdin: r, Stdout: &out})
	}()
	for err == nil {
		_, err = w.Write(make([]byte, 4000))
	}
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after the end: %v", err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	samples := 0
	for line := range strings.Lines(out.String()) {
		var stream, decode, at, n int
		if k, _ := fmt.Sscanf(line, "%d, %d, %d, %d,", &stream, &decode, &at, &n); k == 4 {
			samples += n
		}
	}
	if samples != 8000 {
		t.Errorf("%d samples of the pipe", samples)
	}
}

func TestRunReportsKeepItAlive(t *testing.T) {
	pipelinetest.Longer(t, 3*time.Second, 12*time.Second, func(stall time.Duration) error {
		tools := script(t, fmt.Sprintf(
			"for i in 1 2 3 4 5 6 7 8; do echo frame=$i >&3; echo progress=continue >&3; sleep %f; done", stall.Seconds()/6))
		n := 0
		err := tools.Run(testContext(t), toNull("in.mp4"), RunOptions{Stall: stall, Progress: func(Progress) { n++ }})
		if err == nil && n != 8 {
			err = fmt.Errorf("%d reports", n)
		}
		return err
	})
}

// TestRunReportsEndAFrame: a run that reports may use more CPU time than one frame may.
func TestRunReportsEndAFrame(t *testing.T) {
	const hang = 300 * time.Millisecond
	tools := script(t, `i=0; while [ $i -lt 300 ]; do
		n=0; while [ $n -lt 2000 ]; do n=$((n+1)); done
		echo progress=continue >&3; i=$((i+1))
	done`)
	if err := tools.Run(testContext(t), toNull("in.mp4"), RunOptions{Hang: hang}); err != nil {
		t.Error(err)
	}
}

func TestRunStderrTail(t *testing.T) {
	var whole bytes.Buffer
	tools := script(t, `i=0; while [ $i -lt 2000 ]; do echo "line $i of much noise" >&2; i=$((i+1)); done
printf 'bad \377\033[31m bytes\r\nNo space left on device\nConversion failed!\n' >&2; exit 7`)
	err := tools.Run(testContext(t), toNull("in.mp4"), RunOptions{StderrTail: 200, Stderr: &whole})
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindExit || e.ExitCode != 7 || !e.DiskFull() || e.BadInput() {
		t.Fatalf("%#v", err)
	}
	if len(e.Tail) > 200 || !strings.HasPrefix(e.Tail, "line 19") || !strings.Contains(e.Tail, "bad ?[31m bytes\n") {
		t.Errorf("tail %q", e.Tail)
	}
	if want := "ffmpeg: exit status 7: No space left on device"; err.Error() != want {
		t.Errorf("message %q", err)
	}
	if whole.Len() < 2000*20 {
		t.Errorf("copy of stderr has %d bytes", whole.Len())
	}
}

// TestRunFaultOfADisk: if a disk refuses an output, the run fails because of the disk, whatever the exit
// code.
func TestRunFaultOfADisk(t *testing.T) {
	in := video(t, "in.mp4", 1)
	for _, format := range []string{"mp4", "rawvideo"} {
		for disk, path := range map[string]string{
			"full": "/dev/full", "broken": "/proc/self/mem", "no folder": filepath.Join(in, "x"),
			"gone": filepath.Join(t.TempDir(), "gone", "x"), "a folder": t.TempDir(),
		} {
			err := Tools{}.Run(testContext(t), Command{
				Inputs:  []Input{{Path: in}},
				Outputs: []Output{{Path: path, Format: format, Maps: []string{"0:v:0"}, Options: []Option{{"frames:v", "1"}}}},
			}, RunOptions{})
			var e *Error
			if !errors.As(err, &e) || !e.Unwritten() || e.BadInput() || GaveUp(err) || e.DiskFull() != (disk == "full") {
				t.Errorf("%s on what is %s: %v", format, disk, err)
			}
		}
	}
	err := Tools{}.Run(testContext(t), toNull(filepath.Join(in, "x")), RunOptions{})
	if !GaveUp(err) {
		t.Errorf("an input that cannot be opened: %v", err)
	}
}

// TestRunJudgesOutputsAlone: a complaint about a disk may concern an output or another file in the working
// directory. Only a complaint about an output turns exit code 0 into a failure.
func TestRunJudgesOutputsAlone(t *testing.T) {
	dir := t.TempDir()
	c := Command{
		Inputs:  []Input{{Path: filepath.Join(dir, "%d.png"), Demuxer: "image2", Trusted: true}},
		Outputs: []Output{{Path: filepath.Join(dir, "out.mp4"), Format: "mp4", Maps: []string{"0:0"}}},
	}
	const unwritten = "ffmpeg: it exited with 0, but could not write an output: "
	for _, tt := range []struct{ says, exit, want string }{
		{"file:$PWD/out.mp4: Input/output error", "0", unwritten + "file:<out0>: Input/output error"},
		{"file:$PWD/out.mp4: Input/output error", "1", "ffmpeg: exit status 1: file:<out0>: Input/output error"},
		{"a name from the file\n<out0>: Input/output error", "0", ""},
		{"a name from the file\n<o\x01ut0>: Input/output error", "0", ""},
		{"a name from the file\n[out#0] Input/output error: Input/output error", "0", ""},
		{"file:$PWD/%d.png: Permission denied", "0", ""},
		{"file:$PWD/2.png: Permission denied", "0", ""},
		{"file:$PWD/2.png: Permission denied", "1", "ffmpeg: exit status 1: file:<dir>/2.png: Permission denied"},
	} {
		tools := script(t, "echo \""+tt.says+"\" >&2; exit "+tt.exit)
		err := tools.Run(testContext(t), c, RunOptions{Dir: dir})
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%s, exit %s: %s", tt.says, tt.exit, got)
		}
		if input := strings.Contains(tt.says, "png"); err != nil && GaveUp(err) != input {
			t.Errorf("%s, exit %s: gave up: %v, want %v", tt.says, tt.exit, !input, input)
		}
	}
}

func TestRunSignal(t *testing.T) {
	var e *Error
	err := script(t, "kill -SEGV $$").Run(testContext(t), toNull("in.mp4"), RunOptions{})
	if !errors.As(err, &e) || e.Kind != KindSignal || e.Signal != syscall.SIGSEGV || e.BadInput() {
		t.Errorf("%#v", err)
	}
}

func TestRunLimits(t *testing.T) {
	var e *Error
	for _, heed := range []string{"", "trap '' XCPU; ", "trap 'exit 255' XCPU; "} {
		err := script(t, heed+"while :; do :; done").Run(testContext(t), toNull("in.mp4"),
			RunOptions{Limits: sandbox.Limits{CPU: time.Second}})
		if !errors.As(err, &e) || e.Kind != KindTimeout || !errors.Is(err, ErrTimeout) || !Exhausted(err) {
			t.Errorf("cpu, %q: %#v", heed, err)
		}
	}
	err := script(t, "while :; do :; done").Run(testContext(t), toNull("in.mp4"), RunOptions{Hang: time.Second})
	if !errors.As(err, &e) || e.Kind != KindTimeout || !errors.Is(err, ErrTimeout) || !Exhausted(err) {
		t.Errorf("one frame: %#v", err)
	}
	report := "while :; do echo progress=continue >&3; sleep 0.1; done" // and uses no CPU time
	err = script(t, report).Run(testContext(t), toNull("in.mp4"), RunOptions{Wall: time.Second})
	if !errors.As(err, &e) || e.Kind != KindTimeout || !errors.Is(err, ErrTimeout) || Exhausted(err) {
		t.Errorf("by the clock: %#v", err)
	}
	if err := script(t, "kill -KILL $$").Run(testContext(t), toNull("in.mp4"),
		RunOptions{Limits: sandbox.Limits{CPU: time.Minute}}); Exhausted(err) {
		t.Errorf("killed early: %#v", err)
	}
	c := toNull(video(t, "in.mp4", 2))
	c.Outputs[0] = Output{Path: filepath.Join(t.TempDir(), "o"), Format: "rawvideo", Maps: []string{"0:v:0"}}
	if err := (Tools{}).Run(testContext(t), c, RunOptions{Limits: sandbox.Limits{FileSize: 50000}}); err == nil {
		t.Error("file size: no error")
	}
}

func TestRunEnvironmentIsEmpty(t *testing.T) {
	t.Setenv("REELMILL_SECRET", "hunter2")
	var out bytes.Buffer
	dir := t.TempDir()
	err := script(t, "env; pwd").Run(testContext(t), toNull("in.mp4"), RunOptions{Stdout: &out, Dir: dir})
	if err != nil || strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "HOME=") {
		t.Errorf("%q, %v", &out, err)
	}
	if !strings.Contains(out.String(), dir) {
		t.Errorf("not in %s: %q", dir, &out)
	}
}

func TestRunNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Find("", ""); !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install ffmpeg") {
		t.Errorf("find: %v", err)
	}
	if err := (Tools{}).Run(context.Background(), toNull("in.mp4"), RunOptions{}); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("run: %v", err)
	}
	var e *Error
	tools := script(t, "")
	if err := os.WriteFile(tools.FFmpeg, []byte("\x7fELF no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := tools.Run(context.Background(), toNull("in.mp4"), RunOptions{}); !errors.As(err, &e) || e.Kind != KindStart {
		t.Errorf("broken program: %#v", err)
	}
}

// TestFFmpegDiesWithUs kills a process that runs ffmpeg with SIGKILL.
func TestFFmpegDiesWithUs(t *testing.T) {
	for _, mode := range []sandbox.Mode{sandbox.Off, sandbox.Required} {
		t.Run(string(mode), func(t *testing.T) { diesWithUs(t, mode) })
	}
}

func diesWithUs(t *testing.T, mode sandbox.Mode) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mkfifo(t), childEnv+"_MODE="+string(mode))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || gone(pid) {
		t.Fatalf("ffmpeg %q is not running: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	waitFor(t, "ffmpeg to die", func() bool { return gone(pid) })
}

func runAsChild(fifo string) int {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return 1
	}
	args, err := toNull(fifo).Args()
	if err != nil {
		return 1
	}
	cage, err := sandbox.New(context.Background(), sandbox.Mode(os.Getenv(childEnv+"_MODE")))
	if err != nil {
		return 1
	}
	_ = cage.Run(context.Background(), sandbox.Spec{
		Program: path, Args: args, Read: []string{fifo}, Started: func(pid int) { fmt.Println(pid) },
	})
	return 0
}

func TestToolsQuestions(t *testing.T) {
	tools, err := Find("", "")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := tools.Version(testContext(t)); err != nil || v == "" || strings.ContainsAny(v, " \n") {
		t.Errorf("version %q, %v", v, err)
	}
	encoders, err := tools.Encoders(testContext(t))
	if err != nil || !encoders["libx264"] || !encoders["aac"] || encoders["="] || encoders["Video"] {
		t.Errorf("encoders %v, %v", encoders, err)
	}
	filters, err := tools.Filters(testContext(t))
	if err != nil || !filters["scale"] || !filters["overlay"] || filters["="] {
		t.Errorf("filters %v, %v", filters, err)
	}
}

// TestAskedOnce: copies of the result of Find share what ffmpeg answered; a failed answer is asked for
// again.
func TestAskedOnce(t *testing.T) {
	fake := script(t, `echo asked >>"$0.log"; [ -e "$0.ready" ] || exit 1; echo " V..... libx264 x"`)
	found, err := Find(fake.FFmpeg, fake.FFprobe)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := found.Encoders(testContext(t)); err == nil {
		t.Error("a failure is taken for an answer")
	}
	if err := os.WriteFile(fake.FFmpeg+".ready", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tools := range []Tools{found, found} {
		if encoders, err := tools.Encoders(testContext(t)); err != nil || !encoders["libx264"] {
			t.Errorf("encoders %v, %v", encoders, err)
		}
	}
	if log, err := os.ReadFile(fake.FFmpeg + ".log"); err != nil || strings.Count(string(log), "asked") != 2 {
		t.Errorf("asked %q, %v", log, err)
	}
}
