package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// clipRow has the measured values of a real clip and of its outputs.
type clipRow struct {
	name        string
	rate, out   float64 // frames/s by the intervals; 0 when there are none
	size, top   string
	level, made float64 // dB of full level; NaN without audio
	channels    int     // of the source's audio
	copied      string
	verdict     string
	seconds     float64
}

// clipsAtOnce is how many clips are under way at once: one is measured while the server processes the next.
// So the seconds to ready are those of a busy server.
const clipsAtOnce = 2

// measureCorpus uploads every file of a folder, measures the outputs, and prints a table. A file that is no
// video has a row too. It fails only if a file errored or could not be measured, since it cannot know which
// are good.
func (r *runner) measureCorpus(ctx context.Context) error {
	entries, err := os.ReadDir(r.corpus)
	if err != nil {
		return err
	}
	s, err := r.serve(ctx, filepath.Join(r.dir, "corpus"))
	if err != nil {
		return err
	}
	defer s.stop()
	fmt.Println("| file | frames/s by intervals | out | source | top rung | sound dB | out | top rung " +
		"copied | verdict | s |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	var rows []chan clipRow
	var measure []func()
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) == ".tsv" || !r.wantsClip(e.Name()) {
			continue
		}
		row := make(chan clipRow, 1)
		rows = append(rows, row)
		measure = append(measure, func() {
			measured, err := r.measureClip(ctx, s.client(), s.url, filepath.Join(r.corpus, e.Name()))
			if err != nil {
				measured.verdict += " (not measured: " + err.Error() + ")"
			}
			row <- measured
		})
	}
	go inTurn(clipsAtOnce, measure)
	var bad []string
	for _, row := range rows {
		measured := <-row
		fmt.Println(measured)
		if measured.wrong() {
			bad = append(bad, measured.name)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%w: %s", errWrong, strings.Join(bad, ", "))
	}
	return nil
}

// inTurn starts the calls in order, a limited number at once.
func inTurn(atOnce int, calls []func()) {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, call := range calls {
		g.Go(func() error { call(); return nil })
	}
	_ = g.Wait() // no call has an error
}

// wrong reports whether a clip errored or could not be measured.
func (row clipRow) wrong() bool {
	return strings.HasPrefix(row.verdict, string(pipeline.StateVideoErrored)) ||
		strings.Contains(row.verdict, "(not measured")
}

func (r *runner) wantsClip(name string) bool {
	for _, part := range r.wanted() {
		if strings.Contains(name, part) {
			return true
		}
	}
	return len(r.wanted()) == 0
}

func (r *runner) measureClip(ctx context.Context, api *client.Client, server, path string) (clipRow, error) {
	row := clipRow{name: filepath.Base(path), level: math.NaN(), made: math.NaN()}
	began := time.Now()
	view, err := api.Upload(ctx, client.Upload{Path: path})
	if err != nil {
		row.verdict = "refused: " + err.Error()
		return row, ctx.Err()
	}
	j := &judge{ctx: ctx, source: path, base: server + "/play/" + view.ID + "/"}
	if j.view, err = r.await(ctx, api, view.ID); err != nil {
		return row, err
	}
	row.seconds, row.verdict = time.Since(began).Seconds(), statusOf(j.view)
	if j.view.Status != pipeline.StateVideoReady {
		return row, nil
	}
	if err := j.ask(api, view.ID); err != nil {
		return row, err
	}
	return row, row.measure(j)
}

// measure fills the row of a ready video.
func (row *clipRow) measure(j *judge) (err error) {
	if j.master, err = loadMaster(j.ctx, j.base+j.view.Manifest); err != nil {
		return err
	}
	// Of several tracks, ReelMill's answer says which is the film.
	film := selector(fmt.Sprint(j.view.Media.Video.Stream))
	source, err := probe(j.ctx, j.source, film)
	if err != nil {
		return err
	}
	top, err := probe(j.ctx, j.master.rungs[0].url, picture)
	if err != nil {
		return err
	}
	row.rate, row.out = source.rate(), top.rate()
	row.size, row.top = fmt.Sprintf("%dx%d", source.Width, source.Height), j.master.rungs[0].String()
	if row.copied, err = j.whyCopied(film); err != nil {
		return err
	}
	if len(j.master.sounds) == 0 || len(j.view.Media.Audio) == 0 {
		return nil
	}
	which := selector(fmt.Sprint(j.view.Media.Audio[0].Stream))
	t, err := probe(j.ctx, j.source, which)
	if err != nil {
		return err
	}
	row.channels = t.Channels
	heard, err := listen(j.ctx, j.source, which, t.Channels)
	if err != nil {
		return err
	}
	made, err := j.hear()
	if err != nil {
		return err
	}
	row.level, row.made = heard.power(heard.length()), made.power(heard.length())
	return nil
}

// whyCopied says whether the top rung has the frames of the source or, if not, why by ReelMill's notes.
func (j *judge) whyCopied(which selector) (string, error) {
	same, all, err := j.copied(which)
	if err != nil {
		return "", err
	}
	if all > 0 && same*10 >= all*9 {
		return "yes", nil
	}
	if why := j.whyTop(); why != "" {
		return "no: " + why, nil
	}
	return "no", nil
}

// String returns the line of the table.
func (row clipRow) String() string {
	number := func(v float64, format string) string {
		if math.IsNaN(v) || v == 0 {
			return ""
		}
		return fmt.Sprintf(format, v)
	}
	level := number(row.level, "%.1f")
	if row.channels > 2 {
		level += fmt.Sprintf(" (%d channels)", row.channels)
	}
	cells := []string{
		row.name, number(row.rate, "%.3f"), number(row.out, "%.3f"), row.size, row.top, level,
		number(row.made, "%.1f"),
		row.copied, row.verdict, number(row.seconds, "%.1f"),
	}
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(c, "|", "/"), "\n", " ")
	}
	return "| " + strings.Join(cells, " | ") + " |"
}
