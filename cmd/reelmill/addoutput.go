package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// videosAddOutput adds outputs to a ready video.
type videosAddOutput struct {
	serverFlags
	videoArg
	Rungs   []int         `name:"rung" help:"Add a rung of the ladder, by the shorter side of its picture in pixels; may be repeated." placeholder:"PIXELS"`
	Steps   []stepFlag    `name:"step" help:"Add what a step makes: a worker type, or one with its parameters as JSON; may be repeated." placeholder:"WORKER[:JSON]" sep:"none"`
	Wait    bool          `help:"Wait until the outputs are there. Exit code 4: they failed."`
	Timeout time.Duration `help:"Stop waiting after this time. The server goes on." default:"6h"`
}

// Help is the long help.
func (videosAddOutput) Help() string {
	return "  reelmill videos add-output $ID --rung 240 --wait\n" +
		"  reelmill videos add-output $ID --step 'watermark:{\"text\": \"draft\"}' --step thumbnail\n\n" +
		"The video stays ready, and plays on as it is until all of the outputs are there. If one fails, none is " +
		"added. `reelmill videos additions $ID` lists what was added, and what is under way."
}

// stepFlag is a step as a flag: a worker type, or one with parameters.
type stepFlag pipeline.Step

// UnmarshalText reads a step.
func (f *stepFlag) UnmarshalText(text []byte) error {
	worker, params, given := strings.Cut(string(text), ":")
	f.Worker = strings.TrimSpace(worker)
	if f.Worker == "" {
		return errors.New("it names no worker type")
	}
	if !given {
		return nil
	}
	if err := json.Unmarshal([]byte(params), &f.With); err != nil || f.With == nil {
		return fmt.Errorf("the parameters of %s are no JSON object", f.Worker)
	}
	return nil
}

// Validate is called by kong.
func (c videosAddOutput) Validate() error {
	if len(c.Rungs) == 0 && len(c.Steps) == 0 {
		return errors.New("say what to add: --rung or --step")
	}
	return c.videoArg.Validate()
}

// steps returns the steps to add: the rungs are one.
func (c videosAddOutput) steps() []pipeline.Step {
	var steps []pipeline.Step
	if len(c.Rungs) > 0 {
		steps = append(steps, pipeline.Step{Worker: "transcode", With: map[string]any{"ladder": c.Rungs}})
	}
	taken := map[string]int{}
	for _, s := range steps {
		taken[s.Worker]++
	}
	for _, f := range c.Steps {
		s := pipeline.Step(f)
		if taken[s.Worker]++; taken[s.Worker] > 1 { // two of a type need names
			s.Name = fmt.Sprintf("%s-%d", s.Worker, taken[s.Worker])
		}
		steps = append(steps, s)
	}
	return steps
}

// Run adds outputs, and may wait for them.
func (c videosAddOutput) Run(ctx context.Context, s streams) error {
	api := c.client()
	a, err := api.AddOutputs(ctx, c.ID, c.steps()...)
	if err == nil && c.Wait {
		a, err = c.wait(ctx, s, api, a)
	}
	if err != nil {
		return err
	}
	if err := c.print(s, a, func(w io.Writer) { describeAddition(w, c.ID, a) }); err != nil {
		return err
	}
	if !c.Wait {
		if !c.structured() {
			human.Fprintf(s.err, "To see how far it is: reelmill videos additions %s --server %s\n", c.ID, c.Server)
		}
		return nil
	}
	if a.Status != pipeline.StateAdditionReady {
		return &notAddedError{c.ID, a}
	}
	return nil
}

// wait shows the progress of an addition until it has ended.
func (c videosAddOutput) wait(
	ctx context.Context, s streams, api *client.Client, a pipeline.AdditionView,
) (pipeline.AdditionView, error) {
	screen := c.screen(s)
	defer screen.close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	last := -1
	ended, err := api.WaitForAddition(ctx, c.ID, a.Number, func(now pipeline.AdditionView) {
		if now.Progress != last {
			last = now.Progress
			screen.progress(now, fmt.Sprintf("addition %d to %s: %s, %d %%", now.Number, c.ID, now.Status,
				now.Progress))
		}
	})
	if err != nil && ctx.Err() != nil {
		return ended, &goesOnError{c.ID, c.Server, err}
	}
	return ended, err
}

// describeAddition prints an addition for people.
func describeAddition(w io.Writer, video string, a pipeline.AdditionView) {
	human.Fprintf(w, "video\t%s\naddition\t%d, %s\nstatus\t%s, %d %%\njobs\t%s\n",
		video, a.Number, a.ID, a.Status, a.Progress, strings.Join(a.Jobs, " "))
	if len(a.Renditions) > 0 {
		human.Fprintf(w, "renditions\t%s\n", strings.Join(a.Renditions, " "))
	}
	if p := a.Problem; p != nil {
		human.Fprintf(w, "error\t%s (%s): %s\nremedy\t%s\n", p.Title, p.Code, p.Detail, p.Remedy)
	}
}

// notAddedError says that an addition ended without success.
type notAddedError struct {
	video    string
	addition pipeline.AdditionView
}

// Error says how the addition ended, and what to do.
func (e *notAddedError) Error() string {
	text := fmt.Sprintf("addition %d to %s is %s; the video stays as it was", e.addition.Number, e.video,
		e.addition.Status)
	if p := e.addition.Problem; p != nil {
		text += fmt.Sprintf(": %s (%s): %s. %s", p.Title, p.Code, p.Detail, p.Remedy)
	}
	return text
}

// videosAdditions lists what was added to a video.
type videosAdditions struct {
	serverFlags
	videoArg
}

// Run lists additions.
func (c videosAdditions) Run(ctx context.Context, s streams) error {
	all, err := c.client().Additions(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, all, func(w io.Writer) {
		if len(all) == 0 {
			human.Fprintln(w, "Nothing was added. Add a rung: reelmill videos add-output", c.ID, "--rung 240")
			return
		}
		human.Fprintf(w, "NUMBER\tSTATUS\tPROGRESS\tCREATED\tSTEPS\tERROR\n")
		for _, a := range all {
			var workers []string
			for _, step := range a.Steps {
				workers = append(workers, step.Worker)
			}
			problem := ""
			if a.Problem != nil {
				problem = a.Problem.Title + ": " + a.Problem.Detail
			}
			human.Fprintf(w, "%d\t%s\t%d %%\t%s\t%s\t%s\n", a.Number, a.Status, a.Progress,
				pipeline.Clock(a.CreatedAt), strings.Join(append(workers, a.Renditions...), " "), problem)
		}
	})
}

type videosCancelAddition struct {
	serverFlags
	videoArg
	Number int `arg:"" help:"Number of the addition, such as 1; reelmill videos additions shows it."`
}

// Run cancels an addition.
func (c videosCancelAddition) Run(ctx context.Context, s streams) error {
	a, err := c.client().CancelAddition(ctx, c.ID, c.Number)
	if err != nil {
		return err
	}
	return c.print(s, a, func(w io.Writer) { describeAddition(w, c.ID, a) })
}
