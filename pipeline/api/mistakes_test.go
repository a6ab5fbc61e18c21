package api

import (
	"net/http"
	"strings"
	"testing"
)

func TestInvalidQueries(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	for path, want := range map[string]struct {
		code    code
		pointer string
	}{
		"/v1/videos?limit=0":                        {codeInvalid, "/query/limit"},
		"/v1/videos?limit=x":                        {codeInvalid, "/query/limit"},
		"/v1/videos?status=done":                    {codeInvalid, "/query/status"},
		"/v1/dead_letters?limit=0":                  {codeInvalid, "/query/limit"},
		"/v1/dead_letters?cursor=!":                 {codeCursor, "/query/cursor"},
		"/v1/stats?window=2m":                       {codeInvalid, "/query/window"},
		"/v1/stats?from=yesterday":                  {codeInvalid, "/query/from"},
		"/v1/stats?from=2020-01-01T00:00:00Z":       {codeInvalid, "/query/from"},
		"/v1/videos?stauts=ready":                   {codeInvalid, "/query/stauts"},
		"/v1/videos?cursor=!":                       {codeCursor, "/query/cursor"},
		"/v1/videos/" + id + "?wait=soon":           {codeInvalid, "/query/wait"},
		"/v1/videos/" + id + "?wait=-1s":            {codeInvalid, "/query/wait"},
		"/v1/videos/" + id + "?until=done":          {codeInvalid, "/query/until"},
		"/v1/videos/" + id + "/events?after=x":      {codeInvalid, "/query/after"},
		"/v1/videos/" + id + "/events?cursor=-1":    {codeInvalid, "/query/cursor"},
		"/v1/videos/" + id + "/events?limit=100000": {codeInvalid, "/query/limit"},
		"/v1/videos?limit=1&limit=2":                {codeInvalid, "/query/limit"},
		"/v1/videos?%zz":                            {codeInvalid, "/query"},
		"/v1/videos?limit=1;status=ready":           {codeInvalid, "/query"},
		"/v1/videos?a/b~c=1":                        {codeInvalid, "/query/a~1b~0c"},
		"/v1/stats?to=9999-12-31T23:59:59Z":         {codeInvalid, "/query/from"},
		"/v1/stats?from=9999-12-31T20:00:00-12:00&to=9999-12-31T20:10:00-12:00": {codeInvalid, "/query/from"},
		"/v1/videos/" + id + "?wait=-1":                                         {codeInvalid, "/query/wait"},
		"/v1/videos/" + id + "?wait=NaN":                                        {codeInvalid, "/query/wait"},
		"/v1/videos/" + id + "/events?limit=0":                                  {codeInvalid, "/query/limit"},
	} {
		resp, raw := e.get(path, "Accept", "application/json")
		p := wantProblem(t, resp, raw, want.code)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != want.pointer || p.Errors[0].Detail == "" {
			t.Errorf("%s: errors %+v", path, p.Errors)
		}
	}
}

// TestUnknownNamesAreGuessed: an unknown name in a query or a form is refused, with the known names and a
// guess.
func TestUnknownNamesAreGuessed(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	for _, c := range []struct{ request, pointer, detail string }{
		{"GET /v1/videos?lmit=1", "/query/lmit", `(did you mean "limit"?); the known ones are counts, created_after, ` +
			`created_before, cursor, limit, metadata[key], order, q, status.`},
		{"GET /v1/videos?metadata=a", "/query/metadata", `the known ones are counts`},
		{"GET /v1/videos?metadata[a=b", "/query/metadata[a", `the known ones are counts`},
		{"GET /v1/videos?status=ready,reddy", "/query/status", `"reddy" (did you mean "ready"?)`},
		{"GET /v1/videos?status=reddy", "/query/status", `(did you mean "ready"?); the known ones are canceled, errored`},
		{"GET /v1/videos/" + id + "?wiat=1", "/query/wiat", "the known ones are until, wait."},
		{"GET /v1/videos/" + id + "/events?aftr=1", "/query/aftr", `"after"?); the known ones are after, cursor, limit.`},
		{"GET /v1/videos/" + id + "/outputs?limit=1", "/query/limit", "there are none."},
		{"POST /v1/videos/" + id + "/cancel?why=1", "/query/why", "there are none."},
		{"GET /v1/dead_letters?curser=a", "/query/curser", `(did you mean "cursor"?)`},
		{"GET /v1/stats?windows=1m", "/query/windows", `(did you mean "window"?); the known ones are from, to, window.`},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		resp, raw := e.do(method, path, nil, "Accept", "application/json")
		p := wantProblem(t, resp, raw, codeInvalid)
		if !strings.Contains(p.Detail, c.detail) || len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer {
			t.Errorf("%s: %s", c.request, raw)
		}
	}
	for _, c := range []struct {
		part    part
		code    code
		pointer string
		detail  string
	}{
		{field("piepline", "x"), codeFieldUnknown, "/form/piepline", `(did you mean "pipeline"?); the known ones are file, m`},
		{field("webhook-url", "x"), codeFieldUnknown, "/form/webhook-url", `(did you mean "webhook_url"?)`},
		{field("a/b", "x"), codeFieldUnknown, "/form/a~1b", "the known ones are file, metadata,"},
		{field("", "x"), codeFieldUnknown, "/form", "has no name; the known ones are file, pipeline,"},
		{field("pipeline", "defalt"), codePipelineUnknown, "/form/pipeline", `(did you mean "default"?)`},
		{field("priority", "hihg"), codeInvalid, "/form/priority", "the known ones are bulk, high, normal."},
	} {
		resp, raw := e.post([]part{c.part, file("a.mp4", "meow")})
		p := wantProblem(t, resp, raw, c.code)
		if !strings.Contains(p.Detail, c.detail) || len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer {
			t.Errorf("%s=%v: %s", c.part.name, c.part.body, raw)
		}
	}
}

// TestEveryMistakeIsAnswered: who sends JSON with several mistakes gets all of them at once, each part once.
func TestEveryMistakeIsAnswered(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	long := strings.Repeat("x", 513)
	for _, c := range []struct {
		method, path, body string
		code               code // of the first
		pointers           string
	}{
		{"POST", "/v1/uploads", `{"size":-1,"titel":"a","priority":"hihg","title":"` + long + `"}`, codeInvalid,
			"/body/size /body/titel /body/priority /body/title"},
		{"POST", "/v1/uploads", `{"pipeline":"defalt","metadata":[],"passthrough":1}`, codeMetadata,
			"/body/metadata /body/passthrough /body/pipeline"},
		{"POST", "/v1/videos", `{"url":1,"priority":"hihg","webhook_url":"gopher://x"}`, codeInvalid,
			"/body/url /body/priority /body/webhook_url"},
		{"POST", "/v1/videos", `{"titel":"a"}`, codeFieldUnknown, "/body/titel /body/url"},
		{"PATCH", "/v1/videos/" + id, `{"titel":"a","metadata":1,"title":2}`, codeMetadata,
			"/body/metadata /body/titel /body/title"},
		{"PATCH", "/v1/videos/" + id, `{"title":"` + long + `","passthrough":"` + strings.Repeat("x", maxPassthrough+1) + `"}`,
			codeFieldTooLarge, "/body/title /body/passthrough"},
	} {
		resp, raw := e.do(c.method, c.path, strings.NewReader(c.body), "Content-Type", "application/json")
		p := decode[problemDocument](t, raw)
		var pointers []string
		for _, wrong := range p.Errors {
			pointers = append(pointers, wrong.Pointer)
			if wrong.Detail == "" || wrong.Code == "" || !strings.Contains(p.Detail, wrong.Detail) {
				t.Errorf("%s %s %.60s: %+v is not said in %q", c.method, c.path, c.body, wrong, p.Detail)
			}
		}
		if got := strings.Join(pointers, " "); got != c.pointers || p.Code != c.code || p.Remedy != codes[codeInvalid].remedy {
			t.Errorf("%s %s %.60s: %s, %s", c.method, c.path, c.body, resp.Status, raw)
		}
	}
}

// TestQueryOfAnUploadIsRefused: a client that puts the pipeline into the address expects it to count.
func TestQueryOfAnUploadIsRefused(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := e.do("POST", "/v1/videos?pipeline=default", strings.NewReader(""), "Content-Type", "multipart/form-data; boundary=b")
	p := wantProblem(t, resp, raw, codeInvalid)
	if p.Remedy != "Send it as a field of the form." || p.Errors[0].Pointer != "/query/pipeline" {
		t.Errorf("%s", raw)
	}
}

func TestUploadNotAForm(t *testing.T) {
	e := newEnv(t, nil)
	for _, c := range []struct {
		ct, body string
		want     code
	}{
		{"application/x-json", "{}", codeMediaType},
		{"", "x", codeMediaType},
		{"multipart/form-data", "x", codeUploadMalformed},
		{"multipart/form-data; boundary=b", "--b\r\nno header\r\n\r\n", codeUploadMalformed},
		{"multipart/form-data; boundary=b", "nothing", codeUploadMalformed},
		{"multipart/form-data; boundary=b", partHead + "half of it", codeUploadBroken},
	} {
		resp, raw := e.do("POST", "/v1/videos", strings.NewReader(c.body), "Content-Type", c.ct)
		wantProblem(t, resp, raw, c.want)
	}
	resp, raw := e.post([]part{file("a", "b")}, "Idempotency-Key", strings.Repeat("k", 256))
	wantProblem(t, resp, raw, codeInvalid)
}

// A form that ends too early, or holds something that is no part, is the sender's mistake wherever that
// happens, and never the store's.
func TestUploadOfABrokenFormIsTheClientsFault(t *testing.T) {
	e := newEnv(t, nil)
	const image = "--b\r\nContent-Disposition: form-data; name=\"watermark\"; filename=\"a.png\"\r\n\r\n"
	const field = "--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n"
	for name, body := range map[string]string{
		"in the file":                  partHead + strings.Repeat("half of it ", 10_000),
		"before the file's first byte": partHead,
		"within the last boundary":     partHead + "all of it\r\n--b",
		"before the last boundary":     partHead + "all of it\r\n",
		"in a field":                   field + `{"a":`,
		"in a field behind the file":   partHead + "all of it\r\n" + field + `{"a":`,
		"in an image":                  image + "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 10_000),
		"at the head of an image":      image + "\x89PN",
		"in a part's header":           partHead + "all of it\r\n--b\r\nContent-Dispo",
		"a header that is none":        partHead + "all of it\r\n--b\r\nnonsense\r\n\r\n",
	} {
		resp, raw := e.do("POST", "/v1/videos", strings.NewReader(body),
			"Content-Type", "multipart/form-data; boundary=b")
		p := decode[problemDocument](t, raw)
		if resp.StatusCode != http.StatusBadRequest || p.Code != codeUploadBroken && p.Code != codeUploadMalformed {
			t.Errorf("%s: %s %s: %s", name, resp.Status, p.Code, p.Detail)
		}
	}
	equal(t, "objects", e.objects())
}

// TestMistakesInAFormAreTheClients: each mistake gets a 4xx with a code and a remedy, and leaves nothing
// behind.
func TestMistakesInAFormAreTheClients(t *testing.T) {
	e := newEnv(t, nil)
	head := "--b\r\nContent-Disposition: form-data; name="
	whole := head + `"file"; filename="a.mp4"` + "\r\n\r\nmeow\r\n--b--\r\n"
	for _, c := range []struct {
		name, contentType, body string
		want                    code
	}{
		{"no type", "", whole, codeMediaType},
		{"JSON without a URL", "application/json", "{}", codeInvalid},
		{"a form of the other kind", "application/x-www-form-urlencoded", "file=a", codeMediaType},
		{"the file alone", "video/mp4", "meow", codeMediaType},
		{"another multipart", "multipart/mixed; boundary=b", whole, codeMediaType},
		{"no boundary", "multipart/form-data", whole, codeUploadMalformed},
		{"an empty boundary", "multipart/form-data; boundary=", whole, codeUploadMalformed},
		{"a boundary without a value", "multipart/form-data; boundary", whole, codeUploadMalformed},
		{"another boundary", "multipart/form-data; boundary=c", whole, codeUploadMalformed},
		{"no body", "multipart/form-data; boundary=b", "", codeUploadMalformed},
		{"no form", "multipart/form-data; boundary=b", "{}", codeUploadMalformed},
		{"no parts", "multipart/form-data; boundary=b", "--b--\r\n", codeUploadFile},
		{"no disposition", "multipart/form-data; boundary=b", "--b\r\n\r\nmeow\r\n--b--\r\n", codeFieldUnknown},
		{"many headers", "multipart/form-data; boundary=b", "--b\r\n" + strings.Repeat("A: b\r\n", 20_000) + whole,
			codePartHeader},
		{"a long header, and no name", "multipart/form-data; boundary=b",
			"--b\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n" + whole, codePartHeader},
		{"an empty file", "multipart/form-data; boundary=b", head + `"file"; filename="a"` + "\r\n\r\n\r\n--b--\r\n",
			codeUploadEmpty},
		{"a huge field", "multipart/form-data; boundary=b", head + `"priority"` + "\r\n\r\n" + strings.Repeat("a", 1<<20) +
			"\r\n" + whole, codeFieldTooLarge},
		{"a field twice", "multipart/form-data; boundary=b", strings.Repeat(head+`"passthrough"`+"\r\n\r\na\r\n", 2) + whole,
			codeFieldRepeated},
		{"a file twice", "multipart/form-data; boundary=b", strings.TrimSuffix(whole, "--b--\r\n") + whole, codeFieldRepeated},
		{"deep metadata", "multipart/form-data; boundary=b", head + `"metadata"` + "\r\n\r\n" + strings.Repeat("[", 60_000) +
			"\r\n" + whole, codeFieldTooDeep},
		{"numbers in metadata", "multipart/form-data; boundary=b", head + `"metadata"` + "\r\n\r\n{\"a\":1}\r\n" + whole,
			codeMetadata},
	} {
		resp, raw := e.do("POST", "/v1/videos", strings.NewReader(c.body), "Content-Type", c.contentType)
		if p := decode[problemDocument](t, raw); p.Code != c.want || resp.StatusCode/100 != 4 {
			t.Errorf("%s: %s: %s", c.name, resp.Status, raw)
			continue
		}
		if p := wantProblem(t, resp, raw, c.want); p.Retryable {
			t.Errorf("%s: it is to be tried again", c.name)
		}
	}
	equal(t, "objects", e.objects())
}
