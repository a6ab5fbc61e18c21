package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/reelmill/reelmill/pipeline"
)

// screen shows the progress of files on a terminal, and only lines elsewhere.
type screen struct {
	s streams
	p *mpb.Progress // nil: err is no terminal
}

func newScreen(s streams) *screen {
	if !terminal(s.err) {
		return &screen{s: s}
	}
	return &screen{s: s, p: mpb.New(mpb.WithOutput(s.err), mpb.WithWidth(48))}
}

// terminal reports whether a person may see what is written to w.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// line prints a line for people, above the bars.
func (s *screen) line(text string) {
	if s.p != nil {
		fmt.Fprintln(s.p, text)
		return
	}
	fmt.Fprintln(s.s.err, text)
}

// aside prints to stdout. Where that is the terminal of the bars, it is printed above them, whole.
func (s *screen) aside(print func(io.Writer) error) error {
	if s.p == nil || !terminal(s.s.out) {
		return print(s.s.out)
	}
	var text bytes.Buffer
	err := print(&text)
	fmt.Fprint(s.p, text.String())
	return err
}

// close leaves the bars as they are and gives the terminal back. Each file's bar must be closed before.
func (s *screen) close() {
	if s.p != nil {
		s.p.Wait()
	}
}

// bar shows how far one file is. Its zero value shows nothing.
type bar struct {
	upload, work *mpb.Bar
	total        int64
}

// file adds the bar of a file.
func (s *screen) file(name string) *bar {
	if s.p == nil {
		return &bar{}
	}
	return &bar{
		upload: s.p.AddBar(0, mpb.PrependDecorators(decor.Name(name+" upload ", decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f"))),
		work: s.p.AddBar(100, mpb.PrependDecorators(decor.Name(name+" process ", decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Percentage())),
	}
}

// sent shows how much of the file has left.
func (b *bar) sent(sent, total int64) {
	if b.upload == nil {
		return
	}
	if total != b.total {
		b.total = total
		b.upload.SetTotal(total, false)
	}
	b.upload.SetCurrent(sent)
}

// processed shows how far the video is; a bar never goes back.
func (b *bar) processed(view pipeline.VideoView) {
	if b.upload == nil {
		return
	}
	b.upload.SetTotal(-1, true)
	b.work.SetCurrent(max(b.work.Current(), int64(view.Progress)))
}

// close leaves the bar as it is. It may be called again.
func (b *bar) close() {
	if b.upload == nil {
		return
	}
	b.upload.SetTotal(-1, true)
	b.work.Abort(false)
}
