package mail

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"unicode"

	"github.com/reelmill/reelmill/pipeline"
)

// content is what a reader sees.
type content struct{ subject, text, html string }

// page is the HTML part. html/template escapes all that comes from users.
const page = `<!doctype html>
<html><head><meta charset="utf-8"><title>{{.Headline}}</title></head>
<body style="font-family: sans-serif; max-width: 36em">
<h2>{{.Headline}}</h2>
{{if .Poster}}<p><img src="cid:poster" alt="" style="max-width: 100%"></p>
{{end}}{{if .Error}}<p>{{.Error}}</p>
{{end}}{{if .Remedy}}<p>{{.Remedy}}</p>
{{end}}{{if .Link}}<p><a href="{{.Link}}">{{.Link}}</a></p>
{{end}}<p style="color: #666">{{range .Facts}}{{.}}<br>
{{end}}</p>
</body></html>
`

// message is what the templates get.
type message struct {
	Headline, Error, Remedy, Link string
	Facts                         []string
	Poster                        bool
}

// verbs say what happened, by type of event. Another type is told by its name.
var verbs = map[pipeline.EventType]string{
	pipeline.VideoUploaded: "is uploaded", pipeline.VideoInspected: "is inspected",
	pipeline.VideoPlayable: "can be played", pipeline.VideoReady: "is ready",
	pipeline.VideoErrored:  "has failed",
	pipeline.VideoRejected: "was refused", pipeline.VideoCanceled: "was canceled",
	pipeline.VideoReopened: "is processed again", pipeline.VideoChanged: "was changed",
	pipeline.VideoDeleted: "was deleted", pipeline.VideoOutputsRequested: "gets more outputs",
	pipeline.VideoOutputsAdded: "has more outputs", pipeline.VideoOutputsFailed: "did not get more outputs",
	pipeline.VideoOutputsReopened: "gets more outputs after all",
	pipeline.VideoHeld:            "has a legal hold",
	pipeline.VideoReleased:        "has no legal hold any more",
	pipeline.VideoSourceDeleted:   "has lost its source, as the retention of the project says",
}

// contentOf writes the message about a report.
func contentOf(r pipeline.Report, poster bool) (content, error) {
	var data struct {
		ID       string            `json:"id"`
		Title    string            `json:"title"`
		Filename string            `json:"filename"`
		PlayURL  string            `json:"play_url"`
		Message  string            `json:"message"`
		Error    *pipeline.Problem `json:"error"`
	}
	if err := json.Unmarshal(r.Data, &data); err != nil {
		return content{}, fmt.Errorf("decode data of %s: %w", r.Type, err)
	}
	name := shortened(oneLine(cmp.Or(data.Title, data.Filename, data.ID)))
	m := message{Headline: string(r.Type), Poster: poster, Error: oneLine(data.Message)}
	if verb, known := verbs[r.Type]; known {
		m.Headline = name + " " + verb
	} else if name != "" {
		m.Headline = string(r.Type) + ": " + name
	}
	if data.Error != nil {
		m.Error = oneLine(data.Error.Title + ": " + data.Error.Detail)
		m.Remedy = oneLine(data.Error.Remedy)
	}
	if strings.HasPrefix(data.PlayURL, "http") { // a path leads nowhere in a mailbox
		m.Link = data.PlayURL
	}
	m.Facts = []string{"event: " + string(r.Type), "time: " + pipeline.Clock(r.Timestamp)}
	for _, fact := range []struct{ label, value string }{{"id", data.ID}, {"file", data.Filename}} {
		if fact.value != "" {
			m.Facts = append(m.Facts, fact.label+": "+oneLine(fact.value))
		}
	}
	t, err := template.New("page").Parse(page)
	if err != nil {
		return content{}, err
	}
	var html bytes.Buffer
	if err := t.Execute(&html, m); err != nil {
		return content{}, fmt.Errorf("write message about %s: %w", r.Type, err)
	}
	// What looks like an encoded word (RFC 2047) would be decoded by the reader's program.
	subject := strings.ReplaceAll(m.Headline, "=?", "= ?")
	return content{subject: subject, text: m.plain(), html: html.String()}, nil
}

// plain returns the text part.
func (m message) plain() string {
	lines := []string{m.Headline, ""}
	for _, line := range []string{m.Error, m.Remedy, m.Link} {
		if line != "" {
			lines = append(lines, line, "")
		}
	}
	return strings.Join(append(lines, m.Facts...), "\r\n") + "\r\n"
}

// oneLine returns a text without what could begin another line or header, or change what a reader sees.
func oneLine(text string) string {
	kept := strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		if !unicode.IsPrint(r) { // control characters, and those that change the direction of writing
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(kept), " ")
}

// maxName is how many characters of a title a headline has.
const maxName = 120

func shortened(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName]) + "..."
	}
	return name
}
