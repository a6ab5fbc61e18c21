package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// runner is what the cases of a run share.
type runner struct {
	options
	dir     string // of data and logs
	config  string
	kitchen *kitchen

	mu     sync.Mutex
	judged []*judge
}

func newRunner(ctx context.Context, o options) (r *runner, err error) {
	r = &runner{options: o}
	if r.kitchen, err = newKitchen(o.cache, recipes()); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "reelmill-cases-"); err != nil {
		return nil, err
	}
	r.config = filepath.Join(r.dir, "config.yaml")
	if err := os.WriteFile(r.config, []byte(configuration), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(r.dir))
	}
	if err := r.build(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(r.dir))
	}
	return r, nil
}

// close removes the data of the run, unless -keep is set.
func (r *runner) close() {
	if r.keep {
		fmt.Println("kept:", r.dir)
		return
	}
	os.RemoveAll(r.dir)
}

// runCases runs the wanted cases: first the uploads, all on one server, then the hostile
// files on another, then the others.
func (r *runner) runCases(ctx context.Context) error {
	var uploads, others, hostile []testCase
	for _, c := range cases() {
		switch {
		case !r.wants(c.id):
		case c.hostile != nil:
			hostile = append(hostile, c)
		case c.run != nil:
			others = append(others, c)
		default:
			uploads = append(uploads, c)
		}
	}
	if err := r.runUploads(ctx, uploads); err != nil {
		return err
	}
	if err := r.runHostile(ctx, hostile); err != nil {
		return err
	}
	for _, c := range others {
		j := &judge{ctx: ctx, c: c}
		if err := c.run(r, j); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			j.wrong("error", "%v", err)
		}
		r.tell(j)
	}
	return r.report()
}

// ahead is how many cases are under way at once, so that a video that waits for a retry delays no other.
const ahead = 4

// runUploads runs the cases that are uploads on one server, in the order of the table.
func (r *runner) runUploads(ctx context.Context, all []testCase) error {
	if len(all) == 0 {
		return nil
	}
	paths := make([]string, len(all))
	for i, c := range all {
		var err error
		if paths[i], err = r.kitchen.make(ctx, c.file); err != nil {
			return err
		}
	}
	s, err := r.serve(ctx, filepath.Join(r.dir, "uploads"))
	if err != nil {
		return err
	}
	defer s.stop()
	var g errgroup.Group
	g.SetLimit(ahead)
	for i, c := range all {
		g.Go(func() error {
			j := &judge{ctx: ctx, c: c, source: paths[i]}
			if err := r.upload(j, s); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				j.wrong("error", "%v", err)
			}
			r.tell(j)
			return nil
		})
	}
	return g.Wait()
}

// upload uploads the input of a case, waits for the end of the video, and judges it.
func (r *runner) upload(j *judge, s *server) error {
	up := client.Upload{Path: j.source, Pipeline: j.c.pipeline}
	if j.c.pipeline == "everything" {
		up.Watermark = "text:ReelMill"
	}
	view, err := s.client().Upload(j.ctx, up)
	if err != nil {
		return fmt.Errorf("upload %s: %w", j.c.file, err)
	}
	j.base = s.url + "/play/" + view.ID + "/"
	return r.judge(j, s.client(), view.ID)
}

// judge waits for the end of a video and judges it.
func (r *runner) judge(j *judge, api *client.Client, id string) (err error) {
	if j.view, err = r.await(j.ctx, api, id); err != nil {
		return err
	}
	if err := j.ask(api, id); err != nil {
		return err
	}
	if j.outputs, err = api.Outputs(j.ctx, id); err != nil {
		return err
	}
	if err := j.checkGeneral(); err != nil {
		return err
	}
	if j.c.check == nil || len(j.c.want.rejected) > 0 || j.view.Status != pipeline.StateVideoReady {
		return nil
	}
	return j.c.check(j)
}

// ask asks the API about a video that has ended.
func (j *judge) ask(api *client.Client, id string) (err error) {
	why, err := api.Why(j.ctx, id)
	if err != nil {
		return err
	}
	j.notes = why.Notes
	j.jobs, err = api.Jobs(j.ctx, id)
	return err
}

// errStuck means that a video made no progress.
var errStuck = errors.New("no event came: the video is stuck")

// await waits for the end of a video for as long as events come: other videos may be processed first.
func (r *runner) await(ctx context.Context, api *client.Client, id string) (pipeline.VideoView, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stuck := time.AfterFunc(r.stall, func() { cancel(errStuck) })
	defer stuck.Stop()
	err := api.Events(ctx, id, 0, func(client.Event) error {
		stuck.Reset(r.stall)
		return nil
	})
	if err != nil {
		return pipeline.VideoView{}, err
	}
	return api.Wait(ctx, id, client.Ready) // the read model may be behind the log
}

// tell prints the line of a case.
func (r *runner) tell(j *judge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged = append(r.judged, j)
	word := "ok"
	if !j.ok() {
		word = "WRONG"
	}
	fmt.Printf("%-5s %-18s %s\n      right: %s\n      found: %s\n", word, j.c.id, j.c.what, j.c.right,
		j.verdict())
}

// report prints how many cases are wrong, and writes the file.
func (r *runner) report() error {
	type result struct {
		ID       string    `json:"id"`
		What     string    `json:"what"`
		Right    string    `json:"right"`
		OK       bool      `json:"ok"`
		Findings []finding `json:"findings"`
	}
	var results []result
	var wrong []string
	for _, j := range r.judged {
		results = append(results, result{j.c.id, j.c.what, j.c.right, j.ok(), j.findings})
		if !j.ok() {
			wrong = append(wrong, j.c.id)
		}
	}
	fmt.Printf("%d of %d cases end right\n", len(results)-len(wrong), len(results))
	if r.json != "" {
		doc, err := json.MarshalIndent(results, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(r.json, append(doc, '\n'), 0o644); err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", errWrong, strings.Join(wrong, ", "))
	}
	return nil
}
