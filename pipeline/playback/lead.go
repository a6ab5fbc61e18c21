package playback

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"strings"
)

// Leads reports whether a file of a video refers to others, so that Lead must rewrite it.
func Leads(name string) bool {
	switch path.Ext(name) {
	case ".m3u8", ".mpd", ".vtt":
		return true
	}
	return path.Base(name) == boardName
}

// boardName is the description of a storyboard in JSON, whose url is its image.
const boardName = "storyboard.json"

// Lead returns the text of a file of a video with its relative URLs led below a pass. name is the path of the
// file below the video, for which a client asked without a pass. It knows what our own files write: lines and
// URI attributes of playlists, the base of an MPD, images in cues of WebVTT, and the url of a storyboard.
// Absolute URLs stay.
func Lead(name string, text []byte, pass string) []byte {
	base := strings.Repeat("../", strings.Count(name, "/")) + Mark + pass + "/"
	if dir := path.Dir(name); dir != "." {
		base += dir + "/"
	}
	switch path.Ext(name) {
	case ".m3u8":
		return leadPlaylist(text, base)
	case ".mpd":
		return leadMPD(text, base)
	case ".vtt":
		return leadCues(text, base)
	}
	if path.Base(name) == boardName {
		return leadBoard(text, base)
	}
	return text
}

// isRelative reports whether a URL is relative to the file that it stands in.
func isRelative(url string) bool {
	colon, slash := strings.Index(url, ":"), strings.Index(url, "/")
	return url != "" && slash != 0 && url[0] != '#' && (colon < 0 || slash >= 0 && slash < colon)
}

var uriAttribute = regexp.MustCompile(`URI="([^"]*)"`)

// leadPlaylist leads the lines of a playlist that are URIs, and the URI attributes of its tags (RFC 8216, 4).
func leadPlaylist(text []byte, base string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "#"):
			lines[i] = uriAttribute.ReplaceAllStringFunc(line, func(a string) string {
				url := strings.TrimSuffix(strings.TrimPrefix(a, `URI="`), `"`)
				if !isRelative(url) {
					return a
				}
				return `URI="` + base + url + `"`
			})
		case isRelative(strings.TrimSpace(line)):
			lines[i] = base + line
		}
	}
	return []byte(strings.Join(lines, ""))
}

// leadMPD gives an MPD, which has none, a BaseURL (ISO/IEC 23009-1, 5.6): before its first Period, as the
// schema wants it. All its templates are relative to that.
func leadMPD(text []byte, base string) []byte {
	const period = "<Period"
	return bytes.Replace(text, []byte(period), []byte("<BaseURL>"+base+"</BaseURL>\n  "+period), 1)
}

// leadCues leads the images of cues: lines with a spatial fragment (Media Fragments URI 1.0, 4.2.2).
func leadCues(text []byte, base string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if strings.Contains(line, "#xywh=") && isRelative(line) {
			lines[i] = base + line
		}
	}
	return []byte(strings.Join(lines, ""))
}

// leadBoard leads the url of a storyboard. What is no such document stays as it is.
func leadBoard(text []byte, base string) []byte {
	var fields map[string]json.RawMessage
	url := ""
	if json.Unmarshal(text, &fields) != nil || json.Unmarshal(fields["url"], &url) != nil || !isRelative(url) {
		return text
	}
	led, err := json.Marshal(base + url)
	if err != nil {
		return text
	}
	fields["url"] = led
	if led, err = json.Marshal(fields); err != nil {
		return text
	}
	return led
}
