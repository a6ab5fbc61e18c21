package catalog

// The statements, all prepared once. list.go builds the list of videos; place.go has the rarely used ones.
const (
	sqlSequence = `SELECT sequence FROM projection WHERE id = 1`
	sqlPoisoned = `SELECT poisoned FROM projection WHERE id = 1`
	sqlMoveOn   = `
		UPDATE projection SET sequence = $1, poisoned = poisoned + $2, applied_at = $3, event_id = $4
		WHERE id = 1 AND sequence = $5`
	sqlAppliedAt = `SELECT applied_at FROM projection WHERE id = 1`

	sqlVideoRow = `SELECT doc, planned_weight, done_weight, owed, owed_playable, generation, inspected,
			output_bytes
		FROM videos WHERE id = $1`
	sqlPutVideo = `
		INSERT INTO videos
			(id, project, status, created_at, planned_weight, done_weight, owed, owed_playable, open, generation,
			inspected, stored_ms, source_bytes, output_bytes, signed, ended, held, doc)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, created_at = excluded.created_at,
			planned_weight = excluded.planned_weight, done_weight = excluded.done_weight,
			owed = excluded.owed, owed_playable = excluded.owed_playable,
			open = excluded.open, generation = excluded.generation, inspected = excluded.inspected,
			stored_ms = excluded.stored_ms, source_bytes = excluded.source_bytes,
			output_bytes = excluded.output_bytes, signed = excluded.signed, ended = excluded.ended,
			held = excluded.held, doc = excluded.doc`

	sqlJobRow      = `SELECT name, doc, born, position FROM jobs WHERE video = $1 AND name = $2`
	sqlJobsInState = `SELECT name, doc, born, position FROM jobs WHERE video = $1 AND status = $2`
	sqlPutJob      = `
		INSERT INTO jobs (video, name, status, created_at, born, position, doc)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (video, name) DO UPDATE SET status = excluded.status, doc = excluded.doc`

	sqlPutOutput = `
		INSERT INTO outputs (video, job, path, sequence, position, doc) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (video, job, path) DO UPDATE SET
			sequence = excluded.sequence, position = excluded.position, doc = excluded.doc`
	sqlDropOutputs = `DELETE FROM outputs WHERE video = $1 AND job = $2`
	sqlJobOutputs  = `SELECT doc FROM outputs WHERE video = $1 AND job = $2`

	sqlPutEvent      = `INSERT INTO events (video, sequence, project, type, doc) VALUES ($1, $2, $3, $4, $5)`
	sqlPutDeletion   = `INSERT INTO deletions (video, sequence, project, type, doc) VALUES ($1, $2, $3, $4, $5)`
	sqlOldDeletions  = `SELECT sequence, doc FROM deletions ORDER BY sequence LIMIT 10`
	sqlDropDeletions = `DELETE FROM deletions WHERE sequence <= $1`

	sqlPutSample = `
		INSERT INTO samples (video, sequence, position, project, metric, at_us, label, value)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	sqlDropSamples = `DELETE FROM samples WHERE video = $1 AND project = $2`

	sqlPutMetadata = `
		INSERT INTO video_metadata (video, key, pair, project, created_at) VALUES ($1, $2, $3, $4, $5)`
	sqlDropMetadata = `DELETE FROM video_metadata WHERE video = $1`
	sqlPutText      = `
		INSERT INTO video_text (video, folded) VALUES ($1, $2)
		ON CONFLICT (video) DO UPDATE SET folded = excluded.folded RETURNING id`
	sqlPutGrams       = `INSERT INTO video_grams (rowid, folded) VALUES ($1, $2)`
	sqlDropGrams      = `DELETE FROM video_grams WHERE rowid = $1`
	sqlDropVideoGrams = `
		DELETE FROM video_grams WHERE rowid IN (SELECT id FROM video_text WHERE video = $1)`
	sqlDropText = `DELETE FROM video_text WHERE video = $1`

	sqlDropVideo        = `DELETE FROM videos WHERE id = $1`
	sqlDropVideoJobs    = `DELETE FROM jobs WHERE video = $1`
	sqlDropVideoOutputs = `DELETE FROM outputs WHERE video = $1`
	sqlDropVideoEvents  = `DELETE FROM events WHERE video = $1`

	sqlVideo = `SELECT doc FROM videos WHERE project = $1 AND id = $2`
	sqlJobs  = `
		SELECT j.doc FROM jobs j JOIN videos v ON v.id = j.video WHERE v.project = $1 AND v.id = $2
		ORDER BY j.created_at, j.born, j.position`
	sqlOutputs = `
		SELECT o.doc FROM outputs o JOIN videos v ON v.id = o.video WHERE v.project = $1 AND v.id = $2
		ORDER BY o.sequence, o.position`
	sqlEvents = `
		SELECT sequence, doc FROM events WHERE project = $1 AND video = $2 AND sequence > $3
		ORDER BY sequence LIMIT $4`
	// If two jobs claimed one path, or one number of a path with segments, the later one wins.
	sqlOutputsAt = `
		SELECT doc FROM outputs WHERE video = $1 AND path = $2
		ORDER BY sequence DESC, position DESC`
	sqlPlayback   = `SELECT project, signed FROM videos WHERE id = $1`
	sqlAnyVideo   = `SELECT doc FROM videos WHERE id = $1`
	sqlAnyOutputs = `SELECT doc FROM outputs WHERE video = $1 ORDER BY job, path`

	// The conditions repeat those of the partial indexes videos_open and videos_backlog word for word.
	sqlUnfinished = `
		SELECT project, id FROM videos WHERE open = 1 AND id > $1 AND (created_at < $2 OR created_at > $3)
		ORDER BY id LIMIT $4`
	sqlBacklog = `
		SELECT COUNT(CASE WHEN project = $1 THEN 1 END), COUNT(*) FROM videos
		WHERE status IN ('queued', 'inspecting', 'processing')`
	sqlLate = `
		SELECT COUNT(*) FROM videos
		WHERE status IN ('queued', 'inspecting', 'processing') AND ($1 = '' OR project = $1)
			AND created_at < $2 AND CASE WHEN json_valid(doc) THEN json_extract(doc, '$.playable') END = 0`

	// The expressions and the condition repeat those of the index jobs_completed word for word.
	sqlPaces = `
		SELECT CASE WHEN json_valid(doc) THEN json_extract(doc, '$.worker') END AS worker, COUNT(*),
			MIN(CASE WHEN json_valid(doc) THEN json_extract(doc, '$.finished_at') END)
		FROM jobs WHERE status = 'completed'
			AND CASE WHEN json_valid(doc) THEN json_extract(doc, '$.finished_at') END >= $1
		GROUP BY worker`

	sqlSamples = `
		SELECT metric, at_us, label, value FROM samples
		WHERE project = $1 AND at_us >= $2 AND at_us < $3`
	sqlPutAccessEvent = `
		INSERT INTO access_events (sequence, thing, project, type, doc) VALUES ($1, $2, $3, $4, $5)`
	sqlProjectRow = `SELECT doc FROM projects WHERE name = $1`
	sqlPutProject = `
		INSERT INTO projects (name, deleted, doc) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET deleted = excluded.deleted, doc = excluded.doc`
	sqlKeyRow = `SELECT doc FROM api_keys WHERE id = $1`
	sqlPutKey = `
		INSERT INTO api_keys (id, project, created, revoked, doc) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET revoked = excluded.revoked, doc = excluded.doc`
	sqlKeysLeft = `SELECT doc FROM api_keys WHERE project = $1 AND revoked = 0 ORDER BY created`
	sqlProjects = `SELECT doc FROM projects WHERE deleted = 0 ORDER BY name`
	sqlKeys     = `SELECT doc FROM api_keys WHERE project = $1 ORDER BY created`

	sqlSigningKeyRow = `SELECT doc FROM signing_keys WHERE id = $1`
	sqlPutSigningKey = `
		INSERT INTO signing_keys (id, project, created, revoked, doc) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET revoked = excluded.revoked, doc = excluded.doc`
	sqlSigningKeysLeft = `SELECT doc FROM signing_keys WHERE project = $1 AND revoked = 0 ORDER BY created`
	sqlSigningKeys     = `SELECT doc FROM signing_keys WHERE project = $1 ORDER BY created`

	sqlAllSamples = `SELECT metric, at_us, label, value FROM samples WHERE at_us >= $1 AND at_us < $2`

	// Both read the index videos_usage alone. $2 is a sequence: of what was inspected after it, nothing counts.
	sqlStored = `
		SELECT COUNT(*), COALESCE(SUM(stored_ms), 0), COALESCE(SUM(source_bytes), 0), COALESCE(SUM(output_bytes), 0)
		FROM videos WHERE project = $1`
	sqlStoredUntil = `
		SELECT COALESCE(SUM(stored_ms), 0) FROM videos WHERE project = $1 AND inspected > 0 AND inspected <= $2`
	// The conditions repeat those of the partial indexes videos_ended and videos_sources word for word, which
	// have all that is read. $3 and $4 are the place after which the list begins.
	sqlEnded = `
		SELECT ended, id FROM videos WHERE ended > 0 AND held = 0 AND project = $1 AND ended <= $2
			AND (ended, id) > ($3, $4)
		ORDER BY ended, id LIMIT $5`
	sqlEndedSources = `
		SELECT ended, id FROM videos WHERE ended > 0 AND held = 0 AND source_bytes > 0 AND project = $1
			AND ended <= $2 AND (ended, id) > ($3, $4)
		ORDER BY ended, id LIMIT $5`
	sqlEndedSum = `
		SELECT COUNT(*), COALESCE(SUM(source_bytes + output_bytes), 0) FROM videos
		WHERE ended > 0 AND held = 0 AND project = $1 AND ended <= $2`
	sqlEndedSourcesSum = `
		SELECT COUNT(*), COALESCE(SUM(source_bytes), 0) FROM videos
		WHERE ended > 0 AND held = 0 AND source_bytes > 0 AND project = $1 AND ended > $2 AND ended <= $3`
	// The list of metrics repeats that of the partial index samples_usage word for word. What a quota refused
	// before it was encoded does not count as encoded.
	sqlUsage = `
		SELECT s.metric, COUNT(*), COALESCE(SUM(s.value), 0) FROM samples s
		WHERE s.metric IN ('uploaded', 'fetched', 'encoded') AND s.project = $1 AND s.at_us >= $2 AND s.at_us < $3
			AND s.sequence <= $4 AND (s.metric <> 'encoded' OR NOT EXISTS (SELECT 1 FROM samples r
				WHERE r.video = s.video AND r.metric = 'failed' AND r.label = 'quota_exceeded'))
		GROUP BY s.metric`
)

var (
	writerStatements = []string{
		sqlSequence, sqlMoveOn, sqlVideoRow, sqlPutVideo, sqlJobRow, sqlJobsInState, sqlPutJob, sqlPutOutput,
		sqlDropOutputs, sqlPutEvent, sqlPutDeletion, sqlOldDeletions,
		sqlDropDeletions, sqlPutSample, sqlDropSamples, sqlDropVideo, sqlDropVideoJobs,
		sqlDropVideoOutputs, sqlDropVideoEvents, sqlPutMetadata, sqlDropMetadata, sqlPutText, sqlPutGrams,
		sqlDropGrams, sqlDropVideoGrams, sqlDropText, sqlPutAccessEvent, sqlProjectRow, sqlPutProject, sqlKeyRow,
		sqlPutKey, sqlKeysLeft, sqlJobOutputs, sqlSigningKeyRow, sqlPutSigningKey, sqlSigningKeysLeft,
	}
	readerStatements = []string{
		sqlSequence, sqlPoisoned, sqlAppliedAt, sqlVideo, sqlJobs, sqlOutputs, sqlEvents,
		sqlOutputsAt, sqlAnyVideo, sqlAnyOutputs, sqlUnfinished, sqlBacklog, sqlLate, sqlPaces, sqlSamples,
		sqlAllSamples, sqlStored, sqlStoredUntil, sqlUsage, sqlPlayback, sqlEnded, sqlEndedSources, sqlEndedSum,
		sqlEndedSourcesSum,
	}
)
