package ffmpeg

import (
	"os"
	"strings"
	"testing"
)

// TestAgeOf judges the version words of releases, distributions and builds from git.
func TestAgeOf(t *testing.T) {
	for _, c := range []struct {
		version string
		old     bool
		text    string // part of the text; empty: none
	}{
		{"5.1", false, ""},
		{"5.1.9-0+deb12u1", false, ""},
		{"n5.1.2", false, ""},
		{"5.10", false, ""},
		{"5.0.3", true, "older than 5.1"},
		{"5.0", true, "older than 5.1"},
		{"4.2.7-0ubuntu0.1", true, "older than 5.1"},
		{"n4.4.6", true, "-fps_mode"},
		{"0.11", true, "older than 5.1"},
		{"6.0", false, "later than 5"},
		{"n7.1", false, "later than 5"},
		{"10.0", false, "later than 5"},
		{"N-109542-g1bf1b1c", false, "unknown"},
		{"git-2023-01-01-1bf1b1c", false, "unknown"},
		{"2023-03-05-git-912ac82a3c", false, "unknown"},
		{"5", false, "unknown"},
		{"99999999999999999999.1", false, "unknown"},
		{"", false, "unknown"},
	} {
		a := AgeOf(c.version)
		if a.Old != c.old || (a.Text != "") != (c.text != "") || !strings.Contains(a.Text, c.text) {
			t.Errorf("%q: %+v", c.version, a)
		}
		if (a.Remedy != "") != c.old {
			t.Errorf("%q: to do %q", c.version, a.Remedy)
		}
	}
}

// TestOldestIsNamed checks that documents and the installer name the oldest release that the program names.
func TestOldestIsNamed(t *testing.T) {
	for file, want := range map[string]string{
		"README.md":   "ffmpeg and ffprobe " + Oldest + " or later",
		"SECURITY.md": "ffmpeg " + Oldest + " or later",
	} {
		text, err := os.ReadFile("../../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), want) {
			t.Errorf("%s lacks %q", file, want)
		}
	}
}
