package athena

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/stile-dev/stile/localstack/property"
)

// What WorkGroupConfiguration may say, by Athena's API reference.
const (
	leastCutoff = 10_000_000 // bytes

	sseS3, sseKMS, cseKMS = "SSE_S3", "SSE_KMS", "CSE_KMS"
	auto                  = "AUTO"
)

// configuration is WorkGroupConfiguration of AWS::Athena::WorkGroup.
type configuration struct {
	BytesScannedCutoffPerQuery      *property.Int
	EnforceWorkGroupConfiguration   *property.Bool
	PublishCloudWatchMetricsEnabled *property.Bool
	RequesterPaysEnabled            property.Bool
	ResultConfiguration             *struct {
		OutputLocation          string
		ExpectedBucketOwner     string
		EncryptionConfiguration *encryption
		ACLConfiguration        *struct {
			S3ACLOption string `json:"S3AclOption"`
		} `json:"AclConfiguration"`
	}
	EngineVersion *struct{ SelectedEngineVersion string }
}

// encryption is EncryptionConfiguration.
type encryption struct {
	EncryptionOption string
	KMSKey           string `json:"KmsKey,omitempty"`
}

// settings are a workgroup's, in the shape in which GetWorkGroup answers them.
type settings struct {
	BytesScannedCutoffPerQuery      int `json:",omitempty"` // bytes
	EnforceWorkGroupConfiguration   bool
	PublishCloudWatchMetricsEnabled bool
	RequesterPaysEnabled            bool
	ResultConfiguration             results
	EngineVersion                   version
}

// results is ResultConfiguration of an answer.
type results struct {
	OutputLocation          string            `json:",omitempty"`
	ExpectedBucketOwner     string            `json:",omitempty"`
	EncryptionConfiguration *encryption       `json:",omitempty"`
	ACLConfiguration        map[string]string `json:"AclConfiguration,omitempty"`
}

// version is EngineVersion of an answer.
type version struct{ SelectedEngineVersion, EffectiveEngineVersion string }

// defaults are what a workgroup has of which nothing is said.
func defaults() settings {
	return settings{EnforceWorkGroupConfiguration: true, EngineVersion: version{auto, engine}}
}

var (
	ownerForm    = regexp.MustCompile(`^[0-9]{12}$`)
	locationForm = regexp.MustCompile(`^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/`)
)

// read checks a workgroup's configuration and fills in what it leaves out.
func (c *configuration) read() (settings, error) {
	s := defaults()
	if c == nil {
		return s, nil
	}
	var errs []error
	if c.BytesScannedCutoffPerQuery != nil {
		if s.BytesScannedCutoffPerQuery = int(*c.BytesScannedCutoffPerQuery); s.BytesScannedCutoffPerQuery < leastCutoff {
			errs = append(errs, fmt.Errorf("property BytesScannedCutoffPerQuery: %d is less than %d", s.BytesScannedCutoffPerQuery, leastCutoff))
		}
	}
	if c.EnforceWorkGroupConfiguration != nil {
		s.EnforceWorkGroupConfiguration = bool(*c.EnforceWorkGroupConfiguration)
	}
	if c.PublishCloudWatchMetricsEnabled != nil {
		s.PublishCloudWatchMetricsEnabled = bool(*c.PublishCloudWatchMetricsEnabled)
	}
	s.RequesterPaysEnabled = bool(c.RequesterPaysEnabled)
	if c.EngineVersion != nil {
		switch v := c.EngineVersion.SelectedEngineVersion; v {
		case auto, engine:
			s.EngineVersion.SelectedEngineVersion = v
		case "":
		default:
			errs = append(errs, fmt.Errorf("property SelectedEngineVersion: %q is not supported here, only %s and %s are", v, auto, engine))
		}
	}
	results, err := c.results()
	s.ResultConfiguration = results
	return s, errors.Join(append(errs, err)...)
}

func (c *configuration) results() (results, error) {
	in := c.ResultConfiguration
	if in == nil {
		return results{}, nil
	}
	var errs []error
	fail := func(property, format string, args ...any) {
		errs = append(errs, fmt.Errorf("property %s: %w", property, fmt.Errorf(format, args...)))
	}
	out := results{OutputLocation: in.OutputLocation, ExpectedBucketOwner: in.ExpectedBucketOwner, EncryptionConfiguration: in.EncryptionConfiguration}
	if out.OutputLocation != "" && (!locationForm.MatchString(out.OutputLocation) || !strings.HasSuffix(out.OutputLocation, "/")) {
		fail("OutputLocation", "%.200q is not s3://bucket/ or a prefix in it that ends with /", out.OutputLocation)
	}
	if out.ExpectedBucketOwner != "" && !ownerForm.MatchString(out.ExpectedBucketOwner) {
		fail("ExpectedBucketOwner", "%.200q is not the id of an account", out.ExpectedBucketOwner)
	}
	if e := in.EncryptionConfiguration; e != nil {
		switch {
		case e.EncryptionOption != sseS3 && e.EncryptionOption != sseKMS && e.EncryptionOption != cseKMS:
			fail("EncryptionOption", "%.200q is none of %s, %s and %s", e.EncryptionOption, sseS3, sseKMS, cseKMS)
		case e.EncryptionOption == sseS3 && e.KMSKey != "":
			fail("KmsKey", "%s has none", sseS3)
		case e.EncryptionOption != sseS3 && e.KMSKey == "":
			fail("KmsKey", "is missing, which %s needs", e.EncryptionOption)
		}
	}
	if a := in.ACLConfiguration; a != nil {
		if a.S3ACLOption != "BUCKET_OWNER_FULL_CONTROL" {
			fail("S3AclOption", "%.200q is not BUCKET_OWNER_FULL_CONTROL", a.S3ACLOption)
		}
		out.ACLConfiguration = map[string]string{"S3AclOption": a.S3ACLOption}
	}
	return out, errors.Join(errs...)
}
