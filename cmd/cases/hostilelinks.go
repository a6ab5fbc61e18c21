package main

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// alias writes an entry of dref: an alias of the classic Mac OS (QuickTime File Format, data references) to a
// file on a volume, with an absolute path.
func alias(volume, file, path string) []byte {
	short := func(s string, n int) []byte {
		s = s[:min(len(s), n)]
		return cat([]byte{byte(len(s))}, []byte(s), zeroes(n-len(s)))
	}
	absolute := []byte(path)
	if len(absolute)%2 == 1 {
		absolute = append(absolute, 0)
	}
	return fullBox("alis", 0, 0, zeroes(10), short(volume, 27), zeroes(12), short(file, 63), zeroes(16),
		be16(1, 2), zeroes(16), be16(2, uint16(len(path))), absolute, be16(18, uint16(len(path))), absolute,
		be16(0xffff, 0))
}

// linked makes the first track of a movie refer to something else by an entry of dref.
func linked(entry func(l lab) []byte) func(lab, [][]byte) ([]byte, error) {
	return edited(func(l lab, m *movie) {
		m.at("moov/trak/mdia/minf/dinf/dref").set(be32(0, 1), entry(l))
	})
}

// references are files that refer to others.
func references() []hostile { return slices.Concat(dataReferences(), otherReferences()) }

// dataReferences are movies whose samples are elsewhere.
func dataReferences() []hostile {
	const self = "the reference is ignored, and the bytes at these places in the file itself are read"
	mov := func(id, tries string, entry func(l lab) []byte) hostile {
		return hostile{id: id, ext: "mov", tries: tries, ends: malformed, from: []string{"x_v.mp4"},
			build: linked(entry)}
	}
	own := func(id, tries string, entry func(l lab) []byte) hostile {
		h := mov(id, tries, entry)
		h.ends, h.harmless = nil, self
		return h
	}
	elsewhere := func(id, tries string, data func(l lab) []byte) hostile {
		return hostile{id: id, ext: "mov", tries: tries, ends: append(noPicture, malformed...),
			build: func(l lab, _ [][]byte) ([]byte, error) {
				rmda := boxed("rmda", data(l))
				return cat(boxed("ftyp", []byte("qt  "), be32(0)), boxed("moov", boxed("rmra", rmda, rmda))), nil
			}}
	}
	location := func(kind, at string) []byte {
		return fullBox("rdrf", 0, 0, []byte(kind), be32(uint32(len(at)+1)), []byte(at), []byte{0})
	}
	return []hostile{
		own("x_dref_http", "samples at an http URL", func(l lab) []byte {
			return fullBox("url ", 0, 0, []byte(l.web+"/a.mov\x00"))
		}),
		own("x_dref_file", "samples at a file URL: another user's video", func(l lab) []byte {
			return fullBox("url ", 0, 0, []byte("file://"+l.victim+"\x00"))
		}),
		own("x_dref_urn", "samples at a URN", func(l lab) []byte {
			return fullBox("urn ", 0, 0, []byte("urn:x\x00"+l.web+"\x00"))
		}),
		mov("x_alis_video", "samples in another user's video, by an alias", func(l lab) []byte {
			return alias("Macintosh HD", "original.mp4", l.victim)
		}),
		mov("x_alis_passwd", "samples in /etc/passwd, by an alias", func(lab) []byte {
			return alias("/", "passwd", "/etc/passwd")
		}),
		mov("x_alis_relative", "samples at a path that climbs, by an alias", func(l lab) []byte {
			return alias("x", "original.mp4", "../../../../../../../../../.."+l.victim)
		}),
		mov("x_alis_share", "samples on a network share, by an alias", func(lab) []byte {
			return alias("\\\\127.0.0.1\\c$", "a.mov", "smb://127.0.0.1/c$/a.mov")
		}),
		mov("x_alis_http", "samples at a URL, by an alias", func(l lab) []byte {
			return alias("x", "a.mov", l.web+"/a.mov")
		}),
		mov("x_alis_protocol", "samples behind a protocol, by an alias", func(l lab) []byte {
			return alias("x", "a.mov", "concat:"+l.secret+"|subfile,,start,0,end,0,,:"+l.victim)
		}),
		mov("x_alis_device", "samples in /dev/zero, by an alias", func(lab) []byte {
			return alias("/", "zero", "/dev/zero")
		}),
		elsewhere("x_rmra_url", "a reference movie that points to a URL", func(l lab) []byte {
			return location("url ", l.web+"/a.mov")
		}),
		elsewhere("x_rmra_file", "a reference movie that points to a file", func(l lab) []byte {
			return location("alis", l.victim)
		}),
	}
}

// otherReferences are files that name others in scripts, covers and indexes.
func otherReferences() []hostile {
	return []hostile{
		{id: "x_sdp_track", ext: "mov", tries: "a hint track with the SDP of a server", harmless: harmlessly,
			from: []string{"x_av.mp4"}, build: edited(func(l lab, m *movie) {
				rtp := boxed("rtp ", []byte("sdp "), l.fill("a=control:WEB\r\n"))
				m.at("moov").add(boxed("udta", boxed("hnti", rtp)))
			})},
		{id: "x_mkv_next", ext: "mkv", tries: "a Matroska segment that continues in another file",
			harmless: "the names of other segments are ignored", from: []string{"x_vp8.ivf"},
			build: ofVP8(func(l lab, frames [][]byte) []byte {
				info := cat(ebml(0x3c83ab, []byte(l.victim)), ebml(0x3e83bb, []byte("../"+l.secret)),
					ebml(0x3eb923, times("x", 16)))
				return webm{frames: frames, info: info, kind: "matroska"}.bytes()
			})},
		{id: "x_asf_script", ext: "wmv", tries: "script commands that open URLs", harmless: harmlessly,
			from: []string{"x_small.wmv"}, build: func(l lab, in [][]byte) ([]byte, error) {
				command := cat(zeroes(16), le16(1, 1), le16(3), wide16("URL"), le32(0), le16(0),
					le16(uint16(len(l.web))), wide16(l.web))
				guid := []byte("\x30\x1a\xfb\x1e\x62\x0b\xd0\x11\xa3\x9b\x00\xa0\xc9\x03\x48\xf6")
				return asfObject(in[0], guid, command), nil
			}},
		{id: "x_flv_goto", ext: "flv", tries: "script data that names a URL", harmless: harmlessly,
			from: []string{"x_small.flv"}, build: func(l lab, in [][]byte) ([]byte, error) {
				text := func(s string) []byte { return cat(be16(uint16(len(s))), []byte(s)) }
				data := cat([]byte{2}, text("onCuePoint"), []byte{8}, be32(1), text("url"), []byte{2}, text(l.web),
					[]byte{0, 0, 9})
				return cat(in[0][:13], flvTag(18, data), in[0][13:]), nil
			}},
		{id: "x_flac_link", ext: "flac", tries: "a cover that is a URL", ends: noPicture,
			from: []string{"x_small.flac"}, build: func(l lab, in [][]byte) ([]byte, error) {
				link := []byte(l.web + "/cover.jpg")
				picture := cat(be32(3, 3), []byte("-->"), be32(0, 0, 0, 0, 0, uint32(len(link))), link)
				return flacBlock(in[0], 6, uint32(len(picture)), picture), nil
			}},
		{id: "x_id3_link", ext: "mp3", tries: "a cover and links in ID3 that are URLs", ends: noPicture,
			from: []string{"x_small.mp3"}, build: func(l lab, in [][]byte) ([]byte, error) {
				cover := id3Frame("APIC", cat([]byte("\x00-->\x00\x03\x00"), []byte(l.web+"/cover.jpg")))
				url := id3Frame("WXXX", cat([]byte("\x00\x00"), []byte(l.web)))
				return cat(id3(len(cover)+len(url), cover, url), in[0]), nil
			}},
		{id: "x_mfra", tries: "an index of fragments that lies elsewhere",
			harmless: "the fragments are found without", from: []string{"x_frag.mp4"},
			build: func(_ lab, in [][]byte) ([]byte, error) {
				entry := cat(be64(0, 1<<62), []byte{1, 1, 1})
				tfra := fullBox("tfra", 1, 0, be32(1, 0, 1), entry)
				mfra := boxed("mfra", tfra, fullBox("mfro", 0, 0, be32(uint32(len(tfra)+24))))
				at := bytes.LastIndex(in[0], []byte("mfra"))
				if at < 4 {
					return nil, errBox
				}
				return cat(in[0][:at-4], mfra), nil
			}},
		{id: "x_sidx", tries: "a segment index that points to itself", ends: malformed,
			from: []string{"x_frag.mp4"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				at := bytes.Index(in[0], []byte("moof"))
				if at < 4 {
					return nil, errBox
				}
				loop := fullBox("sidx", 0, 0, be32(1, 1000, 0, 0, 1), be32(0x80000000, 1000, 0x90000000))
				return cat(in[0][:at-4], loop, in[0][at-4:]), nil
			}},
	}
}

// wide16 writes UTF-16 with the lowest byte first.
func wide16(s string) (b []byte) {
	for _, r := range s {
		b = append(b, le16(uint16(r))...)
	}
	return b
}

// asfObject adds an object to the header of an ASF file.
func asfObject(file, guid, data []byte) []byte {
	object := cat(guid, le64(uint64(len(data)+24)), data)
	head := bytes.Clone(file[:30])
	binary.LittleEndian.PutUint64(head[16:], binary.LittleEndian.Uint64(head[16:])+uint64(len(object)))
	binary.LittleEndian.PutUint32(head[24:], binary.LittleEndian.Uint32(head[24:])+1)
	return cat(head, object, file[30:])
}

// flacBlock puts a metadata block behind STREAMINFO, with a size that may lie.
func flacBlock(file []byte, kind byte, size uint32, data []byte) []byte {
	head := cat([]byte{kind}, be32(size)[1:], data)
	return cat(file[:42], head, file[42:])
}

// encryptedFiles have tracks that cannot be read without a key.
func encryptedFiles() []hostile {
	locked := func(id, tries, from string, change func(l lab, m *movie)) hostile {
		return hostile{id: id, tries: tries, ends: cannotRead, from: []string{from}, build: edited(change)}
	}
	lock := func(path, scheme string) func(lab, *movie) {
		return func(_ lab, m *movie) { protect(m.at(path), scheme) }
	}
	hidden := func(id string, void int, tries string) hostile {
		return hostile{id: id, ext: "mkv", tries: tries, ends: cannotRead, from: []string{"x_vp8.ivf"},
			build: ofVP8(func(_ lab, frames [][]byte) []byte {
				inside := ebml(mkEncoding, ebmlUint(mkKind, 1), ebml(mkEncryption, ebmlUint(0x47e1, 5)))
				return webm{frames: frames, entry: ebml(mkEncodings, inside), kind: "matroska",
					info: ebml(mkVoid, zeroes(void))}.bytes()
			})}
	}
	return []hostile{
		locked("x_encv_cenc", "video, by CENC", "x_v.mp4", lock(firstTable+"stsd", "cenc")),
		locked("x_encv_cbcs", "video, by CBCS", "x_v.mp4", lock(firstTable+"stsd", "cbcs")),
		locked("x_enca", "audio alone", "x_av.mp4", lock(secondTable+"stsd", "cenc")),
		locked("x_encv_frag", "video in fragments", "x_frag.mp4", lock(firstTable+"stsd", "cenc")),
		locked("x_encv_bare", "video without a scheme", "x_v.mp4", lock(firstTable+"stsd", "")),
		locked("x_fairplay", "video, by FairPlay", "x_v.mp4", func(_ lab, m *movie) {
			m.at(firstTable+"stsd").put(12, []byte("drmi"))
		}),
		locked("x_encv_second", "only the second sample description", "x_v.mp4", func(_ lab, m *movie) {
			stsd := m.at(firstTable + "stsd")
			plain := bytes.Clone(stsd.data[8:])
			protect(stsd, "cenc")
			stsd.set(be32(0, 2), plain, stsd.data[8:])
		}),
		{id: "x_encv_behind", tries: "video, with the index behind 12,000 empty boxes", ends: cannotRead,
			from: []string{"x_v.mp4"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				m := parseMovie(in[0])
				protect(m.at(firstTable+"stsd"), "cenc")
				file, err := m.bytes()
				at := bytes.LastIndex(file, []byte("moov"))
				if err != nil || at < 4 {
					return nil, err
				}
				return cat(file[:at-4], bytes.Repeat(boxed("free"), 12_000), file[at-4:]), nil
			}},
		hidden("x_mkv_locked", 8, "a Matroska track"),
		hidden("x_mkv_locked_void", 8<<20, "a Matroska track, with a void of 8 MB"),
		{id: "x_asf_drm", ext: "wmv", tries: "Windows Media DRM", ends: cannotRead, from: []string{"x_small.wmv"},
			build: func(_ lab, in [][]byte) ([]byte, error) {
				guid := []byte("\xfb\xb3\x11\x22\x23\xbd\xd2\x11\xb4\xb7\x00\xa0\xc9\x55\xfc\x6e")
				return asfObject(in[0], guid, zeroes(64)), nil
			}},
		{id: "x_ts_scrambled", ext: "ts", tries: "a scrambled transport stream", ends: cannotRead,
			from: []string{"x_small.ts"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				b := bytes.Clone(in[0])
				for at := 0; at+188 <= len(b); at += 188 {
					if pid := binary.BigEndian.Uint16(b[at+1:]) & 0x1fff; pid >= 0x100 && pid < 0x110 {
						b[at+3] |= 0xc0
					}
				}
				return b, nil
			}},
		{id: "x_mpg_scrambled", ext: "mpg", tries: "a scrambled program stream", ends: cannotRead,
			from: []string{"x_small.mpg"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				b := bytes.Clone(in[0])
				for at := 0; at+9 < len(b); at++ {
					if bytes.HasPrefix(b[at:], []byte{0, 0, 1, 0xe0}) {
						b[at+6] |= 0x30
					}
				}
				return b, nil
			}},
	}
}

// protect makes the only sample description in stsd one of encrypted samples (ISO/IEC 14496-12, 8.12).
func protect(stsd *atom, scheme string) {
	entry := bytes.Clone(stsd.data[8:])
	format := string(entry[4:8])
	name := "encv"
	if format == "mp4a" {
		name = "enca"
	}
	copy(entry[4:], name)
	if scheme != "" {
		tenc := fullBox("tenc", 0, 0, []byte{0, 0, 1, 8}, times("k", 16))
		entry = append(entry, boxed("sinf", boxed("frma", []byte(format)),
			fullBox("schm", 0, 0, []byte(scheme), be32(0x10000)), boxed("schi", tenc))...)
		copy(entry, be32(uint32(len(entry))))
	}
	stsd.set(be32(0, 1), entry)
}
