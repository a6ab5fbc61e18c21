package sampletable

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
)

// TestTimes: reordered frames are shown at every tenth of a second once; a limit returns the first of them.
func TestTimes(t *testing.T) {
	f := open(t, clip(t, "a.mp4", x264("b-adapt=0")...))
	all, tick, err := f.Times(t.Context(), 1, 1000)
	if err != nil || len(all) != 40 || slices.IsSorted(all) || !(tick > 0 && tick < 0.1) {
		t.Fatalf("%v, ticks of %g s, %v", all, tick, err)
	}
	for _, most := range []int{0, 1, 39, 40, 41} {
		got, _, err := f.Times(t.Context(), 1, most)
		if err != nil || !slices.Equal(got, all[:min(most, 40)]) {
			t.Errorf("at most %d: %v, %v", most, got, err)
		}
	}
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		if !near(all[i]-all[i-1], 0.1) {
			t.Errorf("frame %d is shown at %g s, the one before at %g s", i, all[i], all[i-1])
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Times(ctx, 1, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, _, err := f.Times(t.Context(), 99, 1000); err == nil {
		t.Error("a track that does not exist has times")
	}
	fragmented := open(t, clip(t, "f.mp4", append(x264(""), "-movflags", "+frag_keyframe+empty_moov")...))
	if times, _, err := fragmented.Times(t.Context(), 1, 1000); err == nil {
		t.Errorf("fragmented: %v", times)
	}
}

// TestFindProtected finds encrypted tracks with and without fragments, and none in a plain or cut file.
func TestFindProtected(t *testing.T) {
	key := []string{"-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb",
		"-encryption_kid", "a7e61c373e219033c21091fa607bf3b8", "-movflags"}
	find := func(data []byte) ([]Protected, error) { return FindProtected(bytes.NewReader(data), int64(len(data))) }
	want := []Protected{{Track: 0, Entry: "encv", Scheme: "cenc"}}
	whole := readFile(t, clip(t, "e.mp4", slices.Concat(x264(""), key, []string{"+faststart"})...))
	fragmented := readFile(t, clip(t, "f.mp4", slices.Concat(x264(""), key, []string{"+frag_keyframe+empty_moov"})...))
	for name, tt := range map[string]struct {
		data []byte
		want []Protected
	}{
		"encrypted":       {whole, want},
		"in fragments":    {fragmented, want},
		"another scheme":  {bytes.Replace(whole, []byte("cenc"), []byte("c\x1bbs"), 1), []Protected{{0, "encv", "cbs"}}},
		"unknown scheme":  {bytes.Replace(whole, []byte("schm"), []byte("free"), 1), []Protected{{0, "encv", ""}}},
		"plain":           {readFile(t, clip(t, "p.mp4", x264("")...)), nil},
		"without a track": {bytes.Replace(whole, []byte("trak"), []byte("free"), 1), nil},
	} {
		if got, err := find(tt.data); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, tt.want)
		}
	}
	index := bytes.Index(whole, []byte("mdat")) - 4
	for n := range index {
		if got, err := find(whole[:n]); err == nil && len(got) > 0 && !slices.Equal(got, want) {
			t.Errorf("%d of %d bytes: %+v", n, len(whole), got)
		}
	}
}
