package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/integration/stand"
)

// changing is what may change while nothing is done: audit events, there and in the lake, with where those of decisions are, what
// publish claims to have signed, how far sweep's looks are, counters of time, and liveness. A refusal may leave an event and a count
// of arrivals; nothing else.
var changing = regexp.MustCompile(`^table/[^/]+/(event#.*/|certificate#.*/|decision#.*/|claimed#publish#.*/|counted#.*/|gap/|looked/|checked/|signing#.*/|head/revocations$|head/lease$|head/head$|proxy/|tunnels#|arrival#)|^object/[^/]*lake[^/]*/|^object/[^/]*failures[^/]*/relay/|^file/proxies`)

// snapshot is everything that is stored: table items, objects, and the person's files.
func (s *system) snapshot(t *testing.T, p *person) map[string]string {
	t.Helper()
	all := map[string]string{}
	cfg := s.readerConfig(t)
	if err := items(t.Context(), dynamodb.NewFromConfig(cfg), all); err != nil {
		t.Fatalf("reading tables: %v", err)
	}
	if err := objects(t.Context(), s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), all); err != nil {
		t.Fatalf("reading buckets: %v", err)
	}
	if err := files(p.Home, all); err != nil {
		t.Fatal(err)
	}
	for key := range all {
		if changing.MatchString(key) {
			delete(all, key)
		}
	}
	return all
}

// unchanged fails if something is stored now that wasn't, or differently. What the synthetic login leaves every five minutes isn't
// looked at; one that is on its way is waited for.
func (s *system) unchanged(t *testing.T, p *person, before map[string]string) {
	t.Helper()
	eventually(t, 10*time.Second, func() string {
		synthetic := s.synthetic(t)
		lessSynthetic := func(all map[string]string) map[string]string {
			return maps.Collect(func(yield func(string, string) bool) {
				for key, value := range all {
					if certificate := issued.FindString(key + value); !synthetic[certificate] && !yield(key, value) {
						return
					}
				}
			})
		}
		if diff := cmp.Diff(lessSynthetic(before), lessSynthetic(s.snapshot(t, p))); diff != "" {
			return "what is stored changed (- before, + after):\n" + diff
		}
		return ""
	})
}

// issued is a certificate's id, as what is kept of its issuance begins with it.
var issued = regexp.MustCompile(`crt_[0-9a-z]{26}`)

// synthetic are the certificates of the synthetic login.
func (s *system) synthetic(t *testing.T) map[string]bool {
	t.Helper()
	all, found := map[string]string{}, map[string]bool{}
	if err := items(t.Context(), dynamodb.NewFromConfig(s.readerConfig(t)), all); err != nil {
		t.Fatalf("reading tables: %v", err)
	}
	for key, value := range all {
		if strings.Contains(key, "/event#function/sign-user#") && strings.Contains(value, `\"actor\":\"user/canary\"`) {
			found[issued.FindString(value)] = true
		}
	}
	return found
}

func (s *system) readerConfig(t *testing.T) aws.Config {
	t.Helper()
	return s.person(t, stand.ReaderFile).AWS()
}

func items(ctx context.Context, db *dynamodb.Client, all map[string]string) error {
	tables, err := db.ListTables(ctx, &dynamodb.ListTablesInput{})
	if err != nil {
		return err
	}
	if len(tables.TableNames) < 4 {
		return fmt.Errorf("%d tables, want four", len(tables.TableNames))
	}
	for _, table := range tables.TableNames {
		pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: aws.String(table), ConsistentRead: aws.Bool(true)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, item := range page.Items {
				all["table/"+table+"/"+text(item["pk"])+"/"+text(item["sk"])] = plain(item)
			}
		}
	}
	return nil
}

func text(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// plain writes an item so that two equal ones are equal.
func plain(item map[string]types.AttributeValue) string {
	b, err := json.Marshal(item)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func objects(ctx context.Context, store *s3.Client, all map[string]string) error {
	buckets, err := store.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return err
	}
	for _, b := range buckets.Buckets {
		pages := s3.NewListObjectsV2Paginator(store, &s3.ListObjectsV2Input{Bucket: b.Name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, o := range page.Contents {
				all["object/"+aws.ToString(b.Name)+"/"+aws.ToString(o.Key)] = aws.ToString(o.ETag)
			}
		}
	}
	return nil
}

func files(home string, all map[string]string) error {
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(home, path)
		all["file/"+rel] = string(b)
		return err
	})
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
