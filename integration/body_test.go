package integration_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
)

// A change and a question that are larger than an event are found whole by what the event says, by who may ask the lake, and nobody
// can put something else in their place.
func TestWhatAnEventHasNoRoomForIsFoundWhole(t *testing.T) {
	boss, p, v := shared.person(t, admin).login(t), shared.person(t, engineer).login(t), shared.vaultOf(t, "lake")
	role := func(login string) string {
		logins := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("%s-%04d, ", login, len(login)), 2500), ", ")
		return "kind: role\nmetadata: {name: many-logins}\nspec: {allow: {node_labels: {env: nowhere}, logins: [" + logins + "]}}\n"
	}
	boss.create(t, role("ada"))
	boss.must(t, "create", "--replace", "-f", boss.file(t, role("bob")))
	var changed audit.Event
	for _, e := range boss.events(t, "--since", "5m", "--target", "role/many-logins", "--type", string(audit.ResourceUpdated)) {
		changed = e.Event
	}
	for field, login := range map[string]string{"before": "ada-", "after": "bob-"} {
		sum := changed.Data[field+"_sha256"]
		whole := boss.must(t, "audit", "body", sum)
		var r struct {
			Metadata struct{ Name string }
			Spec     struct{ Allow struct{ Logins []string } }
		}
		if err := json.Unmarshal([]byte(whole), &r); err != nil || r.Metadata.Name != "many-logins" || len(r.Spec.Allow.Logins) != 2500 || !strings.HasPrefix(r.Spec.Allow.Logins[2499], login) {
			t.Errorf("%s: %v, %d logins in %d bytes", field, err, len(r.Spec.Allow.Logins), len(whole))
		}
		if begins := changed.Data[field]; begins == "" || !strings.HasPrefix(whole, begins) || audit.Sum(whole) != sum {
			t.Errorf("%s: the event has %d bytes, which the whole doesn't begin with", field, len(begins))
		}
	}
	boss.must(t, "rm", "role/many-logins")

	question := "SELECT '" + strings.Repeat("é", 10<<10) + "' AS long"
	boss.must(t, "audit", "query", "--file", boss.file(t, question))
	var sum string
	for _, e := range boss.events(t, "--since", "5m", "--type", string(audit.LakeQueried)) {
		if e.Data["sql_sha256"] == audit.Sum(question) {
			sum = e.Data["sql_sha256"]
		}
	}
	if got := boss.must(t, "audit", "body", sum); got != question {
		t.Errorf("the question has %d bytes, of %d", len(got), len(question))
	}
	p.run(t, nil, "audit", "body", sum).refused(t, 4, "may not query the audit lake", "decision: dec_")
	boss.run(t, nil, "audit", "body", strings.Repeat("0", 64)).refused(t, 5, "nothing is kept under the SHA-256 0000")
	boss.run(t, nil, "audit", "body", "../"+sum).refused(t, 2, "no SHA-256")

	key := names.LakeBodies + sum
	if _, err := v.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &v.bucket, Key: &key, Body: strings.NewReader("SELECT 1")}); err == nil {
		t.Error("it was replaced")
	}
	if _, err := v.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &v.bucket, Key: &key, Body: strings.NewReader("SELECT 1"), IfNoneMatch: aws.String("*")}); err == nil {
		t.Error("it was replaced, with a condition")
	}
	if _, err := v.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &v.bucket, Key: &key}); err == nil {
		t.Error("it was deleted")
	}
	if got := boss.must(t, "audit", "body", sum); got != question {
		t.Error("the question isn't there any more")
	}
	read := 0
	for _, e := range boss.events(t, "--since", "5m", "--type", string(audit.LakeRead)) {
		if e.Target == sum && e.Actor == changed.Actor {
			read++
		}
	}
	if read != 2 {
		t.Errorf("%d events say that it was given, want 2", read)
	}
}
