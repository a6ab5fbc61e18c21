package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// story writes a log as the pipeline would, one event a second.
type story struct {
	events []pipeline.Event
	frozen bool // the clock stands still
}

const epoch = "2026-03-01T12:00:00.000001Z"

// tell appends an event on subject. It takes a string as raw data.
func (s *story) tell(t pipeline.EventType, subject, video string, data any) pipeline.Event {
	raw, ok := data.(string)
	if !ok {
		b, err := json.Marshal(data)
		if err != nil {
			panic(err)
		}
		raw = string(b)
	}
	at, err := time.Parse(time.RFC3339Nano, epoch)
	if err != nil {
		panic(err)
	}
	seq := uint64(len(s.events) + 1)
	if !s.frozen {
		at = at.Add(time.Duration(seq) * time.Second)
	}
	e := pipeline.Event{
		ID: fmt.Sprintf("evt_%026d", seq), Source: "/reelmill/test", SpecVersion: "1.0", Type: t,
		Subject: subject, Time: at, ContentType: "application/json", Version: 1, CorrelationID: video,
		CausationID: fmt.Sprintf("evt_%026d", max(seq, 2)-1),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Data:        json.RawMessage(raw), Sequence: seq,
	}
	s.events = append(s.events, e)
	return e
}

func (s *story) uploaded(project, video string) {
	s.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(project, video), video, pipeline.Upload{
		Source: pipeline.Object{
			Key: "videos/" + video + "/source/original.mp4", Size: 1 << 20, Filename: "<cat> & dog.mp4",
		},
		Pipeline: pipeline.Default(), Metadata: map[string]string{"title": "naïve \u2028"},
	})
}

func (s *story) inspected(project, video string, plan ...pipeline.Job) {
	s.tell(pipeline.VideoInspected, pipeline.InspectedSubject(project, video), video, pipeline.Inspected{
		Inspection: pipeline.Inspection{
			Verdict: pipeline.VerdictAccept,
			Media: &pipeline.Media{
				Container: "mov", Duration: 9.97, Video: pipeline.VideoTrack{Codec: "h264", Width: 1280},
			},
		},
		Plan: plan,
	})
}

// job appends an event of a job; change fills in its special fields.
func (s *story) job(t pipeline.EventType, project, video, name string, change func(*pipeline.JobEvent)) {
	step, _, _ := strings.Cut(name, "-")
	data := pipeline.JobEvent{Job: name, Step: step, Worker: step, Process: "p1", Attempt: 1}
	if change != nil {
		change(&data)
	}
	s.tell(t, pipeline.JobSubject(project, video, name), video, data)
}

func (s *story) completed(project, video, name string, outputs ...pipeline.Output) {
	s.job(pipeline.JobCompleted, project, video, name, func(e *pipeline.JobEvent) {
		e.Result = &pipeline.Result{Outputs: outputs, Facts: map[string]any{"speed": 1.25, "big": 1 << 60}}
	})
}

func (s *story) finished(project, video string, end pipeline.Finish) {
	t := pipeline.EventType("video." + string(end.State))
	s.tell(t, pipeline.FinishedSubject(project, video), video, end)
}

func (s *story) deleted(project, video string) {
	s.tell(pipeline.VideoDeleted, pipeline.DeletedSubject(project, video), video, struct{}{})
}

// reopened requeues a job of a video and reopens the video.
func (s *story) reopened(project, video, job string, generation int) {
	s.job(pipeline.JobRequeued, project, video, job, nil)
	s.tell(pipeline.VideoReopened, pipeline.FinishedSubject(project, video), video,
		pipeline.Finish{State: pipeline.StateVideoProcessing, Generation: generation})
}

// purged appends the event that the coordinator appends after video.deleted, and that replaces all others.
func (s *story) purged(project, video string) {
	data := pipeline.Purged{Samples: must(pipeline.SamplesOf(s.of(video)))}
	s.tell(pipeline.VideoPurged, pipeline.DeletedSubject(project, video), video, data)
}

// of returns the events of one video so far.
func (s *story) of(video string) []pipeline.Event {
	var history []pipeline.Event
	for _, e := range s.events {
		if e.CorrelationID == video {
			history = append(history, e)
		}
	}
	return history
}

// ready tells the whole story of a video with two jobs.
func (s *story) ready(project, video string) {
	s.uploaded(project, video)
	s.job(pipeline.JobStarted, project, video, "inspect", nil)
	s.completed(project, video, "inspect")
	s.inspected(project, video, planned("transcode-0000", 3), planned("package", 1, "transcode-0000"))
	s.job(pipeline.JobStarted, project, video, "transcode-0000", nil)
	s.completed(project, video, "transcode-0000", segments(video, "720p", 12))
	s.job(pipeline.JobStarted, project, video, "package", nil)
	s.completed(project, video, "package", manifest(video))
	s.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, video), video,
		pipeline.Playable{Path: "master.m3u8", Job: "package"})
	s.finished(project, video, pipeline.Finish{State: pipeline.StateVideoReady})
}

func planned(name string, weight int, after ...string) pipeline.Job {
	step, _, _ := strings.Cut(name, "-")
	return pipeline.Job{Name: name, Step: step, Worker: step, Weight: weight, After: after}
}

func manifest(video string) pipeline.Output {
	return pipeline.Output{
		Name: "master", Kind: pipeline.KindManifest, Path: "master.m3u8", Size: 321, SHA256: "ab12",
		Key: "videos/" + video + "/package/7/master.m3u8", ContentType: "application/vnd.apple.mpegurl",
	}
}

func segments(video, rung string, count int) pipeline.Output {
	return pipeline.Output{
		Name: rung, Kind: pipeline.KindRendition, Path: rung + "/seg_%05d.m4s", Size: 9999,
		Key:         "videos/" + video + "/transcode-0000/5/" + rung + "/seg_%05d.m4s",
		ContentType: "video/iso.segment",
		Segments:    &pipeline.Segments{First: 3, Count: count}, Codecs: "avc1.64001f",
	}
}

// open opens a catalog that the test closes.
func open(t *testing.T, path string) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// fresh opens a new catalog and applies events in one batch.
func fresh(t *testing.T, events ...pipeline.Event) *Catalog {
	t.Helper()
	c := open(t, filepath.Join(t.TempDir(), "catalog.db"))
	apply(t, c, events...)
	return c
}

func apply(t *testing.T, c *Catalog, events ...pipeline.Event) {
	t.Helper()
	if err := c.Apply(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// must returns v, and panics on an error: rapid and goroutines have no *testing.T.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// answers returns all answers of a catalog's API about some projects, as indented JSON.
func answers(ctx context.Context, c *Catalog, projects ...string) string {
	type video struct {
		View    pipeline.VideoView
		Jobs    []pipeline.JobView
		Outputs []pipeline.OutputView
		Events  []pipeline.Event
		Seqs    []uint64
	}
	all := struct {
		Sequence, Poisoned uint64
		Videos             []video
		Rows               string
		Unfinished         []pipeline.VideoRef
		Backlog            [][2]int
		Stats              []stats.Stats
	}{Sequence: must(c.Sequence(ctx)), Poisoned: must(c.Poisoned(ctx)), Rows: dump(ctx, c)}
	all.Unfinished = must(c.Unfinished(ctx, farFuture, farFuture, "", MaxLimit))
	for _, p := range append([]string{""}, projects...) {
		ofProject, total, err := c.Backlog(ctx, p)
		all.Backlog = append(all.Backlog, [2]int{must(ofProject, err), total})
		all.Stats = append(all.Stats, statsOf(ctx, c, p))
	}
	for _, p := range projects {
		for cursor, more := "", true; more; more = cursor != "" {
			page := must(c.Videos(ctx, Query{Project: p, Limit: 2, Cursor: cursor}))
			for _, v := range page.Data {
				entry := video{View: must(c.Video(ctx, p, v.ID))}
				entry.Jobs, entry.Outputs = must(c.Jobs(ctx, p, v.ID)), must(c.Outputs(ctx, p, v.ID))
				entry.Events = must(c.Events(ctx, p, v.ID, 0, MaxLimit))
				for _, e := range entry.Events {
					entry.Seqs = append(entry.Seqs, e.Sequence)
				}
				all.Videos = append(all.Videos, entry)
			}
			cursor = page.NextCursor
		}
	}
	return string(must(json.MarshalIndent(all, "", " ")))
}

var farFuture = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// statsOf returns the statistics of the time in which stories happen.
func statsOf(ctx context.Context, c *Catalog, project string) stats.Stats {
	from := must(time.Parse(time.RFC3339Nano, epoch))
	return must(c.Stats(ctx, StatsQuery{
		Project: project, Window: time.Minute, From: from, To: from.Add(10 * time.Minute),
	}))
}

// dump returns every row of every table of the catalog, in order.
func dump(ctx context.Context, c *Catalog) string {
	var b strings.Builder
	for _, query := range []string{
		`SELECT id || '|' || sequence || '|' || poisoned || '|' || applied_at FROM projection`,
		`SELECT id || '|' || project || '|' || status || '|' || created_at || '|' || planned_weight || '|' ||
			done_weight || '|' || owed || '|' || open || '|' || generation || '|' ||
			inspected || '|' || stored_ms || '|' || source_bytes || '|' || output_bytes || '|' || doc FROM videos`,
		`SELECT video || '|' || name || '|' || status || '|' || created_at || '|' || born || '|' ||
			position || '|' || doc FROM jobs`,
		`SELECT video || '|' || job || '|' || path || '|' || sequence || '|' || position || '|' || doc
			FROM outputs`,
		`SELECT video || '|' || sequence || '|' || project || '|' || doc FROM events`,
		`SELECT 'metadata|' || video || '|' || key || '|' || pair || '|' || project || '|' || created_at
			FROM video_metadata`,
		`SELECT 'text|' || video || '|' || folded || '|' || (SELECT COUNT(*) FROM video_grams WHERE rowid = id)
			FROM video_text`,
		`SELECT 'grams|' || COUNT(*) FROM video_grams`,
		`SELECT 'sample|' || video || '|' || sequence || '|' || position || '|' || project || '|' || metric ||
			'|' || at_us || '|' || label || '|' || value FROM samples`,
	} {
		rows := must(c.reader.db.QueryContext(ctx, query))
		var lines []string
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				panic(err)
			}
			lines = append(lines, line)
		}
		if err := rows.Err(); err != nil {
			panic(err)
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return b.String()
}

// reset empties the catalog and sets its sequence to 0.
func (c *Catalog) reset(ctx context.Context) error {
	return c.writer.transact(ctx, func(tx *sql.Tx) error {
		for _, text := range []string{
			`DELETE FROM samples`, `DELETE FROM events`, `DELETE FROM outputs`, `DELETE FROM jobs`,
			`DELETE FROM videos`, `DELETE FROM deletions`, `DELETE FROM video_metadata`, `DELETE FROM video_grams`,
			`DELETE FROM video_text`,
			`UPDATE projection SET sequence = 0, poisoned = 0, applied_at = 0, event_id = '' WHERE id = 1`,
		} {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
}
