package api

import (
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestURLs checks everything that begins with the public URL. Without one, all are paths, whatever Host a
// client sends.
func TestURLs(t *testing.T) {
	for _, public := range []string{"https://v.example/sub", ""} {
		e := newEnv(t, func(c *Config) { c.PublicURL = public })
		id := e.uploaded().ID
		e.inspected(id)
		e.job(pipeline.JobCompleted, id, "transcode-0000", pipeline.Output{Kind: pipeline.KindManifest, Path: "m.mpd"})
		e.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, id), pipeline.Playable{Path: "m.m3u8"})
		views := []pipeline.VideoView{read[pipeline.VideoView](e, "/v1/videos/"+id)}
		views = append(views, read[list[pipeline.VideoView]](e, "/v1/videos").Data...)
		_, raw := e.do("POST", "/v1/videos/"+id+"/cancel", nil)
		views = append(views, decode[pipeline.VideoView](t, raw))
		for i, v := range views {
			if v.PlayURL != public+"/play/"+id+"/m.m3u8" || v.DASHURL != public+"/play/"+id+"/m.mpd" {
				t.Errorf("answer %d with %q: %q and %q", i, public, v.PlayURL, v.DASHURL)
			}
		}
		outputs := read[list[pipeline.OutputView]](e, "/v1/videos/"+id+"/outputs").Data
		if len(outputs) != 1 || outputs[0].URL != public+"/play/"+id+"/m.mpd" {
			t.Errorf("with %q: outputs %+v", public, outputs)
		}
		if v := e.uploaded(); v.PlayURL != "" || v.DASHURL != "" {
			t.Errorf("a new video plays at %q, %q", v.PlayURL, v.DASHURL)
		}
	}
}

func TestPublicURLsThatAreRefused(t *testing.T) {
	for address, fine := range map[string]bool{
		"https://v.example": true, "http://v.example:8080/": true, "https://v.example/a/b//": true, "http://[::1]:80": true,
		"v.example": false, "v.example:80": false, "ftp://v.example": false, "https://": false, "https://:80": false,
		"https://v.example?": false, "https://v.example/?a=b": false, "https://v.example/#": false,
		"https://me:secret@v.example": false, "https://v.example/a b": false, "https://vidéo.example": false,
		"https://v.example/\n": false,
	} {
		err := CheckPublicURL(address)
		if (err == nil) != fine || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
