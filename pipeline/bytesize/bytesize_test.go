package bytesize

import "testing"

func TestStringHasThreeDigits(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0 B", 999: "999 B", 1000: "0.977 KiB", 1 << 10: "1 KiB", 2200: "2.15 KiB", 1023487: "999 KiB",
		1023488: "0.976 MiB", 1 << 29: "512 MiB", 1048051711: "999 MiB", 1048051712: "0.976 GiB", 1 << 30: "1 GiB",
		63<<30 + 7<<27: "63.9 GiB", 5 << 40: "5 TiB", 1<<63 - 1: "8 EiB",
	} {
		if text := size.String(); text != want {
			t.Errorf("%d is %q, want %q", int64(size), text, want)
		}
	}
}

func TestExactDoesNotRound(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0 B", 1000: "1000 B", 8 << 30: "8 GiB", 1500 << 30: "1500 GiB", 5e8: "477 MiB (500000000 bytes)",
		1<<30 + 1: "1 GiB (1073741825 bytes)",
	} {
		if text := size.Exact(); text != want {
			t.Errorf("%d is %q, want %q", int64(size), text, want)
		}
	}
}

func TestUnmarshalText(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1024": 1024, "10GiB": 10 << 30, "500MB": 5e8, "1.5 KiB": 1536} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1x", "1 2"} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %d", text, got)
		}
	}
}
