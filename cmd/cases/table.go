package main

import "github.com/reelmill/reelmill/pipeline"

// The aspects of most inputs.
const (
	wide     = 16.0 / 9
	standard = 4.0 / 3
)

// cases lists all cases in the order of a run. Their ids never change, since reports use them.
func cases() []testCase {
	var all []testCase
	for _, part := range [][]testCase{
		soundCases(), trackCases(), timeCases(), endCases(), pictureCases(), operatorCases(), hostileCases(),
	} {
		all = append(all, part...)
	}
	return all
}

// soundCases are the cases whose point is the audio.
func soundCases() []testCase {
	return []testCase{
		{
			id: "r01", file: "r01.mov", what: "a phone's second audio track has a codec without a name",
			right: "one audio track of 440 Hz, rms > 0.02, 4 s",
			want:  want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: one440,
		}, {
			id: "r10", file: "r10.mkv", what: "7.1 FLAC with audio only in the back left channel",
			right: "the playlist has the number of decoded channels; audio on the left only",
			want:  want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: leftOnly,
		}, {
			id: "r29c", file: "r29c.ts", what: "AC-3 that changes from 2.0 to 5.1 midway",
			right: "ready, 8 s, 440 Hz and then 880 Hz",
			want:  want{length: 8, aspect: wide, sounds: 1, heard: 8}, check: pitches(440, 880),
		}, {
			id: "m_rates", file: "m_rates.ts", what: "MP2 that changes from mono at 48 kHz to stereo at 44.1 kHz " +
				"midway",
			right: "ready, 6 s, 440 Hz and then 880 Hz",
			want:  want{length: 6, aspect: wide, sounds: 1, heard: 6}, check: pitches(440, 880),
		}, {
			id: "r48", file: "r48.mp4", what: "stereo with audio on one channel",
			right: "left > 0.05, right < 0.005",
			want:  want{length: 3, aspect: wide, sounds: 1, heard: 3}, check: leftOnly,
		}, {
			id: "m_mono", file: "m_mono.mov", what: "mono that must be encoded",
			right: "the RMS of each channel within 0.3 dB of the source",
			want:  want{length: 10, aspect: wide, sounds: 1, heard: 10}, check: sameLevel,
		}, {
			id: "m_loud51", file: "m_loud51.mov", what: "5.1 at full level",
			right: "no sample above -1 dBFS, all channels audible",
			want:  want{length: 6, aspect: wide, sounds: 1, heard: 6}, check: limited,
		}, {
			id: "m_each51", file: "m_each51.mov", what: "5.1 with a different pitch on each channel but the LFE",
			right: "FL and SL on the left, FR and SR on the right, FC on both; FL and FR unchanged, the others " +
				"3 dB lower",
			want: want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: eachChannel,
		},
	}
}

// trackCases are the cases whose point is the tracks.
func trackCases() []testCase {
	return []testCase{
		{
			id: "r12", file: "r12.mp4", what: "a drone's data track of an unknown kind",
			right: "one audio track, 3 s",
			want:  want{length: 3, aspect: wide, sounds: 1, heard: 3}, check: one440,
		}, {
			id: "r15", file: "r15.mkv", what: "a cover is the first and default track of a Matroska file",
			right: "4 s of 16:9, not the red cover; audio",
			want:  want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: notTheCover,
		}, {
			id: "r15b", file: "r15b.mp4", what: "a cover is the first track of an MP4",
			right: "4 s of 16:9, not the red cover; audio",
			want:  want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: notTheCover,
		}, {
			id: "m_cover_png", file: "m_cover_png.mov", what: "a PNG is the first track of a QuickTime file",
			right: "4 s of 16:9, not the red cover; audio",
			want:  want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: notTheCover,
		}, {
			id: "m_cover_last", file: "m_cover_last.mkv", what: "a cover is the second video track, and the " +
				"default one",
			right: "4 s of 16:9, not the red cover; audio",
			want:  want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: notTheCover,
		}, {
			id: "m_cenc", file: "m_cenc.mp4", what: "encrypted tracks (CENC)",
			right: "rejected, input_encrypted, in one attempt",
			want:  want{rejected: []pipeline.Code{"input_encrypted"}},
		}, {
			id: "m_scrambled_sound", file: "m_scrambled_sound.ts", what: "a transport stream whose audio alone " +
				"is scrambled",
			right: "rejected, input_encrypted, in one attempt",
			want:  want{rejected: []pipeline.Code{"input_encrypted"}},
		}, {
			id: "m_still_film", file: "m_still_film.mp4", what: "a cover in H.264, before the film and as long",
			right: "4 s of 16:9, not the red cover; audio",
			want:  want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: notTheCover,
		}, {
			id: "m_closed", file: "m_closed.mkv", what: "a cover and two sounds in codecs that are not decoded",
			right: "4 s of 16:9, not the red cover; only the AAC audio",
			want:  want{length: 4, aspect: wide, sounds: 1, heard: 4}, check: notTheCover,
		}, {
			id: "m_avif", file: "m_avif.avif", what: "an AVIF image",
			right: "rejected, input_not_video or input_unsupported_container",
			want: want{rejected: []pipeline.Code{
				pipeline.CodeNotVideo, "input_unsupported_container",
			}},
		}, {
			id: "r37", file: "r37.gif", what: "an animated GIF",
			right: "rejected, input_not_video or input_unsupported_container",
			want: want{rejected: []pipeline.Code{
				pipeline.CodeNotVideo, "input_unsupported_container",
			}},
		}, {
			id: "r38", file: "r38.mpg", what: "a program stream with audio only",
			right: "rejected, input_no_video_stream",
			want:  want{rejected: []pipeline.Code{pipeline.CodeNoVideoStream}},
		}, {
			id: "r39", file: "r39.mp3", what: "an MP3 with a cover",
			right: "rejected, input_no_video_stream",
			want:  want{rejected: []pipeline.Code{pipeline.CodeNoVideoStream}},
		}, {
			id: "r41b", file: "r41b.mkv", what: "subtitles that last longer than the film",
			right: "8 s", want: want{length: 8, aspect: wide, sounds: 1, heard: 8}, check: one440,
		}, {
			id: "r49b", file: "r49b.mp4", what: "an audio track without samples, length and edit list",
			right: "ready (without audio, or with silence), 3 s", want: want{length: 3, aspect: wide, sounds: -1},
		}, {
			id: "m_subs", file: "m_subs.mkv", what: "Matroska with subtitles, 29.97 frames/s",
			right: "ready, 29.97, a warning that names the unused track",
			want:  want{length: 8, aspect: wide, sounds: 1, heard: 8}, check: subtitlesNamed,
		},
	}
}

// timeCases are the cases whose point is the times of frames.
func timeCases() []testCase {
	return []testCase{
		{
			id: "r03", file: "r03.mp4", what: "30 frames/s on average, every tenth 1/120 s behind the one before",
			right: "6 s; 175 to 365 frames, FRAME-RATE at most 60.5",
			want:  want{length: 6, aspect: wide}, check: notTooManyFrames,
		}, {
			id: "r04", file: "r04.mp4", what: "60.02 frames/s",
			right: "top rung 120 frames ±1, FRAME-RATE 60.02 ±0.1; lower rungs that or half of it",
			want:  want{length: 2, aspect: wide, frames: []int{120}}, check: ratesOrHalf(60.02),
		}, {
			id: "r05", file: "r05.webm", what: "a WebM screen cast of odd size without frame rate or duration",
			right: "5.87 s ±0.3, aspect 823:521", want: want{length: 5.87, slack: 0.3, aspect: 823.0 / 521},
		}, {
			id: "r07", file: "r07.ts", what: "one single frame",
			right: "ready with 1 frame", want: want{aspect: wide}, check: oneFrame,
		}, {
			id: "r08", file: "r08.mp4", what: "a clip of 0.42 s",
			right: "0.42 s ±0.06, target >= 1, poster",
			want:  want{length: 0.42, slack: 0.06, aspect: wide, sounds: 1},
		}, {
			id: "r11", file: "r11.mp4", what: "keyframes at 0, 4.88 and 9.08 s",
			right: "rounded EXTINF <= target; each segment begins with a keyframe, at most 10.5 s",
			want:  want{length: 12, aspect: wide, sounds: 1, heard: 12}, check: keyframesFirst,
		}, {
			id: "r16", file: "r16.mov", what: "audio that begins at 4 s",
			right: "A/V within 45 ms, beep at 6.00 ±0.06; no empty edit in init sections",
			want:  want{length: 8, aspect: wide, sounds: 1, heard: 8}, check: inSync(6),
		}, {
			id: "r20", file: "r20.mp4", what: "a frame every 5 s",
			right: "20 s, audio", want: want{length: 20, aspect: wide, sounds: 1, heard: 20}, check: one440,
		}, {
			id: "r46", file: "r46.mp4", what: "one frame that lasts for 10 s of speech",
			right: "10 s, audio of 10 s", want: want{length: 10, aspect: wide, sounds: 1, heard: 10}, check: one440,
		}, {
			id: "r47", file: "r47.mov", what: "240 frames/s, PCM of 24 bits",
			right: "2 s", want: want{length: 2, aspect: wide, sounds: 1, heard: 2}, check: wholePart(240),
		}, {
			id: "r50", file: "r50.webm", what: "a recorded screen that stands still after 3 s, with 10 s of audio",
			right: "10 s ±0.5 of pictures, audio of 10 s",
			want:  want{length: 10, slack: 0.5, aspect: wide, sounds: 1, heard: 10}, check: one440,
		}, {
			id: "m_audio_longer", file: "m_audio_longer.mp4", pipeline: "everything",
			what:  "audio longer than the pictures, with a watermark and a progressive MP4",
			right: "ready; 10 s", want: want{length: 10, aspect: wide, sounds: 1, heard: 10}, check: files(10, 2),
		}, {
			id: "m_late_picture", file: "m_late_picture.mkv", what: "pictures that begin 2 s after the audio",
			right: "6 s, the first frame from 0 on",
			want:  want{length: 6, aspect: wide, sounds: 1, heard: 6}, check: one440,
		}, {
			id: "m_phone", file: "m_phone.mp4", what: "a phone's frames, within 2 ms of 29.97 frames/s",
			right: "FRAME-RATE 29.97, 6 s", want: want{length: 6, aspect: wide, sounds: 1, heard: 6},
			check: rate(29.97),
		}, {
			id: "m_144", file: "m_144.mp4", what: "144 frames/s",
			right: "a whole part of 144 frames/s, 2 s", want: want{length: 2, aspect: wide}, check: wholePart(144),
		}, {
			id: "m_copy", file: "m_copy.mp4", what: "standard H.264 and AAC in MP4",
			right: "top rung copied", want: want{length: 12, aspect: wide, sounds: 1, heard: 12}, check: copiedTop,
		}, {
			id: "m_copy_fragments", file: "m_copy_fragments.mp4", what: "the same in fragments",
			right: "top rung copied", want: want{length: 12, aspect: wide, sounds: 1, heard: 12}, check: copiedTop,
		}, {
			id: "m_copy_mkv", file: "m_copy.mkv", what: "the same in Matroska",
			right: "top rung copied", want: want{length: 12, aspect: wide, sounds: 1, heard: 12}, check: copiedTop,
		}, {
			id: "m_copy_ts", file: "m_copy.ts", what: "the same in an MPEG transport stream",
			right: "top rung copied", want: want{length: 12, aspect: wide, sounds: 1, heard: 12}, check: copiedTop,
		}, {
			id: "m_bursts", file: "m_bursts.mp4", what: "30 frames/s in bursts with pauses",
			right: "FRAME-RATE 30, 20 s", want: want{length: 20, aspect: wide, sounds: 1, heard: 20}, check: rate(30),
		}, {
			id: "m_default_23976", file: "m_default_23976.mp4", what: "x264's default keyframes at 23.976 frames/s",
			right: "top rung copied", want: want{length: 40, aspect: wide, sounds: 1, heard: 40}, check: copiedTop,
		}, {
			id: "m_still_2h", file: "m_still_2h.mp4", what: "a silent still of two hours at 144 b/s",
			right: "ready, 7,200 s", want: want{length: 7200, aspect: wide},
		},
	}
}

// endCases are the cases whose point is the ends of tracks.
func endCases() []testCase {
	return []testCase{
		{
			id: "m_flv_longer", file: "m_flv_longer.flv", what: "an FLV whose pictures end 3 s before its audio",
			right: "ready; 6 s", want: want{length: 6, aspect: wide, sounds: 1, heard: 6}, check: one440,
		}, {
			id: "m_ts_cut", file: "m_ts_cut.ts", what: "a transport stream that begins within a packet, and whose " +
				"audio goes on for 3 s",
			right: "ready; 6 s", want: want{length: 6, aspect: wide, sounds: 1, heard: 6}, check: one440,
		}, {
			id: "m_ts_behind", file: "m_ts_behind.ts", what: "a transport stream after 3,000 bytes of garbage",
			right: "ready; 6 s", want: want{length: 6, aspect: wide, sounds: 1, heard: 6}, check: one440,
		}, {
			id: "m_garbage", file: "m_garbage.mp4", what: "an MP4 of MPEG-4 and AAC whose middle tenth is garbage",
			right: "ready; 20 s, and all audio decodes", want: want{length: 20, aspect: wide, sounds: 1},
			check: one440,
		}, {
			id: "m_zero_end", file: "m_zero_end.mp4", what: "an MP4 whose last two fifths were never written and " +
				"are zeros",
			right: "ready; the written part of 10 s", want: want{length: 5.5, slack: 1, aspect: wide, sounds: 1},
			check: one440,
		}, {
			id: "m_slow", file: "m_slow.webm", what: "a WebM with a frame every 3 s",
			right: "9 s", want: want{length: 9, aspect: wide},
		},
	}
}

// pictureCases are the cases whose point is the pictures.
func pictureCases() []testCase {
	return []testCase{
		{
			id: "r06", file: "r06.webm", what: "429x241, 60 frames/s",
			right: "120 or 60 frames ±1, even edges",
			want:  want{length: 2, aspect: 429.0 / 241, frames: []int{120, 60}},
		}, {
			id: "r13", file: "r13.mkv", what: "strong yellow in RGB H.264",
			right: "each of R, G, B within 7 of (255, 255, 166)", want: want{length: 3, aspect: wide},
			check: colour(255, 255, 166, 7),
		}, {
			id: "r14", file: "r14.mp4", what: "a ramp of full range, Opus in MP4, a timescale of microseconds",
			right: "black < 12, white > 243, middle 127 ±8 in every rung; audio of 440 Hz",
			want:  want{length: 3, aspect: wide, sounds: 1, heard: 3}, check: ramp,
		}, {
			id: "r22", file: "r22.mp4", what: "the first 45% are black",
			right: "poster: mean luma > 25, deviation > 10", want: want{length: 8, aspect: wide}, check: notBlack,
		}, {
			id: "r30", file: "r30.mp4", what: "landscape becomes portrait at 3 s",
			right: "150 frames ±2 decode; the second part is not stretched over the frame",
			want:  want{length: 6}, check: shapes(wide, 1/wide),
		}, {
			id: "m_size", file: "m_size.ts", what: "16:9 becomes a larger 4:3 at 3 s, in a transport stream",
			right: "150 frames ±2 decode; the second part is not stretched over the frame",
			want:  want{length: 6, sounds: 0}, check: shapes(wide, standard),
		}, {
			id: "m_black_80", file: "m_black_80.mp4", what: "the first 80% are black",
			right: "poster: mean luma > 25, deviation > 10", want: want{length: 10, aspect: wide}, check: notBlack,
		}, {
			id: "m_854x480", file: "m_854x480.mp4", what: "854x480",
			right: "top rung 854x480", want: want{length: 2, aspect: 854.0 / 480}, check: topSize("854x480"),
		}, {
			id: "m_576x1024", file: "m_576x1024.mp4", what: "a portrait of 576x1024",
			right: "top rung 576x1024", want: want{length: 2, aspect: 576.0 / 1024}, check: topSize("576x1024"),
		}, {
			id: "m_1920x880", file: "m_1920x880.mp4", what: "a wide film of 1920x880",
			right: "top rung 1920x880", want: want{length: 2, aspect: 1920.0 / 880}, check: topSize("1920x880"),
		}, {
			id: "m_few_bits", file: "m_few_bits.mp4", pipeline: "encoded", what: "720p of 400 kb/s, to be encoded",
			right: "no rung has more than 1.3 times the source's bits for its share of the pixels, or than 150 kb/s",
			want:  want{length: 8, aspect: wide}, check: bitsOfSource,
		}, {
			id: "r34", file: "r34.mp4", what: "H.264 High 10",
			right: "8-bit; CODECS as in avcC; profile 66, 77, 88 or 100",
			want:  want{length: 3, aspect: wide}, check: codecsTrue,
		}, {
			id: "m_bars601", file: "m_bars601.mp4", what: "colour bars in BT.601",
			right: "each colour within 1 of the exact conversion to BT.709",
			want:  want{length: 4, aspect: wide}, check: converted(bt601),
		}, {
			id: "m_bars601_encoded", file: "m_bars601.mp4", pipeline: "encoded", what: "the same, where no rung " +
				"may be a copy",
			right: "each colour within 1 of the exact conversion to BT.709",
			want:  want{length: 4, aspect: wide}, check: converted(bt601),
		}, {
			id: "m_grey", file: "m_grey.mp4", what: "grey only",
			right: "U and V 128, Y within 1", want: want{length: 4, aspect: wide}, check: grey,
		}, {
			id: "m_sd_480", file: "m_sd_480.mp4", what: "640x480",
			right: "top rung 640x480", want: want{length: 6, aspect: standard, sounds: 1, heard: 6},
			check: topSize("640x480"),
		},
	}
}
