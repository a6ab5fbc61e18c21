package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestClipLengths(t *testing.T) {
	whole, tenth := &clips{scale: 1}, &clips{scale: 0.1}
	for _, c := range []struct {
		clips   *clips
		form    form
		seconds float64
		want    float64
	}{
		{whole, encodeForm, 20, 20}, {whole, encodeForm, 60, 60}, {whole, standardForm, 300, 300},
		{whole, encodeForm, 1800, 1800}, {tenth, encodeForm, 20, clipShort}, {tenth, standardForm, 20, 2},
		{tenth, standardForm, 300, 48}, {tenth, encodeForm, 1800, 192},
	} {
		if got := c.clips.length(c.form, c.seconds); got != c.want {
			t.Errorf("%s, %g s by %g: %g s, want %g", c.form.name, c.seconds, c.clips.scale, got, c.want)
		}
	}
	if whole.minute() != 60 || tenth.minute() != 24 {
		t.Errorf("minutes of %g and %g s", whole.minute(), tenth.minute())
	}
}

// TestSceneGraph checks that the scenes are as long as the clip, and that all but the last have 4 to 6 s.
func TestSceneGraph(t *testing.T) {
	graph := sceneGraph(60, 1280, 720)
	sum := 0
	for _, m := range regexp.MustCompile(`end_frame=(\d+)`).FindAllStringSubmatch(graph, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		if n > 6*clipRate || n < 4*clipRate && sum+n != 60*clipRate {
			t.Errorf("a scene of %d frames", n)
		}
		sum += n
	}
	if sum != 60*clipRate || strings.Count(graph, "crop=1280:720") != strings.Count(graph, "mandelbrot") {
		t.Errorf("%d frames: %s", sum, graph)
	}
	if graph != sceneGraph(60, 1280, 720) {
		t.Error("it is another graph the second time")
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-only", "ready, kill"})
	if err != nil || o.repeat != 5 || o.long != 3 || !o.wants("kill") || o.wants("costs") {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parseOptions(nil); err != nil || !o.wants("memory") || !o.wants("costs") {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{
		{"-only", "speed"}, {"-repeat", "0"}, {"-scale", "0"}, {"-height", "721"},
	} {
		if _, err := parseOptions(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	b := &bench{options: options{repeat: 5, long: 3}}
	if b.runs(60) != 5 || b.runs(300) != 3 {
		t.Error("long clips are repeated as often as short ones, or the other way round")
	}
}
