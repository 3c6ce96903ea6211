package conformance_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

func s3Client(c aws.Config, more ...func(*s3.Options)) *s3.Client {
	return s3.NewFromConfig(c, append(more, func(o *s3.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
			o.UsePathStyle = true
		}
	})...)
}

// fresh is a key that no test before has used.
func fresh(t *testing.T) string {
	t.Helper()
	return "conformance/" + strings.ReplaceAll(t.Name(), " ", "+") + "/" + rand.Text()
}

func put(t *testing.T, key, body string) {
	t.Helper()
	_, err := s3Client(here.Config).PutObject(t.Context(), &s3.PutObjectInput{Bucket: &here.Bucket, Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, client *s3.Client, key string) (string, error) {
	t.Helper()
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &here.Bucket, Key: &key})
	if err != nil {
		return "", err
	}
	defer func() { _ = out.Body.Close() }()
	body, err := io.ReadAll(out.Body)
	return string(body), err
}

func TestAnObjectComesBackAsItWas(t *testing.T) {
	holds(t, "s3/object/round-trip")
	key := fresh(t) + " ünïcode?&=+%"
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data)
	_, err := s3Client(here.Config).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &here.Bucket, Key: &key, Body: bytes.NewReader(data), ContentType: aws.String("application/zstd"), Metadata: map[string]string{"session": "ses_1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s3Client(here.Config).GetObject(t.Context(), &s3.GetObjectInput{Bucket: &here.Bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Body.Close() }()
	got, err := io.ReadAll(out.Body)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
	if *out.ContentType != "application/zstd" || out.Metadata["session"] != "ses_1" {
		t.Errorf("type %s, metadata %v", *out.ContentType, out.Metadata)
	}
	part, err := s3Client(here.Config).GetObject(t.Context(), &s3.GetObjectInput{Bucket: &here.Bucket, Key: &key, Range: aws.String("bytes=10-19")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = part.Body.Close() }()
	if ten, err := io.ReadAll(part.Body); err != nil || !bytes.Equal(ten, data[10:20]) {
		t.Errorf("the range is %x: %v", ten, err)
	}
}

func TestNothingOfTheRequestsSignatureIsKeptWithTheObject(t *testing.T) {
	holds(t, "s3/object/headers")
	key := fresh(t)
	put(t, key, "x")
	got := raw{Method: "HEAD", Service: "s3", Path: "/" + here.Bucket + "/" + key}.send(t)
	for _, name := range []string{"X-Amz-Security-Token", "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256"} {
		if v := got.Header.Get(name); got.Status != http.StatusOK || v != "" {
			t.Errorf("%d: the answer tells %s: %s", got.Status, name, v)
		}
	}
}

func TestIfNoneMatchKeepsTheFirst(t *testing.T) {
	holds(t, "s3/if-none-match/first")
	key := fresh(t)
	in := func(body string) *s3.PutObjectInput {
		return &s3.PutObjectInput{Bucket: &here.Bucket, Key: &key, Body: strings.NewReader(body), IfNoneMatch: aws.String("*")}
	}
	if _, err := s3Client(here.Config).PutObject(t.Context(), in("first")); err != nil {
		t.Fatal(err)
	}
	_, err := s3Client(here.Config).PutObject(t.Context(), in("second"))
	wantCode(t, err, "PreconditionFailed")
	if got, err := get(t, s3Client(here.Config), key); got != "first" {
		t.Errorf("the object is %q, %v", got, err)
	}
}

func TestAWrongChecksumIsRefused(t *testing.T) {
	holds(t, "s3/checksum")
	key := fresh(t)
	sum := sha256.Sum256([]byte("other bytes"))
	_, err := s3Client(here.Config).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &here.Bucket, Key: &key, Body: strings.NewReader("these bytes"), ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	})
	wantCode(t, err, "BadDigest")
	got := raw{
		Method: "PUT", Service: "s3", Path: "/" + here.Bucket + "/" + key, Body: "these bytes",
		Spoil: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("other bytes")) },
	}.send(t)
	if got.Status != http.StatusBadRequest || !strings.Contains(got.Body, "XAmzContentSHA256Mismatch") {
		t.Errorf("a body other than signed: %d %s", got.Status, got.Body)
	}
	if _, err := get(t, s3Client(here.Config), key); err == nil {
		t.Error("a refused object was stored")
	}
}

func TestAMissingKeyIsOnlyToldToWhoMayList(t *testing.T) {
	holds(t, "s3/object/missing")
	key := fresh(t)
	_, err := get(t, s3Client(here.Config), key)
	wantCode(t, err, "NoSuchKey")
	_, err = get(t, s3Client(narrowed(t, allow("s3:GetObject", "*"))), key)
	wantCode(t, err, "AccessDenied")
}

func TestListingGoesInPagesUnderAPrefix(t *testing.T) {
	holds(t, "s3/list/pages")
	prefix := fresh(t) + "/"
	var want []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		put(t, prefix+name, name)
		want = append(want, prefix+name)
	}
	put(t, prefix+"sub/1", "1")
	put(t, prefix+"sub/2", "2")
	var got, common []string
	pages := s3.NewListObjectsV2Paginator(s3Client(here.Config), &s3.ListObjectsV2Input{
		Bucket: &here.Bucket, Prefix: &prefix, Delimiter: aws.String("/"), MaxKeys: aws.Int32(2),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			got = append(got, *o.Key)
		}
		for _, p := range page.CommonPrefixes {
			common = append(common, *p.Prefix)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{prefix + "sub/"}, common); diff != "" {
		t.Error(diff)
	}
}

func TestPoliciesReachDownToTheKey(t *testing.T) {
	holds(t, "s3/policy/key")
	mine, other := fresh(t), fresh(t)
	put(t, mine, "mine")
	put(t, other, "other")
	client := s3Client(narrowed(t, allow("s3:GetObject", "arn:aws:s3:::"+here.Bucket+"/"+mine)))
	if got, err := get(t, client, mine); got != "mine" {
		t.Errorf("%q, %v", got, err)
	}
	_, err := get(t, client, other)
	wantCode(t, err, "AccessDenied")
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &here.Bucket, Key: &mine, Body: strings.NewReader("x")})
	wantCode(t, err, "AccessDenied")
	_, err = client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &here.Bucket})
	wantCode(t, err, "AccessDenied")
}

func TestAPolicyMayDemandIfNoneMatch(t *testing.T) {
	holds(t, "s3/if-none-match/demanded")
	client := s3Client(narrowed(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"*","Condition":{"StringEquals":{"s3:if-none-match":"*"}}}}`))
	key := fresh(t)
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &here.Bucket, Key: &key, Body: strings.NewReader("x")})
	wantCode(t, err, "AccessDenied")
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &here.Bucket, Key: &key, Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")}); err != nil {
		t.Error(err)
	}
}

func TestAPresignedPutIsForItsKeyAndHeadersOnly(t *testing.T) {
	holds(t, "s3/presigned/put")
	key := fresh(t)
	sum := sha256.Sum256([]byte("chunk"))
	signed, err := s3.NewPresignClient(s3Client(here.Config)).PresignPutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &here.Bucket, Key: &key, IfNoneMatch: aws.String("*"), ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}, s3.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	send := func(body string, spoil func(*http.Request)) answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, signed.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range signed.SignedHeader {
			if name != "Host" && name != "Content-Length" {
				r.Header[name] = values
			}
		}
		spoil(r)
		return do(t, r)
	}
	refused := map[string]func(*http.Request){
		"another key":           func(r *http.Request) { r.URL.Path += "x"; r.URL.RawPath = "" },
		"another method":        func(r *http.Request) { r.Method = http.MethodDelete },
		"without the condition": func(r *http.Request) { r.Header.Del("If-None-Match") },
		"two ways of signing":   func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") },
		"a longer life than told": func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=600", 1)
		},
	}
	for name, spoil := range refused {
		if got := send("chunk", spoil); got.Status < 400 || got.Status >= 500 {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	if got := send("other bytes", func(*http.Request) {}); got.Status != http.StatusBadRequest {
		t.Errorf("other bytes than the checksum says: %d %s", got.Status, got.Body)
	}
	if got := send("chunk", func(*http.Request) {}); got.Status != http.StatusOK {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	if got := send("chunk", func(*http.Request) {}); got.Status != http.StatusPreconditionFailed {
		t.Errorf("a second time: %d %s", got.Status, got.Body)
	}
	if got, err := get(t, s3Client(here.Config), key); got != "chunk" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAPresignedPutHoldsItsSenderToEachSignedHeader(t *testing.T) {
	holds(t, "s3/presigned/headers")
	key := fresh(t)
	sum := sha256.Sum256([]byte("chunk"))
	signed, err := s3.NewPresignClient(s3Client(here.Config)).PresignPutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &here.Bucket, Key: &key, IfNoneMatch: aws.String("*"), ContentLength: aws.Int64(5),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}, s3.WithPresignExpires(time.Minute), func(o *s3.PresignOptions) {
		o.Presigner = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableHeaderHoisting, o.DisableURIPathEscaping = true, true })
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func(body string, spoil func(*http.Request)) answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, signed.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"If-None-Match", "X-Amz-Checksum-Sha256"} {
			if r.Header.Set(name, signed.SignedHeader.Get(name)); r.Header.Get(name) == "" {
				t.Fatalf("%s isn't signed: %v", name, signed.SignedHeader)
			}
		}
		spoil(r)
		return do(t, r)
	}
	other := sha256.Sum256([]byte("other"))
	refused := map[string]func() answer{
		"another length": func() answer { return send("chunks", func(*http.Request) {}) },
		"another checksum with its bytes": func() answer {
			return send("other", func(r *http.Request) {
				r.Header.Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(other[:]))
			})
		},
		"no checksum": func() answer {
			return send("other", func(r *http.Request) { r.Header.Del("X-Amz-Checksum-Sha256") })
		},
		"no condition": func() answer { return send("chunk", func(r *http.Request) { r.Header.Del("If-None-Match") }) },
	}
	for name, asked := range refused {
		if got := asked(); got.Status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	if got := send("other", func(*http.Request) {}); got.Status != http.StatusBadRequest {
		t.Errorf("other bytes of that length: %d %s", got.Status, got.Body)
	}
	got := send("chunk", func(*http.Request) {})
	if want := base64.StdEncoding.EncodeToString(sum[:]); got.Status != http.StatusOK || got.Header.Get("X-Amz-Checksum-Sha256") != want {
		t.Errorf("%d with checksum %q, want %q: %s", got.Status, got.Header.Get("X-Amz-Checksum-Sha256"), want, got.Body)
	}
}

// versions lists what is under a key, the newest first, and the markers apart.
func versions(t *testing.T, key string) ([]types.ObjectVersion, []types.DeleteMarkerEntry) {
	t.Helper()
	out, err := s3Client(here.Config).ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &here.Bucket, Prefix: &key})
	if err != nil {
		t.Fatal(err)
	}
	return out.Versions, out.DeleteMarkers
}

func TestADeletedObjectIsHiddenBehindAMarker(t *testing.T) {
	holds(t, "s3/versions/marker")
	key := fresh(t)
	client := s3Client(here.Config)
	put(t, key, "first")
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &here.Bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	_, err := get(t, client, key)
	wantCode(t, err, "NoSuchKey")
	all, markers := versions(t, key)
	if len(all) != 1 || *all[0].IsLatest || len(markers) != 1 || !*markers[0].IsLatest {
		t.Fatalf("versions %+v, markers %+v", all, markers)
	}
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &here.Bucket, Key: &key, VersionId: all[0].VersionId})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Body.Close() }()
	if body, err := io.ReadAll(out.Body); string(body) != "first" || err != nil {
		t.Errorf("the hidden version is %q: %v", body, err)
	}
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &here.Bucket, Key: &key, Body: strings.NewReader("second"), IfNoneMatch: aws.String("*")})
	if err != nil {
		t.Fatalf("If-None-Match over a marker: %v", err)
	}
	if all, markers = versions(t, key); len(all) != 2 || !*all[0].IsLatest || *all[1].IsLatest || len(markers) != 1 || *markers[0].IsLatest {
		t.Errorf("versions %+v, markers %+v", all, markers)
	}
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &here.Bucket, Key: &key, VersionId: all[0].VersionId}); err != nil {
		t.Fatal(err)
	}
	if all, markers = versions(t, key); len(all) != 1 || len(markers) != 1 || !*markers[0].IsLatest {
		t.Errorf("after the newest version was deleted for good: versions %+v, markers %+v", all, markers)
	}
}

func TestAListingOfVersionsGoesInPages(t *testing.T) {
	holds(t, "s3/versions/pages")
	prefix := fresh(t) + "/"
	for _, name := range []string{"a", "a", "a", "b", "c"} {
		put(t, prefix+name, name)
	}
	pages := s3.NewListObjectVersionsPaginator(s3Client(here.Config), &s3.ListObjectVersionsInput{Bucket: &here.Bucket, Prefix: &prefix, MaxKeys: aws.Int32(2)})
	var got []string
	seen := map[string]bool{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Versions {
			got = append(got, strings.TrimPrefix(*v.Key, prefix))
			seen[*v.VersionId] = true
		}
	}
	if diff := cmp.Diff([]string{"a", "a", "a", "b", "c"}, got); diff != "" || len(seen) != len(got) {
		t.Errorf("%d different versions: %s", len(seen), diff)
	}
}

func TestAPresignedGetReads(t *testing.T) {
	holds(t, "s3/presigned/get")
	key := fresh(t)
	put(t, key, "read me")
	signed, err := s3.NewPresignClient(s3Client(here.Config)).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: &here.Bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, signed.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if got := do(t, r); got.Status != http.StatusOK || got.Body != "read me" {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}

func TestAStreamedBodyIsUnpackedAndItsTrailerChecked(t *testing.T) {
	holds(t, "s3/streamed-body")
	key := fresh(t)
	body := "5\r\nhello\r\n0\r\nx-amz-checksum-sha256:"
	sum := sha256.Sum256([]byte("hello"))
	request := func(trailer string) raw {
		return raw{
			Method: "PUT", Service: "s3", Path: "/" + here.Bucket + "/" + key, Body: body + trailer + "\r\n\r\n",
			Header: map[string]string{
				"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": "5",
				"X-Amz-Trailer": "x-amz-checksum-sha256", "Content-Encoding": "aws-chunked",
			},
		}
	}
	bad := sha256.Sum256([]byte("other"))
	if got := request(base64.StdEncoding.EncodeToString(bad[:])).send(t); got.Status != http.StatusBadRequest {
		t.Errorf("a wrong trailer: %d %s", got.Status, got.Body)
	}
	if got := request(base64.StdEncoding.EncodeToString(sum[:])).send(t); got.Status != http.StatusOK {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	if got, err := get(t, s3Client(here.Config), key); got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDeletingManyTellsEach(t *testing.T) {
	holds(t, "s3/delete/many")
	mine, other := fresh(t), fresh(t)
	put(t, mine, "x")
	put(t, other, "x")
	client := s3Client(narrowed(t, allow("s3:DeleteObject", "arn:aws:s3:::"+here.Bucket+"/"+mine)))
	out, err := client.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: &here.Bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &mine}, {Key: &other}}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Deleted) != 1 || len(out.Errors) != 1 || *out.Errors[0].Key != other || *out.Errors[0].Code != "AccessDenied" {
		t.Errorf("deleted %v, errors %v", out.Deleted, out.Errors)
	}
	if got, err := get(t, s3Client(here.Config), other); got != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestS3RefusesWithItsOwnCodes(t *testing.T) {
	holds(t, "s3/errors")
	path := "/" + here.Bucket + "/" + fresh(t)
	cases := map[string]struct {
		request raw
		status  int
		code    string
	}{
		"anonymous":           {raw{Spoil: func(r *http.Request) { r.Header = http.Header{} }}, 403, "AccessDenied"},
		"a wrong signature":   {raw{Spoil: flipSignature}, 403, "SignatureDoesNotMatch"},
		"too old":             {raw{Time: time.Now().Add(-20 * time.Minute)}, 403, "RequestTimeTooSkewed"},
		"an unsigned header":  {raw{Spoil: func(r *http.Request) { r.Header.Set("X-Amz-Meta-Late", "1") }}, 403, "AccessDenied"},
		"an unknown key":      {raw{As: &aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "x"}}, 403, "InvalidAccessKeyId"},
		"another region":      {raw{Region: "eu-north-1"}, 400, "AuthorizationHeaderMalformed"},
		"no hash of the body": {raw{Spoil: func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }}, 400, "MissingSecurityHeader"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.request.Method, c.request.Service, c.request.Path = "GET", "s3", path
			got := c.request.send(t)
			if got.Status != c.status || !strings.Contains(got.Body, "<Code>"+c.code+"</Code>") {
				t.Errorf("got %d %s, want %d %s", got.Status, got.Body, c.status, c.code)
			}
		})
	}
}
