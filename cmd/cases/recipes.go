package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// x264 are the options of most H.264 inputs, whose point is not the pictures.
const x264 = " -c:v libx264 -preset ultrafast -pix_fmt yuv420p -threads 2"

// copyable are the options for H.264 that may be copied into a rung.
const copyable = " -c:v libx264 -preset veryfast -b:v 400k -profile:v high -pix_fmt yuv420p -g 50 " +
	"-colorspace bt709 " +
	"-color_primaries bt709 -color_trc bt709"

// sweep is a tone that rises from 200 Hz, with noise, at the level of speech.
const sweep = " -f lavfi -i aevalsrc=0.25*sin(2*PI*(200*t+40*t*t))+0.1*(random(0)-0.5):s=48000:d=%g"

// pictures is an input of moving bars and a counter.
func pictures(size, rate string, seconds float64) string {
	return fmt.Sprintf(" -f lavfi -i testsrc2=s=%s:r=%s:d=%g", size, rate, seconds)
}

// small is an input of pictures of the usual small size and rate.
func small(seconds float64) string { return pictures("320x180", "25", seconds) }

// tone is an input of one pitch in Hz, at 1/8 of the full level.
func tone(pitch, seconds float64) string {
	return fmt.Sprintf(" -f lavfi -i sine=%g:r=48000:d=%g", pitch, seconds)
}

func swept(seconds float64) string { return fmt.Sprintf(sweep, seconds) }

// flash is an input of black pictures with a white flash of 0.2 s; beep is a tone of 1000 Hz, as long.
func flash(at, seconds float64) string {
	return fmt.Sprintf(" -f lavfi -i color=black:s=320x180:r=25:d=%g,"+
		"drawbox=c=white:t=fill:enable='between(t,%g,%g)'", seconds, at-0.001, at+0.199)
}

func beep(at, seconds float64) string {
	return fmt.Sprintf(" -f lavfi -i aevalsrc='0.5*sin(2*PI*1000*t)*between(t,%g,%g)':s=48000:d=%g", at, at+0.2,
		seconds)
}

// recipes lists the recipes of all inputs. Those of the cases r and m are at most 12 s long and 320x180,
// unless the length or the size is the point.
func recipes() []recipe {
	return slices.Concat(soundRecipes(), trackRecipes(), timeRecipes(), pictureRecipes(), operatorRecipes(),
		hostileRecipes())
}

// soundRecipes are the recipes whose point is the audio.
func soundRecipes() []recipe {
	layout71 := "FL=0*c0|FR=0*c0|FC=0*c0|LFE=0*c0|BL=c0|BR=0*c0|SL=0*c0|SR=0*c0"
	loud := "0.9*sin(2*PI*220*t)"
	return []recipe{
		{file: "r01a.mp4", args: small(4) + tone(440, 4) + tone(880, 4) + " -map 0 -map 1 -map 2" + x264 +
			" -c:a aac -b:a 64k -f mov"},
		{file: "r01.mov", from: []string{"r01a.mp4"}, build: unknownCodec},
		{file: "r10.mkv", args: small(4) + tone(500, 4) + " -filter_complex [1]volume=4,pan=7.1|" + layout71 +
			"[a] -map 0 -map [a]" + x264 + " -c:a flac"},
		{file: "r29c1.ts", args: small(4) + tone(440, 4) + " -af aformat=channel_layouts=stereo" + x264 +
			" -c:a ac3 -muxdelay 0 -f mpegts"},
		{file: "r29c2.ts", args: small(4) + tone(880, 4) + " -af aformat=channel_layouts=5.1(side)" + x264 +
			" -c:a ac3 -muxdelay 0 -output_ts_offset 4 -f mpegts"},
		{file: "r29c.ts", from: []string{"r29c1.ts", "r29c2.ts"}, build: joined},
		{file: "m_rates1.ts", args: small(3) + tone(440, 3) + x264 + " -c:a mp2 -ac 1 -ar 48000 -muxdelay 0 -f " +
			"mpegts"},
		{file: "m_rates2.ts", args: small(3) + tone(880, 3) + " -af aformat=channel_layouts=stereo" + x264 +
			" -c:a mp2 -ar 44100 -muxdelay 0 -output_ts_offset 3 -f mpegts"},
		{file: "m_rates.ts", from: []string{"m_rates1.ts", "m_rates2.ts"}, build: joined},
		{file: "r48.mp4", args: small(3) + tone(440, 3) + " -af pan=stereo|c0=c0|c1=0*c0" + x264 + " -c:a aac"},
		{file: "m_mono.mov", args: small(10) + swept(10) + x264 + " -c:a pcm_s16le -ac 1"},
		{file: "m_loud51.mov", args: small(6) + " -f lavfi -i aevalsrc=" + loud + "|" + loud + "|" + loud +
			"|0.9*sin(2*PI*50*t)|" + loud + "|" + loud + ":s=48000:c=5.1:d=6" + x264 + " -c:a pcm_s16le"},
		{file: "m_each51.mov", args: small(4) + " -f lavfi -i aevalsrc=" +
			"0.2*sin(2*PI*300*t)|0.2*sin(2*PI*400*t)|0.2*sin(2*PI*500*t)|0|0.2*sin(2*PI*700*t)|0.2*sin(2*PI*800*t)" +
			":s=48000:c=5.1:d=4" + x264 + " -c:a pcm_s16le"},
	}
}

// trackRecipes are the recipes whose point is the tracks.
func trackRecipes() []recipe {
	cover := " -map 0 -map 1 -c copy -disposition:v:0 default -disposition:v:1 0"
	return []recipe{
		{file: "r12a.mov", args: small(3) + tone(440, 3) + x264 + " -c:a aac -timecode 01:00:00:00"},
		{file: "r12.mp4", from: []string{"r12a.mov"}, build: unknownData},
		{file: "r15c.jpg", args: " -f lavfi -i color=red:s=600x600 -frames:v 1"},
		{file: "r15v.mp4", args: small(4) + tone(440, 4) + x264 + " -c:a aac"},
		{file: "r15p.mkv", args: " -f lavfi -i color=red:s=600x600:r=25 -frames:v 1 -c:v mjpeg"},
		{file: "r15.mkv", args: " -i {r15p.mkv} -i {r15v.mp4}" + cover},
		{file: "r15b.mp4", args: " -i {r15p.mkv} -i {r15v.mp4}" + cover},
		{file: "m_cover_png.mov", args: " -f lavfi -i color=red:s=600x600:r=25:d=0.04 -i {r15v.mp4} -map 0 " +
			"-map 1 " +
			"-c copy -c:v:0 png -pix_fmt:v:0 rgb24"},
		{file: "m_cover_last.mkv", args: " -i {r15v.mp4} -i {r15p.mkv} -map 0:v -map 1:v -map 0:a -c copy " +
			"-disposition:v:0 0 -disposition:v:1 default"},
		{file: "m_cenc.mp4", args: " -i {r15v.mp4} -c copy -encryption_scheme cenc-aes-ctr -encryption_key " +
			"76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8"},
		{file: "m_scrambled.ts", args: " -i {r15v.mp4} -c copy"},
		{file: "m_scrambled_sound.ts", from: []string{"m_scrambled.ts"}, build: scrambledSound},
		{file: "m_still_film.mp4", args: " -f lavfi -i color=red:s=320x180:r=25:d=4 -i {r15v.mp4} -map 0 -map 1 " +
			"-c copy -c:v:0 libx264 -disposition:v:0 default -disposition:v:1 0"},
		{file: "m_cover.tiff", args: " -f lavfi -i color=red:s=600x600 -frames:v 1"},
		{file: "m_closed.mkv", args: " -i {r15v.mp4} -map 0 -map 0:a -map 0:a -attach {m_cover.tiff} " +
			"-metadata:s:t mimetype=image/tiff -c copy -c:a:1 tta -c:a:2 wavpack -strict -2"},
		{file: "m_avif.avif", args: pictures("160x90", "10", 1) + " -frames:v 1 -c:v libaom-av1 -cpu-used 8"},
		{file: "r37.gif", args: pictures("160x90", "10", 2)},
		{file: "r38.mpg", args: tone(440, 4) + " -c:a mp2 -f mpeg"},
		{file: "r39.mp3", args: " -f lavfi -i sine=440:r=44100:d=4 -i {r15c.jpg} -map 0 -map 1 -c:a libmp3lame " +
			"-c:v copy -disposition:v attached_pic -id3v2_version 3"},
		{file: "r41.srt", build: subtitles},
		{file: "r41b.mkv", args: small(8) + tone(440, 8) + " -i {r41.srt} -map 0 -map 1 -map 2" + x264 +
			" -c:a aac -c:s srt"},
		{file: "r49a.mp4", args: small(3) + tone(440, 3) + x264 + " -c:a aac"},
		{file: "r49b.mp4", from: []string{"r49a.mp4"}, build: emptySound},
		{file: "m_subs.mkv", args: pictures("640x360", "30000/1001", 8) + swept(8) + " -i {r41.srt} -map 0 -map 1" +
			" -map 2" + x264 + " -c:a aac -c:s srt -t 8"},
	}
}

// timeRecipes are the recipes whose point is the times of frames.
func timeRecipes() []recipe {
	const vp8 = " -c:v libvpx -pix_fmt yuv420p -deadline realtime -cpu-used 8"
	tags709 := " -colorspace bt709 -color_primaries bt709 -color_trc bt709"
	return []recipe{
		{file: "r03.mp4", args: pictures("320x180", "30", 6) + " -vf settb=1/1200,setpts='if(eq(mod(N,10),9)," +
			"(N-1)*40+10,N*40)' -fps_mode passthrough -enc_time_base 1/1200" + x264 + " -video_track_timescale 1200"},
		{file: "r04.mp4", args: pictures("1280x720", "6002/100", 2) + x264},
		{file: "r05.webm", piped: true, args: " -f lavfi -i testsrc=s=823x521:r=30:d=6 -vf " +
			"select='lt(mod(n,17),5)' -fps_mode vfr" +
			vp8 + " -b:v 500k -f webm"},
		{file: "r07.ts", args: small(1) + " -frames:v 1" + x264},
		{file: "r08.mp4", args: pictures("320x180", "30", 1) + tone(440, 1) + " -t 0.42" + x264 + " -c:a aac"},
		{file: "r11.mp4", args: pictures("640x360", "25", 12) + tone(440, 12) + x264 + " -preset veryfast -b:v " +
			"500k " +
			"-profile:v high -g 600 -sc_threshold 0 -bf 2 -force_key_frames 0,4.88,9.08 -c:a aac"},
		{file: "r16.mov", args: flash(6, 8) + " -itsoffset 4" + beep(2, 4) + " -map 0 -map 1" + x264 + " -c:a aac"},
		{file: "r20.mp4", args: pictures("320x180", "1/5", 20) + tone(440, 20) + x264 + " -c:a aac"},
		{file: "r46.mp4", args: " -f lavfi -i testsrc2=s=320x180:r=1/10:d=10" + tone(440, 10) + x264 + " -c:a aac"},
		{file: "r47.mov", args: pictures("320x180", "240", 2) + tone(440, 2) + x264 + " -c:a pcm_s24le"},
		{file: "r50.webm", args: small(3) + tone(440, 10) + " -c:v libvpx -deadline realtime -cpu-used 8 -c:a " +
			"libopus"},
		{file: "m_audio_longer.mp4", args: pictures("640x360", "25", 8) + swept(10) + x264 + " -c:a aac"},
		{file: "m_bursts.mp4", args: pictures("640x360", "30", 20) + swept(20) + " -vf select='lt(mod(t,5),1)'" +
			" -fps_mode vfr" + x264 + " -c:a aac"},
		{file: "m_flv_longer.flv", args: small(3) + tone(440, 6) + x264 + " -c:a aac"},
		{file: "m_ts_longer.ts", args: small(3) + tone(440, 6) + x264 + " -c:a aac"},
		{file: "m_ts_cut.ts", from: []string{"m_ts_longer.ts"}, build: withoutStart},
		{file: "m_whole.mp4", args: small(10) + tone(440, 10) + " -c:v mpeg4 -g 5 -c:a aac -movflags +faststart"},
		{file: "m_ts_behind.ts", from: []string{"m_ts_longer.ts"}, build: behindGarbage},
		{file: "m_garbage_whole.mp4", args: small(20) + tone(440, 20) + " -c:v mpeg4 -c:a aac -movflags " +
			"+faststart"},
		{file: "m_garbage.mp4", from: []string{"m_garbage_whole.mp4"}, build: garbageWithin},
		{file: "m_zero_end.mp4", from: []string{"m_whole.mp4"}, build: neverWritten},
		{file: "m_slow.webm", args: pictures("320x180", "1/3", 9) + vp8},
		{file: "m_late_picture.mkv", args: " -itsoffset 2" + small(4) + tone(440, 6) + " -map 0 -map 1" + x264 +
			" -c:a aac"},
		{file: "m_phone.mp4", args: pictures("320x180", "30000/1001", 6) + tone(440, 6) + " -vf settb=1/90000," +
			"setpts='N*3003+120*sin(N)+90*sin(2.3*N)' -fps_mode passthrough -enc_time_base 1/90000" + x264 +
			" -video_track_timescale 90000 -c:a aac"},
		{file: "m_144.mp4", args: pictures("640x360", "144", 2) + x264},
		{file: "m_copy.mp4", args: pictures("640x360", "25", 12) + tone(440, 12) + copyable + " -c:a aac"},
		{file: "m_copy_fragments.mp4", args: " -i {m_copy.mp4} -c copy -movflags " +
			"frag_keyframe+empty_moov+default_base_moof"},
		{file: "m_copy.mkv", args: " -i {m_copy.mp4} -c copy"},
		{file: "m_copy.ts", args: " -i {m_copy.mp4} -c copy"},
		{file: "m_still_2h.mp4", args: " -f lavfi -i color=c=0x3060a0:s=640x360:r=1 -t 7200 -c:v libx264 " +
			"-preset ultrafast -tune stillimage -pix_fmt yuv420p"},
		{file: "m_default_23976.mp4", args: pictures("1280x720", "24000/1001", 40) + swept(40) + " -c:v libx264 " +
			"-preset veryfast -pix_fmt yuv420p" + tags709 + " -c:a aac"},
	}
}

// pictureRecipes are the recipes whose point is the pictures.
func pictureRecipes() []recipe {
	return []recipe{
		{file: "r06.webm", args: " -f lavfi -i testsrc=s=429x241:r=60:d=2 -c:v libvpx-vp9 -pix_fmt yuv420p " +
			"-deadline realtime -cpu-used 8 -b:v 400k"},
		{file: "r13.mkv", args: " -f lavfi -i color=c=0xffffa6:s=320x180:r=25:d=3,format=rgb24 -c:v libx264rgb " +
			"-preset ultrafast -qp 0"},
		{file: "r14.mp4", args: " -f lavfi -i gradients=s=640x360:c0=black:c1=white:x0=0:y0=0:x1=639:y1=0:d=3:" +
			"speed=0.00001:r=60,format=rgb24" + tone(440, 3) + " -vf scale=out_color_matrix=bt709:out_range=full," +
			"format=yuvj420p -c:v libx264 -preset ultrafast -color_range pc -colorspace bt709 -color_primaries " +
			"bt709 " +
			"-color_trc bt709 -video_track_timescale 1000000 -c:a libopus"},
		{file: "r22.mp4", args: " -f lavfi -i " +
			"testsrc2=s=320x180:r=25:d=8,drawbox=c=black:t=fill:enable='lt(t,3.6)'" +
			x264},
		{file: "r30a.h264", args: pictures("640x360", "25", 3) + x264},
		{file: "r30b.h264", args: pictures("360x640", "25", 3) + x264},
		{file: "r30.h264", from: []string{"r30a.h264", "r30b.h264"}, build: joined},
		{file: "r30.mp4", args: " -r 25 -f h264 -i {r30.h264} -c copy -tag:v avc3"},
		{file: "m_size1.ts", args: pictures("320x180", "25", 3) + x264 + " -muxdelay 0 -f mpegts"},
		{file: "m_size2.ts", args: pictures("480x360", "25", 3) + x264 + " -muxdelay 0 -output_ts_offset 3 -f " +
			"mpegts"},
		{file: "m_size.ts", from: []string{"m_size1.ts", "m_size2.ts"}, build: joined},
		{file: "m_black_80.mp4", args: " -f lavfi -i testsrc2=s=320x180:r=25:d=10,drawbox=c=black:t=fill:" +
			"enable='lt(t,8)'" + x264},
		{file: "m_854x480.mp4", args: pictures("854x480", "25", 2) + x264},
		{file: "m_576x1024.mp4", args: pictures("576x1024", "25", 2) + x264},
		{file: "m_1920x880.mp4", args: pictures("1920x880", "25", 2) + x264},
		{file: "m_few_bits.mp4", args: " -f lavfi -i mandelbrot=s=1280x720:r=25 -t 8 -c:v libx264 -preset " +
			"veryfast " +
			"-pix_fmt yuv420p -b:v 400k -maxrate 400k -bufsize 400k"},
		{file: "r34.mp4", args: small(3) + " -c:v libx264 -preset ultrafast -pix_fmt yuv420p10le"},
		{file: "m_bars601.mp4", args: " -f lavfi -i smptehdbars=s=640x360:r=25:d=4 -vf " +
			"scale=out_color_matrix=smpte170m:" +
			"out_range=tv,format=yuv420p" + x264 + " -colorspace smpte170m -color_primaries smpte170m " +
			"-color_trc smpte170m"},
		{file: "m_grey.mp4", args: pictures("640x360", "25", 4) + " -vf format=gray -c:v libx264 -preset " +
			"ultrafast"},
		{file: "m_sd_480.mp4", args: pictures("640x480", "30", 6) + swept(6) + x264 + " -c:a aac"},
	}
}

// operatorRecipes are the inputs of operators.go.
func operatorRecipes() []recipe {
	return []recipe{
		{file: "ops.mp4", args: pictures("1280x720", "30", 60) + swept(60) + " -vf noise=alls=8:allf=t" + x264 +
			" -g 600 -c:a libmp3lame"},
	}
}

// joined returns one input after the other.
func joined(inputs [][]byte) ([]byte, error) { return bytes.Join(inputs, nil), nil }

// neverWritten has zeros in the last two fifths.
func neverWritten(inputs [][]byte) ([]byte, error) {
	b := bytes.Clone(inputs[0])
	clear(b[len(b)*6/10:])
	return b, nil
}

// withoutStart leaves out the first 100 bytes, which are of a repeated table.
func withoutStart(inputs [][]byte) ([]byte, error) { return inputs[0][100:], nil }

// behindGarbage puts garbage before a file.
func behindGarbage(inputs [][]byte) ([]byte, error) { return append(garbage(3000), inputs[0]...), nil }

// garbageWithin overwrites the middle tenth of a file.
func garbageWithin(inputs [][]byte) ([]byte, error) {
	b := bytes.Clone(inputs[0])
	copy(b[len(b)*9/20:], garbage(len(b)/10))
	return b, nil
}

// garbage returns n meaningless bytes, always the same.
func garbage(n int) []byte {
	b, state := make([]byte, n), uint32(1)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return b
}

// scrambledSound marks the second track of a transport stream as scrambled.
func scrambledSound(inputs [][]byte) ([]byte, error) {
	b := bytes.Clone(inputs[0])
	for at := 0; at+188 <= len(b); at += 188 {
		if binary.BigEndian.Uint16(b[at+1:])&0x1fff == 0x101 {
			b[at+3] |= 0x80
		}
	}
	return b, nil
}

// subtitles returns subtitles of ten minutes.
func subtitles([][]byte) ([]byte, error) {
	return []byte("1\n00:00:01,000 --> 00:00:02,000\nfirst\n\n2\n00:09:58,000 --> 00:10:00,000\nlast\n"), nil
}

// errBox means that an input lacks a box.
var errBox = errors.New("the input lacks a box")

// unknownCodec gives the last track of an MP4 an unknown codec, as phones do.
func unknownCodec(inputs [][]byte) ([]byte, error) {
	b := bytes.Clone(inputs[0])
	at := bytes.LastIndex(b, []byte("stsd"))
	if at < 0 {
		return nil, errBox
	}
	copy(b[at+16:], "apac")
	if wave := bytes.Index(b[at:], []byte("wave")); wave >= 0 {
		copy(b[at+wave:], "skip")
	}
	return b, nil
}

// unknownData turns a time code track into a track of unknown data.
func unknownData(inputs [][]byte) ([]byte, error) {
	b := bytes.ReplaceAll(inputs[0], []byte("mhlrtmcd"), []byte("mhlrmeta"))
	if !bytes.Contains(b, []byte("tmcd")) {
		return nil, errBox
	}
	return bytes.ReplaceAll(b, []byte("tmcd"), []byte("djmd")), nil
}

// emptySound removes the samples, the length and the edit list of the audio track of an MP4. Phones write
// such a track when the app may not use the microphone.
func emptySound(inputs [][]byte) ([]byte, error) {
	b := bytes.Clone(inputs[0])
	track := bytes.LastIndex(b, []byte("trak"))
	handler := bytes.LastIndex(b, []byte("soun"))
	if track < 0 || handler < track {
		return nil, errBox
	}
	for _, zero := range []struct {
		box    string
		after  int // where to look
		offset int // of a 32-bit number
	}{
		{"stts", handler, 8}, {"stsc", handler, 8}, {"stco", handler, 8}, {"stsz", handler, 12},
		{"tkhd", track, 24}, {"mdhd", track, 20},
	} {
		at := bytes.Index(b[zero.after:], []byte(zero.box))
		if at < 0 {
			return nil, fmt.Errorf("%w: %s", errBox, zero.box)
		}
		binary.BigEndian.PutUint32(b[zero.after+at+zero.offset:], 0)
	}
	if at := bytes.Index(b[track:], []byte("edts")); at >= 0 {
		copy(b[track+at:], "free")
	}
	return b, nil
}
