package playback

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestLead: every URL of a file that was asked for with a token leads below the pass, and to the same file as
// before.
func TestLead(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{
			"master.m3u8",
			"#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio-0/index.m3u8\",NAME=\"x\"\n#EXT-X-STREAM-INF:CODECS=\"a\"\n720p/index.m3u8\n" +
				"#EXT-X-I-FRAME-STREAM-INF:URI=\"720p/iframes.m3u8\"\n\nhttps://a/b\n/c",
			"#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"~P/audio-0/index.m3u8\",NAME=\"x\"\n#EXT-X-STREAM-INF:CODECS=\"a\"\n~P/720p/index.m3u8\n" +
				"#EXT-X-I-FRAME-STREAM-INF:URI=\"~P/720p/iframes.m3u8\"\n\nhttps://a/b\n/c",
		},
		{
			"720p/index.m3u8", "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:6,\nseg_00000.m4s\n#EXT-X-ENDLIST\n",
			"#EXTM3U\n#EXT-X-MAP:URI=\"../~P/720p/init.mp4\"\n#EXTINF:6,\n../~P/720p/seg_00000.m4s\n#EXT-X-ENDLIST\n",
		},
		{"manifest.mpd", "<MPD>\n  <Period id=\"0\">\n  </Period>\n</MPD>", "<MPD>\n  <BaseURL>~P/</BaseURL>\n  <Period id=\"0\">\n  </Period>\n</MPD>"},
		{
			"a/b/storyboard.vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\nstoryboard.jpg#xywh=0,0,1,1\n",
			"WEBVTT\n\n00:00.000 --> 00:01.000\n../../~P/a/b/storyboard.jpg#xywh=0,0,1,1\n",
		},
		{"subtitles.vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\nHello: a/b\n", "WEBVTT\n\n00:00.000 --> 00:01.000\nHello: a/b\n"},
		{"storyboard.json", `{"url":"storyboard.jpg","tiles":[1]}`, `{"tiles":[1],"url":"~P/storyboard.jpg"}`},
		{"storyboard.json", `[1]`, `[1]`},
		{"clip.mp4", "~", "~"},
	} {
		if got := string(Lead(c.name, []byte(c.text), "P")); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
		if Leads(c.name) != (c.name != "clip.mp4") {
			t.Errorf("%s refers to others: %t", c.name, Leads(c.name))
		}
	}
}

var inTags = regexp.MustCompile(`URI="([^"]*)"`)

// FuzzLead: of any text, Lead leads each relative URL of a playlist to the same file below the pass, and it
// changes nothing else.
func FuzzLead(f *testing.F) {
	f.Add("master.m3u8", "#EXTM3U\n#EXT-X-MEDIA:URI=\"a/b.m3u8\"\nc/d.m3u8\n")
	f.Add("a/index.m3u8", "#EXT-X-MAP:URI=\"init.mp4\"\nseg_00001.m4s\r\n")
	f.Add("x/y.m3u8", "http://a/b\n//host/c\n:\n#\n\n \n")
	f.Fuzz(func(t *testing.T, name, text string) {
		base, err := url.Parse("http://h/play/vid_1/" + name)
		if err != nil || strings.ContainsAny(name, "?#%") || strings.Contains("/"+name+"/", "/./") ||
			strings.Contains("/"+name+"/", "/../") || strings.Contains(name, "//") || strings.HasPrefix(name, "/") {
			return
		}
		led := string(Lead(name, []byte(text), "P"))
		if !strings.HasSuffix(name, ".m3u8") {
			return
		}
		before, after := strings.Split(text, "\n"), strings.Split(led, "\n")
		if len(before) != len(after) {
			t.Fatalf("%d lines became %d", len(before), len(after))
		}
		for i, line := range before {
			urls, leds := []string{line}, []string{after[i]}
			if strings.HasPrefix(line, "#") {
				urls, leds = attributes(line), attributes(after[i])
				if inTags.ReplaceAllString(line, "") != inTags.ReplaceAllString(after[i], "") || len(urls) != len(leds) {
					t.Fatalf("%q became %q", line, after[i])
				}
			}
			for n, u := range urls {
				same(t, base, u, leds[n])
			}
		}
	})
}

func attributes(line string) (all []string) {
	for _, m := range inTags.FindAllStringSubmatch(line, -1) {
		all = append(all, m[1])
	}
	return all
}

// same checks that a URL leads to the same file as before, or stays.
func same(t *testing.T, base *url.URL, before, after string) {
	if before == after {
		if u, err := base.Parse(before); err == nil && strings.TrimSpace(before) != "" && before[0] != '#' &&
			strings.HasPrefix(u.String(), "http://h/play/vid_1/") && !strings.Contains(before, "//") &&
			!strings.HasPrefix(before, "/") && !strings.Contains(before, ":") {
			t.Fatalf("%q is not led", before)
		}
		return
	}
	was, err := base.Parse(before)
	if err != nil || strings.Contains(before, "..") {
		return
	}
	is, err := base.Parse(after)
	if err != nil {
		t.Fatalf("%q became %q: %v", before, after, err)
	}
	if want := strings.Replace(was.Path, "/play/vid_1/", "/play/vid_1/~P/", 1); is.Path != want {
		t.Fatalf("%q became %q, which leads to %s, want %s", before, after, is.Path, want)
	}
}
