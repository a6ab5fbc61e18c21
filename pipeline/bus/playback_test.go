package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/playback"
)

// TestPassesOfOtherProcesses: a pass that one process made plays at another, until the signing key is revoked at
// a third: then at the latest when the other has looked at the log, and it looks every access.MaxAge, or plays
// nothing.
func TestPassesOfOtherProcesses(t *testing.T) {
	s := newBroker(t)
	maker, player := s.open(Config{}), s.open(Config{})
	book := runBook(t, player)
	judgeOf := func(b *Bus, keys playback.Keys) *playback.Judge {
		root, err := access.OpenRoot(soon(t), b)
		must(t, err)
		return playback.NewJudge(root, keys)
	}
	first, second := judgeOf(maker, runBook(t, maker)), judgeOf(player, book)
	key, _, _, err := access.CreateSigningKey(soon(t), maker, access.NewSigningKey{Project: "default"})
	must(t, err)
	pass, _ := first.NewPass(playback.Permit{Video: "vid_1", Expires: time.Now().Add(24 * time.Hour), Issuer: key.ID})
	asked := playback.Asked{Project: "default", Video: "vid_1", Path: "master.m3u8"}
	judge := func() (err error) {
		pipelinetest.Until(t, "the Book is believed", func() bool {
			_, err = second.Pass(soon(t), asked, pass)
			return !errors.Is(err, access.ErrStale)
		})
		return err
	}
	pipelinetest.Until(t, "the other process knows the key", func() bool { return judge() == nil })
	e, err := access.RevokeSigningKey(context.Background(), s.open(Config{}), "default", key.ID)
	must(t, err)
	revoked := time.Now()
	for judge() == nil {
		if time.Since(revoked) > access.MaxAge+time.Second && book.Heard().Before(revoked) {
			t.Fatalf("it plays %s after the revocation; the last look was %s before it", time.Since(revoked), revoked.Sub(book.Heard()))
		}
	}
	must(t, book.WaitFor(soon(t), e.Sequence))
	if err := judge(); !errors.Is(err, playback.ErrInvalid) {
		t.Errorf("after the revocation: %v", err)
	}
}
