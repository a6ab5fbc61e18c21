package pipeline

import "time"

// AdditionView is an addition as the read model stores it, in its video, and the API returns it.
type AdditionView struct {
	ID       string        `json:"id" doc:"add_ and 26 letters and digits"`
	Number   int           `json:"number" doc:"From 1, in the order of the requests for the video"`
	Status   AdditionState `json:"status" enum:"processing,ready,errored,canceled"`
	Progress int           `json:"progress" minimum:"0" maximum:"100" doc:"Percent of its work that is done"`
	Steps    []Step        `json:"steps" nullable:"false" doc:"As they were asked for"`
	// Jobs may be thousands, so the views of videos do not have them.
	Jobs       []string   `json:"jobs,omitempty" doc:"Names of its jobs, which GET /v1/videos/{id}/jobs lists with those of the video; only in answers about additions"`
	Renditions []string   `json:"renditions" nullable:"false" doc:"Folders of the renditions that it makes, such as 240p"`
	Problem    *Problem   `json:"error" doc:"Why it is errored; null otherwise"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at" doc:"When it became ready, errored or canceled"`
	// Links are added to answers of the API.
	Links *AdditionLinks `json:"links,omitempty" doc:"Where to go on; only in answers about one addition"`
}

// AdditionLinks are the addresses that belong to an addition.
type AdditionLinks struct {
	Self    string `json:"self" doc:"The addition"`
	Cancel  string `json:"cancel" doc:"POST here to cancel it"`
	Video   string `json:"video"`
	Jobs    string `json:"jobs" doc:"The jobs of the video"`
	Outputs string `json:"outputs" doc:"The outputs of the video"`
	Events  string `json:"events" doc:"The events of the video"`
}

// ViewOf returns the view of an addition that has just been requested.
func (a Addition) ViewOf(at time.Time) AdditionView {
	view := AdditionView{
		ID: a.ID, Number: a.Number, Status: StateAdditionProcessing, Steps: append([]Step{}, a.Steps...),
		Jobs: []string{}, Renditions: append([]string{}, a.Renditions...), CreatedAt: at,
	}
	for _, j := range a.Plan {
		view.Jobs = append(view.Jobs, j.Name)
	}
	return view
}

// refused reports whether a quota refused the addition.
func (a *AdditionView) refused() bool { return a.Problem != nil && a.Problem.Code == CodeQuotaExceeded }

// addition returns the addition of a number; nil if there is none.
func (v *VideoView) addition(number int) *AdditionView {
	for i := range v.Additions {
		if v.Additions[i].Number == number {
			return &v.Additions[i]
		}
	}
	return nil
}

// Extending reports whether an addition to the video has not ended.
func (v *VideoView) Extending() bool {
	for _, a := range v.Additions {
		if !a.Status.Terminal() {
			return true
		}
	}
	return false
}

// applyAddition updates the view with an event of an addition.
func (v *VideoView) applyAddition(e Event) error {
	if e.Type == VideoOutputsRequested {
		var data Addition
		if err := e.Decode(&data); err != nil {
			return err
		}
		if v.addition(data.Number) == nil {
			view := data.ViewOf(e.Time)
			view.Jobs = nil
			v.Additions = append(v.Additions, view)
		}
		return nil
	}
	var end AdditionEnd
	if err := e.Decode(&end); err != nil {
		return err
	}
	a := v.addition(end.Number)
	if a == nil {
		return nil // its request was lost
	}
	at := e.Time
	a.Status, a.Problem, a.FinishedAt, a.Progress = end.State, end.Problem, &at, 0
	switch end.State {
	case StateAdditionProcessing:
		a.FinishedAt = nil
	case StateAdditionReady:
		a.Progress = 100
	}
	return nil
}
