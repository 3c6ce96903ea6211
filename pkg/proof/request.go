package proof

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/wire"
)

// The fixed parts of the sts:GetCallerIdentity request that is evidence. Its sender has no say in them.
const (
	Method      = "POST"
	Path        = "/"
	Body        = "Action=GetCallerIdentity&Version=2011-06-15"
	Accept      = "application/json"
	ContentType = "application/x-www-form-urlencoded; charset=utf-8"
	Service     = "sts"
)

// DateFormat is that of X-Amz-Date.
const DateFormat = "20060102T150405Z"

// maxAge bounds how old a signed request may be; STS itself would accept it for 15 minutes.
const maxAge = 5 * time.Minute

// required must all be signed; optional may be. A signature over anything else is refused, so that nothing
// unknown goes to STS.
var (
	required = []string{
		"accept", "content-type", "host", "x-amz-date",
		strings.ToLower(names.HeaderChallenge), strings.ToLower(names.HeaderCluster),
		strings.ToLower(names.HeaderKeys), strings.ToLower(names.HeaderPurpose),
	}
	optional = []string{"content-length", "x-amz-security-token"}
)

// Binding is what the evidence is for; all of it is signed into the request.
type Binding struct {
	Challenge string // as the API gave it
	Purpose   string // names.PurposeLogin or names.PurposeJoin
	Cluster   string // cluster id
	Keys      string // certs.KeysHash of both keys
}

// Header is one header of the request.
type Header struct{ Name, Value string }

// Request is the whole request as the signer rebuilds it: POST https://<Host>/ with [Body] and these headers.
type Request struct {
	Host      string
	Partition string   // of the Region, for comparison with the answer's
	Headers   []Header // without Host
}

var (
	credential = regexp.MustCompile(`^[A-Z0-9]{16,128}/([0-9]{8})/([a-z0-9-]{1,32})/sts/aws4_request$`)
	signature  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	token      = regexp.MustCompile(`^[A-Za-z0-9+/=_-]+$`)
)

// Rebuild rebuilds the request from what a caller sent and refuses everything that a well-formed one would
// not have: another service, Region or host, a signature over other headers than the fixed ones, doubled
// parameters, header values that could smuggle a second header. It costs no call.
func Rebuild(sent wire.STSRequest, b Binding, now time.Time) (Request, error) {
	host, partition, ok := Host(sent.Region)
	if !ok {
		return Request{}, refuse("sts.region", fmt.Sprintf("%.40q is not a Region with an STS endpoint", sent.Region))
	}
	if sent.Host != "" && sent.Host != host {
		return Request{}, refuse("sts.host", fmt.Sprintf("%.80q is not the STS host of %s; that is %s", sent.Host, sent.Region, host))
	}
	at, err := date(sent.AmzDate, now)
	if err != nil {
		return Request{}, err
	}
	auth, err := parseAuthorization(sent.Authorization)
	if err != nil {
		return Request{}, err
	}
	if auth.region != sent.Region {
		return Request{}, refuse("sts.authorization", "the credential scope names another Region than the request")
	}
	if auth.day != at.Format("20060102") {
		return Request{}, refuse("sts.authorization", "the credential scope names another day than X-Amz-Date")
	}
	if err := auth.covers(sent.SecurityToken != ""); err != nil {
		return Request{}, err
	}
	r := Request{Host: host, Partition: partition, Headers: fixed(sent.AmzDate, b)}
	r.Headers = append(r.Headers, Header{"Authorization", sent.Authorization})
	if sent.SecurityToken != "" {
		if len(sent.SecurityToken) > 8192 || !token.MatchString(sent.SecurityToken) {
			return Request{}, refuse("sts.security_token", "it has characters that no session token has")
		}
		r.Headers = append(r.Headers, Header{"X-Amz-Security-Token", sent.SecurityToken})
	}
	return r, nil
}

// fixed are the headers whose values the signer knows itself.
func fixed(amzDate string, b Binding) []Header {
	return []Header{
		{"Accept", Accept},
		{"Content-Type", ContentType},
		{"X-Amz-Date", amzDate},
		{names.HeaderChallenge, b.Challenge},
		{names.HeaderCluster, b.Cluster},
		{names.HeaderKeys, b.Keys},
		{names.HeaderPurpose, b.Purpose},
	}
}

// Unsigned returns the headers that a caller has to sign beside host, for whoever makes evidence.
func Unsigned(b Binding, at time.Time) []Header { return fixed(at.UTC().Format(DateFormat), b) }

func date(s string, now time.Time) (time.Time, error) {
	at, err := time.Parse(DateFormat, s)
	if err != nil {
		return time.Time{}, refuse("sts.amz_date", "it is not of the form 20060102T150405Z")
	}
	if d := now.Sub(at); d > maxAge || d < -maxAge {
		return time.Time{}, fault.Newf(fault.Unauthenticated, "set this machine's clock and try again",
			"the signed identity request was made at %s, but it is now %s here", at.Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
			With("sts.amz_date", "too far from the server's time")
	}
	return at, nil
}

type authorization struct {
	day, region string
	headers     []string
}

// parseAuthorization accepts the one form that SDKs write, so that two readers cannot read it differently.
func parseAuthorization(s string) (authorization, error) {
	const field = "sts.authorization"
	rest, ok := strings.CutPrefix(s, "AWS4-HMAC-SHA256 ")
	if !ok || len(s) > 1024 {
		return authorization{}, refuse(field, "it is not an AWS4-HMAC-SHA256 authorization")
	}
	parts := strings.Split(rest, ", ")
	if len(parts) != 3 {
		return authorization{}, refuse(field, "it needs Credential, SignedHeaders and Signature, once each and in this order")
	}
	var values [3]string
	for i, name := range []string{"Credential=", "SignedHeaders=", "Signature="} {
		if values[i], ok = strings.CutPrefix(parts[i], name); !ok {
			return authorization{}, refuse(field, "it needs Credential, SignedHeaders and Signature, once each and in this order")
		}
	}
	scope := credential.FindStringSubmatch(values[0])
	if scope == nil {
		return authorization{}, refuse(field, "the credential scope is not <key id>/<day>/<region>/sts/aws4_request")
	}
	if !signature.MatchString(values[2]) {
		return authorization{}, refuse(field, "the signature is not 64 hex digits")
	}
	return authorization{day: scope[1], region: scope[2], headers: strings.Split(values[1], ";")}, nil
}

// covers demands every required header and a session token if there is one, sorted, each once, and no other.
func (a authorization) covers(sessionToken bool) error {
	const field = "sts.authorization"
	for i, h := range a.headers {
		if i > 0 && a.headers[i-1] >= h {
			return refuse(field, "the signed headers are not in order, or one appears twice")
		}
		if !slices.Contains(required, h) && !slices.Contains(optional, h) {
			return refuse(field, fmt.Sprintf("the header %.40q is signed, but doesn't belong to this request", h))
		}
	}
	for _, h := range required {
		if !slices.Contains(a.headers, h) {
			return refuse(field, fmt.Sprintf("the header %s is not signed", h))
		}
	}
	if slices.Contains(a.headers, "x-amz-security-token") != sessionToken {
		return refuse(field, "the session token must be both sent and signed, or neither")
	}
	return nil
}

func refuse(field, reason string) *fault.Fault {
	return fault.Newf(fault.BadInput, "use this version's stile or stile-agent to make the request",
		"the signed identity request is not acceptable: %s: %s", field, reason).With(field, reason)
}
