package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// step is the time between scrapes, and between evaluations of rules.
const step = 30 * time.Second

// ask is the input: rules, and scenarios. Each scenario begins without alerts.
type ask struct {
	Rules     []rule
	Scenarios []scenario
}

// rule is an alert rule. For is how long its expression must hold, such as "5m"; empty means no time.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// scenario is the scraped values of each series, one every 30 seconds, in the notation of Prometheus' own rule
// tests: "0x3 1+1x2 stale _" is 0 0 0 0 1 2 3, the end of the series, and no value. A scenario lasts as long as
// its longest series. Always lists further series, which are always 1.
type scenario struct {
	Series map[string]string
	Always []string
}

// firing is an alert that fires at the end of a scenario.
type firing struct {
	Alert       string            `json:"alert"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// alerts writes, for each scenario, the alerts that fire at its end.
func alerts(in *json.Decoder, out *json.Encoder) error {
	var a ask
	if err := in.Decode(&a); err != nil {
		return err
	}
	answer := make([][]firing, len(a.Scenarios))
	for i, s := range a.Scenarios {
		world, err := load(s)
		if err != nil {
			return err
		}
		answer[i] = []firing{}
		for _, r := range a.Rules {
			fired, err := world.play(r)
			if err != nil {
				return fmt.Errorf("%s: %w", r.Alert, err)
			}
			answer[i] = append(answer[i], fired...)
		}
	}
	return out.Encode(answer)
}

// world is a Prometheus engine with the series of a scenario.
type world struct {
	engine *promql.Engine
	series []storage.Series
	end    time.Time
}

func load(s scenario) (*world, error) {
	w := &world{engine: promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Hour}), end: start}
	for name, values := range s.Series {
		if err := w.add(name, values); err != nil {
			return nil, err
		}
	}
	for _, name := range s.Always {
		if err := w.add(name, fmt.Sprintf("1x%d", w.end.Sub(start)/step)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(w.series, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return w, nil
}

// start is the time at which each scenario begins.
var start = time.Unix(0, 0)

// add adds a series.
func (w *world) add(name, values string) error {
	metric, sequence, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(name + " " + values)
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, values, err)
	}
	chunk := chunkenc.NewXORChunk()
	to, err := chunk.Appender()
	if err != nil {
		return err
	}
	at := start
	for i, v := range sequence {
		at = start.Add(time.Duration(i) * step)
		if !v.Omitted {
			to.Append(0, at.UnixMilli(), v.Value)
		}
	}
	if at.After(w.end) {
		w.end = at
	}
	w.series = append(w.series, &storage.SeriesEntry{Lset: metric, SampleIteratorFn: chunk.Iterator})
	return nil
}

// play evaluates a rule from the beginning to the end of the scenario, as Prometheus does. Each result of its
// expression is an alert. The alert fires once the expression has returned it for the rule's time without a gap.
func (w *world) play(r rule) (fired []firing, err error) {
	var hold model.Duration
	if r.For != "" {
		if hold, err = model.ParseDuration(r.For); err != nil {
			return nil, err
		}
	}
	since := map[uint64]time.Time{}
	for at := start; !at.After(w.end); at = at.Add(step) {
		result, err := w.query(context.Background(), r.Expr, at)
		if err != nil {
			return nil, err
		}
		active := map[uint64]time.Time{}
		fired = nil
		for _, sample := range result {
			key := sample.Metric.Hash()
			active[key] = at
			if began, is := since[key]; is {
				active[key] = began
			}
			if at.Sub(active[key]) < time.Duration(hold) {
				continue
			}
			f, err := w.fire(r, sample, at)
			if err != nil {
				return nil, err
			}
			fired = append(fired, f)
		}
		since = active
	}
	return fired, nil
}

func (w *world) query(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
	all := &storage.MockQueryable{MockQuerier: &storage.MockQuerier{SelectMockFunction: w.find}}
	q, err := w.engine.NewInstantQuery(ctx, all, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	return q.Exec(ctx).Vector()
}

// find returns the matching series.
func (w *world) find(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &found{SeriesSet: storage.EmptySeriesSet(), at: -1}
	for _, s := range w.series {
		other := func(m *labels.Matcher) bool { return !m.Matches(s.Labels().Get(m.Name)) }
		if !slices.ContainsFunc(matchers, other) {
			set.series = append(set.series, s)
		}
	}
	return set
}

// found is a set of series.
type found struct {
	storage.SeriesSet
	series []storage.Series
	at     int
}

// Next goes to the next series, and reports whether there is one.
func (f *found) Next() bool { f.at++; return f.at < len(f.series) }

// At returns the series that Next went to.
func (f *found) At() storage.Series { return f.series[f.at] }

// fire makes an alert from a result of a rule's expression.
func (w *world) fire(r rule, sample promql.Sample, at time.Time) (firing, error) {
	f := firing{r.Alert, map[string]string{}, map[string]string{}}
	sample.Metric.Range(func(l labels.Label) {
		if l.Name != labels.MetricName {
			f.Labels[l.Name] = l.Value
		}
	})
	data := template.AlertTemplateData(f.Labels, nil, "", sample)
	for name, text := range r.Annotations {
		text = strings.Join([]string{"{{$labels := .Labels}}", "{{$value := .Value}}", text}, "")
		query := func(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
			return w.query(ctx, expr, at)
		}
		expanded, err := template.NewTemplateExpander(context.Background(), text, name, data,
			model.TimeFromUnixNano(at.UnixNano()), query, nil, []string{"missingkey=error"}).Expand()
		if err != nil {
			return f, err
		}
		f.Annotations[name] = expanded
	}
	for name, value := range r.Labels {
		f.Labels[name] = value
	}
	return f, nil
}
