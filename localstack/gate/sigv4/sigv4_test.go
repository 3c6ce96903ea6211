package sigv4_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/gate/sigv4"
)

// The credentials and hash of AWS's published examples.
const (
	exampleSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	s3Secret      = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	emptyHash     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func request(t testing.TB, method, url string, header map[string]string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	return r
}

// listUsers is the example of "Create a signed AWS API request": GET iam ListUsers on 2015-08-30.
func listUsers(t testing.TB) *http.Request {
	return request(t, "GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", map[string]string{
		"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "X-Amz-Date": "20150830T123600Z",
		"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, " +
			"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
	})
}

func TestListUsersExampleOfAWSVerifies(t *testing.T) {
	s, err := sigv4.Parse(listUsers(t))
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := s.Canonical(listUsers(t), emptyHash)
	if err != nil {
		t.Fatal(err)
	}
	want := "GET\n/\nAction=ListUsers&Version=2010-05-08\ncontent-type:application/x-www-form-urlencoded; charset=utf-8\n" +
		"host:iam.amazonaws.com\nx-amz-date:20150830T123600Z\n\ncontent-type;host;x-amz-date\n" + emptyHash
	if diff := cmp.Diff(want, canonical); diff != "" {
		t.Error(diff)
	}
	if err := s.Verify(listUsers(t), exampleSecret, emptyHash); err != nil {
		t.Error(err)
	}
}

// get-vanilla of AWS's test suite of 2011: its only time is in Date, which the SDK's signer can't do (decision 0013).
func TestASignatureOverDateAloneVerifies(t *testing.T) {
	r := request(t, "GET", "http://host.foo.com/", map[string]string{
		"Date": "Mon, 09 Sep 2011 23:36:00 GMT",
		"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20110909/us-east-1/host/aws4_request, SignedHeaders=date;host, " +
			"Signature=b27ccfbfa7df52a200ff74193ca6e32d4b48b8856fab7ebf1c595d0670a7e470",
	})
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(r, exampleSecret, emptyHash); err != nil {
		t.Error(err)
	}
}

func TestSigningKeyExampleOfAWS(t *testing.T) {
	key := sigv4.SigningKey(exampleSecret, "20150830", "us-east-1", "iam")
	if got, want := hex.EncodeToString(key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPresignedGetExampleOfS3Verifies(t *testing.T) {
	r := request(t, "GET", "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"+
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"+
		"&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil)
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(r, s3Secret, sigv4.UnsignedPayload); err != nil {
		t.Error(err)
	}
	day := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	if err := s.CheckTime(day.Add(24 * time.Hour)); err != nil {
		t.Errorf("within its life: %v", err)
	}
	if err := s.CheckTime(day.Add(24*time.Hour + time.Second)); sigv4.ReasonOf(err) != sigv4.Expired {
		t.Errorf("after it: %v", err)
	}
}

// chunkedPut is the example of "Transferring payload in multiple chunks": 65 KiB of 'a' in 64 KiB and 1 KiB.
func chunkedPut(t testing.TB) (r *http.Request, body []byte) {
	r = request(t, "PUT", "https://s3.amazonaws.com/examplebucket/chunkObject.txt", map[string]string{
		"X-Amz-Date": "20130524T000000Z", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY", "Content-Encoding": "aws-chunked",
		"X-Amz-Content-Sha256": sigv4.StreamingSigned, "X-Amz-Decoded-Content-Length": "66560", "Content-Length": "66824",
		"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
			"SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class," +
			"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
	})
	var b bytes.Buffer
	fmt.Fprintf(&b, "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n%s\r\n", strings.Repeat("a", 65536))
	fmt.Fprintf(&b, "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n%s\r\n", strings.Repeat("a", 1024))
	b.WriteString("0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n")
	return r, b.Bytes()
}

func TestChunkedPutExampleOfS3Verifies(t *testing.T) {
	r, body := chunkedPut(t)
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(r, s3Secret, sigv4.StreamingSigned); err != nil {
		t.Error(err)
	}
	got, _, err := s.Dechunk(sigv4.StreamingSigned, s3Secret, "", body)
	if err != nil || string(got) != strings.Repeat("a", 66560) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAChangedChunkIsRefused(t *testing.T) {
	r, body := chunkedPut(t)
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int{"first byte": 100, "last chunk": len(body) - 200, "last signature": len(body) - 6} {
		spoilt := bytes.Clone(body)
		spoilt[at] ^= 1
		if _, _, err := s.Dechunk(sigv4.StreamingSigned, s3Secret, "", spoilt); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, end := range []int{0, 10, 86, 50_000, 65_623, 65_624, len(body) - 200, len(body) - 86, len(body) - 3} {
		if got, _, err := s.Dechunk(sigv4.StreamingSigned, s3Secret, "", body[:end]); err == nil {
			t.Errorf("cut at %d: %d bytes taken", end, len(got))
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/iam/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64)
	cases := map[string]struct {
		auth   string
		reason sigv4.Reason
	}{
		"another algorithm":        {strings.Replace(good, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", 1), sigv4.Incomplete},
		"no signature":             {strings.Replace(good, ", Signature="+strings.Repeat("0", 64), "", 1), sigv4.Incomplete},
		"a parameter twice":        {good + ", Signature=" + strings.Repeat("0", 64), sigv4.Incomplete},
		"an unknown parameter":     {good + ", Extra=1", sigv4.Incomplete},
		"a scope of four":          {strings.Replace(good, "us-east-1/", "", 1), sigv4.Incomplete},
		"a scope of six":           {strings.Replace(good, "us-east-1/", "us-east-1/x/", 1), sigv4.Incomplete},
		"an empty region":          {strings.Replace(good, "us-east-1/", "/", 1), sigv4.Incomplete},
		"another scope's end":      {strings.Replace(good, "aws4_request", "aws4", 1), sigv4.Incomplete},
		"a scope of another day":   {strings.Replace(good, "20150830", "20150829", 1), sigv4.BadScope},
		"no signed host":           {strings.Replace(good, "host;", "", 1), sigv4.Unsigned},
		"a signed header twice":    {strings.Replace(good, "host;", "host;host;", 1), sigv4.Incomplete},
		"upper-case header names":  {strings.Replace(good, "host;", "Host;", 1), sigv4.Incomplete},
		"a signature of 63 digits": {good[:len(good)-1], sigv4.Mismatch},
		"a signature in upper":     {strings.Replace(good, strings.Repeat("0", 64), strings.Repeat("A", 64), 1), sigv4.Mismatch},
		"a header of 9 KiB":        {good + strings.Repeat(" ", 9<<10), sigv4.Incomplete},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(t, "GET", "https://iam.amazonaws.com/", map[string]string{"X-Amz-Date": "20150830T123600Z", "Authorization": c.auth})
			if _, err := sigv4.Parse(r); sigv4.ReasonOf(err) != c.reason {
				t.Errorf("got %v (%d), want reason %d", err, sigv4.ReasonOf(err), c.reason)
			}
		})
	}
}

func TestTheWindowIsFifteenMinutes(t *testing.T) {
	s, err := sigv4.Parse(listUsers(t))
	if err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[time.Duration]sigv4.Reason{
		15 * time.Minute: 0, -15 * time.Minute: 0, 15*time.Minute + time.Second: sigv4.Skewed, -15*time.Minute - time.Second: sigv4.Skewed,
	} {
		if err := s.CheckTime(s.Time.Add(offset)); sigv4.ReasonOf(err) != want {
			t.Errorf("at %s: %v", offset, err)
		}
	}
}

// FuzzParse: whatever the header says, nothing panics, and what is taken can be verified and is refused.
func FuzzParse(f *testing.F) {
	seed := listUsers(f)
	f.Add(seed.Header.Get("Authorization"), "20150830T123600Z", "Action=ListUsers&Version=2010-05-08")
	f.Add("AWS4-HMAC-SHA256 Credential=a/20150830/b/c/aws4_request,SignedHeaders=host,Signature="+strings.Repeat("0", 64), "20150830T000000Z", "a=%zz")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20130524%2Fb%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature="+strings.Repeat("0", 64))
	f.Add("AWS4-HMAC-SHA256 ,,,=", "2015", "&&==&")
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		r := request(t, "GET", "https://iam.amazonaws.com/", map[string]string{"X-Amz-Date": date})
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		r.URL.RawQuery = query
		s, err := sigv4.Parse(r)
		if err != nil {
			if sigv4.ReasonOf(err) == 0 {
				t.Errorf("an error without a reason: %v", err)
			}
			return
		}
		if err := s.Verify(r, "not the secret of anybody", emptyHash); err == nil {
			t.Error("verified without the secret")
		}
	})
}

// FuzzDechunk: no framing panics or yields more than it holds.
func FuzzDechunk(f *testing.F) {
	r, body := chunkedPut(f)
	s, err := sigv4.Parse(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body, sigv4.StreamingSigned, "")
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"), sigv4.StreamingUnsigned, "x-amz-checksum-crc32")
	f.Add([]byte("ffffffff\r\n"), sigv4.StreamingUnsigned, "")
	f.Fuzz(func(t *testing.T, body []byte, kind, announced string) {
		out, _, err := s.Dechunk(kind, s3Secret, announced, body)
		if err == nil && len(out) > len(body) {
			t.Errorf("%d bytes out of %d", len(out), len(body))
		}
	})
}
