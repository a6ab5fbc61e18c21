package bytesize

import (
	"fmt"
	"math"
	"testing"
)

// TestSizesThatCannotBeCounted refuses what would become a negative or a random number of bytes.
func TestSizesThatCannotBeCounted(t *testing.T) {
	for _, text := range []string{"NaN", "Inf", "1e300", "9223372036854775808", "9EB1", "10EB", "8EiB", "-1", "-0.1KiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%s is %d bytes", text, s)
		}
	}
}

// FuzzSize: an accepted size is not negative, and its text and its digits are the same size again.
func FuzzSize(f *testing.F) {
	for _, text := range []string{"10GiB", "1.5 MB", "0", "1024", "NaN", "1e300", "7 EiB", "-1", "0x10p4", "1_0", "B", "1070"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Size
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		if s < 0 {
			t.Fatalf("%q is %d bytes", text, s)
		}
		if s < math.MaxInt64/1000*999 { // three digits may round up to more than there is
			if err := again.UnmarshalText([]byte(s.String())); err != nil || math.Abs(float64(again-s)) > float64(s)/200+1 {
				t.Errorf("%q is %d bytes, but %s is %d, %v", text, s, s, again, err)
			}
		}
		if s < 1<<53 {
			if err := again.UnmarshalText(fmt.Appendf(nil, "%d", s)); err != nil || again != s {
				t.Errorf("%q is %d bytes, but as digits %d, %v", text, s, again, err)
			}
		}
	})
}
