// Package sts is the local Security Token Service: who am I, and may I be somebody else.
//
// It knows the account only through [iam.Authority]. Its entry point is [New].
package sts

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/gate/sigv4"
	"github.com/stile-dev/stile/localstack/iam"
)

// Service answers GetCallerIdentity and AssumeRole.
type Service struct{}

// New makes the service.
func New() *Service { return &Service{} }

// Name is the signing name.
func (*Service) Name() string { return "sts" }

const version = "2011-06-15"

// Operation is the parameter Action.
func (*Service) Operation(c *gate.Call) string {
	form, err := parameters(c)
	if err != nil {
		return ""
	}
	return form.Get("Action")
}

// ServeAWS answers one call.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	answer, err := s.serve(c)
	if err != nil {
		gate.WriteError(w, c, gate.Query, err)
		return
	}
	if gate.WantsJSON(c) {
		gate.WriteJSON(w, c, gate.RESTJSON, map[string]any{answer.name() + "Response": map[string]any{
			answer.name() + "Result": answer, "ResponseMetadata": map[string]string{"RequestId": c.RequestID},
		}})
		return
	}
	gate.WriteXML(w, c, gate.Query, http.StatusOK, answer.xml(c.RequestID))
}

// answer is a result that can be written both ways.
type answer interface {
	name() string
	xml(requestID string) any
}

func (s *Service) serve(c *gate.Call) (answer, error) {
	if err := checkHost(c); err != nil {
		return nil, err
	}
	form, err := parameters(c)
	if err != nil {
		return nil, err
	}
	if form.Get("Version") != version {
		return nil, &gate.Error{Code: "InvalidAction", Message: "Could not find operation " + form.Get("Action") + " for version " + form.Get("Version")}
	}
	name := form.Get("Action")
	if name == "" {
		return nil, &gate.Error{Code: "MissingAction", Message: "The request must contain the parameter Action"}
	}
	operation, ok := operations[name]
	if !ok {
		return nil, &gate.Error{Code: "InvalidAction", Message: "Could not find operation " + name + " for version " + version}
	}
	return operation(c, form)
}

var operations = map[string]func(*gate.Call, url.Values) (answer, error){"GetCallerIdentity": callerIdentity, "AssumeRole": assumeRole}

// Operations lists what the service answers.
func (*Service) Operations() []string { return slices.Sorted(maps.Keys(operations)) }

var hostForm = regexp.MustCompile(`^sts(?:-fips)?\.(?:([a-z0-9-]+)\.)?amazonaws\.com(?:\.cn)?$`)

// checkHost compares the host that was signed with the credential scope, as the regional endpoints do: a
// host of another Region, or of another service, never answers. A loopback host stands for the Region asked.
func checkHost(c *gate.Call) error {
	host := c.HTTP.Host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if host = h; hostForm.MatchString(h) && port != "443" {
			host = ""
		}
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	m := hostForm.FindStringSubmatch(strings.ToLower(host))
	if m == nil {
		return &gate.Error{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden, Message: "The signed host " + c.HTTP.Host + " is not an endpoint of STS."}
	}
	region := m[1]
	if region == "" {
		region = "us-east-1" // the global endpoint
	}
	if region != c.Region {
		return &gate.Error{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden, Message: "Credential should be scoped to a valid region, not '" + c.Region + "'. "}
	}
	return nil
}

// parameters reads the call's parameters: from the body of a POST, else from the query string. One that
// appears twice, or in both, is refused.
func parameters(c *gate.Call) (url.Values, error) {
	malformed := func(message string) error { return &gate.Error{Code: "MalformedInput", Message: message} }
	raw := c.HTTP.URL.RawQuery
	switch c.HTTP.Method {
	case http.MethodGet:
		if len(c.Body) > 0 {
			return nil, malformed("a GET has no body")
		}
	case http.MethodPost:
		kind, _, err := mime.ParseMediaType(c.HTTP.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" {
			return nil, malformed("the body must be application/x-www-form-urlencoded")
		}
		if raw != "" && len(c.Body) > 0 && !c.Presigned {
			return nil, malformed("there are parameters in both the query string and the body")
		}
		if len(c.Body) > 0 {
			raw = string(c.Body)
		}
	default:
		return nil, malformed("use POST or GET")
	}
	if c.HTTP.URL.Path != "/" && c.HTTP.URL.Path != "" {
		return nil, &gate.Error{Code: "InvalidAction", Status: http.StatusNotFound, Message: "STS answers at /"}
	}
	form, err := sigv4.Values(raw)
	if err != nil {
		return nil, malformed("the parameters are not well formed")
	}
	for key, values := range form {
		if len(values) > 1 {
			return nil, malformed("Duplicate parameter: " + key)
		}
	}
	return form, nil
}

// only refuses parameters that the operation doesn't have.
func only(form url.Values, presigned bool, known ...string) error {
next:
	for key := range form {
		if key == "Action" || key == "Version" || presigned && strings.HasPrefix(key, "X-Amz-") {
			continue
		}
		for _, k := range known {
			if key == k {
				continue next
			}
		}
		return &gate.Error{Code: "ValidationError", Message: "the parameter " + key + " is not supported here"}
	}
	return nil
}

// identity is GetCallerIdentity's result.
type identity struct {
	Account string
	Arn     string
	UserID  string `xml:"UserId" json:"UserId"`
}

func (identity) name() string { return "GetCallerIdentity" }

func (i identity) xml(id string) any {
	return struct {
		XMLName  xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Result   identity `xml:"GetCallerIdentityResult"`
		Metadata metadata `xml:"ResponseMetadata"`
	}{Result: i, Metadata: metadata{id}}
}

type metadata struct {
	RequestID string `xml:"RequestId"`
}

// callerIdentity needs no permission, and no policy can take it away.
func callerIdentity(c *gate.Call, form url.Values) (answer, error) {
	if err := only(form, c.Presigned); err != nil {
		return nil, err
	}
	p := c.Principal
	return identity{Account: p.Account, Arn: p.ARN, UserID: p.UserID}, nil
}

// assumed is AssumeRole's result.
type assumed struct {
	Credentials struct {
		AccessKeyID     string `xml:"AccessKeyId" json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      expiry
	}
	AssumedRoleUser struct {
		AssumedRoleID string `xml:"AssumedRoleId" json:"AssumedRoleId"`
		Arn           string
	}
}

// expiry is a time in ISO 8601 in XML and in seconds in JSON.
type expiry time.Time

// MarshalText writes ISO 8601.
func (e expiry) MarshalText() ([]byte, error) {
	return []byte(time.Time(e).UTC().Format("2006-01-02T15:04:05Z")), nil
}

// MarshalJSON writes seconds since the epoch.
func (e expiry) MarshalJSON() ([]byte, error) { return json.Marshal(time.Time(e).Unix()) }

func (assumed) name() string { return "AssumeRole" }

func (a assumed) xml(id string) any {
	return struct {
		XMLName  xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		Result   assumed  `xml:"AssumeRoleResult"`
		Metadata metadata `xml:"ResponseMetadata"`
	}{Result: a, Metadata: metadata{id}}
}

// assumeRole knows no tags, policy ARNs or MFA: a call with them is refused, so nobody believes that they count.
func assumeRole(c *gate.Call, form url.Values) (answer, error) {
	if err := only(form, c.Presigned, "RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "ExternalId"); err != nil {
		return nil, err
	}
	r := iam.AssumeRequest{
		Caller: c.Principal, RoleARN: form.Get("RoleArn"), Session: form.Get("RoleSessionName"),
		Policy: []byte(form.Get("Policy")), ExternalID: form.Get("ExternalId"), Context: map[string][]string{"aws:SecureTransport": {"true"}},
	}
	if text := form.Get("DurationSeconds"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 900 || seconds > 43200 {
			return nil, &gate.Error{Code: "ValidationError", Message: "Value '" + text + "' at 'durationSeconds' failed to satisfy constraint: Member must have value from 900 to 43200"}
		}
		r.Duration = time.Duration(seconds) * time.Second
	}
	credentials, principal, err := c.Authority.Assume(r)
	if refused, ok := errors.AsType[*iam.Refusal](err); ok {
		if refused.Denied {
			return nil, &gate.Error{Code: "AccessDenied", Status: http.StatusForbidden, Message: refused.Reason}
		}
		return nil, &gate.Error{Code: "ValidationError", Message: refused.Reason}
	}
	if err != nil {
		return nil, err
	}
	var out assumed
	out.Credentials.AccessKeyID, out.Credentials.SecretAccessKey = credentials.AccessKeyID, credentials.SecretAccessKey
	out.Credentials.SessionToken, out.Credentials.Expiration = credentials.SessionToken, expiry(credentials.Expires)
	out.AssumedRoleUser.AssumedRoleID, out.AssumedRoleUser.Arn = principal.UserID, principal.ARN
	return out, nil
}
