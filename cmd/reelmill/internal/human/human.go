// Package human prints for people: it formats counts and lengths, and keeps what others wrote from acting
// on a terminal. Package pipeline/bytesize formats sizes.
package human

import (
	"fmt"
	"time"
)

// Plural returns a noun for the number n: 1 video, 2 videos.
func Plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// Seconds formats a length: 4.2 s, and from a minute on 1:00 or 1:02:03.
func Seconds(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Minute {
		return fmt.Sprintf("%.3g s", seconds)
	}
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	if h > 0 {
		return fmt.Sprintf("%d:%02d:%02d", h, m, s)
	}
	return fmt.Sprintf("%d:%02d", m, s)
}
