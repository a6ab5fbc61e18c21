package api

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestTusCreation checks an upload that a client of tus creates itself, with its first bytes.
func TestTusCreation(t *testing.T) {
	for _, path := range []string{"/v1/tus", "/v1/tus/"} {
		e := newEnv(t, nil)
		meta := "filename " + b64("cat.mp4") + ",pipeline " + b64("default") + ",metadata " + b64(`{"a":"b"}`) +
			",watermark " + b64("text:x") + ",filetype " + b64("video/mp4")
		resp, raw := e.tus("POST", path, film[:10], "Upload-Length", "24", "Upload-Metadata", meta)
		wantAnswer(t, resp, raw, 201, 10)
		url := resp.Header.Get("Location")
		if !strings.HasPrefix(url, "/v1/tus/default.upl_") || resp.Header.Get("Upload-Expires") == "" ||
			resp.Header.Get("Tus-Resumable") != tusVersion {
			t.Fatalf("%s: %v", path, resp.Header)
		}
		resp, raw = e.tus("HEAD", url, "")
		wantAnswer(t, resp, raw, 200, 10)
		if !sameMetadata(resp.Header.Get("Upload-Metadata"), meta) || resp.Header.Get("Cache-Control") != "no-store" ||
			resp.Header.Get("Upload-Expires") == "" {
			t.Errorf("HEAD: %v", resp.Header)
		}
		resp, raw = e.patch(url, 10, film[10:])
		wantAnswer(t, resp, raw, 204, 24)
		u := read[list[uploadView]](e, "/v1/uploads").Data[0]
		if v := e.wantFilm(u.Video); v.Filename != "cat.mp4" || v.Metadata["a"] != "b" {
			t.Errorf("%+v", v)
		}
	}
}

// sameMetadata compares two lists of which the order does not matter.
func sameMetadata(a, b string) bool {
	as, bs := strings.Split(a, ","), strings.Split(b, ",")
	slices.Sort(as)
	slices.Sort(bs)
	return slices.Equal(as, bs)
}

// TestTusWhole checks an upload in one request.
func TestTusWhole(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := e.tus("POST", "/v1/tus", film, "Upload-Length", "24")
	wantAnswer(t, resp, raw, 201, 24)
	e.wantFilm(read[list[uploadView]](e, "/v1/uploads").Data[0].Video)
}

// TestTusLengthLater checks an upload whose length the client learns last.
func TestTusLengthLater(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := e.tus("POST", "/v1/tus", "", "Upload-Defer-Length", "1")
	wantAnswer(t, resp, raw, 201, -1)
	url := resp.Header.Get("Location")
	resp, raw = e.patch(url, 0, film[:10])
	wantAnswer(t, resp, raw, 204, 10)
	resp, raw = e.tus("HEAD", url, "")
	wantAnswer(t, resp, raw, 200, 10)
	if resp.Header.Get("Upload-Defer-Length") != "1" {
		t.Errorf("HEAD: %v", resp.Header)
	}
	resp, raw = e.patch(url, 10, film[10:], "Upload-Length", "24")
	wantAnswer(t, resp, raw, 204, 24)
	e.wantFilm(read[list[uploadView]](e, "/v1/uploads").Data[0].Video)
}

// TestTusTellsTheTruth checks what OPTIONS announces; other tests use each extension.
func TestTusTellsTheTruth(t *testing.T) {
	e := newEnv(t, nil)
	u := e.ordered(`{"size":24}`)
	for _, path := range []string{"/v1/tus", "/v1/tus/", u.URL} {
		resp, raw := e.do("OPTIONS", path, nil)
		wantAnswer(t, resp, raw, 200, -1)
		for name, want := range map[string]string{
			"Tus-Version": "1.0.0", "Tus-Max-Size": "1048576", "Tus-Checksum-Algorithm": "sha1,sha256,md5",
			"Tus-Extension": "creation,creation-with-upload,termination,creation-defer-length,expiration,checksum",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestTusRefusals(t *testing.T) {
	e := newEnv(t, nil)
	u := e.ordered(`{"size":24}`)
	resp, raw := e.patch(u.URL, 0, film, "Tus-Resumable", "0.2.2")
	wantProblem(t, resp, raw, codeTusVersion)
	if resp.Header.Get("Tus-Version") != tusVersion {
		t.Errorf("Tus-Version %q", resp.Header.Get("Tus-Version"))
	}
	resp, raw = e.patch(u.URL, 0, film, "Content-Type", "text/plain")
	wantProblem(t, resp, raw, codeMediaType)
	resp, raw = e.patch(u.URL, 0, film, "Upload-Offset", "x")
	wantProblem(t, resp, raw, codeTusInvalid)
	resp, raw = e.patch(u.URL, 0, film+"!")
	wantProblem(t, resp, raw, codeUploadLength)
	resp, raw = e.tus("POST", "/v1/tus", "")
	wantProblem(t, resp, raw, codeTusInvalid)
	resp, raw = e.get(u.URL)
	wantProblem(t, resp, raw, codeMethod)
	resp, raw = e.do("POST", u.URL, nil)
	wantProblem(t, resp, raw, codeMethod)
	if allow := resp.Header.Get("Allow"); !strings.Contains(allow, "PATCH") {
		t.Errorf("Allow %q", allow)
	}
	resp, raw = e.tus("POST", "/v1/tus", "", "Upload-Length", "5", "X-HTTP-Method-Override", "PATCH")
	wantProblem(t, resp, raw, codeMethod)
	resp, raw = e.patch(u.URL+"?x=y", 0, film)
	wantProblem(t, resp, raw, codeInvalid)
	if v := e.upload(u.ID); v.Offset != 0 {
		t.Errorf("%d bytes are kept", v.Offset)
	}
}

// TestChecksums checks that bytes with another checksum are refused, and none of them is kept.
func TestChecksums(t *testing.T) {
	s1, s256, m5 := sha1.Sum([]byte(film)), sha256.Sum256([]byte(film)), md5.Sum([]byte(film))
	for name, sum := range map[string][]byte{"sha1": s1[:], "sha256": s256[:], "md5": m5[:]} {
		e := newEnv(t, nil)
		u := e.ordered(`{"size":24}`)
		checksum := name + " " + base64.StdEncoding.EncodeToString(sum)
		resp, raw := e.patch(u.URL, 0, "A"+film[1:], "Upload-Checksum", checksum)
		wantProblem(t, resp, raw, codeChecksum)
		resp, raw = e.tus("HEAD", u.URL, "")
		wantAnswer(t, resp, raw, 200, 0)
		resp, raw = e.patch(u.URL, 0, film, "Upload-Checksum", checksum)
		wantAnswer(t, resp, raw, 204, 24)
		e.wantFilm(u.Video)
	}
	e := newEnv(t, nil)
	u := e.ordered(`{"size":24}`)
	for _, bad := range []string{"crc32 AAAA", "sha1", "sha1 ?", "sha1 AAAA"} {
		resp, raw := e.patch(u.URL, 0, film, "Upload-Checksum", bad)
		wantProblem(t, resp, raw, codeTusInvalid)
	}
}

// TestPagesAndUploads checks what a web page of another site may do: send bytes to the URL of an upload, which
// has a token, and nothing else, whatever method a header names.
func TestPagesAndUploads(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Origins = []string{"https://ours.example"} })
	foreign := []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}
	ours := []string{"Origin", "https://ours.example", "Sec-Fetch-Site", "cross-site"}
	u := e.ordered(`{"size":24}`)
	asked := "tus-resumable,upload-offset,upload-length,upload-metadata,upload-checksum,content-type"
	preflight := func(path, method string, page []string) *http.Response {
		resp, _ := e.do("OPTIONS", path, nil, append([]string{
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", asked,
		}, page...)...)
		return resp
	}
	for _, path := range []string{u.URL, u.ContentURL} {
		resp := preflight(path, "PATCH", foreign)
		allowed := strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers"))
		for name := range strings.SplitSeq(asked, ",") {
			if !strings.Contains(allowed, name) {
				t.Errorf("%s: a page may not send %s", path, name)
			}
		}
		if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "*" ||
			!strings.Contains(resp.Header.Get("Access-Control-Allow-Methods"), "PATCH") ||
			resp.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
	resp, raw := e.patch(u.URL, 0, film[:5], foreign...)
	wantAnswer(t, resp, raw, 204, 5)
	if !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), "Upload-Offset") {
		t.Errorf("%v", resp.Header)
	}
	resp, raw = e.tus("POST", u.URL, film[5:], append(foreign, "X-HTTP-Method-Override", "PATCH", "Upload-Offset", "5")...)
	wantAnswer(t, resp, raw, 204, 24)
	e.wantFilm(u.Video)

	if resp := preflight("/v1/tus", "POST", ours); resp.StatusCode != 204 ||
		!strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Upload-Length") {
		t.Errorf("%s: %v", resp.Status, resp.Header)
	}
	resp, raw = e.tus("POST", "/v1/tus", "", append(ours, "Upload-Length", "24")...)
	wantAnswer(t, resp, raw, 201, -1)
	second := e.ordered(`{"size":24}`)
	before := e.objects()
	for _, try := range [][2]string{
		{"POST", "/v1/tus"}, {"POST", "/v1/uploads"}, {"POST", "/v1/uploads/" + second.ID + "/cancel"},
		{"PUT", "/v1/uploads/" + second.ID + "/content"}, {"PATCH", "/v1/tus/" + second.ID},
		{"POST", "/v1/tus/x.y"}, {"DELETE", "/v1/videos/" + u.Video},
	} {
		resp, raw := e.tus(try[0], try[1], "", append(foreign, "Upload-Length", "24")...)
		wantProblem(t, resp, raw, codeCrossOrigin)
		if resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%v: %v", try, resp.Header)
		}
	}
	for _, path := range []string{"/v1/tus", "/v1/videos/" + u.Video, second.URL} { // a GET passes the guard
		resp, raw := e.tus("GET", path, "", append(foreign, "X-HTTP-Method-Override", "DELETE", "Upload-Length", "24")...)
		if resp.StatusCode < 400 && resp.StatusCode != 200 {
			t.Errorf("GET %s: %s: %s", path, resp.Status, raw)
		}
	}
	equal(t, "objects", e.objects(), before...)
	if v := e.upload(second.ID); v.Status != uploadWaiting {
		t.Errorf("%+v", v)
	}
	resp, raw = e.patch(second.URL, 0, film, "Host", "rebound.example")
	wantProblem(t, resp, raw, codeHostUnknown)
}

// begin sends the header of a PATCH that announces length bytes, and the first of them.
func (e *env) begin(path string, offset, length int, first string) net.Conn {
	e.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	must(e.t, err)
	e.t.Cleanup(func() { conn.Close() })
	_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\n"+
		"Upload-Offset: %d\r\nContent-Length: %d\r\n\r\n%s", path, tusBytes, offset, length, first)
	must(e.t, err)
	return conn
}

// TestTheLaterRequestWins checks that a request for an upload ends one that still waits for bytes, and finds
// all bytes that this one got.
func TestTheLaterRequestWins(t *testing.T) {
	e := newEnv(t, nil)
	u := e.ordered(`{"size":24}`)
	conn := e.begin(u.URL, 0, 24, film[:10])
	for unlock := func() {}; unlock != nil; unlock = e.api.s.locks.try(u.ID) { // until the request has it
		unlock()
		runtime.Gosched()
	}
	resp, raw := e.tus("HEAD", u.URL, "")
	if resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	text, err := io.ReadAll(answer.Body)
	must(t, errors.Join(err, answer.Body.Close()))
	wantProblem(t, answer, text, codeUploadBusy)
	offset := 0
	fmt.Sscan(resp.Header.Get("Upload-Offset"), &offset)
	resp, raw = e.patch(u.URL, offset, film[offset:])
	wantAnswer(t, resp, raw, 204, 24)
	e.wantFilm(u.Video)
}

// TestSlowPieces checks that a PATCH obeys the limits of every upload.
func TestSlowPieces(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.UploadIdle, c.Limits.UploadSlack = 50*time.Millisecond, time.Hour })
	u := e.ordered(`{"size":24}`)
	conn := e.begin(u.URL, 0, 24, film[:10])
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	text, err := io.ReadAll(answer.Body)
	must(t, errors.Join(err, answer.Body.Close()))
	wantProblem(t, answer, text, codeUploadTimeout)
	resp, raw := e.tus("HEAD", u.URL, "")
	wantAnswer(t, resp, raw, 200, 10)

	e = newEnv(t, func(c *Config) { c.Limits.MaxOpenUploads, c.Limits.MaxClientUploads = 2, 1 })
	u = e.ordered(`{"size":24}`)
	leave, _ := e.api.s.uploads.enter(netip.MustParsePrefix("127.0.0.1/32"))
	defer leave()
	resp, raw = e.patch(u.URL, 0, film)
	wantProblem(t, resp, raw, codeClientUploads)
	resp, raw = e.do("PUT", u.ContentURL, strings.NewReader(film))
	wantProblem(t, resp, raw, codeClientUploads)
}

// TestCutAnywhere cuts connections at random bytes of the body. The client goes on from the offset that the
// server tells, and the source is the same to the byte.
func TestCutAnywhere(t *testing.T) {
	e := newEnv(t, nil)
	cuts := 30
	if pipelinetest.Whole() {
		cuts = 1000
	}
	for cuts > 0 {
		u := e.ordered(`{"size":24}`)
		offset := 0
		for offset < len(film) {
			n := rand.IntN(len(film) - offset + 1)
			conn := e.begin(u.URL, offset, len(film)-offset, film[offset:offset+n])
			cuts--
			for len(e.served) > 0 { // else the server waits for somebody who reads it
				<-e.served
			}
			conn.Close()
			resp, raw := e.tus("HEAD", u.URL, "")
			if resp.StatusCode != 200 {
				t.Fatalf("%s: %s", resp.Status, raw)
			}
			was := offset // a request that was cut may be read after HEAD, and then counts later
			if fmt.Sscan(resp.Header.Get("Upload-Offset"), &offset); offset < was || offset > len(film) {
				t.Fatalf("offset %d after %d", offset, was)
			}
		}
		e.wantFilm(u.Video)
	}
}

func FuzzToken(f *testing.F) {
	f.Add("/v1/tus/default.upl_01.AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("/v1/uploads/default.upl_01.AAAAAAAAAAAAAAAAAAAAAA/content")
	f.Add("/v1/tus/../videos/x")
	f.Fuzz(func(t *testing.T, path string) {
		token, ok := tokenIn(path)
		if !ok {
			return
		}
		if !pipeline.ValidName(token.project) || !pipeline.ValidName(token.id) || strings.Contains(token.secret, "/") {
			t.Errorf("%q has the token %+v", path, token)
		}
		if again := strings.TrimSuffix(path[strings.LastIndex(strings.TrimSuffix(path, "/content"), "/")+1:], "/content"); again != token.String() {
			t.Errorf("%q has the token %s", path, token)
		}
		if strings.Contains(shownPath(path), token.secret) && !strings.Contains(strings.Replace(path, token.secret, "", 1), token.secret) {
			t.Errorf("the log shows %s", shownPath(path))
		}
	})
}
