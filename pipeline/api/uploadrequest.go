package api

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// uploadOrder is what somebody asks for who wants to upload, or to have a source fetched.
type uploadOrder struct {
	own      []string // its fields beside those of every request
	url      string   // of a source to fetch
	filename string
	size     int64 // bytes of the source; 0: not known yet
	method   uploadMethod
	req      request
	tus      map[string]string // metadata as a tus client sent it
	wrong    []error           // fields that cannot be read; checkOrder answers them
}

// uploadFields are the fields of an order beside those of every request.
func uploadFields() []string { return []string{"filename", "method", "size"} }

// bodyField is one that a form has for the video itself, which an order cannot.
const bodyField = "file"

// orderFields returns the names of all fields of an order with its own fields.
func (in *intake) orderFields(own []string) []string {
	others := slices.DeleteFunc(in.fields(), func(f string) bool { return f == bodyField })
	return append(slices.Clone(own), others...)
}

// readOrder reads the JSON body of POST /v1/uploads, or of POST /v1/videos with a URL. own are its fields
// beside those of every request.
func (in *intake) readOrder(w http.ResponseWriter, r *http.Request, own []string) (uploadOrder, error) {
	if media := r.Header.Get("Content-Type"); !isJSON(media) {
		f := failAt("/header/Content-Type", codeMediaType, "Content-Type is %.80q.", printable(media))
		f.remedy = "Send application/json; the bytes of the video come later, to the url of the answer."
		return uploadOrder{}, f
	}
	limit := in.cfg.Limits.MaxMetadata + maxBody
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return uploadOrder{}, fail(codeBodyTooLarge, "The body has more than %d bytes, the limit here.", limit)
	}
	if err != nil {
		return uploadOrder{}, brokenBody(err)
	}
	if tooDeep(raw) {
		return uploadOrder{}, fail(codeFieldTooDeep, "The body has more than %d levels of JSON.", maxDepth)
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil || values == nil {
		return uploadOrder{}, failAt("/body", codeInvalid, "The body is not a JSON object.")
	}
	o := uploadOrder{own: own}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		o.wrong = append(o.wrong, in.takeJSON(&o, name, values[name]))
	}
	return o, nil
}

// isJSON reports whether a Content-Type is JSON. A request without one is taken for it.
func isJSON(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	return slices.Contains([]string{"", "application/json"}, strings.TrimSpace(media))
}

// takeJSON reads one member of the body. null is as if it were left out.
func (in *intake) takeJSON(o *uploadOrder, name string, raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	if known := in.orderFields(o.own); !slices.Contains(known, name) {
		return in.unknownIn(name, known)
	}
	if name == "size" {
		return in.takeSize(o, string(raw))
	}
	var text string
	isText := json.Unmarshal(raw, &text) == nil
	_, steps := in.traits[name]
	if name == "metadata" || steps && !isText {
		return in.takeField(o, name, string(raw))
	}
	if !isText {
		return in.fail(name, codeInvalid, "%s is not a string.", name)
	}
	return in.takeField(o, name, text)
}

// takeField reads a field that came as text.
func (in *intake) takeField(o *uploadOrder, name, text string) error {
	if known := in.orderFields(o.own); !slices.Contains(known, name) {
		return in.unknownIn(name, known)
	}
	if int64(len(text)) > in.limit(name) {
		return in.tooLong(name)
	}
	switch name {
	case "url":
		o.url = text
		return nil
	case "filename":
		o.filename = text
		return nil
	case "method":
		return in.takeMethod(o, text)
	case "size":
		return in.takeSize(o, text)
	}
	return in.parse(&o.req, name, []byte(text))
}

// takeSize reads a number of bytes.
func (in *intake) takeSize(o *uploadOrder, text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(text, "-") {
		n, err = math.MaxInt64, nil
	}
	if err != nil || n < 0 {
		return in.fail("size", codeInvalid, "size is %.40q, not a number of bytes.", printable(text))
	}
	if o.size = n; n == 0 {
		return in.fail("size", codeUploadEmpty, "The file has no bytes.")
	}
	return nil
}

// checkOrder refuses everything that can be refused before the first byte, all at once.
func (in *intake) checkOrder(o uploadOrder) error {
	wrong := o.wrong
	if o.size > in.cfg.Limits.MaxUpload {
		f := in.tooLarge()
		f.pointer = pointer(in.at, "size")
		wrong = append(wrong, f)
	}
	wrong = append(wrong, in.checkToken(o), in.checkFields(o.req))
	doc, err := in.document(o.req)
	if err == nil {
		_, err = in.requested(doc, o.req)
	}
	return joinMistakes(append(wrong, err)...)
}

// ignoredMetadata are keys that tus clients add by themselves, and that say nothing to us.
func ignoredMetadata() []string { return []string{"name", "type", "filetype", "relativePath"} }

// tusOrder reads the metadata of a tus client, and the size that it announces.
func (in *intake) tusOrder(header string, meta map[string]string, size int64, sized bool) (
	uploadOrder, error,
) {
	o := uploadOrder{own: uploadFields(), size: size, filename: meta["name"], tus: meta}
	if sized && size == 0 {
		return o, in.fail("Upload-Length", codeUploadEmpty, "The file has no bytes.")
	}
	for element := range strings.SplitSeq(header, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(element), " ")
		if _, read := meta[name]; name != "" && !read { // tusd drops what it cannot read
			return o, in.fail("Upload-Metadata", codeTusInvalid, "The value of %.40q is not base64.", printable(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		if slices.Contains(ignoredMetadata(), name) {
			continue
		}
		switch name {
		case "size": // for which tus has a header
			return o, in.fail(name, codeFieldUnknown, "tus metadata has no field size; send Upload-Length.")
		case "method":
			return o, in.fail(name, codeFieldUnknown, "tus metadata has no field method; use POST /v1/uploads.")
		}
		o.wrong = append(o.wrong, in.takeField(&o, name, meta[name]))
	}
	return o, nil
}
