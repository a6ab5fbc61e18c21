package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// request sends a request to the API and returns the status and the body of the answer.
func (p *phase) request(ctx context.Context, method, path string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, nil)
	if err != nil {
		return 0, nil, err
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<20))
	return answer.StatusCode, body, err
}

// get asks the API until it answers other than with a server error, for at most 15 seconds.
func (p *phase) get(ctx context.Context, path string, into any) (status int, err error) {
	var body []byte
	for range 30 {
		status, body, err = p.request(ctx, http.MethodGet, path)
		if err == nil && status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
			break
		}
		pause.For(ctx, 500*time.Millisecond)
	}
	if err == nil && status == http.StatusOK {
		err = json.Unmarshal(body, into)
	}
	return status, err
}

// list reads every page of a list of the API.
func list[T any](ctx context.Context, p *phase, path string) (all []T, status int, err error) {
	for cursor := ""; ; {
		var page struct {
			Data []T     `json:"data"`
			Next *string `json:"next_cursor"`
		}
		q := url.Values{}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		if status, err = p.get(ctx, path+"?"+q.Encode(), &page); err != nil || status != http.StatusOK {
			return all, status, err
		}
		all = append(all, page.Data...)
		if page.Next == nil || *page.Next == "" {
			return all, status, nil
		}
		cursor = *page.Next
	}
}

// events reads all events of all videos from the read model's file.
func (p *phase) events(ctx context.Context) (map[string][]pipeline.Event, error) {
	db, err := sql.Open("sqlite", "file:"+p.catalogPath()+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT video, sequence, doc FROM events ORDER BY sequence")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]pipeline.Event{}
	for rows.Next() {
		var video, doc string
		var sequence uint64
		if err := rows.Scan(&video, &sequence, &doc); err != nil {
			return nil, err
		}
		e := pipeline.Event{}
		if err := json.Unmarshal([]byte(doc), &e); err != nil {
			return nil, err
		}
		e.Sequence = sequence
		all[video] = append(all[video], e)
	}
	return all, rows.Err()
}
