package main

// mutation removes a safeguard from the code: it replaces old, which must occur exactly once in file, with
// new.
type mutation struct {
	name     string
	file     string
	old, new string
	in       suite // the tests that must notice
}

// suite names tests of a package: all, or those that match run, as for `go test -run`.
type suite struct{ pkg, run string }

// mutations remove the safeguards behind the promises of RELIABILITY.md, and those that prevent the
// publication of wrong results. The tests that must notice are quick.
var mutations = []mutation{
	{
		"token: every swap of a job wins", "workers/outcome.go",
		"	if e.Sequence, err = a.loop.Log.Append(ctx, e, a.last.Sequence); err != nil {\n",
		"	if now, lastErr := a.loop.last(ctx, a.task); lastErr == nil {\n\t\ta.last = now.Last\n\t}\n" +
			"	if e.Sequence, err = a.loop.Log.Append(ctx, e, a.last.Sequence); err != nil {\n",
		suite{"./workers", ""},
	},
	{
		"token: a running attempt never notices that it is lost", "workers/watch.go",
		"	case job.Last.Sequence != a.data.Token:\n", "	case job.Last.Sequence != a.data.Token && false:\n",
		suite{"./workers", ""},
	},
	{
		"cause: a stale duplicate may begin", "workers/rule.go",
		"		if last.Data.Owner != me {\n", "		if last.Data.Owner != me && false {\n",
		suite{"./workers", ""},
	},
	{
		"gate: outputs are not checked", "workers/gate.go",
		"		if !ok || size != o.Size || size == 0 || o.Key != prefix+o.Path {\n",
		"		if false && (!ok || size != o.Size || size == 0 || o.Key != prefix+o.Path) {\n",
		suite{"./workers", ""},
	},
	{
		"sweeper: a lost task is not enqueued", "pipeline/sweep.go",
		"		if !queued {\n", "		if !queued && false {\n",
		suite{"./pipeline", ""},
	},
	{
		"sweeper: a missed event is not acted on", "pipeline/sweep.go",
		"	err = c.react(ctx, v)\n", "	err = ctx.Err()\n",
		suite{"./pipeline", ""},
	},
	{
		"sweeper: what waits for the coordinator counts as repaired", "pipeline/sweep.go",
		".Sequence <= settled\n", ".Sequence <= settled || true\n",
		suite{"./pipeline", "TestSweeper"},
	},
	{
		"additions: one makes the manifests before an earlier one", "pipeline/addition.go",
		"|| slices.ContainsFunc(v.Additions, earlier)\n", "|| false && slices.ContainsFunc(v.Additions, earlier)\n",
		suite{"./pipeline", "TestAdditions"},
	},
	{
		"additions: what a failed one stored stays", "pipeline/additionflow.go",
		"f.State == StateJobCompleted {\n", "f.State == StateJobCompleted && false {\n",
		suite{"./pipeline", "TestFailedAddition"},
	},
	{
		"additions: a rung that exists is made again", "pipeline/additionplan.go",
		"len(taken) > 0 {\n", "len(taken) > 0 && false {\n",
		suite{"./pipeline", "TestExtendRefuses"},
	},
	{
		"tokens: one outlives the key that made it", "pipeline/access/token.go",
		"(!ok || !k.Active(now)) {", "(!ok || !k.Active(now) && false) {",
		suite{"./pipeline/access", "TestTokens"},
	},
	{
		"tokens: one without our seal counts", "pipeline/access/token.go",
		"!hmac.Equal([]byte(seal), []byte(m.sealOf(t.Kind, body)))", "hmac.Equal([]byte(seal), nil)",
		suite{"./pipeline/access", "TestForgedTokens"},
	},
	{
		"tokens: one makes many uploads", "pipeline/api/tokens.go",
		"return \"upload token \" + t.Seal().Reveal()", "return header",
		suite{"./pipeline/api", "TestUploadToken"},
	},
	{
		"tokens: one for a video reads others", "pipeline/api/tokens.go",
		"case t.Kind == access.ReadToken && !reads(pattern, r.URL.Path, t.Video):",
		"case t.Kind == access.ReadToken && !reads(pattern, r.URL.Path, t.Video) && false:",
		suite{"./pipeline/api", "TestMatrixOfTokens"},
	},
	{
		"issuer: strangers make us fetch its keys in a loop", "pipeline/access/oidc/keys.go",
		"if !sleep(ctx, timer, k.gap, nil) || ", "if ",
		suite{"./pipeline/access/oidc", "TestStrangersCannotMakeUsFetch"},
	},
	{
		"issuer: a token counts that has expired", "pipeline/access/oidc/oidc.go",
		"case now >= *c.Expires+skew.Seconds():", "case now >= *c.Expires+skew.Seconds() && false:",
		suite{"./pipeline/access/oidc", "TestHostileTokens|TestSkew"},
	},
	{
		"issuer: a token of a project that does not exist counts", "pipeline/access/oidc/oidc.go",
		"	if !known {\n", "	if !known && false {\n",
		suite{"./pipeline/access/oidc", "TestClaims"},
	},
	{
		"edge: one client may have all connections", "pipeline/api/connections.go",
		"newGate(whole*connections, Share(connections))", "newGate(whole*connections, whole*connections)",
		suite{"./pipeline/api", "TestClientsOfConnections"},
	},
	{
		"read model: two projectors at once both win", "storage/catalog/apply.go",
		"	if n != 1 {\n", "	if n != 1 && false {\n",
		suite{"./storage/catalog", ""},
	},
	{
		"read model: a deletion is forgotten with its video", "storage/catalog/apply.go",
		"		return b.putDeletion(ctx, e, project, video, doc)\n	case !v.known",
		"		return nil\n	case !v.known",
		suite{"./storage/catalog", "TestHistory"},
	},
	{
		"events: the position of a page counts events of the next one", "pipeline/api/history.go",
		"		position = events[in.Limit-1].Sequence\n", "",
		suite{"./pipeline/api", "TestListAllEvents"},
	},
	{
		"read model: an event counts each time it comes", "storage/catalog/apply.go",
		"		case e.Sequence <= stored:\n", "		case e.Sequence <= stored && false:\n",
		suite{"./storage/catalog", ""},
	},
	{
		"attempts: the same failure of an output is tried again", "workers/outcome.go",
		"	if same != \"\" && same == a.data.Failure {\n",
		"	if same != \"\" && same == a.data.Failure && false {\n",
		suite{"./workers", ""},
	},
	{
		"attempts: any repeated failure is the last", "workers/rule.go",
		"	if !errors.As(cause, &own) || p.Code != pipeline.CodeVerification && ",
		"	if errors.As(cause, &own) && false && ",
		suite{"./workers", ""},
	},
	{
		"disks: a source that differs from its upload is used", "workers/intact.go",
		"	if got := hex.EncodeToString(sum.Sum(nil)); o.SHA256 != \"\" && got != o.SHA256 {\n",
		"	if got := hex.EncodeToString(sum.Sum(nil)); o.SHA256 == \"\" && got != o.SHA256 {\n",
		suite{"./workers", ""},
	},
	{
		"attempts: a hopeless failure is tried again", "workers/rule.go",
		"	case !problem.Retryable, failed > len(delays):\n",
		"	case failed > len(delays):\n",
		suite{"./workers", ""},
	},
	{
		"log: uploads fill it up", "pipeline/bus/log_room.go",
		"		return r.Uploads\n",
		"		return r.Max\n",
		suite{"./pipeline/bus", "TestFullLog"},
	},
	{
		"log: no room is kept for deletions", "pipeline/bus/log_room.go",
		"	return r.Work\n",
		"	return r.Max\n",
		suite{"./pipeline/bus", "TestFullLog"},
	},
	{
		"log: lost events count as deleted", "pipeline/bus/log_extent.go",
		"	e.Lost, e.Untold = gone.Without(a.told), a.untold\n",
		"	e.Lost, e.Untold = nil, a.untold\n",
		suite{"./pipeline/bus", "TestLostEvents"},
	},
	{
		"log: deleted events count as lost", "pipeline/bus/log_extent.go",
		"	e.Lost, e.Untold = gone.Without(a.told), a.untold\n",
		"	e.Lost, e.Untold = gone, a.untold\n",
		suite{"./pipeline/bus", "TestDeletedVideos"},
	},
	{
		"streams: one that contradicts is used", "pipeline/bus/streams.go",
		"	return live, refuse(\"stream \"+want.Name, differences(want, live))\n",
		"	return live, nil\n",
		suite{"./pipeline/bus", "TestOpen"},
	},
	{
		"streams: opening changes them", "pipeline/bus/streams.go",
		"	live := stream.CachedInfo().Config\n",
		"	live := stream.CachedInfo().Config\n	if want.Replicas == 0 {\n		want.Replicas = live.Replicas\n	}\n" +
			"	if _, err := b.js.UpdateStream(ctx, want); err != nil {\n		return live, err\n	}\n",
		suite{"./pipeline/bus", "TestOpen|TestChange"},
	},
	{
		"streams: one is changed before all are checked", "pipeline/bus/streams_change.go",
		"	if err := Check(all...); err != nil {\n		return fmt.Errorf(\"nothing was changed: %w\", err)\n	}\n",
		"",
		suite{"./pipeline/bus", "TestChange"},
	},
	{
		"log: a size without any room is accepted", "cmd/reelmill/serve.go",
		"	if f.EventsMax != 0 && f.EventsMax < minEventsMax {\n",
		"	if f.EventsMax != 0 && f.EventsMax < minEventsMax && false {\n",
		suite{"./cmd/reelmill", "TestEventsMaxHasAMinimum"},
	},
	{
		"inspection: encrypted tracks are accepted", "workers/inspect/encrypted.go",
		"	if what == \"\" {\n",
		"	if what != \".\" {\n",
		suite{"./workers/inspect", "TestEncrypted"},
	},
	{
		"inspection: a cover may be the film", "workers/inspect/tracks.go",
		"		if videos = m.moving(videos); len(videos) > 1 {\n",
		"		if _ = m.moving(videos); false {\n",
		suite{"./workers/inspect", "TestStill"},
	},
	{
		"inspection: of many tracks the first may be the film", "workers/inspect/tracks.go",
		"			!s.Disposition.Default,\n",
		"",
		suite{"./workers/inspect", "TestOfMany"},
	},
	{
		"inspection: audio after the picture does not count", "workers/inspect/ends.go",
		"	m.media.Duration = m.media.Length()\n",
		"",
		suite{"./workers/inspect", "TestLengthIs"},
	},
	{
		"inspection: what a killed program did not find counts as absent", "workers/inspect/measure.go",
		"		return s, runFault(err)\n",
		"		return s, nil\n",
		suite{"./workers/inspect", "TestKillIsNoFact"},
	},
	{
		"memory: a lack of it counts as a damaged file", "workers/internal/encode/fault.go",
		"	case e.NoMemory():\n", "	case e.NoMemory() && false:\n",
		suite{"./workers/internal/encode", ""},
	},
	{
		"memory: the attempt after a lack of it does not run alone", "workers/rule.go",
		"	return crashed(p) || p != nil && p.Code == pipeline.CodeOutOfMemory\n", "	return crashed(p)\n",
		suite{"./workers", "TestOutOfMemoryRunsAlone"},
	},
	{
		"disks: a read error counts as a fact about the file", "workers/internal/encode/fault.go",
		"	case errors.As(err, &disk) && disk != syscall.EINVAL && disk != syscall.EOVERFLOW:\n",
		"	case errors.As(err, &disk) && false:\n",
		suite{"./workers/inspect", "TestFaultOfReading"},
	},
	{
		"disks: audio is encoded because of a read error", "workers/audio/copy.go",
		"	if fault := encode.DiskFault(ctx, err); fault != nil {\n",
		"	if fault := encode.DiskFault(ctx, err); fault != nil && false {\n",
		suite{"./workers/audio", "TestFaultOfTheDisk"},
	},
	{
		"disks: a picture is encoded because of a read error", "workers/transcode/copy.go",
		"	if fault := encode.DiskFault(ctx, err); fault != nil {\n",
		"	if fault := encode.DiskFault(ctx, err); fault != nil && false {\n",
		suite{"./workers/transcode", "TestFaultOfTheDisk"},
	},
	{
		"disks: exit 0 of ffmpeg counts as a written output", "workers/internal/ffmpeg/errors.go",
		"program == \"ffmpeg\" && unwritten(e.Tail, hiddenOutput) {\n",
		"program == \"ffmpeg\" && unwritten(e.Tail, hiddenOutput) && false {\n",
		suite{"./workers/internal/ffmpeg", "TestRunFaultOfADisk|TestRunJudges"},
	},
	{
		"unfinished objects: S3 reclaims those that are alive", "storage/s3/list.go",
		"		if live {\n", "		if live && false {\n",
		suite{"./storage/s3", "TestReclaimSparesUnfinished"},
	},
	{
		"unfinished objects: two processes at once both win on S3", "storage/s3/partial.go",
		"		opts.SetMatchETag(etag)\n", "",
		suite{"./storage/s3", "TestSecondProcessTakesOver"},
	},
	{
		"picture: a change of size loses a frame", "workers/internal/picture/source.go",
		"option(\"reinit_filter:\"+itoa(m.Video.Stream), \"0\")",
		"option(\"reinit_filter:\"+itoa(m.Video.Stream), \"1\")",
		suite{"./workers/transcode", "TestGridOfChangingForm"},
	},
	{
		"fold: a failed optional job stops the jobs that can do without it", "pipeline/video.go",
		"		return s.Terminal() && s != StateJobCompleted && !slices.Contains(j.Tolerates, name)\n",
		"		return s.Terminal() && s != StateJobCompleted\n",
		suite{"./pipeline", "TestOptionalMakerErrored"},
	},
	{
		"packager: missing renditions are ignored", "workers/packager/packager.go",
		"	texts, err := manifest.Package(made, r.job.Task.Job.Expects)\n",
		"	texts, err := manifest.Package(made, nil)\n",
		suite{"./workers/packager", ""},
	},
	{
		"audio: pieces out of order are placed by their own times", "workers/internal/audiotrack/timeline.go",
		"	if back {\n",
		"	if back && false {\n",
		suite{"./workers/internal/audiotrack", "TestTimeline"},
	},
	{
		"audio: peaks are not limited", "workers/internal/audiotrack/limit.go",
		"	l.gain = min(l.allowed(n), l.gain+l.step)\n",
		"	_ = l.allowed(n)\n",
		suite{"./workers/internal/audiotrack", "TestNoTruePeak|TestAboveFullScale"},
	},
	{
		"audio: a part is limited as if nothing came before", "workers/internal/audiotrack/timeline.go",
		"	l.start = max(0, t.First-int64(l.limit.memory()))\n",
		"	l.start = t.First\n",
		suite{"./workers/internal/audiotrack", "TestPartsAreLimited"},
	},
	{
		"webhooks: users' addresses may be private", "workers/webhook/webhook.go",
		"guarded: client(!c.AllowPrivate, c.Timeout)",
		"guarded: client(false, c.Timeout)",
		suite{"./workers/webhook", "TestGuard"},
	},
	{
		"outbound: the address is not checked when it is dialled", "workers/internal/outbound/client.go",
		" || !d.public(at.Addr()) {",
		" || !at.IsValid() {",
		suite{"./workers/internal/outbound", "TestNameWithSeveralAddresses"},
	},
	{
		"outbound: a redirect leads anywhere", "workers/internal/outbound/client.go",
		"	err := g.CheckURL(next.URL.String())\n",
		"	err := error(nil)\n",
		suite{"./workers/internal/outbound", "TestRedirectIsChecked"},
	},
	{
		"outbound: a redirect tells where it came from", "workers/internal/outbound/client.go",
		"	next.Header.Del(\"Referer\") // the URL before may hold a token\n",
		"",
		suite{"./workers/internal/outbound", "TestRedirects"},
	},
	{
		"uploads: the last byte is answered before the video exists", "pipeline/api/tusstore.go",
		"	u.d, err = u.c.s.finishUpload(ctx, u.d)\n", "	err = ctx.Err()\n",
		suite{"./pipeline/api", "TestUploadInPieces"},
	},
	{
		"uploads: nobody does what a crash has left undone", "pipeline/api/uploadfinish.go",
		"d.Size == 0 || offset != d.Size ||", "d.Size == 0 || offset >= 0 ||",
		suite{"./pipeline/api", "TestLostFinish"},
	},
	{
		"uploads: the URL of a part takes any length", "storage/s3/multipart.go",
		"http.Header{\"Content-Length\": {strconv.FormatInt(size, 10)}})", "nil)",
		suite{"./storage/s3", "TestMultipartURL"},
	},
	{
		"uploads: a note that could not be synced counts", "storage/disk/note.go",
		"_, failed := f.WriteAt(make([]byte, slotSize), a.slot*slotSize)", "var failed error",
		suite{"./storage/disk", "TestFailingSync"},
	},
	{
		"uploads: the sweep does not make videos", "pipeline/api/uploadsweep.go",
		"	repaired, err := s.repair(ctx, d, offset)\n", "	_, repaired, err := offset, d, ctx.Err()\n",
		suite{"./pipeline/api", "TestLostFinish"},
	},
	{
		"uploads: a repeated end deletes the source", "pipeline/api/intake.go",
		"		in.release(e)\n", "",
		suite{"./pipeline/api", "TestAcceptedTwice"},
	},
	{
		"uploads: any token fits", "pipeline/api/uploaddoc.go",
		"[]byte(d.TokenHash)) == 1", "[]byte(d.TokenHash)) >= 0",
		suite{"./pipeline/api", "TestTokens"},
	},
	{
		"uploads: a clock that is set forward expires them", "pipeline/api/uploadsweep.go",
		"	now = now.Add(-s.cfg.Jumped())\n", "",
		suite{"./pipeline/api", "TestExpiry"},
	},
	{
		"retention: a hold is passed over", "pipeline/retention.go",
		"v.Finished.Sequence == 0 || v.Held() || v.busy()", "v.Finished.Sequence == 0 || v.busy()",
		suite{"./pipeline", "TestHeldVideosStay"},
	},
	{
		"retention: a hold at the same moment loses", "pipeline/hold.go",
		"	e.Fence = fence\n", "",
		suite{"./pipeline", "TestHoldAgainstRetention"},
	},
	{
		"retention: the age does not count", "pipeline/retention.go",
		"r.VideoDays > 0 && age >= time.Duration(r.VideoDays)*day:", "r.VideoDays > 0:",
		suite{"./pipeline", "TestRetentionByAge"},
	},
	{
		"retention: a clock that is set forward counts", "pipeline/expire.go",
		"		now = now.Add(-x.Jumped())\n", "",
		suite{"./pipeline", "TestRetentionDoubtsTheClock"},
	},
	{
		"fetch: a file that changed is continued", "workers/fetch/answer.go",
		"	if !ok || !same || first",
		"	if !ok || first",
		suite{"./workers/fetch", "TestFileChanges"},
	},
	{
		"names: bidi controls stay", "pipeline/filename.go",
		"unicode.Bidi_Control, ",
		"",
		suite{"./pipeline/api", "TestFileNames"},
	},
	{
		"sandbox: files are not restricted", "workers/internal/sandbox/confine/steps_linux.go",
		"	if o.Ruleset != Unset {\n\t\tw.do(",
		"	if false {\n\t\tw.do(",
		suite{"./workers/internal/sandbox", "TestEscapes"},
	},
	{
		"sandbox: system calls are not filtered", "workers/internal/sandbox/confine/steps_linux.go",
		"	w.filter(o)\n",
		"",
		suite{"./workers/internal/sandbox", "TestEscapes"},
	},
	{
		"sandbox: capabilities stay", "workers/internal/sandbox/confine/steps_linux.go",
		"	w.capabilities(o.Capabilities)\n",
		"",
		suite{"./workers/internal/sandbox/confine", ""},
	},
	{
		"sandbox: descriptors stay open", "workers/internal/sandbox/confine/steps_linux.go",
		"	w.descriptors(o)\n",
		"",
		suite{"./workers/internal/sandbox/confine", ""},
	},
	{
		"sandbox: a step that fails is passed over", "workers/internal/sandbox/confine/program_linux.go",
		"	h := header{",
		"	for i := range w.calls {\n\t\tw.calls[i].Least, w.calls[i].Most = -4095, 1<<31\n\t}\n	h := header{",
		suite{"./workers/internal/sandbox/confine", ""},
	},
}
