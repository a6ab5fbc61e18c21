package human

import "testing"

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "videos", 1: "video", 2: "videos"} {
		if text := Plural(n, "video"); text != want {
			t.Errorf("%d %s, want %s", n, text, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for seconds, want := range map[float64]string{4.2: "4.2 s", 59.94: "59.9 s", 60: "1:00", 3723.4: "1:02:03"} {
		if text := Seconds(seconds); text != want {
			t.Errorf("%v is %q, want %q", seconds, text, want)
		}
	}
}
