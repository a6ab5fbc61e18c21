package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/s3"
	"github.com/reelmill/reelmill/storage/s3/s3test"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		os.Exit(child(config))
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	config := s3test.StartGateway(t)
	config.PartSize = 5 << 20 // so that the suite's larger objects take more than one part
	var stores atomic.Int32
	storagetest.Run(t, func(t *testing.T) storage.Store {
		config := config
		config.Prefix = fmt.Sprintf("test/%d", stores.Add(1))
		return open(t, config)
	})
}

// open opens a store and closes it with the test.
func open(t *testing.T, c s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s storage.Store, key, body string) {
	t.Helper()
	if _, err := s.Put(context.Background(), key, strings.NewReader(body), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// get reads the whole object, or returns the error.
func get(s storage.Store, key string) (string, error) {
	r, _, err := s.Get(context.Background(), key, storage.Range{})
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

func TestOpen(t *testing.T) {
	good := s3test.StartGateway(t)
	open(t, good) // creates the bucket
	for _, c := range []struct {
		name   string
		change func(*s3.Config)
		want   string
	}{
		{"bucket", func(c *s3.Config) { c.Bucket, c.CreateBucket = "missing", false }, "add create_bucket=true to the address of the store"},
		{"secret", func(c *s3.Config) { c.SecretKey = secret.New("wrong") }, "check the access key"},
		{"access", func(c *s3.Config) { c.AccessKey = secret.New("nobody") }, "check the access key"},
		{"no secret", func(c *s3.Config) { c.SecretKey = secret.Text{} }, "set both in the environment"},
		{"bucket name", func(c *s3.Config) { c.Bucket = "No Bucket" }, "bucket"},
		{"endpoint", func(c *s3.Config) { c.Endpoint = "localhost:9000" }, "endpoint"},
		{"prefix", func(c *s3.Config) { c.Prefix = "../x" }, "prefix"},
		{"part size", func(c *s3.Config) { c.PartSize = 1 }, "part size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := good
			c.change(&config)
			_, err := s3.Open(context.Background(), config)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that says %q", err, c.want)
			}
			if key := good.SecretKey.Reveal(); err != nil && strings.Contains(err.Error(), key) {
				t.Errorf("%v reveals the secret", err)
			}
		})
	}
}

// TestOpenSilent opens a store on a port where nobody listens: the end of the context ends the retries.
func TestOpenSilent(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := s3.Open(ctx, s3.Config{
		Endpoint: "http://127.0.0.1:1", Bucket: "reelmill", AccessKey: secret.New("a"), SecretKey: secret.New("b"),
	})
	if err == nil || !strings.Contains(err.Error(), "check the endpoint") {
		t.Errorf("got %v", err)
	}
}

// TestPrefix uses several stores in one bucket; one's prefix contains the others'.
func TestPrefix(t *testing.T) {
	config := s3test.StartGateway(t)
	all := open(t, config)
	config.Prefix = "a"
	a := open(t, config)
	config.Prefix = "ab"
	ab := open(t, config)
	put(t, a, "v/x.bin", "in a")
	put(t, ab, "v/x.bin", "in ab")
	if _, err := storage.DeletePrefix(context.Background(), a, "v/"); err != nil {
		t.Fatal(err)
	}
	if body, err := get(all, "ab/v/x.bin"); body != "in ab" {
		t.Errorf("the other store's object: %q, %v", body, err)
	}
	for info, err := range all.List(context.Background(), "") {
		if err != nil || info.Key != "ab/v/x.bin" {
			t.Errorf("bucket holds %s, %v", info.Key, err)
		}
	}
}

func TestContentTypeIsKept(t *testing.T) {
	s := open(t, small(s3test.StartGateway(t)))
	for _, size := range []int{10, 6 << 20} {
		body := strings.NewReader(strings.Repeat("x", size))
		o := storage.PutOptions{ContentType: "video/x-test"}
		if _, err := s.Put(context.Background(), "v/x.bin", body, o); err != nil {
			t.Fatal(err)
		}
		info, err := s.Stat(context.Background(), "v/x.bin")
		if err != nil || info.ContentType != o.ContentType {
			t.Errorf("%d bytes: %q, %v", size, info.ContentType, err)
		}
	}
}

// small makes parts small enough for a test to need several.
func small(c s3.Config) s3.Config {
	c.PartSize = 5 << 20
	return c
}

func TestPresign(t *testing.T) {
	config := s3test.StartGateway(t)
	public := "http://localhost:" + config.Endpoint[strings.LastIndexByte(config.Endpoint, ':')+1:]
	config.PublicEndpoint = public
	s := open(t, config)
	ctx := context.Background()
	link, err := s.PresignPut(ctx, "v/up.bin", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(link, public+"/") {
		t.Errorf("%s is not below the public endpoint %s", link, public)
	}
	if status, body := do(t, http.MethodPut, link, "by a browser"); status != http.StatusOK {
		t.Errorf("put: %d %s", status, body)
	}
	if link, err = s.PresignGet(ctx, "v/up.bin", time.Minute); err != nil {
		t.Fatal(err)
	}
	if status, body := do(t, http.MethodGet, link, ""); status != http.StatusOK || body != "by a browser" {
		t.Errorf("get: %d %s", status, body)
	}
	if status, body := do(t, http.MethodPut, link, "abuse"); status != http.StatusForbidden {
		t.Errorf("put with the link of a get: %d %s", status, body)
	}
	if status, _ := do(t, http.MethodGet, strings.Replace(link, "up.bin", "x.bin", 1), ""); status != http.StatusForbidden {
		t.Errorf("get of another key: %d", status)
	}
	for _, ttl := range []time.Duration{0, -time.Second, time.Millisecond, 8 * 24 * time.Hour} {
		if link, err := s.PresignGet(ctx, "v/up.bin", ttl); err == nil {
			t.Errorf("life of %s: %s", ttl, link)
		}
	}
}

// do makes a request without credentials.
func do(t *testing.T, method, link, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequest(method, link, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

// TestReclaim leaves an upload unfinished, as a killed process does.
func TestReclaim(t *testing.T) {
	config := s3test.StartGateway(t)
	config.Prefix = "p"
	s := open(t, config)
	u, err := url.Parse(config.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:     credentials.NewStaticV4(config.AccessKey.Reveal(), config.SecretKey.Reveal(), ""),
		Region:    s3.DefaultRegion,
		Transport: &http.Transport{DisableKeepAlives: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, core := context.Background(), minio.Core{Client: client}
	for _, key := range []string{"p/v/dead.bin", "other/v/x.bin"} {
		if _, err := core.NewMultipartUpload(ctx, config.Bucket, key, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Reclaim(ctx, time.Hour); n != 0 || err != nil {
		t.Errorf("reclaim of uploads an hour old: %d, %v", n, err)
	}
	if n, err := s.Reclaim(ctx, 0); n != 1 || err != nil {
		t.Errorf("of all: %d, %v; want 1", n, err)
	}
	if n, err := s.Reclaim(ctx, 0); n != 0 || err != nil {
		t.Errorf("again: %d, %v; want 0", n, err)
	}
}
