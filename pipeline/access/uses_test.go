package access

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// notes is a bucket in memory. The next fails calls of NoteKeyUse fail.
type notes struct {
	written []string
	fails   int
}

func (n *notes) NoteKeyUse(_ context.Context, key string, at time.Time) error {
	if n.fails > 0 {
		n.fails--
		return errors.New("the broker is away")
	}
	n.written = append(n.written, key+at.UTC().Format(" 15:04:05"))
	return nil
}

func (n *notes) KeyUses(context.Context, []string) (map[string]time.Time, error) { return nil, nil }

// TestUsesAreNotedOnceAMinute: a key that is used all the time is written once a minute; a note that could not
// be written holds nobody up.
func TestUsesAreNotedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := &notes{fails: 1}
		u := NewUses(bucket)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- u.Run(ctx, slog.New(slog.DiscardHandler)) }()
		u.Note("key_lost")
		synctest.Wait()
		for range 121 {
			u.Note("key_a")
			time.Sleep(time.Second)
		}
		u.Note("key_b")
		synctest.Wait()
		want := []string{"key_a 00:00:00", "key_a 00:01:00", "key_a 00:02:00", "key_b 00:02:01"}
		if !slices.Equal(bucket.written, want) {
			t.Errorf("%q, want %q", bucket.written, want)
		}
		cancel()
		must(t, <-done)
		(*Uses)(nil).Note("key_a")
	})
}

// TestUsesDoNotBlock: without anybody who writes, a use is left out, and noted when there is room again.
func TestUsesDoNotBlock(t *testing.T) {
	u := NewUses(&notes{})
	for range maxUnwritten {
		u.due <- use{}
	}
	u.Note("key_a")
	<-u.due
	u.Note("key_a")
	for range maxUnwritten - 1 {
		<-u.due
	}
	if got := <-u.due; got.key != "key_a" {
		t.Errorf("%+v", got)
	}
}
