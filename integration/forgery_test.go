package integration_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
)

// asProxy is the ledger's table as a proxy's task role reaches it: with the credentials that the running proxy gets, from
// what stands in its environment.
func (s *system) asProxy(t *testing.T) *dynamodb.Client {
	t.Helper()
	env := s.environment(t, s.aProxy(t))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, env["AWS_CONTAINER_CREDENTIALS_FULL_URI"], nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", env["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct { // the names match in any case
		AccessKeyID, SecretAccessKey, Token string
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.AccessKeyID == "" {
		t.Fatalf("the task's credentials: %s, %v", answer.Status, err)
	}
	return dynamodb.NewFromConfig(aws.Config{
		Region: env["AWS_REGION"], BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]),
		Credentials: credentials.NewStaticCredentialsProvider(got.AccessKeyID, got.SecretAccessKey, got.Token),
	})
}

// aProxy is the name of a proxy that runs; each deployment of proxies gives them others.
func (s *system) aProxy(t *testing.T) string {
	t.Helper()
	list := s.ps(t)
	i := slices.IndexFunc(list, func(p stand.Process) bool { return strings.HasPrefix(p.Name, "stile-proxy-") })
	if i < 0 {
		t.Fatal("no proxy runs")
	}
	return list[i].Name
}

// environment is the environment of a part of the system.
func (s *system) environment(t *testing.T, name string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.pid(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for variable := range strings.SplitSeq(string(b), "\x00") {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = value
	}
	return env
}

// start waits for a proven start of a session at a node and returns it.
func (s *system) start(t *testing.T, node string) audit.Event {
	t.Helper()
	var found audit.Event
	eventually(t, 20*time.Second, func() string {
		for _, e := range s.ledger(t).Events() {
			if e.Type == audit.SessionStart && e.Target == node {
				found = e
				return ""
			}
		}
		return "no session's start is in the ledger"
	})
	return found
}

// standing returns how the reader judges an event.
func standing(r reader.Report, id string) reader.Entry {
	if i := slices.IndexFunc(r.Entries, func(e reader.Entry) bool { return e.Event.ID == id }); i >= 0 {
		return r.Entries[i]
	}
	return reader.Entry{}
}

// TestSec_S63_AProxysCredentialsRewriteNobodysHistory takes a running proxy's credentials and does with them what was seen
// to work: it overwrites events and forges some of others.
func TestSec_S63_AProxysCredentialsRewriteNobodysHistory(t *testing.T) {
	if r := shared.person(t, engineer).login(t).run(t, nil, "ssh", "node-1", "--", "true"); r.status != 0 {
		t.Fatal(r.err)
	}
	start, v, db := shared.start(t, "node-1"), newVandal(t), shared.asProxy(t)
	books := ledger.New(ledger.Config{DynamoDB: db, Table: v.ledger})
	denied := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("%s: %v", what, err)
		}
	}
	forged := func(source string) audit.Event {
		e := audit.New(audit.SessionStart, rand.Reader, time.Now())
		e.Cluster, e.Scope, e.Actor, e.Source = start.Cluster, start.Scope, "user/forged", source
		e.TargetKind, e.Target, e.SourceEpoch, e.Seq = "node", "node-1", start.SourceEpoch, 1_000_000
		e.Data = maps.Clone(start.Data)
		return e
	}

	var functions []string
	for _, i := range v.all(t) {
		pk, ok := strings.CutPrefix(text(i["pk"]), "event#function/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(pk, "#")
		if !slices.Contains(functions, name) {
			functions = append(functions, name)
			_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &v.ledger, Item: i})
			denied("overwriting an event of "+name, err)
			denied("an event of "+name, books.Append(t.Context(), forged("function/"+name)))
		}
	}
	if len(functions) < 3 {
		t.Errorf("only %v have written events", functions)
	}

	copies := v.copies(t, start.ID)
	for _, own := range copies {
		key := item{"pk": own["pk"], "sk": own["sk"]}
		_, err := db.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &v.ledger, Key: key})
		denied("deleting an agent's event", err)
		_, err = db.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: &v.ledger, Key: key, UpdateExpression: aws.String("REMOVE event"),
		})
		denied("changing an agent's event", err)
	}

	// What it may write, it can't prove.
	made := forged(start.Source)
	if err := books.Append(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	if e := standing(shared.ledger(t), made.ID); e.Standing != reader.Unproven {
		t.Errorf("a forged event of an agent is %s: %s", e.Standing, e.Why)
	}
	put := func(i item) {
		t.Helper()
		if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &v.ledger, Item: i}); err != nil {
			t.Fatal(err)
		}
	}
	for _, own := range copies {
		altered := maps.Clone(own)
		altered["event"] = &types.AttributeValueMemberS{Value: strings.Replace(text(own["event"]), `"actor":"`, `"actor":"user/eve+`, 1)}
		received, err := strconv.ParseInt(altered["received_ms"].(*types.AttributeValueMemberN).Value, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		put(altered) // where the event was, and where the altered one would belong
		moved := maps.Clone(altered)
		moved["sk"] = &types.AttributeValueMemberS{Value: ledger.Receipt(time.UnixMilli(received), []byte(text(altered["event"])))}
		put(moved)
	}
	report := shared.ledger(t)
	for _, own := range copies {
		put(own)
	}
	// Both say the same, and the one that is read first counts: it is in the wrong place, or not signed.
	if e := standing(report, start.ID); e.Standing != reader.Refused || !strings.Contains(e.Why, "signature") && !strings.Contains(e.Why, " under ") {
		t.Errorf("an event that was overwritten is %s: %s", e.Standing, e.Why)
	}
	if !slices.ContainsFunc(report.Gaps, func(g reader.Gap) bool {
		return g.Source == start.Source && g.Epoch == start.SourceEpoch && g.First <= start.Seq && start.Seq <= g.Last
	}) {
		t.Errorf("nothing is missing: %+v", report.Gaps)
	}
	if e := standing(shared.ledger(t), start.ID); e.Standing != reader.Proven {
		t.Errorf("as it was before, it is %s: %s", e.Standing, e.Why)
	}
}

// all reads every item of the ledger.
func (v *vandal) all(t *testing.T) (all []item) {
	t.Helper()
	pages := dynamodb.NewScanPaginator(v.db, &dynamodb.ScanInput{TableName: &v.ledger, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Items...)
	}
	return all
}

// copies returns the items of an event, without those that say where it is. A delivery that was repeated makes a
// second one.
func (v *vandal) copies(t *testing.T, id string) (found []item) {
	t.Helper()
	for _, i := range v.all(t) {
		if e, err := audit.Parse([]byte(text(i["event"]))); err == nil && e.ID == id {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no event %s", id)
	}
	return found
}
