package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Unknown returns an error text for an unknown name. It lists the known names, and suggests one if it is
// similar. what is the kind of name, such as "parameter".
func Unknown(what, name string, known []string) string {
	known = slices.Sorted(slices.Values(known))
	text := fmt.Sprintf("unknown %s %.40q", what, name)
	if guess := nearest(name, known); guess != "" {
		text += fmt.Sprintf(" (did you mean %q?)", guess)
	}
	switch len(known) {
	case 0:
		return text + "; there are none"
	case 1:
		return text + "; the only one is " + known[0]
	}
	return text + "; the known ones are " + strings.Join(known, ", ")
}

// nearest returns the known name that is the fewest changed letters away, at most a third of them; empty for
// none.
func nearest(name string, known []string) string {
	best, least := "", max(1, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance returns the number of letters to insert, delete or replace to turn a into b (Levenshtein 1965). It
// compares the first 64 bytes only.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
