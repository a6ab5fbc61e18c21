package pipeline

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Range is the sequences from First to Last, both included.
type Range struct{ First, Last uint64 }

// Sequences is a set of sequences of the log: ascending ranges that do not touch.
type Sequences []Range

// Merge returns the union of ranges, in whatever order they are.
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

// SequencesOf returns the set of numbers, in whatever order they are.
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

// Through returns the sequences of s up to n.
func (s Sequences) Through(n uint64) Sequences {
	if n >= math.MaxInt64 {
		return s
	}
	return s.Without(Sequences{{n + 1, math.MaxInt64}})
}

// Without returns the sequences of s that are not in t.
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

// Runs is the encoding of a set of sequences: from sequence 1 on, how many are not in the set, how many are,
// and so on in turn. [119, 15, 6, 1] is 120 to 134, and 141.
type Runs []uint64

// Runs encodes the set; never nil.
func (s Sequences) Runs() Runs {
	runs, next := Runs{}, uint64(1)
	for _, r := range s {
		runs = append(runs, r.First-next, r.Last-r.First+1)
		next = r.Last + 1
	}
	return runs
}

// Sequences decodes the set. It ignores what would lie beyond the greatest sequence.
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
