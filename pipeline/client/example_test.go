package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// The whole life of a video: upload, wait, play. A second run of the program after a crash goes on with the
// upload, and makes no second video.
func Example() {
	server := demo()
	defer server.Close()
	mill := client.New(server.URL, server.Client()) // or client.New("http://localhost:8080", nil)
	film, state, remove := demoFilm()
	defer remove()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	video, err := mill.UploadFile(ctx, film, client.Options{
		State: state, Title: "Cats", Metadata: map[string]string{"owner": "42"},
	})
	if err != nil {
		log.Fatal(err)
	}
	video, err = mill.WaitUntil(ctx, video.ID, client.Playable)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(video.Status, video.PlayURL)
	// Output: ready /play/vid_1/master.m3u8
}

func ExampleClient_Videos() {
	server := demo()
	defer server.Close()
	mill := client.New(server.URL, server.Client())
	for video, err := range mill.Videos(context.Background(), client.ListOptions{Status: pipeline.StateVideoReady}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(video.ID, video.Filename)
	}
	// Output: vid_1 film.mp4
}

func ExampleClient_Events() {
	server := demo()
	defer server.Close()
	mill := client.New(server.URL, server.Client())
	err := mill.Events(context.Background(), "vid_1", 0, func(e client.Event) error {
		fmt.Println(e.Sequence, e.Type)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1 video.uploaded
	// 9 video.ready
}

func ExampleError() {
	server := demo()
	defer server.Close()
	mill := client.New(server.URL, server.Client())
	_, err := mill.Video(context.Background(), "vid_2")
	if refused, ok := errors.AsType[*client.Error](err); ok {
		fmt.Println(refused.Status, refused.Code, refused.Retryable, refused.RequestID)
	}
	fmt.Println(errors.Is(err, pipeline.ErrNotFound))
	// Output:
	// 404 not_found false req_7
	// true
}

// A receiver of webhooks. While the secret of the endpoint is changed, it knows the old and the new one.
func ExampleUnwrap() {
	receiver := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "too large, or cut short", http.StatusBadRequest)
			return
		}
		hook, err := client.Unwrap(body, r.Header, os.Getenv("WEBHOOK_SECRET"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
		switch {
		case errors.Is(err, client.ErrSignature):
			http.Error(w, "not from the server", http.StatusUnauthorized)
		case err != nil:
			http.Error(w, "look at the log", http.StatusInternalServerError)
			log.Print(err)
		case hook.Type == pipeline.VideoReady:
			fmt.Println(hook.ID, "says that", hook.Video.ID, "is ready")
		}
	}
	forged := httptest.NewRequest(http.MethodPost, "/hooks", nil)
	answer := httptest.NewRecorder()
	if err := os.Setenv("WEBHOOK_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"); err != nil {
		log.Fatal(err)
	}
	receiver(answer, forged)
	fmt.Println(answer.Code)
	// Output: 401
}

// demo returns a server with one video.
func demo() *httptest.Server {
	const video = `{"id":"vid_1","status":"ready","playable":true,"filename":"film.mp4","size":4,` +
		`"sha256":"d0607f7ad2628b2af9158dfba06ce87166e66b15bf68f8f358f9aa27ccb7c321","play_url":"/play/vid_1/master.m3u8"}`
	mux := http.NewServeMux()
	answer := func(route string, status int, body string, headers ...string) {
		mux.HandleFunc(route, func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body) // a client that leaves gets nothing
		})
	}
	answer("POST /v1/uploads", 201, `{"id":"upl_1","status":"waiting","video_id":"vid_1","url":"/v1/tus/token"}`)
	answer("HEAD /v1/tus/token", 200, "", "Upload-Offset", "0")
	answer("PATCH /v1/tus/token", 204, "", "Upload-Offset", "4")
	answer("GET /v1/videos/vid_1", 200, video)
	answer("GET /v1/videos", 200, `{"data":[`+video+`],"next_cursor":null}`)
	answer("GET /v1/videos/vid_1/events", 200, "id: 1\nevent: video.uploaded\ndata: {\"type\":\"video.uploaded\"}\n\n"+
		"id: 9\nevent: video.ready\ndata: {\"type\":\"video.ready\"}\n\nevent: end\ndata: {}\n\n", "Content-Type", "text/event-stream")
	answer("GET /v1/videos/vid_2", 404, `{"code":"not_found","title":"Not found","request_id":"req_7"}`)
	return httptest.NewServer(mux)
}

// demoFilm writes a file to upload. It returns its path and one for the state, and removes them.
func demoFilm() (film, state string, remove func()) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	film = filepath.Join(dir, "film.mp4")
	if err := os.WriteFile(film, []byte("film"), 0o600); err != nil {
		log.Fatal(err)
	}
	return film, filepath.Join(dir, "film.state"), func() { _ = os.RemoveAll(dir) }
}
