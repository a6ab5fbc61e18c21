package loss

import (
	"fmt"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/storage/catalog"
)

func TestAWholeLogHasLostNothing(t *testing.T) {
	b := newBooks(t)
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"as it was", func() {}},
		{"events that nobody has applied", func() { b.write("more-") }},
		{"a deletion that nobody has applied", func() { b.delete("vid-3", true) }},
		{"a deletion that has been applied", func() { b.delete("vid-4", true); b.apply() }},
	} {
		c.do()
		for _, model := range []ReadModel{b.catalog, nil} {
			if extent, lost := b.check(model); lost != nil || GoneText(extent) != "" {
				t.Errorf("%s: %v%s", c.name, lost, GoneText(extent))
			}
		}
	}
}

// What is gone and no deletion names is lost. The read model, if there is one, knows whose events they were.
func TestLostEvents(t *testing.T) {
	for _, c := range []struct {
		lose   []uint64
		events uint64
		want   string
		videos string
	}{
		{[]uint64{3}, 1, "the event log has lost 1 of 16 events (sequence 3)", "1 video: vid-3"},
		{[]uint64{1, 2}, 2, "the event log has lost 2 of 16 events (sequences 1 to 2)", "2 videos: vid-1, vid-2"},
		{[]uint64{16}, 1, "the event log has lost 1 of 16 events (sequence 16)", "1 video: vid-8"},
		{[]uint64{1, 3, 5, 9, 11, 13}, 6, "(sequences 1, 3, 5, 9, 11, ...)", "3 videos: vid-1, vid-3, vid-5"},
		{[]uint64{1, 2, 3, 4, 5, 6}, 6, "(sequences 1 to 6)", "6 videos: vid-1, vid-2, vid-3, vid-4, vid-5, ..."},
	} {
		b := newBooks(t)
		b.lose(c.lose...)
		_, lost := b.check(b.catalog)
		if lost == nil || lost.Events() != c.events || !strings.Contains(lost.Error(), c.want) ||
			!strings.HasSuffix(lost.Error(), "; this affects "+c.videos) {
			t.Errorf("without %v: %v", c.lose, lost)
		}
		_, lost = b.check(nil)
		if lost == nil || lost.Events() != c.events || !strings.HasSuffix(lost.Error(), "knows no video that this affects") {
			t.Errorf("without %v, and without a read model: %v", c.lose, lost)
		}
		if want := "restore the log (at home) from a backup"; !strings.HasPrefix(lost.Remedy(), want) {
			t.Errorf("remedy %q", lost.Remedy())
		}
	}
}

// A deletion hides no loss, and the videos that it deleted have lost nothing.
func TestALossBesideADeletion(t *testing.T) {
	b := newBooks(t)
	b.lose(2)
	b.delete("vid-1", true)
	_, lost := b.check(b.catalog) // which still has vid-1
	if lost == nil || lost.Events() != 1 || !strings.HasSuffix(lost.Error(), "; this affects 1 video: vid-2") {
		t.Errorf("%v", lost)
	}
}

// Where a log ends before what the read model has applied, it has lost its end.
func TestALogThatIsShort(t *testing.T) {
	b := newBooks(t)
	b.restart()
	_, lost := b.check(b.catalog)
	if lost == nil || lost.Events() != events {
		t.Fatalf("%v", lost)
	}
	for _, want := range []string{"lost 16 of 16 events", "it ends at 0, and the read model has applied 16", "8 videos"} {
		if !strings.Contains(lost.Error(), want) {
			t.Errorf("%v, which lacks %q", lost, want)
		}
	}
	if _, lost := b.check(nil); lost != nil {
		t.Errorf("without a read model an empty log is a new one: %v", lost)
	}
}

// Another log of the same length is noticed by the id of the last event that the read model knows.
func TestAnotherLog(t *testing.T) {
	b := newBooks(t)
	b.restart()
	b.write("other-")
	_, lost := b.check(b.catalog)
	if want := "the read model was made from another event log: event 16 differs"; lost == nil ||
		!strings.Contains(lost.Error(), want) || lost.Events() < 1 {
		t.Errorf("%v, want %q", lost, want)
	}
	if _, lost := b.check(nil); lost != nil {
		t.Errorf("without a read model: %v", lost)
	}
}

// An accepted loss is none. What is lost after it is, and counts alone.
func TestAnAcceptedLoss(t *testing.T) {
	b := newBooks(t)
	b.lose(2, 3)
	must(t, b.bus.Accept(t.Context(), bus.Accepted{Through: events, Count: 2}))
	extent, lost := b.check(b.catalog)
	if lost != nil || GoneText(extent) != "; 2 are lost, and that was accepted" {
		t.Errorf("%v%s", lost, GoneText(extent))
	}
	b.lose(5)
	if _, lost := b.check(b.catalog); lost == nil || lost.Events() != 1 {
		t.Errorf("%v", lost)
	}
}

// Earlier versions did not say what a deletion removed. What is gone before one may be that, unless the read model
// has it of a video that is not deleted.
func TestDeletionsOfEarlierVersions(t *testing.T) {
	b := newBooks(t)
	b.delete("vid-1", false)
	extent, lost := b.check(b.catalog)
	if want := "; 2 before event 18 are gone, as an earlier version deleted videos"; lost != nil ||
		!strings.HasPrefix(GoneText(extent), want) {
		t.Errorf("%v%s, want %s", lost, GoneText(extent), want)
	}
	b.lose(2)
	_, lost = b.check(b.catalog)
	if lost == nil || lost.Events() != 1 || !strings.HasSuffix(lost.Error(), "; this affects 1 video: vid-2") {
		t.Errorf("%v", lost)
	}
	if _, lost := b.check(nil); lost != nil {
		t.Errorf("without a read model: %v", lost)
	}
}

// A Check notices what changes between two looks, and judges again only then.
func TestLooksOfOneCheck(t *testing.T) {
	b := newBooks(t)
	c := NewCheck(b.bus, b.catalog, "at home")
	if _, lost := look(t, c); lost != nil {
		t.Fatal(lost)
	}
	b.lose(2)
	_, first := look(t, c)
	_, again := look(t, c)
	if first == nil || first != again {
		t.Errorf("nothing has changed, and %v is judged again: %v", first, again)
	}
	b.lose(3)
	if _, lost := look(t, c); lost == nil || lost.Events() != 2 {
		t.Errorf("%v", lost)
	}
	must(t, b.bus.Accept(t.Context(), bus.Accepted{Through: events, Count: 2}))
	if _, lost := look(t, c); lost != nil {
		t.Errorf("it is accepted: %v", lost)
	}
}

// A read model that cannot be read is an error, and says nothing about the log.
func TestAReadModelThatFails(t *testing.T) {
	b := newBooks(t)
	c := NewCheck(b.bus, b.catalog, "at home")
	must(t, b.catalog.Close())
	if _, lost, err := c.Look(t.Context()); err == nil || lost != nil {
		t.Errorf("%v, %v", lost, err)
	}
}

// An event that the log has and cannot give is unread; one that a deletion removed is not.
func TestUnread(t *testing.T) {
	b := newBooks(t)
	_, err := b.js.Publish(t.Context(), pipeline.JobSubject("p", "vid-1", "b"), []byte("damaged"))
	must(t, err)
	replayed := b.apply()
	c := NewCheck(b.bus, b.catalog, "at home")
	unread, err := c.Unread(t.Context(), replayed)
	must(t, err)
	if text := EventsText(unread); text != "1 event (sequence 17)" {
		t.Error(text)
	}
	b.lose(17)
	if unread, err = c.Unread(t.Context(), replayed); err != nil || unread.Count() != 0 {
		t.Errorf("what is gone counts as unread: %v, %v", unread, err)
	}
}

func TestNotDeleted(t *testing.T) {
	b := newBooks(t)
	b.delete("vid-2", true)
	var held []catalog.Held
	for v := range 600 { // more than are asked for at once
		held = append(held, catalog.Held{
			Project: "p", Video: fmt.Sprint("vid-", v), Events: pipeline.Sequences{{First: uint64(2*v + 1), Last: uint64(2*v + 1)}},
		})
	}
	left, err := NotDeleted(t.Context(), b.bus, held)
	must(t, err)
	if len(left) != 599 || left[2].Video != "vid-3" || EventsOf(left).Count() != 599 {
		t.Errorf("%d videos are left, the third is %v", len(left), left[2])
	}
}

func TestEventsText(t *testing.T) {
	for want, s := range map[string]pipeline.Sequences{
		"1 event (sequence 7)":            {{First: 7, Last: 7}},
		"3 events (sequences 7 to 9)":     {{First: 7, Last: 9}},
		"3 events (sequences 7, 9 to 10)": {{First: 7, Last: 7}, {First: 9, Last: 10}},
		"6 events (sequences 1, 3, 5, 7, 9, ...)": {
			{First: 1, Last: 1}, {First: 3, Last: 3}, {First: 5, Last: 5}, {First: 7, Last: 7}, {First: 9, Last: 9},
			{First: 11, Last: 11},
		},
	} {
		if got := EventsText(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
