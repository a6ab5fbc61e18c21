package ffmpeg

import (
	"strconv"
	"strings"
	"time"
)

// Limits for ffmpeg and ffprobe, since their input is untrusted.
const (
	maxAlloc        = 512 << 20 // bytes in one allocation
	maxStreams      = 64
	maxPixels       = 8192 * 4320
	probeSize       = 32 << 20 // bytes read to find the streams
	analyzeDuration = 15 * time.Second

	// The limits for a file in which a track begins late (Input.Late). What is read stays in memory.
	lateSize     = 128 << 20
	lateDuration = 10 * time.Minute
)

// formatWhitelist holds every demuxer that an upload may use. Playlists (hls, dash, concat), devices and
// image sequences are missing on purpose: they open further files.
const formatWhitelist = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,wav,mp3,flac,aac," +
	"asf,mxf"

// trustedFormats are allowed in addition for files that we wrote (Input.Trusted): images, raw frames and
// samples.
const trustedFormats = "image2,png_pipe,jpeg_pipe,webp_pipe,mjpeg,rawvideo,s16le,f32le,amr,webvtt,ffmetadata"

// videoDecoders, audioDecoders and textDecoders are the only allowed decoders, since the bugs are in
// decoders that nobody needs. Hardware and wrapper decoders are missing.
var (
	videoDecoders = []string{
		"h264", "hevc", "av1", "libdav1d", "libaom-av1", "vp8", "vp9", "libvpx", "libvpx-vp9",
		"mpeg1video", "mpeg2video", "mpegvideo", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4",
		"wmv1", "wmv2", "wmv3", "vc1", "flv", "h263", "vp6", "vp6f", "svq1", "svq3", "theora",
		"mjpeg", "prores", "dnxhd", "dvvideo", "cfhd", "qtrle", "ffv1", "huffyuv", "ffvhuff",
		"utvideo", "rawvideo", "v210", "cinepak", "png", "webp", "bmp", "gif",
	}
	audioDecoders = []string{
		"aac", "aac_latm", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "ac3", "eac3",
		"dca", "opus", "libopus", "vorbis", "libvorbis", "flac", "alac", "wmav1", "wmav2", "wmapro", "wmavoice",
		"truehd", "amrnb", "amrwb", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_swf", "nellymoser",
		"speex", "pcm_alaw", "pcm_mulaw", "pcm_bluray", "pcm_dvd", "pcm_f32be", "pcm_f32le",
		"pcm_f64be", "pcm_f64le", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be",
		"pcm_s32le", "pcm_s8", "pcm_u8",
	}
	// ffprobe opens a decoder for every stream and gives up on one that is not allowed. So subtitles that
	// we never decode are listed too: a film with PGS subtitles must not be refused.
	textDecoders = []string{
		"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text", "pgssub", "dvdsub", "dvbsub", "xsub",
		"cc_dec",
	}
)

// codecWhitelist returns the value of -codec_whitelist.
func codecWhitelist() string {
	all := append(append(append([]string(nil), videoDecoders...), audioDecoders...), textDecoders...)
	return strings.Join(all, ",")
}

// hardenedInput returns the options that stand before every -i, in order.
func hardenedInput(in Input) []Option {
	formats, protocol := formatWhitelist, "file"
	if in.Trusted {
		formats += "," + trustedFormats
	}
	if in.Pipe {
		protocol = "pipe"
	}
	size, duration := probeSize, analyzeDuration
	if in.Late {
		size, duration = lateSize, lateDuration
	}
	return []Option{
		{"protocol_whitelist", protocol},
		{"format_whitelist", formats},
		{"codec_whitelist", codecWhitelist()},
		{"max_streams", strconv.Itoa(maxStreams)},
		{"max_pixels", strconv.Itoa(maxPixels)},
		{"probesize", strconv.Itoa(size)},
		{"analyzeduration", strconv.FormatInt(duration.Microseconds(), 10)},
	}
}

// reservedKeys are options that callers may not set: this package writes them, or they open other files.
var reservedKeys = map[string]bool{
	"i": true, "f": true, "format": true, "map": true, "map_metadata": true, "map_chapters": true,
	"y": true, "n": true, "stdin": true, "nostdin": true, "progress": true, "stats_period": true,
	"loglevel": true, "v": true, "report": true, "hide_banner": true, "max_alloc": true,
	"protocol_whitelist": true, "format_whitelist": true, "codec_whitelist": true, "max_streams": true,
	"max_pixels": true, "probesize": true, "analyzeduration": true, "enable_drefs": true,
	"use_absolute_path": true, "filter_complex": true, "lavfi": true, "filter_complex_script": true,
	"filter_script": true, "attach": true, "dump_attachment": true, "sdp_file": true, "vstats_file": true,
	"protocol_blacklist": true, "safe": true,
}
