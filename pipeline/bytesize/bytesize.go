// Package bytesize reads and writes numbers of bytes as people do: 10GiB, 500MB, 1024.
//
// String rounds to three digits; Exact does not.
package bytesize

import (
	"fmt"
	"math"
	"strings"
)

// Size is a number of bytes.
type Size int64

// String writes the size with three digits or fewer, in powers of 1024: 1.21 MiB.
func (s Size) String() string {
	value, unit := float64(s), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if value < 999.5 { // from here on %.3g writes 1e+03
			break
		}
		value, unit = value/1024, next
	}
	return fmt.Sprintf("%.3g %s", value, unit)
}

// Exact writes the size without rounding: 8 GiB, or 477 MiB (500000000 bytes).
func (s Size) Exact() string {
	n, units := int64(s), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for n != 0 && n%1024 == 0 && len(units) > 1 {
		n, units = n/1024, units[1:]
	}
	if n < 10_000 {
		return fmt.Sprintf("%d %s", n, units[0])
	}
	return fmt.Sprintf("%s (%d bytes)", s, int64(s))
}

var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"PiB", 1 << 50}, {"EiB", 1 << 60},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"PB", 1e15}, {"EB", 1e18}, {"B", 1},
}

// UnmarshalText parses a number with an optional unit. A negative number is an error, and so is one that is
// too large to count.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSpace(string(text)), int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	var n float64
	_, err := fmt.Sscanf(number+"\n", "%g\n", &n)
	if n *= float64(unit); err != nil || !(n >= 0 && n < math.MaxInt64) { // nor NaN
		return fmt.Errorf("%q is not a size; write 10GiB, 500MB or a number of bytes", text)
	}
	*s = Size(n)
	return nil
}
