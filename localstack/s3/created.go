package s3

import (
	"bytes"
	"encoding/hex"
	"errors"

	"github.com/johannesboyne/gofakes3"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

// Created is the detail of the event by which a bucket tells EventBridge of a new object.
type Created struct {
	Version string `json:"version"`
	Bucket  struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key  string `json:"key"`
		Size int64  `json:"size"`
		ETag string `json:"etag"`
	} `json:"object"`
	Reason string `json:"reason"`
}

// readNotifications reads whether a bucket tells EventBridge; other listeners are not supported.
func readNotifications(in *resource.Reader, at string) bool {
	if !in.Has("NotificationConfiguration") {
		return false
	}
	outer := resource.ReadObject(at+".NotificationConfiguration", in.Object("NotificationConfiguration"))
	inner := resource.ReadObject(at+".EventBridgeConfiguration", outer.Object("EventBridgeConfiguration"))
	tells := inner.Bool("EventBridgeEnabled")
	in.Add(errors.Join(outer.Done(), inner.Done()))
	return tells
}

// tell tells of an object that was written, if the bucket does and somebody listens.
func (b bucketInfo) tell(created func(Created), bucket, key string, o object) {
	if created == nil || !b.Tells {
		return
	}
	e := Created{Version: "0", Reason: "PutObject"}
	e.Bucket.Name, e.Object.Key, e.Object.Size, e.Object.ETag = bucket, key, o.Size, hex.EncodeToString(o.Hash)
	created(e)
}

// Put writes an object for another service that acts as a principal, whose policies and the bucket's decide.
func (s *Service) Put(who *iam.Principal, bucket, key string, body []byte) error {
	there, err := s.as(who, operation{name: "PutObject", action: "s3:PutObject", bucket: bucket, key: key})
	if err != nil {
		return err
	}
	if !there {
		return gofakes3.BucketNotFound(bucket)
	}
	_, err = s.store.PutObject(bucket, key, map[string]string{}, bytes.NewReader(body), int64(len(body)), nil)
	return err
}
