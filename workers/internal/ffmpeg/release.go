package ffmpeg

import (
	"fmt"
	"regexp"
	"strconv"
)

// Oldest is the oldest release of ffmpeg that ReelMill supports, as major.minor. It is named here and nowhere
// else in code: the programs and .ci/install read it from this line.
const Oldest = "5.1"

// Newest is the newest major version of ffmpeg with which ReelMill's tests have run.
const Newest = 5

// Age says how a version of ffmpeg stands to those that ReelMill supports. The zero Age is one that it
// supports.
type Age struct {
	Old    bool   // older than Oldest: people must be warned
	Text   string // what is the matter; empty: nothing
	Remedy string // what to do about it; empty: nothing needs to be done
}

// releaseWord matches the version word of a release: "5.1.9-0+deb12u1", "n7.1", "4.2.7-0ubuntu0.1". That of a
// build from git has no number: "N-109542-g1bf1b1c", "git-2023-01-01-1bf1b1c", "2023-03-05-git-912ac82a3c".
var releaseWord = regexp.MustCompile(`^n?(\d{1,4})\.(\d{1,4})(?:[^\d].*)?$`)

// AgeOf judges the version word that Tools.Version returns. It cannot know what a distribution has mended in
// an old release, nor how old a build from git is.
func AgeOf(version string) Age {
	major, minor, ok := parseRelease(version)
	oldMajor, oldMinor, _ := parseRelease(Oldest)
	switch {
	case !ok:
		return Age{Text: "its release is unknown, as with a build from git; ReelMill's tests run with releases " +
			"from " + Oldest}
	case major < oldMajor || major == oldMajor && minor < oldMinor:
		return Age{
			Old: true,
			Text: fmt.Sprintf("it is older than %s, the oldest that ReelMill supports: its decoders have holes that "+
				"later releases closed, and it lacks options that jobs use, such as -fps_mode", Oldest),
			Remedy: "install ffmpeg and ffprobe " + Oldest + " or later",
		}
	case major > Newest:
		return Age{Text: fmt.Sprintf("ReelMill's tests have not run with a release later than %d", Newest)}
	}
	return Age{}
}

// parseRelease returns the numbers of a release; ok is false if the word has none.
func parseRelease(version string) (major, minor int, ok bool) {
	m := releaseWord.FindStringSubmatch(version)
	if m == nil {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	return major, minor, err1 == nil && err2 == nil
}
