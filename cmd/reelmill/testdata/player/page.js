'use strict';

// play(scene) plays a manifest from its beginning, and reports what happened. play_test.go judges it.

const pause = ms => new Promise(done => setTimeout(done, ms));
const ahead = 3; // seconds to buffer: less than a clip, so that a switch comes before the end is loaded

// players open a manifest at the largest rung. They return a function that forces a rung by its height: at once,
// which empties the buffer, or smoothly, from the next segment on, as after a change of the network.
const players = {
  async hls(video, scene, report) {
    const hls = new Hls({
      maxBufferLength: ahead, maxMaxBufferLength: ahead,
      highBufferWatchdogPeriod: 15, // s; on a busy machine, a picture may be late without a fault
    });
    hls.on(Hls.Events.ERROR, (_, e) => fault(report, e.details, e.fatal, e.reason || e.error?.message));
    hls.on(Hls.Events.LEVEL_LOADED, (_, { details: d }) => {
      report.playlists.push({ type: d.type, ended: !d.live, edge: d.edge });
    });
    const parsed = new Promise(done => hls.on(Hls.Events.MANIFEST_PARSED, () => {
      report.rungs = hls.levels.map(l => l.height);
      hls.loadLevel = report.rungs.indexOf(Math.max(...report.rungs));
      done();
    }));
    hls.attachMedia(video);
    hls.loadSource(scene.url);
    await Promise.race([parsed, pause(scene.seconds * 1000)]);
    return (height, smooth) => {
      const level = report.rungs.indexOf(height);
      if (smooth) hls.loadLevel = level; else hls.currentLevel = level;
    };
  },

  async dash(video, scene, report) {
    const player = new shaka.Player();
    const told = (e, fatal) => fault(report, `shaka ${e.code}`, fatal, JSON.stringify(e.data));
    const critical = shaka.util.Error.Severity.CRITICAL;
    player.addEventListener('error', ({ detail: e }) => told(e, e.severity === critical));
    player.addEventListener('gapjumped', () => report.jumps++);
    player.configure({ abr: { enabled: false }, streaming: { bufferingGoal: ahead } });
    await player.attach(video);
    await player.load(scene.url).catch(e => told(e, true));
    report.rungs = player.getVariantTracks().map(t => t.height);
    const force = (height, smooth) => {
      const track = player.getVariantTracks().find(t => t.height === height);
      if (track) player.selectVariantTrack(track, !smooth);
    };
    force(Math.max(...report.rungs), false);
    return force;
  },

  // dash.js chooses its rungs by itself.
  async dashjs(video, scene, report) {
    const player = dashjs.MediaPlayer().create();
    player.updateSettings({ streaming: { buffer: { bufferTimeDefault: ahead, bufferTimeAtTopQuality: ahead } } });
    const { ERROR, STREAM_INITIALIZED } = dashjs.MediaPlayer.events;
    player.on(ERROR, ({ error }) => fault(report, `dash.js ${error.code}`, true, error.message));
    const ready = new Promise(done => player.on(STREAM_INITIALIZED, done));
    player.initialize(video, scene.url, false);
    await Promise.race([ready, pause(scene.seconds * 1000)]);
    return () => {};
  },
};

// failed waits until nothing more can be played.
async function failed(report) {
  while (!report.fatal) await pause(100);
}

// note notes the status of each answer that refuses something.
function note(report) {
  new PerformanceObserver(seen => seen.getEntries().forEach(({ responseStatus: status }) => {
    if (status >= 400) report.refused.push(status);
  })).observe({ type: 'resource' });
}

function fault(report, what, fatal, why) {
  report.faults.push(`${fatal ? 'fatal ' : ''}${what}${why ? ': ' + why : ''}`);
  report.fatal ||= Boolean(fatal);
  if (/Nudge|Hole/.test(what)) report.jumps++; // hls.js jumped over a gap
}

function ranges(video) {
  const b = video.buffered;
  return Array.from({ length: b.length }, (_, i) => [b.start(i), b.end(i)]);
}

// watch reports what is visible from outside the player.
function watch(video, report) {
  video.addEventListener('playing', () => report.start ??= video.currentTime);
  video.addEventListener('waiting', () => report.waits++);
  video.addEventListener('resize', () => {
    const last = report.sizes.at(-1);
    if (!last || last.height !== video.videoHeight) {
      report.sizes.push({ at: video.currentTime, width: video.videoWidth, height: video.videoHeight });
    }
  });
  video.addEventListener('error', () => {
    fault(report, `media ${video.error.code}`, true, video.error.message);
  });
}

// colour returns the shown colour of the left edge of the picture: for each channel the median of some points, so
// that motion over a few of them does not matter.
function colour(video) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 9 });
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0, video.videoWidth / 16, video.videoHeight, 0, 0, 1, 9);
  const points = context.getImageData(0, 0, 1, 9).data;
  return [0, 1, 2].map(channel => points.filter((_, i) => i % 4 === channel).sort()[4]);
}

// follow watches the video until it ends, and forces the rungs at their times. When one is forced at once, the
// player empties a part of the buffer; at any other time, a hole in the buffer is a gap.
async function follow(video, scene, report, force) {
  const switches = [...scene.switches || []];
  let emptied = 0; // the height that the buffer was emptied for
  let last = { time: video.currentTime, clock: performance.now() };
  const limit = last.clock + scene.seconds * 1000;
  while (!video.ended && !report.fatal && !(scene.ends && report.refused.length) && performance.now() < limit) {
    await pause(50);
    const now = { time: video.currentTime, clock: performance.now() };
    const ran = (now.clock - last.clock) / 1000 * video.playbackRate;
    report.leap = Math.max(report.leap, now.time - last.time - ran);
    last = now;
    if (emptied === video.videoHeight && video.readyState >= 3) emptied = 0;
    if (!emptied) ranges(video).forEach(([from], i, all) => {
      if (i > 0) report.gap = Math.max(report.gap, from - all[i - 1][1]);
    });
    const size = report.sizes.at(-1);
    if (emptied || !size || video.readyState < 2) continue;
    size.colour = colour(video);
    if (switches.length && now.time >= switches[0].at) {
      const { height, smooth } = switches.shift();
      force(height, smooth);
      if (!smooth) emptied = height;
    }
  }
}

// outlive pauses a video that has begun until its token has ended, and plays on. It notes whether the video has begun
// before: else the token was too short for this machine.
async function outlive(video, scene, report) {
  const limit = performance.now() + scene.seconds * 1000;
  while (!(video.currentTime > 0.1) && !report.fatal && performance.now() < limit) await pause(20);
  report.began = video.currentTime > 0.1 && Date.now() < scene.ends;
  if (!report.began) return;
  video.pause();
  while (Date.now() < scene.resumes) await pause(100);
  video.play().catch(() => {});
}

async function play(scene) {
  const video = document.querySelector('video');
  const report = {
    start: null, rungs: [], sizes: [], playlists: [], faults: [], fatal: false, refused: [], began: true,
    waits: 0, jumps: 0, gap: 0, leap: 0,
  };
  note(report);
  watch(video, report);
  const force = await Promise.race([players[scene.player](video, scene, report), failed(report)]);
  video.playbackRate = video.defaultPlaybackRate = scene.rate;
  if (!report.fatal) await Promise.race([video.play(), pause(scene.seconds * 1000)]);
  if (scene.ends) await outlive(video, scene, report);
  if (report.began) await follow(video, scene, report, force);
  return Object.assign(report, {
    ended: video.ended, time: video.currentTime, duration: video.duration, buffered: ranges(video),
    frames: video.getVideoPlaybackQuality().totalVideoFrames, sound: video.webkitAudioDecodedByteCount,
  });
}
