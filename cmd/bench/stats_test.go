package main

import (
	"math"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}, {[]float64{5, 5, 1, 5}, 5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want || !slices.Equal(before, c.values) {
			t.Errorf("median of %v is %g, want %g", before, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("nothing has a median")
	}
}

func TestRatios(t *testing.T) {
	if got := ratios([]float64{2, 9, 3, 7}, []float64{4, 0, 1}); !slices.Equal(got, []float64{0.5, 3}) {
		t.Errorf("ratios %v", got)
	}
}

func TestFit(t *testing.T) {
	for name, c := range map[string]struct {
		x, y []float64
		want line
	}{
		"nothing":          {nil, nil, line{}},
		"a line":           {[]float64{1, 2, 4}, []float64{5, 7, 11}, line{3, 2}},
		"one amount":       {[]float64{4, 4}, []float64{7, 9}, line{0, 2}},
		"no work":          {[]float64{0, 0}, []float64{1, 3}, line{2, 0}},
		"falling":          {[]float64{1, 3}, []float64{6, 2}, line{4, 0}},
		"below the origin": {[]float64{1, 2}, []float64{1, 3}, line{0, 1.4}},
	} {
		got := fit(c.x, c.y)
		if math.Abs(got.Fixed-c.want.Fixed) > 1e-9 || math.Abs(got.Per-c.want.Per) > 1e-9 {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if s := (line{3, 2}).at(5); s != 13 {
		t.Errorf("3 + 2*5 is %g", s)
	}
}

func TestAim(t *testing.T) {
	for _, c := range []struct {
		aim   aim
		value float64
		text  string
		want  string
	}{
		{aim{}, 7, "", ""}, {atMost(0.75), 0.75, "<= 0.75", met}, {atMost(0.75), 0.76, "<= 0.75", notMet},
		{atLeast(1.9), 1.9, ">= 1.9", met}, {atLeast(2), 1.9, ">= 2", notMet},
		{atMost(1), math.NaN(), "<= 1", notMet},
	} {
		if got := c.aim.verdict(c.value); got != c.want || c.aim.String() != c.text {
			t.Errorf("%g, aim %q: %q; want %q, aim %q", c.value, c.aim, got, c.want, c.text)
		}
	}
}

func TestNewRow(t *testing.T) {
	r, ok := newRow("n", "s", []float64{3, math.NaN(), 1, math.Inf(1), 2}, atMost(2), "note")
	if !ok || r.Median != 2 || r.Min != 1 || r.Max != 3 || r.Verdict != met || len(r.Values) != 3 {
		t.Errorf("%+v", r)
	}
	if _, ok := newRow("n", "s", []float64{math.NaN()}, aim{}, ""); ok {
		t.Error("a row of nothing")
	}
}
