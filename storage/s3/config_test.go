package s3

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/storage"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]Config{
		"s3://bucket":                           {Bucket: "bucket"},
		"s3://bucket/":                          {Bucket: "bucket"},
		"s3://bucket/a/b/":                      {Bucket: "bucket", Prefix: "a/b"},
		"s3://b.c-d?region=eu-central-1":        {Bucket: "b.c-d", Region: "eu-central-1"},
		"s3://bucket?part_size=8388608":         {Bucket: "bucket", PartSize: 8 << 20},
		"s3://bucket?endpoint=https%3A%2F%2Fs3": {Bucket: "bucket", Endpoint: "https://s3"},
		"s3://bucket/p?endpoint=http://127.0.0.1:9000&region=us-east-1&path_style=true&create_bucket=1" +
			"&public_endpoint=https://cdn.example": {
			Bucket: "bucket", Prefix: "p", Endpoint: "http://127.0.0.1:9000", Region: "us-east-1",
			PathStyle: true, CreateBucket: true, PublicEndpoint: "https://cdn.example",
		},
	} {
		got, err := ParseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for raw, want := range map[string]string{
		"":                 "scheme",
		"bucket":           "scheme",
		"http://bucket":    "scheme",
		"s3:bucket":        "want s3://",
		"s3://":            "bucket",
		"s3://Bucket_1":    "bucket",
		"s3://bucket/../x": "prefix",
		"s3://bucket/" + strings.Repeat("a/", 200): "prefix",
		"s3://key:hunter2@bucket":                  "credentials",
		"s3://bucket#x":                            "want s3://",
		"s3://bucket?secret_key=hunter2":           "unknown",
		"s3://bucket?region=a&region=b":            "2 times",
		"s3://bucket?region=a%20b":                 "region",
		"s3://bucket?path_style=maybe":             "path_style",
		"s3://bucket?part_size=1":                  "part size",
		"s3://bucket?part_size=x":                  "part_size",
		"s3://bucket?endpoint=127.0.0.1:9000":      "endpoint",
		"s3://bucket?endpoint=http://a/b":          "endpoint",
		"s3://bucket?endpoint=http://x:hunter2@a":  "endpoint",
		"s3://bucket?public_endpoint=ftp://a":      "public endpoint",
		"s3://bucket?a;b":                          "parameters",
		"s3://key:hunter2@bucket/%zz":              "parse",
		"s3://key:hunter2@buc ket/":                "parse",
	} {
		got, err := ParseURL(raw)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want an error that says %q", raw, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v reveals the secret", raw, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1&path_style=true")
	f.Add("s3://key:secret@bucket/..?part_size=-1#x")
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := ParseURL(raw)
		if err != nil {
			return
		}
		if !c.SecretKey.Empty() || !c.AccessKey.Empty() || !c.SessionToken.Empty() {
			t.Errorf("%q gave credentials", raw)
		}
		if c.Bucket == "" || c.Prefix != "" && storage.ValidKey(c.Prefix) != nil {
			t.Errorf("%q gave bucket %q, prefix %q", raw, c.Bucket, c.Prefix)
		}
		c.AccessKey, c.SecretKey = secret.New("a"), secret.New("b")
		c = c.withDefaults()
		if err := c.validate(); err != nil {
			t.Errorf("%q was accepted, but: %v", raw, err)
		}
		if _, err := newClient(c, c.Endpoint); err != nil {
			t.Errorf("%q gave endpoint %q: %v", raw, c.Endpoint, err)
		}
	})
}

func TestSecret(t *testing.T) {
	c := Config{AccessKey: secret.New("hunter2"), SecretKey: secret.New("hunter2"), SessionToken: secret.New("hunter2")}
	var out strings.Builder
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		fmt.Fprintf(&out, format+"\n", c)
		fmt.Fprintf(&out, format+"\n", &c)
		fmt.Fprintf(&out, format+"\n", c.SecretKey)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", c.SecretKey, "config", c)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", c.SecretKey, "config", c)
	for _, leak := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2")} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%s is in\n%s", leak, &out)
		}
	}
}

func TestPartSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Config{PartSize: rapid.Int64Range(minPartSize, maxPartSize).Draw(t, "part size")}
		size := rapid.Int64Range(-1, 5<<40).Draw(t, "size")
		got := c.partSizeFor(size)
		if got < c.PartSize || got > maxPartSize {
			t.Errorf("parts of %d bytes", got)
		}
		if size > got*maxParts {
			t.Errorf("an object of %d bytes needs more than %d parts of %d", size, maxParts, got)
		}
	})
}
