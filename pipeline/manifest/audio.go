package manifest

import (
	"fmt"
	"path"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/reelmill/reelmill/pipeline"
)

// audioRenditions returns the audio renditions of a master playlist, one for each output, in order. Each has
// the name of its language in English, with a number from the second of a language on, and the playlist
// beside its segments.
func audioRenditions(renditions []pipeline.Output) []audioRendition {
	var all []audioRendition
	taken := map[string]int{}
	for _, o := range renditions {
		tag, name := languageOf(o.Language)
		if taken[name]++; taken[name] > 1 {
			name = fmt.Sprintf("%s %d", name, taken[name])
		}
		all = append(all, audioRendition{
			URI: path.Dir(o.Path) + "/" + PlaylistName, Name: name, Language: tag, Channels: o.Channels,
			Codecs: o.Codecs, Peak: o.Bandwidth, Average: o.AverageBandwidth,
		})
	}
	return all
}

// languageOf returns the BCP 47 tag of an ISO 639 code (en for eng), and its name in English; no tag if
// unknown.
func languageOf(code string) (tag, name string) {
	t, err := language.Parse(code)
	if err != nil || t == language.Und {
		return "", "Audio"
	}
	if name = display.English.Languages().Name(t); name == "" {
		name = t.String()
	}
	return t.String(), name
}
