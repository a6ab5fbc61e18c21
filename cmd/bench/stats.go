package main

import (
	"fmt"
	"math"
	"slices"
)

// median returns the median of the values: the mean of the middle two if their number is even, NaN for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// ratios divides pairs. It leaves out values without a partner, or with a partner of 0.
func ratios(a, b []float64) []float64 {
	var all []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			all = append(all, a[i]/b[i])
		}
	}
	return all
}

// line gives the seconds for an amount of work x: Fixed + Per*x.
type line struct {
	Fixed float64 `json:"fixed"`
	Per   float64 `json:"per"`
}

// at returns the seconds for x.
func (l line) at(x float64) float64 { return l.Fixed + l.Per*x }

// fit returns the least-squares line through the points, with no negative part. With a single x, the line is
// proportional to x; without points, it is zero.
func fit(x, y []float64) line {
	n := float64(min(len(x), len(y)))
	if n == 0 {
		return line{}
	}
	var sx, sy, sxx, sxy float64
	for i := range int(n) {
		sx, sy = sx+x[i], sy+y[i]
		sxx, sxy = sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	spread := n*sxx - sx*sx
	if spread <= 1e-9*n*sxx || sxx == 0 {
		if sx == 0 {
			return line{Fixed: sy / n}
		}
		return line{Per: max(0, sy/sx)}
	}
	per := (n*sxy - sx*sy) / spread
	l := line{Fixed: (sy - per*sx) / n, Per: per}
	switch {
	case l.Per < 0:
		return line{Fixed: sy / n}
	case l.Fixed < 0:
		return line{Per: sxy / sxx}
	}
	return l
}

// aim is the bound for a value. The zero aim is none.
type aim struct {
	sign  string // <= or >=
	bound float64
}

func atMost(bound float64) aim  { return aim{"<=", bound} }
func atLeast(bound float64) aim { return aim{">=", bound} }

// String returns, for example, "<= 0.75"; it is empty for none.
func (a aim) String() string {
	if a.sign == "" {
		return ""
	}
	return fmt.Sprintf("%s %.3g", a.sign, a.bound)
}

// The verdicts of a row with an aim.
const (
	met    = "met"
	notMet = "NOT MET"
)

// verdict judges a value. An aim without a measured value is not met.
func (a aim) verdict(value float64) string {
	switch {
	case a.sign == "":
		return ""
	case a.sign == "<=" && value <= a.bound, a.sign == ">=" && value >= a.bound:
		return met
	}
	return notMet
}

// row is one measurement: its values in order, and the statistics of them.
type row struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Values  []float64 `json:"values"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Aim     string    `json:"aim,omitempty"`
	Verdict string    `json:"verdict,omitempty"`
	Note    string    `json:"note,omitempty"`
}

// newRow makes a row; ok is false when nothing was measured. It leaves out NaN and infinite values, which
// JSON lacks.
func newRow(name, unit string, values []float64, a aim, note string) (r row, ok bool) {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool {
		return math.IsNaN(v) || math.IsInf(v, 0)
	})
	if len(values) == 0 {
		return row{}, false
	}
	m := median(values)
	return row{
		Name: name, Unit: unit, Values: values, Median: m, Min: slices.Min(values), Max: slices.Max(values),
		Aim: a.String(), Verdict: a.verdict(m), Note: note,
	}, true
}
