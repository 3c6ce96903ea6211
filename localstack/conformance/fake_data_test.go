package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// objects lists what a bucket holds.
func (f *fake) objects(bucket string) []string {
	c := aws.Config{Region: localRegion, Credentials: static(f.admin), BaseEndpoint: &f.endpoint}
	client := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true })
	out, err := client.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		f.t.Error(err)
		return nil
	}
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, *o.Key)
	}
	return keys
}

// versions answers ListObjectVersions with the current objects.
func (f *fake) versions(w http.ResponseWriter, bucket string) {
	fmt.Fprint(w, "<ListVersionsResult><IsTruncated>false</IsTruncated>")
	for _, key := range f.objects(bucket) {
		fmt.Fprintf(w, "<Version><Key>%s</Key></Version>", escape(key))
	}
	fmt.Fprint(w, "</ListVersionsResult>")
}

// createTable keeps the suite's tag of a table, which the local AWS tells nobody.
func (f *fake) createTable(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var in struct {
		TableName string
		Tags      []struct{ Key, Value string }
	}
	if err == nil {
		err = json.Unmarshal(raw, &in)
	}
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	for _, one := range in.Tags {
		if one.Key == tag {
			f.tables[in.TableName] = one.Value
		}
	}
	f.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(raw))
	f.gate.ServeHTTP(w, r)
}

func (f *fake) listTableTags(w http.ResponseWriter, r *http.Request) {
	var in struct{ ResourceArn string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	tags := []map[string]string{}
	if owner := f.tables[in.ResourceArn[strings.LastIndex(in.ResourceArn, "/")+1:]]; owner != "" {
		tags = append(tags, map[string]string{"Key": tag, "Value": owner})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Tags": tags})
}

func (f *fake) listKeyTags(w http.ResponseWriter, r *http.Request) {
	var in struct{ KeyId string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		f.t.Error(err)
	}
	tags := []map[string]string{}
	if owner := f.keys[in.KeyId]; owner != "" {
		tags = append(tags, map[string]string{"TagKey": tag, "TagValue": owner})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Tags": tags, "Truncated": false})
}
