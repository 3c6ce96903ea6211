package conformance_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
)

func stsClient(c aws.Config) *sts.Client {
	return sts.NewFromConfig(c, func(o *sts.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})
}

// narrowed is a session of the suite's role under a session policy, which is how the suite gets principals
// that may do little on any endpoint.
func narrowed(t *testing.T, policy string) aws.Config {
	t.Helper()
	out, err := stsClient(here.Config).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(here.RoleARN), RoleSessionName: aws.String("narrow"), Policy: aws.String(policy), DurationSeconds: aws.Int32(900),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := here.Config.Copy()
	c.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	return c
}

func allow(action, resource string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}}`
}

func TestCallerIdentityNamesTheSessionAndHidesTheRolesPath(t *testing.T) {
	holds(t, "sts/caller-identity/names")
	out, err := stsClient(narrowed(t, allow("s3:GetObject", "*"))).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	name := here.RoleARN[strings.LastIndex(here.RoleARN, "/")+1:]
	if want := ":assumed-role/" + name + "/narrow"; !strings.HasSuffix(*out.Arn, want) {
		t.Errorf("Arn is %s, want it to end in %s", *out.Arn, want)
	}
	if id, session, _ := strings.Cut(*out.UserId, ":"); len(id) != 21 || !strings.HasPrefix(id, "AROA") || session != "narrow" {
		t.Errorf("UserId is %s, want AROA…:narrow", *out.UserId)
	}
	if *out.Account != strings.Split(here.RoleARN, ":")[4] {
		t.Errorf("Account is %s", *out.Account)
	}
}

// identityRequest is the request by which Stile's people and agents prove who they are.
func identityRequest() raw {
	return raw{
		Method: "POST", Service: "sts", Body: "Action=GetCallerIdentity&Version=2011-06-15",
		Header: map[string]string{
			"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Accept": "application/json",
			"X-Stile-Challenge": "c0ffee", "X-Stile-Purpose": "login",
		},
		Host: "sts." + here.Config.Region + ".amazonaws.com",
	}
}

func TestCallerIdentityAnswersJSONForASignedRegionalHost(t *testing.T) {
	holds(t, "sts/caller-identity/json")
	got := identityRequest().send(t)
	var out struct {
		Response struct {
			Result   struct{ Account, Arn, UserID string } `json:"GetCallerIdentityResult"`
			Metadata struct{ RequestID string }            `json:"ResponseMetadata"`
		} `json:"GetCallerIdentityResponse"`
	}
	if err := json.Unmarshal([]byte(got.Body), &out); err != nil || got.Status != http.StatusOK {
		t.Fatalf("%d %s: %v", got.Status, got.Body, err)
	}
	if out.Response.Result.Account == "" || out.Response.Result.Arn == "" || out.Response.Metadata.RequestID == "" {
		t.Errorf("incomplete answer %s", got.Body)
	}
	if id := got.Header.Get("X-Amzn-Requestid"); id != out.Response.Metadata.RequestID {
		t.Errorf("x-amzn-requestid %q differs from the body's %q", id, out.Response.Metadata.RequestID)
	}
}

func TestCallerIdentityAnswersXMLAndGET(t *testing.T) {
	holds(t, "sts/caller-identity/xml")
	r := raw{Method: "GET", Service: "sts", Path: "/?Action=GetCallerIdentity&Version=2011-06-15", Host: identityRequest().Host}
	got := r.send(t)
	if got.Status != http.StatusOK || !strings.Contains(got.Body, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">`) {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}

func TestEverySignedHeaderCounts(t *testing.T) {
	holds(t, "sts/signature/headers")
	cases := map[string]func(*http.Request){
		"a custom header is changed": func(r *http.Request) { r.Header.Set("X-Stile-Purpose", "join") },
		"a custom header is removed": func(r *http.Request) { r.Header.Del("X-Stile-Challenge") },
		"a custom header is doubled": func(r *http.Request) { r.Header.Add("X-Stile-Purpose", "join") },
		"the host is changed":        func(r *http.Request) { r.Host = "sts.eu-west-1.amazonaws.com" },
		"the method is changed":      func(r *http.Request) { r.Method = "PUT" },
		"the query is extended":      func(r *http.Request) { r.URL.RawQuery = "Action=AssumeRole" },
		"the path is changed":        func(r *http.Request) { r.URL.Path = "/x" },
		"the date is changed": func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().UTC().Add(time.Minute).Format("20060102T150405Z"))
		},
		"an x-amz header is added":        func(r *http.Request) { r.Header.Set("X-Amz-Extra", "1") },
		"the signature's last bit flips":  flipSignature,
		"the host is no longer signed":    func(r *http.Request) { edit(r, "host;", "") },
		"another region stands in scope":  func(r *http.Request) { edit(r, "/"+here.Config.Region+"/", "/eu-north-1/") },
		"the scope's end is another word": func(r *http.Request) { edit(r, "aws4_request", "aws4_reques") },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			r := identityRequest()
			r.Spoil = spoil
			got := r.send(t)
			if got.Status != http.StatusForbidden && got.Status != http.StatusBadRequest {
				t.Errorf("%d %s", got.Status, got.Body)
			}
			if strings.Contains(got.Body, "assumed-role") {
				t.Errorf("the answer tells who asked: %s", got.Body)
			}
		})
	}
}

func edit(r *http.Request, from, to string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
}

func flipSignature(r *http.Request) {
	auth := []byte(r.Header.Get("Authorization"))
	auth[len(auth)-1] ^= 1
	r.Header.Set("Authorization", string(auth))
}

func TestSTSErrorsHaveTheirCodes(t *testing.T) {
	holds(t, "sts/errors")
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	unknown := aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	cases := map[string]struct {
		request raw
		status  int
		code    string
	}{
		"no signature":        {raw{Body: "Action=GetCallerIdentity&Version=2011-06-15", Spoil: func(r *http.Request) { r.Header.Del("Authorization") }}, 403, "MissingAuthenticationToken"},
		"a broken header":     {raw{Body: "Action=GetCallerIdentity&Version=2011-06-15", Spoil: func(r *http.Request) { edit(r, "Credential=", "Credentials=") }}, 400, "IncompleteSignature"},
		"two authorizations":  {raw{Body: "Action=GetCallerIdentity&Version=2011-06-15", Spoil: func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }}, 400, "IncompleteSignature"},
		"a wrong body":        {raw{Body: "Action=GetCallerIdentity&Version=2011-06-15", Spoil: func(r *http.Request) { r.Body = http.NoBody; r.ContentLength = 0 }}, 403, "SignatureDoesNotMatch"},
		"an unknown key":      {raw{Body: "Action=GetCallerIdentity&Version=2011-06-15", As: &unknown}, 403, "InvalidClientTokenId"},
		"too old":             {raw{Body: "Action=GetCallerIdentity&Version=2011-06-15", Time: time.Now().Add(-16 * time.Minute)}, 403, "SignatureDoesNotMatch"},
		"too early":           {raw{Body: "Action=GetCallerIdentity&Version=2011-06-15", Time: time.Now().Add(16 * time.Minute)}, 403, "SignatureDoesNotMatch"},
		"an unknown action":   {raw{Body: "Action=GetTheMoon&Version=2011-06-15"}, 400, "InvalidAction"},
		"no action":           {raw{Body: "Version=2011-06-15"}, 400, "MissingAction"},
		"a bad session name":  {raw{Body: "Action=AssumeRole&Version=2011-06-15&RoleArn=" + here.RoleARN + "&RoleSessionName=a%20b"}, 400, "ValidationError"},
		"a short duration":    {raw{Body: "Action=AssumeRole&Version=2011-06-15&DurationSeconds=60&RoleSessionName=abc&RoleArn=" + here.RoleARN}, 400, "ValidationError"},
		"a role that is none": {raw{Body: "Action=AssumeRole&Version=2011-06-15&RoleSessionName=abc&RoleArn=" + here.RoleARN + "x"}, 403, "AccessDenied"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.request.Method, c.request.Service, c.request.Header = "POST", "sts", form
			c.request.Host = identityRequest().Host
			got := c.request.send(t)
			if got.Status != c.status || !strings.Contains(got.Body, "<Code>"+c.code+"</Code>") {
				t.Errorf("got %d %s, want %d %s", got.Status, got.Body, c.status, c.code)
			}
		})
	}
}

func TestASessionNeedsItsToken(t *testing.T) {
	holds(t, "sts/session/token")
	c, err := narrowed(t, allow("s3:GetObject", "*")).Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.SessionToken = ""
	r := identityRequest()
	r.As = &c
	if got := r.send(t); got.Status != http.StatusForbidden || !strings.Contains(got.Body, "InvalidClientTokenId") {
		t.Errorf("without a token: %d %s", got.Status, got.Body)
	}
	c.SessionToken = "bm90IHRoZSB0b2tlbg=="
	if got := r.send(t); got.Status != http.StatusForbidden || !strings.Contains(got.Body, "InvalidClientTokenId") {
		t.Errorf("with another token: %d %s", got.Status, got.Body)
	}
}

func TestAssumedCredentialsExpireWhenTheySay(t *testing.T) {
	holds(t, "sts/session/expiry")
	out, err := stsClient(here.Config).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(here.RoleARN), RoleSessionName: aws.String("brief"), DurationSeconds: aws.Int32(900),
	})
	if err != nil {
		t.Fatal(err)
	}
	left := time.Until(*out.Credentials.Expiration).Round(time.Minute)
	if diff := cmp.Diff(15*time.Minute, left); diff != "" {
		t.Error(diff)
	}
}

func TestAPresignedCallerIdentityAnswersToo(t *testing.T) {
	holds(t, "sts/caller-identity/presigned")
	signed, err := sts.NewPresignClient(stsClient(here.Config)).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	send := func(method, url string) answer {
		r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return do(t, r)
	}
	if got := send(signed.Method, signed.URL); got.Status != http.StatusOK || !strings.Contains(got.Body, ":assumed-role/") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if got := send(signed.Method, strings.Replace(signed.URL, "GetCallerIdentity", "GetSessionToken", 1)); got.Status != http.StatusForbidden {
		t.Errorf("with another action: %d %s", got.Status, got.Body)
	}
	if got := send(signed.Method, signed.URL+"&X-Amz-Date=20260101T000000Z"); got.Status != http.StatusBadRequest && got.Status != http.StatusForbidden {
		t.Errorf("with a parameter twice: %d %s", got.Status, got.Body)
	}
}

func TestParametersThatStandTwiceAreRefused(t *testing.T) {
	holds(t, "sts/parameters/twice")
	r := identityRequest()
	r.Body += "&Action=AssumeRole"
	if got := r.send(t); got.Status != http.StatusBadRequest {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}
