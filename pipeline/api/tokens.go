package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

var (
	opCreateUploadToken = huma.Operation{
		OperationID: "create-upload-token", Method: http.MethodPost, Path: "/v1/upload_tokens",
		Tags: []string{"access"}, Summary: "Make a token with which a browser makes one upload",
		DefaultStatus: http.StatusCreated,
		Description: "Give it to the browser of a user of your site, who sends it as `Authorization: Bearer` of " +
			"POST /v1/uploads or of the creation of tus, from a page of any origin, or of `origin` alone. Each try " +
			"with the token is the same upload, and it is good for nothing else. It ends when it expires, or when " +
			"the credential that made it ends; what the upload's own URLs allow does not.",
	}
	opCreateReadToken = huma.Operation{
		OperationID: "create-read-token", Method: http.MethodPost, Path: "/v1/videos/{id}/read_tokens",
		Tags: []string{"access"}, Summary: "Make a token with which a browser follows one video",
		DefaultStatus: http.StatusCreated,
		Description: "For browsers, whose EventSource and WebSocket send no Authorization header: they add " +
			"`?token=` to GET /v1/videos/{id}, to its `/events`, or to /v1/ws, from a page of any origin. The token " +
			"reads this video and nothing else. Streams end with it. It ends when it expires, or when the " +
			"credential that made it ends.",
	}
)

// routeTokens adds the routes that make tokens.
func (s *server) routeTokens() {
	if s.cfg.Tokens == nil {
		return
	}
	if s.pieces != nil {
		handle(s, opCreateUploadToken, s.createUploadToken)
	}
	handle(s, opCreateReadToken, s.createReadToken)
}

// newUploadToken is the body of a request for an upload token. It may be left out.
type newUploadToken struct {
	_         struct{} `additionalProperties:"false"`
	ExpiresIn int64    `json:"expires_in,omitempty" minimum:"1" maximum:"86400" default:"3600" doc:"Seconds until the token ends"`
	MaxSize   int64    `json:"max_size,omitempty" minimum:"1" doc:"Bytes of the largest file. With it, an upload must say its size. As many as the server allows when left out"`
	Types     []string `json:"content_types,omitempty" maxItems:"16" doc:"What the file may be, such as video/mp4 or video/*; anything when left out" example:"[\"video/*\"]"`
	Origin    string   `json:"origin,omitempty" maxLength:"300" doc:"Of the web page that may use the token; any when left out" example:"https://app.example.com"`
}

type createUploadTokenInput struct{ Body *newUploadToken }

// uploadTokenView is a new upload token.
type uploadTokenView struct {
	ID        string    `json:"id" doc:"tok_ and 26 letters and digits; events of the upload's creation name it as their actor"`
	Token     string    `json:"token" doc:"The credential; shown only here"`
	ExpiresAt time.Time `json:"expires_at" doc:"Never later than the end of the credential that made it"`
	MaxSize   *int64    `json:"max_size" doc:"null: as many bytes as the server allows"`
	Types     []string  `json:"content_types" doc:"Empty: any"`
	Origin    string    `json:"origin" doc:"Empty: any"`
}

type createUploadTokenOutput struct {
	Cache string `header:"Cache-Control"`
	Body  uploadTokenView
}

func (s *server) createUploadToken(ctx context.Context, in *createUploadTokenInput) (
	*createUploadTokenOutput, error,
) {
	asked := newUploadToken{}
	if in.Body != nil {
		asked = *in.Body
	}
	t := access.Token{Kind: access.UploadToken, MaxSize: asked.MaxSize, Types: asked.Types}
	if asked.Origin != "" {
		origin, err := canonicalOrigin(asked.Origin)
		if err != nil {
			return nil, failAt("/body/origin", codeInvalid, "%s.", sentence(printable(err.Error())))
		}
		t.Origin = origin
	}
	t, text, err := s.makeToken(ctx, t, asked.ExpiresIn)
	if err != nil {
		return nil, err
	}
	view := uploadTokenView{
		ID: t.ID, Token: text.Reveal(), ExpiresAt: t.ExpiresAt(), Types: append([]string{}, t.Types...),
		Origin: t.Origin,
	}
	if t.MaxSize > 0 {
		view.MaxSize = &t.MaxSize
	}
	return &createUploadTokenOutput{"no-store", view}, nil
}

// makeToken makes a token for whoever sent the request of ctx. seconds is how long it is to be valid; 0: as
// long as is usual.
func (s *server) makeToken(ctx context.Context, t access.Token, seconds int64) (
	access.Token, secret.Text, error,
) {
	t, text, err := s.cfg.Tokens.Make(grantOf(ctx), t, time.Duration(seconds)*time.Second, time.Now())
	if err != nil {
		return t, text, invalidAccess(err)
	}
	s.cfg.Logger.InfoContext(ctx, "made a token", "request_id", requestID(ctx), "token", t.ID, "kind", t.Kind,
		"project", t.Project, "by", t.By, "expires", t.ExpiresAt())
	return t, text, nil
}

// newReadToken is the body of a request for a read token. It may be left out.
type newReadToken struct {
	_         struct{} `additionalProperties:"false"`
	ExpiresIn int64    `json:"expires_in,omitempty" minimum:"1" maximum:"86400" default:"600" doc:"Seconds until the token ends"`
}

type createReadTokenInput struct {
	ID   string `path:"id" doc:"The video's id"`
	Body *newReadToken
}

// readTokenView is a new read token.
type readTokenView struct {
	ID        string    `json:"id" doc:"tok_ and 26 letters and digits"`
	Token     string    `json:"token" doc:"The credential; shown only here"`
	Video     string    `json:"video_id" doc:"The only video that it reads"`
	ExpiresAt time.Time `json:"expires_at" doc:"Never later than the end of the credential that made it"`
}

type createReadTokenOutput struct {
	Cache string `header:"Cache-Control"`
	Body  readTokenView
}

func (s *server) createReadToken(ctx context.Context, in *createReadTokenInput) (
	*createReadTokenOutput, error,
) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	if _, err := s.cfg.Catalog.Video(ctx, projectOf(ctx), in.ID); err != nil {
		return nil, err
	}
	var seconds int64
	if in.Body != nil {
		seconds = in.Body.ExpiresIn
	}
	t, text, err := s.makeToken(ctx, access.Token{Kind: access.ReadToken, Video: in.ID}, seconds)
	if err != nil {
		return nil, err
	}
	return &createReadTokenOutput{"no-store", readTokenView{t.ID, text.Reveal(), t.Video, t.ExpiresAt()}}, nil
}

// tokenIsIn is where a token may stand in the query of an address.
const tokenIsIn = "token"

// tokenOf returns the token that a request brings: in its header or, to read, in its query. Empty: none.
func tokenOf(r *http.Request) secret.Text {
	if text := bearer(r); access.KindOfToken(text.Reveal()) != "" {
		return text
	}
	if readsByQuery(r) {
		return secret.New(r.URL.Query().Get(tokenIsIn))
	}
	return secret.Text{}
}

// readsByQuery reports whether a request has a read token in its query, and no other credential.
func readsByQuery(r *http.Request) bool {
	path := r.URL.Path
	return strings.Contains(r.URL.RawQuery, tokenIsIn+"=") && len(r.Header.Values("Authorization")) == 0 &&
		(strings.HasPrefix(path, "/v1/videos/") || path == "/v1/ws") &&
		access.KindOfToken(r.URL.Query().Get(tokenIsIn)) == access.ReadToken
}

// tokenGrant returns the grant of a token. required says whether requests need a credential now.
func (s *server) tokenGrant(r *http.Request, pattern string, text secret.Text, required bool) (
	access.Grant, error,
) {
	if s.cfg.Tokens == nil || s.cfg.Keys == nil {
		return access.Grant{}, access.ErrUnauthorized
	}
	t, err := s.cfg.Tokens.Open(text)
	if err != nil {
		return access.Grant{}, err
	}
	g, err := s.cfg.Keys.AuthenticateToken(r.Context(), t, required)
	if err != nil {
		return g, err
	}
	return g, checkToken(r, pattern, t)
}

// checkToken refuses a request that a token is not for. It does not tell whether what it asks for exists.
func checkToken(r *http.Request, pattern string, t access.Token) error {
	switch {
	case t.Kind == access.UploadToken && !createsUpload(r):
		return tokenMisused("An upload token makes an upload, and nothing else.")
	case t.Kind == access.ReadToken && !reads(pattern, r.URL.Path, t.Video):
		return tokenMisused("The token reads the video %s and follows its events, and nothing else.", t.Video)
	case r.Header.Get(projectHeader) != "":
		return scopeMissing(access.Operate)
	case t.Origin != "" && r.Header.Get("Origin") != t.Origin:
		return fail(codeTokenOrigin, "The token is for pages of %.300s, and the request is not from one.", t.Origin)
	}
	return nil
}

func tokenMisused(format string, args ...any) *failure {
	f := fail(codeScope, format, args...)
	f.remedy = "Use an API key, or a token that is made for this."
	return f
}

// createsUpload reports whether a request is one for which upload tokens are.
func createsUpload(r *http.Request) bool {
	return r.Method == http.MethodPost && isCreation(r.URL.Path)
}

func isCreation(path string) bool {
	return path == "/v1/uploads" || path == "/v1/tus" || path == "/v1/tus/"
}

// readByToken are the routes for which read tokens are.
var readByToken = []string{"GET /v1/videos/{id}", "GET /v1/videos/{id}/events", "GET /v1/ws"}

// reads reports whether a request is one for which read tokens of a video are. Each subscription of a
// WebSocket is checked besides.
func reads(pattern, path, video string) bool {
	_, at, _ := strings.Cut(pattern, " ")
	return slices.Contains(readByToken, pattern) && path == strings.Replace(at, "{id}", video, 1)
}

// withoutToken returns a request without the token in its query, so that nothing behind it can show it.
func withoutToken(r *http.Request) *http.Request {
	if !readsByQuery(r) {
		return r
	}
	own, address := new(http.Request), *r.URL
	*own = *r
	q := address.Query()
	q.Del(tokenIsIn)
	address.RawQuery = q.Encode()
	own.URL, own.RequestURI = &address, address.RequestURI()
	return own
}

// keyFor returns the idempotency key of an upload: that of the client or, for a token, its seal. So each
// try with a token is the same upload.
func keyFor(ctx context.Context, header string) string {
	if t := grantOf(ctx).Token; t != nil {
		return "upload token " + t.Seal().Reveal()
	}
	return header
}

// tokenUsed says that a token has made another upload already, if that is why err happened.
func (in *intake) tokenUsed(err error) error {
	if in.token == nil || classify(err).code != codeKeyReused {
		return err
	}
	return fail(codeTokenUsed, "The token has made an upload already, of another file or with other fields.")
}

// checkToken refuses an upload that its token does not allow.
func (in *intake) checkToken(o uploadOrder) error {
	t := in.token
	if t == nil {
		return nil
	}
	var wrong []error
	switch {
	case t.MaxSize > 0 && o.size == 0:
		f := in.fail("size", codeInvalid, "The size is missing: the token allows at most %d bytes.", t.MaxSize)
		f.remedy = "Say how many bytes the file has."
		wrong = append(wrong, f)
	case t.MaxSize > 0 && o.size > t.MaxSize:
		f := in.fail("size", codeUploadTooLarge, "The token allows at most %d bytes.", t.MaxSize)
		f.remedy = "Choose a smaller file."
		wrong = append(wrong, f)
	}
	for _, media := range declaredTypes(o) {
		if !allows(t.Types, media) {
			wrong = append(wrong, in.typeRefused(t.Types, media))
			break
		}
	}
	return joinMistakes(wrong...)
}

// typeRefused is the failure of a file whose type the token of its upload does not allow.
func (in *intake) typeRefused(allowed []string, media string) *failure {
	return in.fail("filename", codeUploadType, "The file is %.100q, and the token allows %s.", printable(media),
		strings.Join(allowed, ", "))
}
