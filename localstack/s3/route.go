package s3

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/gate"
)

// operation is what a request asks for, and the one action that permits it.
type operation struct {
	name   string // as CloudTrail calls it
	action string
	bucket string
	key    string // "" for operations on the bucket
}

// resource is what the action is asked on.
func (o operation) resource(partition string) string {
	switch {
	case o.bucket == "":
		return "*"
	case o.key == "":
		return "arn:" + partition + ":s3:::" + o.bucket
	default:
		return "arn:" + partition + ":s3:::" + o.bucket + "/" + o.key
	}
}

var hostForm = regexp.MustCompile(`^(?:(.+)\.)?(?:s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?|(?:s3\.)?localhost)$`)

// locate finds bucket and key: the bucket is in the host or first in the path.
func locate(r *http.Request) (bucket, key string) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if m := hostForm.FindStringSubmatch(strings.ToLower(host)); m != nil && m[1] != "" {
		return m[1], path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// route is one row of the table: method, level and sub-resource say what a request is.
type route struct {
	method string
	object bool
	sub    string // query key that makes it another operation; "" for none
	name   string
	action string
}

var routes = []route{
	{"GET", false, "", "ListObjects", "s3:ListBucket"},
	{"GET", false, "versions", "ListObjectVersions", "s3:ListBucketVersions"},
	{"POST", false, "delete", "DeleteObjects", "s3:DeleteObject"},
	{"GET", true, "versionId", "GetObject", "s3:GetObjectVersion"},
	{"HEAD", true, "versionId", "HeadObject", "s3:GetObjectVersion"},
	{"DELETE", true, "", "DeleteObject", "s3:DeleteObject"},
	{"DELETE", true, "versionId", "DeleteObject", "s3:DeleteObjectVersion"},
	{"GET", true, "", "GetObject", "s3:GetObject"},
	{"HEAD", true, "", "HeadObject", "s3:GetObject"},
	{"PUT", true, "", "PutObject", "s3:PutObject"},
	{"GET", true, "retention", "GetObjectRetention", "s3:GetObjectRetention"},
	{"PUT", true, "retention", "PutObjectRetention", "s3:PutObjectRetention"},
	{"GET", true, "legal-hold", "GetObjectLegalHold", "s3:GetObjectLegalHold"},
	{"PUT", true, "legal-hold", "PutObjectLegalHold", "s3:PutObjectLegalHold"},
}

// Operations lists what the service answers.
func (*Service) Operations() []string {
	out := []string{listBuckets.name}
	for _, row := range routes {
		if !slices.Contains(out, row.name) {
			out = append(out, row.name)
		}
	}
	return out
}

// listBuckets is the only operation without a bucket.
var listBuckets = operation{name: "ListBuckets", action: "s3:ListAllMyBuckets"}

// subResources are all query keys that change what a request is; one that no route has is refused.
var subResources = []string{
	"accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering", "inventory",
	"legal-hold", "lifecycle", "location", "logging", "metrics", "notification", "object-lock", "ownershipControls",
	"policy", "policyStatus", "publicAccessBlock", "renameObject", "replication", "requestPayment", "restore", "retention",
	"select", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// harmless is every query key that only details an operation.
var harmless = []string{
	"list-type", "prefix", "delimiter", "marker", "max-keys", "continuation-token", "start-after", "encoding-type", "fetch-owner",
	"x-id", "key-marker", "version-id-marker",
	"response-content-type", "response-content-language", "response-expires", "response-cache-control",
	"response-content-disposition", "response-content-encoding",
}

// classify maps method, path and query to an operation; what the table doesn't have is refused.
func classify(r *http.Request, query url.Values) (operation, error) {
	bucket, key := locate(r)
	sub := ""
	ofVersion := query.Has("retention") || query.Has("legal-hold") // for which a version is a detail
	for name := range query {
		switch {
		case ofVersion && name == "versionId":
		case slices.Contains(subResources, name):
			if sub != "" {
				return operation{}, notImplemented(name + " together with " + sub)
			}
			sub = name
		case !slices.Contains(harmless, name) && !strings.HasPrefix(strings.ToLower(name), "x-amz-"):
			return operation{}, notImplemented("the query parameter " + name)
		}
	}
	if bucket == "" {
		if r.Method == http.MethodGet && sub == "" {
			return listBuckets, nil
		}
		return operation{}, notImplemented(r.Method + " /")
	}
	for _, row := range routes {
		if row.method == r.Method && row.object == (key != "") && row.sub == sub {
			return operation{row.name, row.action, bucket, key}, nil
		}
	}
	return operation{}, notImplemented(strings.TrimRight(r.Method+" with "+sub, " "))
}

func notImplemented(what string) error {
	return &gate.Error{
		Code: "NotImplemented", Status: http.StatusNotImplemented,
		Message: "A header you provided implies functionality that is not implemented: the local S3 doesn't know " + what + ".",
	}
}
