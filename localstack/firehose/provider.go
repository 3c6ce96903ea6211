package firehose

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)

// spec is AWS::KinesisFirehose::DeliveryStream.
type spec struct {
	DeliveryStreamName, DeliveryStreamType     string
	DeliveryStreamEncryptionConfigurationInput *struct{ KeyType string }
	ExtendedS3DestinationConfiguration         *destination
}

// destination is ExtendedS3DestinationConfiguration.
type destination struct {
	BucketARN, RoleARN        string
	Prefix, ErrorOutputPrefix string
	CustomTimeZone            string
	CompressionFormat         string
	FileExtension             string
	S3BackupMode              string
	BufferingHints            *struct{ IntervalInSeconds, SizeInMBs *property.Int }
	CloudWatchLoggingOptions  *struct {
		Enabled                     property.Bool
		LogGroupName, LogStreamName string
	}
	DataFormatConversionConfiguration *conversionSpec
}

// conversionSpec is DataFormatConversionConfiguration.
type conversionSpec struct {
	Enabled                  *property.Bool
	InputFormatConfiguration *struct {
		Deserializer *struct {
			OpenXJSONSerDe *openX `json:"OpenXJsonSerDe"`
		}
	}
	OutputFormatConfiguration *struct {
		Serializer *struct {
			ParquetSerDe *struct {
				Compression string
			}
		}
	}
	SchemaConfiguration *struct {
		CatalogID    string `json:"CatalogId"`
		DatabaseName string
		TableName    string
		Region       string
		RoleARN      string
		VersionID    string `json:"VersionId"`
	}
}

// Buffering as "CreateDeliveryStream" in the API reference has it: of streams that convert, 64 MB at least.
const (
	defaultInterval = 300 // seconds
	defaultSize     = 5   // MB
	convertingSize  = 128
	leastConverting = 64
	mostSize        = 128
	mostInterval    = 900
	megabyte        = 1 << 20
)

func (d destination) converts() bool {
	c := d.DataFormatConversionConfiguration
	return c != nil && (c.Enabled == nil || bool(*c.Enabled))
}

// hints are the interval and the bytes after which a buffer is delivered.
func (d destination) hints() (time.Duration, int) {
	interval, size := defaultInterval, defaultSize
	if d.converts() {
		size = convertingSize
	}
	if h := d.BufferingHints; h != nil {
		if h.IntervalInSeconds != nil {
			interval = int(*h.IntervalInSeconds)
		}
		if h.SizeInMBs != nil {
			size = int(*h.SizeInMBs)
		}
	}
	return time.Duration(interval) * time.Second, size * megabyte
}

// prefixes reads both prefixes.
func (d destination) prefixes() (objects, failures prefix, err error) {
	if objects, err = parsePrefix(d.Prefix, false); err != nil {
		return nil, nil, fmt.Errorf("property Prefix: %w", err)
	}
	if failures, err = parsePrefix(d.ErrorOutputPrefix, true); err != nil {
		return nil, nil, fmt.Errorf("property ErrorOutputPrefix: %w", err)
	}
	expression := func(text string) bool { return strings.Contains(text, "!{") }
	switch {
	case expression(d.Prefix) && d.ErrorOutputPrefix == "":
		err = errors.New("property ErrorOutputPrefix: is missing, which a Prefix with expressions needs")
	case expression(d.ErrorOutputPrefix) && !failures.has(func(p piece) bool { return p.kind }):
		err = errors.New("property ErrorOutputPrefix: it has expressions, but not !{firehose:error-output-type}")
	}
	return objects, failures, err
}

// check refuses what Firehose refuses, or what is not supported here.
func (d destination) check() error {
	var errs []error
	fail := func(property, format string, args ...any) {
		errs = append(errs, fmt.Errorf("property %s: %w", property, fmt.Errorf(format, args...)))
	}
	interval, size := d.hints()
	switch {
	case !strings.Contains(d.BucketARN, ":s3:::") || strings.Contains(d.BucketARN, "/"):
		fail("BucketARN", "%q is no bucket's", d.BucketARN)
	case interval < 0 || interval > mostInterval*time.Second:
		fail("IntervalInSeconds", "is not 0 to %d", mostInterval)
	case size < megabyte || size > mostSize*megabyte:
		fail("SizeInMBs", "is not 1 to %d", mostSize)
	case d.converts() && size < leastConverting*megabyte:
		fail("SizeInMBs", "a stream that converts needs %d at least", leastConverting)
	}
	if f := d.CompressionFormat; f != "" && f != "UNCOMPRESSED" {
		fail("CompressionFormat", "%q is not supported here; what is converted may only be UNCOMPRESSED on AWS, too", f)
	}
	if z := d.CustomTimeZone; z != "" && z != "UTC" {
		fail("CustomTimeZone", "%q is not supported here, only UTC is", z)
	}
	if m := d.S3BackupMode; m != "" && m != "Disabled" {
		fail("S3BackupMode", "%q is not supported here, only Disabled is", m)
	}
	if e := d.FileExtension; e != "" && !extensionForm.MatchString(e) {
		fail("FileExtension", "%q is none", e)
	}
	_, _, err := d.prefixes()
	errs = append(errs, err)
	if c := d.DataFormatConversionConfiguration; d.converts() {
		errs = append(errs, c.check())
	}
	return errors.Join(errs...)
}

var extensionForm = regexp.MustCompile(`^\.[0-9a-z!\-_.*'()]{1,127}$`)

func (c conversionSpec) check() error {
	switch in, out, schema := c.InputFormatConfiguration, c.OutputFormatConfiguration, c.SchemaConfiguration; {
	case in == nil || in.Deserializer == nil || in.Deserializer.OpenXJSONSerDe == nil:
		return errors.New("property InputFormatConfiguration: only a Deserializer with OpenXJsonSerDe is supported here")
	case out == nil || out.Serializer == nil || out.Serializer.ParquetSerDe == nil:
		return errors.New("property OutputFormatConfiguration: only a Serializer with ParquetSerDe is supported here")
	case out.Serializer.ParquetSerDe.Compression != "" && out.Serializer.ParquetSerDe.Compression != "SNAPPY":
		return fmt.Errorf("property Compression: %q is not supported here, only SNAPPY is", out.Serializer.ParquetSerDe.Compression)
	case schema == nil || schema.DatabaseName == "" || schema.TableName == "" || schema.RoleARN == "":
		return errors.New("property SchemaConfiguration: DatabaseName, TableName and RoleARN are needed")
	case schema.VersionID != "" && schema.VersionID != "LATEST":
		return fmt.Errorf("property VersionId: %q is not supported here, only LATEST is", schema.VersionID)
	}
	return c.InputFormatConfiguration.Deserializer.OpenXJSONSerDe.check()
}

// Types names what the service provisions from templates.
func (*Service) Types() []string { return []string{"AWS::KinesisFirehose::DeliveryStream"} }

// Provision creates or updates a delivery stream. As on AWS its roles have to be assumable and its table to be readable
// by then.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	var in spec
	if err := property.Decode(r.Properties, &in); err != nil {
		return resource.Outcome{}, err
	}
	name := in.DeliveryStreamName
	if name == "" {
		name = r.Name(64)
	}
	if err := in.check(name); err != nil {
		return resource.Outcome{}, err
	}
	if r.PhysicalID != "" && r.PhysicalID != name {
		return resource.Outcome{}, fmt.Errorf("property DeliveryStreamName: stream %s cannot be renamed to %s", r.PhysicalID, name)
	}
	d := *in.ExtendedS3DestinationConfiguration
	k := kept{Name: name, ARN: s.arn(name), Version: 1, Created: s.config.Now().UTC(), Destination: d}
	if err := s.checkRoles(k); err != nil {
		return resource.Outcome{}, err
	}
	if err := s.keep(r, k); err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Arn": k.ARN}}, nil
}

func (in spec) check(name string) error {
	switch e := in.DeliveryStreamEncryptionConfigurationInput; {
	case !nameForm.MatchString(name):
		return fmt.Errorf("property DeliveryStreamName: %q is none: use 1 to 64 letters, digits, and _.-", name)
	case in.DeliveryStreamType != "" && in.DeliveryStreamType != "DirectPut":
		return fmt.Errorf("property DeliveryStreamType: %q is not supported here, only DirectPut is", in.DeliveryStreamType)
	case e != nil && e.KeyType != "AWS_OWNED_CMK":
		return fmt.Errorf("property KeyType: %q is not supported here, only AWS_OWNED_CMK is", e.KeyType)
	case in.ExtendedS3DestinationConfiguration == nil:
		return errors.New("property ExtendedS3DestinationConfiguration is missing, and no other destination is supported here")
	}
	return in.ExtendedS3DestinationConfiguration.check()
}

// checkRoles becomes each role once, and reads the schema with it, as CreateDeliveryStream does.
func (s *Service) checkRoles(k kept) error {
	if _, err := s.become(k, k.Destination.RoleARN); err != nil {
		return fmt.Errorf("property RoleARN: %w", err)
	}
	if !k.Destination.converts() {
		return nil
	}
	schema := k.Destination.DataFormatConversionConfiguration.SchemaConfiguration
	if schema.CatalogID != "" && schema.CatalogID != s.config.Authority.Account() {
		return fmt.Errorf("property CatalogId: %q is not this account", schema.CatalogID)
	}
	if schema.Region != "" && schema.Region != s.config.Authority.Region() {
		return fmt.Errorf("property Region: %q is not this Region", schema.Region)
	}
	who, err := s.become(k, schema.RoleARN)
	if err != nil {
		return fmt.Errorf("property SchemaConfiguration: %w", err)
	}
	if _, err := s.config.Catalog.Find(schema.DatabaseName, schema.TableName); err != nil {
		return fmt.Errorf("property SchemaConfiguration: %w", err)
	}
	if wait := s.config.Authority.Unsettled(schema.RoleARN); wait > 0 {
		return nil // AWS tries for a while
	}
	if _, err := s.config.Catalog.Schema(who, schema.DatabaseName, schema.TableName); err != nil {
		return fmt.Errorf("property SchemaConfiguration: access was denied when calling Glue: %w", err)
	}
	return nil
}

func (s *Service) keep(r resource.Resource, k kept) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.streams[k.Name]
	if t != nil {
		if r.New() {
			return fmt.Errorf("delivery stream %s: %w", k.Name, resource.ErrExists)
		}
		k.Created, k.Version = t.kept.Created, t.kept.Version
		if !reflect.DeepEqual(t.kept.Destination, k.Destination) {
			k.Version++
		}
	}
	raw, err := json.Marshal(k)
	if err == nil {
		err = s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(streamBucket).Put([]byte(k.Name), raw) })
	}
	if err != nil {
		return fmt.Errorf("storing the stream: %w", err)
	}
	if t == nil {
		t = &stream{}
		s.streams[k.Name] = t
	}
	t.kept, t.next, t.tries = k, time.Time{}, 0
	t.prefix, t.errors, err = k.Destination.prefixes()
	return err
}

// Remove deletes a stream with what it has not delivered, as Firehose does.
func (s *Service) Remove(r resource.Resource) error {
	s.mu.Lock()
	delete(s.streams, r.PhysicalID)
	s.mu.Unlock()
	return s.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(recordBucket).DeleteBucket([]byte(r.PhysicalID)); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
			return err
		}
		return tx.Bucket(streamBucket).Delete([]byte(r.PhysicalID))
	})
}

// described is the destination as DescribeDeliveryStream tells it.
func (d destination) described() map[string]any {
	interval, size := d.hints()
	out := map[string]any{
		"RoleARN": d.RoleARN, "BucketARN": d.BucketARN, "Prefix": d.Prefix, "ErrorOutputPrefix": d.ErrorOutputPrefix,
		"BufferingHints":          map[string]any{"IntervalInSeconds": int(interval / time.Second), "SizeInMBs": size / megabyte},
		"CompressionFormat":       "UNCOMPRESSED",
		"EncryptionConfiguration": map[string]any{"NoEncryptionConfig": "NoEncryption"},
		"S3BackupMode":            "Disabled",
	}
	if d.converts() {
		c := d.DataFormatConversionConfiguration
		out["DataFormatConversionConfiguration"] = map[string]any{
			"Enabled":                   true,
			"InputFormatConfiguration":  map[string]any{"Deserializer": map[string]any{"OpenXJsonSerDe": map[string]any{}}},
			"OutputFormatConfiguration": map[string]any{"Serializer": map[string]any{"ParquetSerDe": map[string]any{"Compression": "SNAPPY"}}},
			"SchemaConfiguration": map[string]any{
				"DatabaseName": c.SchemaConfiguration.DatabaseName, "TableName": c.SchemaConfiguration.TableName, "RoleARN": c.SchemaConfiguration.RoleARN, "VersionId": "LATEST",
			},
		}
	}
	return out
}
