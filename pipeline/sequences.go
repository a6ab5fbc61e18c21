package pipeline

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Range is the sequences from First to Last, both included.
type Range struct{ First, Last uint64 }

// Sequences is a set of sequences of the log: ascending ranges with room between them.
type Sequences []Range

// Merge returns the set of what lies in any of the ranges, whatever their order.
func Merge(ranges []Range) Sequences {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	var s Sequences
	for _, r := range ranges {
		if n := len(s); n > 0 && r.First <= s[n-1].Last+1 {
			s[n-1].Last = max(s[n-1].Last, r.Last)
			continue
		}
		s = append(s, r)
	}
	return s
}

// SequencesOf returns the set of the numbers, whatever their order.
func SequencesOf(numbers []uint64) Sequences {
	ranges := make([]Range, len(numbers))
	for i, n := range numbers {
		ranges[i] = Range{n, n}
	}
	return Merge(ranges)
}

// Count returns how many sequences are in the set.
func (s Sequences) Count() uint64 {
	var n uint64
	for _, r := range s {
		n += r.Last - r.First + 1
	}
	return n
}

// Has reports whether n is in the set.
func (s Sequences) Has(n uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].Last >= n })
	return i < len(s) && s[i].First <= n
}

// Through returns what is in s and not above n.
func (s Sequences) Through(n uint64) Sequences {
	if n >= math.MaxInt64 {
		return s
	}
	return s.Without(Sequences{{n + 1, math.MaxInt64}})
}

// Without returns what is in s and not in t.
func (s Sequences) Without(t Sequences) Sequences {
	var left Sequences
	for _, r := range s {
		for len(t) > 0 && t[0].Last < r.First {
			t = t[1:]
		}
		for _, out := range t {
			if out.First > r.Last {
				break
			}
			if out.First > r.First {
				left = append(left, Range{r.First, out.First - 1})
			}
			if r.First = out.Last + 1; r.First > r.Last {
				break
			}
		}
		if r.First <= r.Last {
			left = append(left, r)
		}
	}
	return left
}

// Runs is how a set of sequences is written: how many are left out and how many are in it, in turn, from
// sequence 1 on. [119, 15, 6, 1] is 120 to 134, and 141.
type Runs []uint64

// Runs returns the set as it is written; never nil.
func (s Sequences) Runs() Runs {
	runs, next := Runs{}, uint64(1)
	for _, r := range s {
		runs = append(runs, r.First-next, r.Last-r.First+1)
		next = r.Last + 1
	}
	return runs
}

// Sequences returns the set that was written. What would lie beyond the greatest sequence is left out.
func (r Runs) Sequences() Sequences {
	var ranges []Range
	next := uint64(1)
	for i, n := range r {
		if n > math.MaxInt64-next {
			break
		}
		if i%2 == 1 && n > 0 {
			ranges = append(ranges, Range{next, next + n - 1})
		}
		next += n
	}
	return Merge(ranges)
}
