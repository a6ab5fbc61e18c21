package pace

import (
	"testing"
	"time"
)

// TestPace checks which transfers are too slow at 1,024 bytes a second, and after which time.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		pause time.Duration // before each piece
		bytes int           // of a piece
		begin int           // bytes that come at once
		cut   time.Duration // about when it is cut; 0: never
	}{
		"a byte each 5 s":                     {5 * time.Second, 1, 0, 2 * time.Minute},
		"a byte each 5 s after 1 GB":          {5 * time.Second, 1, 1e9, 2 * time.Minute},
		"half the rate":                       {time.Second, 512, 0, 4 * time.Minute},
		"just above the rate":                 {time.Second, 1025, 0, 0},
		"a phone that is silent for 59 s":     {59 * time.Second, 100_000, 0, 0},
		"silent for 59 s, and then a packet":  {59 * time.Second, 1400, 0, 3 * time.Minute},
		"packets of an old modem":             {1100 * time.Millisecond, 1400, 0, 0},
		"a fast line that a store slows down": {0, 32 << 10, 0, 0},
		"a burst each minute, just the rate":  {60 * time.Second, 61 << 10, 0, 0},
		"a burst each minute, half the rate":  {59 * time.Second, 30 << 10, 0, 5 * time.Minute},
	} {
		p := New(1<<10, 2*time.Minute)
		p.Spent(0, c.begin)
		at, cut := time.Duration(0), time.Duration(0)
		for i := 0; i < 20_000 && cut == 0; i++ {
			at += c.pause
			if p.Spent(c.pause, c.bytes) {
				cut = at
			}
		}
		if cut == 0 != (c.cut == 0) || cut < c.cut/2 || cut > c.cut*3/2 {
			t.Errorf("%s: cut after %s, want about %s", name, cut, c.cut)
		}
	}
}
