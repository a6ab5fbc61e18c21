package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bytesize"
)

// screen shows the progress of files: bars on a terminal, and lines elsewhere.
type screen struct {
	s    streams
	p    *mpb.Progress // nil: err is no terminal, or has no size, without which mpb draws nothing
	json bool          // progress is lines of JSON where there are no bars
	mu   sync.Mutex    // one line at a time
}

func newScreen(s streams) *screen {
	if f, ok := s.err.(*os.File); !ok || !sized(f) {
		return &screen{s: s}
	}
	return &screen{s: s, p: mpb.New(mpb.WithOutput(s.err), mpb.WithWidth(48))}
}

// terminal reports whether w is a terminal.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// sized reports whether f is a terminal with a size.
func sized(f *os.File) bool {
	width, height, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0 && height > 0
}

// line prints a line for people, above the bars.
func (s *screen) line(text string) {
	if s.p != nil {
		human.Fprintln(s.p, text)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	human.Fprintln(s.s.err, text)
}

// progress prints a line about progress: v with --json, and text otherwise.
func (s *screen) progress(v any, text string) {
	if !s.json {
		s.line(text)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = human.Encode(s.s.err, v) // like all that is printed for people, it may be lost
}

// uploadProgress and workProgress are lines of progress for programs.
type (
	uploadProgress struct {
		File string `json:"file"`
		Sent int64  `json:"sent"`
		Size int64  `json:"size"`
	}
	workProgress struct {
		File     string              `json:"file"`
		Video    string              `json:"video_id"`
		Status   pipeline.VideoState `json:"status"`
		Progress int                 `json:"progress"`
	}
)

// aside prints to stdout, above the bars if they are on the same terminal.
func (s *screen) aside(print func(io.Writer) error) error {
	if s.p == nil || !terminal(s.s.out) {
		return print(s.s.out)
	}
	var text bytes.Buffer
	err := print(&text)
	_, failed := text.WriteTo(s.p)
	return errors.Join(err, failed)
}

// close leaves the bars as they are and releases the terminal. Close the bar of each file first.
func (s *screen) close() {
	if s.p != nil {
		s.p.Wait()
	}
}

// bar shows the progress of one file.
type bar struct {
	screen *screen
	name   string
	parts  int64    // tenths of the upload that were told
	upload *mpb.Bar // nil: nothing is uploaded, or there are no bars
	work   *mpb.Bar // nil: there are no bars
	total  int64
	told   stage
}

// stage is the progress that a line shows: the state of a video and the tenths of its work that are done.
type stage struct {
	status pipeline.VideoState
	tenths int
}

// file adds a bar for a file to upload.
func (s *screen) file(name string) *bar {
	if s.p == nil {
		return &bar{screen: s, name: name}
	}
	upload := s.p.AddBar(0, mpb.PrependDecorators(decor.Name(human.Line(name)+" upload ", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
	b := s.video(name)
	b.upload = upload
	return b
}

// video adds a bar for a video on the server.
func (s *screen) video(name string) *bar {
	if s.p == nil {
		return &bar{screen: s, name: name}
	}
	return &bar{screen: s, name: name, work: s.p.AddBar(100,
		mpb.PrependDecorators(decor.Name(human.Line(name)+" process ", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Percentage()))}
}

// tellUpload is the least size of a file of which a line tells each tenth, where there are no bars.
const tellUpload = 64 << 20

// sent shows how much of the file is uploaded.
func (b *bar) sent(sent, total int64) {
	if b.upload == nil {
		if part := 10 * sent / max(total, 1); total >= tellUpload && part > b.parts {
			b.parts = part
			b.screen.progress(uploadProgress{b.name, sent, total},
				fmt.Sprintf("%s  %d %% uploaded, of %s", b.name, 10*part, bytesize.Size(total)))
		}
		return
	}
	if total != b.total {
		b.total = total
		b.upload.SetTotal(total, false)
	}
	b.upload.SetCurrent(sent)
}

// processed shows the progress of the video; a bar never goes back. Without bars, it prints a line for each
// state and each tenth of the work. The command prints the end.
func (b *bar) processed(view pipeline.VideoView) {
	b.uploaded()
	if b.work != nil {
		b.work.SetCurrent(max(b.work.Current(), int64(view.Progress)))
		return
	}
	now := stage{view.Status, view.Progress / 10}
	if now == b.told || view.Status.Terminal() {
		return
	}
	b.told = now
	b.screen.progress(workProgress{view.Filename, view.ID, view.Status, view.Progress},
		fmt.Sprintf("%s  %s, %d %%  %s", view.ID, view.Status, view.Progress, view.Filename))
}

// uploaded completes the bar of the upload.
func (b *bar) uploaded() {
	if b.upload != nil {
		b.upload.SetTotal(-1, true)
	}
}

// close leaves the bars as they are. Calling it again does nothing.
func (b *bar) close() {
	b.uploaded()
	if b.work != nil {
		b.work.Abort(false)
	}
}
