package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// put sends the bytes of an upload; a negative length sends them in chunks.
func (e *env) putContent(path string, body string, chunked bool, headers ...string) (*http.Response, []byte) {
	e.t.Helper()
	var r io.Reader = strings.NewReader(body)
	if chunked {
		r = io.MultiReader(r) // whose length net/http does not know
	}
	return e.do("PUT", path, r, headers...)
}

func TestContent(t *testing.T) {
	for _, order := range []string{`{"size":24}`, `{}`} {
		for _, chunked := range []bool{false, true} {
			e := newEnv(t, nil)
			u := e.ordered(order)
			resp, raw := e.putContent(u.ContentURL, film, chunked)
			v := decode[uploadView](t, raw)
			if resp.StatusCode != 200 || v.Status != uploadCompleted || v.ID != u.ID || v.Offset != 24 || *v.Size != 24 {
				t.Fatalf("%s, chunked %v: %s: %s", order, chunked, resp.Status, raw)
			}
			e.wantFilm(u.Video)
			resp, raw = e.putContent(u.ContentURL, film, chunked) // the answer was lost
			wantAnswer(t, resp, raw, 200, -1)
		}
	}
}

// TestBrokenContent checks that a broken PUT begins anew, or goes on with Content-Range, also by tus.
func TestBrokenContent(t *testing.T) {
	for name, again := range map[string]func(e *env, u uploadView) (*http.Response, []byte){
		"anew": func(e *env, u uploadView) (*http.Response, []byte) { return e.putContent(u.ContentURL, film, false) },
		"on": func(e *env, u uploadView) (*http.Response, []byte) {
			return e.putContent(u.ContentURL, film[10:], false, "Content-Range", "bytes 10-23/24")
		},
		"in ranges": func(e *env, u uploadView) (*http.Response, []byte) {
			resp, raw := e.putContent(u.ContentURL, film[10:20], true, "Content-Range", "bytes 10-19/24")
			wantAnswer(e.t, resp, raw, 200, -1)
			if v := decode[uploadView](e.t, raw); v.Status != uploadUploading || v.Offset != 20 {
				e.t.Errorf("%s", raw)
			}
			return e.putContent(u.ContentURL, film[20:], true, "Content-Range", "bytes 20-23/24")
		},
	} {
		for _, order := range []string{`{"size":24}`, `{}`} {
			e := newEnv(t, nil)
			u := e.ordered(order)
			conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
			must(t, err)
			_, err = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 24\r\n\r\n%s", u.ContentURL, film[:10])
			must(t, errors.Join(err, conn.(*net.TCPConn).CloseWrite()))
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(t, err)
			text, err := io.ReadAll(answer.Body)
			must(t, errors.Join(err, answer.Body.Close(), conn.Close()))
			wantProblem(t, answer, text, codeUploadBroken)
			if v := e.upload(u.ID); v.Offset != 10 {
				t.Fatalf("%s: %+v", name, v)
			}
			resp, raw := again(e, u)
			if v := decode[uploadView](t, raw); resp.StatusCode != 200 || v.Status != uploadCompleted {
				t.Fatalf("%s: %s: %s", name, resp.Status, raw)
			}
			e.wantFilm(u.Video)
		}
	}
}

func TestRefusedContent(t *testing.T) {
	e := newEnv(t, nil)
	u := e.ordered(`{"size":24}`)
	for name, c := range map[string]struct {
		body    string
		chunked bool
		ranged  string
		code    code
	}{
		"empty":           {"", false, "", codeUploadEmpty},
		"short":           {film[1:], false, "", codeUploadLength},
		"short, chunked":  {film[1:], true, "", codeUploadLength},
		"long":            {film + "!", false, "", codeUploadLength},
		"long, chunked":   {film + "!", true, "", codeUploadLength},
		"range":           {film, false, "bytes 5", codeInvalid},
		"range and body":  {film, false, "bytes 0-5/24", codeInvalid},
		"range backwards": {film, true, "bytes 9-5/24", codeInvalid},
		"another total":   {film, false, "bytes 0-23/25", codeUploadLength},
		"a hole":          {film[20:], false, "bytes 20-23/24", codeOffset},
		"huge":            {film, true, "bytes 0-23/99999999", codeUploadTooLarge},
	} {
		resp, raw := e.putContent(u.ContentURL, c.body, c.chunked, "Content-Range", c.ranged)
		if p := wantProblem(t, resp, raw, c.code); p.Code != c.code {
			t.Errorf("%s: %s", name, raw)
		}
		if v := e.upload(u.ID); v.Status.ended() {
			t.Errorf("%s: %+v", name, v)
		}
	}
	resp, raw := e.putContent(u.ContentURL, film, false)
	wantAnswer(t, resp, raw, 200, -1)
	e.wantFilm(u.Video)
	none := e.ordered(`{}`)
	resp, raw = e.putContent(none.ContentURL, film+"!", true, "Content-Range", "bytes 0-23/24")
	wantProblem(t, resp, raw, codeUploadLength)
	if v := e.upload(none.ID); v.Offset != 0 || v.Size != nil {
		t.Errorf("after a byte too many: %+v", v)
	}
	resp, raw = e.putContent(none.ContentURL, strings.Repeat("x", 1<<20+1), true)
	wantProblem(t, resp, raw, codeUploadTooLarge)
	resp, raw = e.putContent(none.ContentURL, "", true)
	wantProblem(t, resp, raw, codeUploadEmpty)
}
