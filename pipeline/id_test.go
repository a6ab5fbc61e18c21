package pipeline_test

import (
	"crypto/sha256"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

var idForm = regexp.MustCompile(`^vid_[0-7][0-9a-hjkmnp-tv-z]{25}$`)

func parse(t fataler, id string) ulid.ULID {
	t.Helper()
	u, err := ulid.ParseStrict(strings.ToUpper(strings.TrimPrefix(id, "vid_")))
	if err != nil || !idForm.MatchString(id) || !pipeline.ValidName(id) {
		t.Fatalf("%s is no ULID: %v", id, err)
	}
	if "vid_"+strings.ToLower(u.String()) != id {
		t.Fatalf("%s reads as %s", id, u)
	}
	return u
}

func TestNewID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		for range 100 {
			id := pipeline.NewID("vid")
			if u := parse(t, id); u.Time() != uint64(time.Now().UnixMilli()) {
				t.Fatalf("%s has the time %d", id, u.Time())
			}
			ids = append(ids, id)
			<-time.After(time.Millisecond) // of the bubble: no time passes
		}
		if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 100 {
			t.Error("ids do not sort by time")
		}
	})
}

func TestDerivedID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sum := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sum"))
		id := pipeline.DerivedID("vid", sum)
		u := parse(t, id)
		if [10]byte(u.Entropy()) != [10]byte(sum[:10]) || id != pipeline.DerivedID("vid", sum) {
			t.Fatalf("%s of %x", id, sum)
		}
	})
	if got := pipeline.DerivedID("vid", sha256.Sum256([]byte("key"))); got != "vid_0tdhs9rkkz5hre2avt0s3fj8ks" {
		t.Errorf("the id of an idempotency key has changed: %s", got)
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "transcode-720p-0003": true, "A_9": true, strings.Repeat("x", 64): true,
		"": false, "a.b": false, "a b": false, "a/b": false, "*": false, ">": false, "é": false, "a\n": false,
		strings.Repeat("x", 65): false,
	} {
		if pipeline.ValidName(name) != want {
			t.Errorf("ValidName(%q) is %v", name, !want)
		}
	}
}
