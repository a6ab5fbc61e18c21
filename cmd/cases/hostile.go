package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// hostile is a file that an attacker may upload, with how it must end: within a minute, in one attempt.
type hostile struct {
	id    string // x_ and what it is
	tries string // what it tries
	// ends are the possible codes of the rejection or, if only encoding meets the fault, of the error; none:
	// the video becomes ready, because of harmless.
	ends     []pipeline.Code
	harmless string // why a ready video is right
	from     []string
	build    func(l lab, in [][]byte) ([]byte, error)
	ext      string // of the uploaded name; mp4 when empty
}

// lab is what hostile files point at. Nothing of it may ever be read.
type lab struct {
	web    string // http://127.0.0.1:PORT, which counts connections
	secret string // path of a text file with the mark
	victim string // path of another user's video, which is magenta
}

// hostileGroup is a line of the table in SECURITY.md.
type hostileGroup struct {
	name  string
	cases []hostile
}

// hostileGroups lists all hostile files.
func hostileGroups() []hostileGroup {
	return []hostileGroup{
		{"Other files under a video's name", otherFiles()},
		{"Files that are two things at once", polyglots()},
		{"References to other files and servers", references()},
		{"Encrypted tracks", encryptedFiles()},
		{"Absurd dimensions", dimensions()},
		{"Absurd rates and counts", counts()},
		{"Durations, edit lists and times", lengths()},
		{"Contradicting sample tables", tables()},
		{"Bombs", bombs()},
		{"Nested and mis-sized boxes and elements", nesting()},
		{"Tags, chapters, covers and attachments", tagged()},
		{"Damaged codec data", codecs()},
		{"MPEG transport and program streams", streams()},
		{"AVI, WAV, FLV and ASF", riffs()},
		{"Ogg, FLAC, MP3, AAC and MXF", others()},
	}
}

// hostileCases returns the hostile files as cases.
func hostileCases() (all []testCase) {
	for _, g := range hostileGroups() {
		for _, h := range g.cases {
			all = append(all, testCase{id: h.id, what: h.tries, right: h.right(), file: h.name(), hostile: &h})
		}
	}
	return all
}

// name returns the name of the uploaded file.
func (h hostile) name() string {
	if h.ext == "" {
		return h.id + ".mp4"
	}
	return h.id + "." + h.ext
}

func (h hostile) right() string {
	switch {
	case len(h.ends) == 0:
		return "ready: " + h.harmless
	case h.harmless == "":
		return "refused, " + strings.Join(codeNames(h.ends), " or ")
	}
	return "refused, " + strings.Join(codeNames(h.ends), " or ") + "; or ready: " + h.harmless
}

func codeNames(codes []pipeline.Code) (names []string) {
	for _, c := range codes {
		names = append(names, string(c))
	}
	return names
}

// hostileTable returns the table for SECURITY.md in Markdown.
func hostileTable() string {
	var b strings.Builder
	b.WriteString("| what they are | number | how they end | files |\n|---|---|---|---|\n")
	all := 0
	for _, g := range hostileGroups() {
		ends, ids := map[string]int{}, []string{}
		for _, h := range g.cases {
			end := "ready"
			if len(h.ends) > 0 {
				end = "`" + strings.Join(codeNames(h.ends), "` or `") + "`"
				if h.harmless != "" {
					end += " or ready"
				}
			}
			ends[end]++
			ids = append(ids, strings.TrimPrefix(h.id, "x_"))
		}
		if all += len(ids); len(ids) > 0 {
			fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", g.name, len(ids), endings(ends), strings.Join(ids, " "))
		}
	}
	fmt.Fprintf(&b, "| all | %d | | |\n", all)
	return b.String()
}

// endings lists how many files end how, most first.
func endings(ends map[string]int) string {
	var names []string
	for e := range ends {
		names = append(names, e)
	}
	slices.SortFunc(names, func(a, b string) int {
		if ends[a] != ends[b] {
			return ends[b] - ends[a]
		}
		return strings.Compare(a, b)
	})
	for i, n := range names {
		names[i] = fmt.Sprintf("%d %s", ends[n], n)
	}
	return strings.Join(names, ", ")
}
