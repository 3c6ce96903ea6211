package synth_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/stack"
	"github.com/stile-dev/stile/infra/synth"
)

func changedContext(t *testing.T) synth.Context {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(changed, "context.json"))
	if err != nil {
		t.Fatal(err)
	}
	var context synth.Context
	if err := json.Unmarshal(raw, &context); err != nil {
		t.Fatal(err)
	}
	return context
}

type document struct {
	Parameters map[string]map[string]any
	Resources  map[string]struct {
		Type, DeletionPolicy, UpdateReplacePolicy string
		Properties, Metadata                      map[string]any
	}
	Outputs map[string]map[string]any
}

func read(t *testing.T, raw []byte) (d document) {
	t.Helper()
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// differing lists the resources that two templates declare differently, as stack.id.
func differing(t *testing.T, a, b map[string][]byte) (out []string) {
	t.Helper()
	for _, name := range []string{stack.Data, stack.Control, stack.Audit, stack.Fleet} {
		before, after := read(t, a[name]), read(t, b[name])
		ids := map[string]bool{}
		for id := range before.Resources {
			ids[id] = true
		}
		for id := range after.Resources {
			ids[id] = true
		}
		for _, id := range slices.Sorted(maps.Keys(ids)) {
			if !reflect.DeepEqual(before.Resources[id], after.Resources[id]) {
				out = append(out, name+"."+id)
			}
		}
	}
	return out
}

// What another stack decides reaches a consumer only if the consumer's own text changes: the CDK skips a stack whose
// text is the same.
func TestASettingChangesTheTextOfWhatItReaches(t *testing.T) {
	first, err := synth.Templates(config(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, value string
		want       []string
	}{
		{"stile:generation:user-ssh", "2", []string{
			"StileData.AliasUserSsh", "StileData.KeyUserSsh", "StileData.KeyUserSsh2",
			"StileControl.FnRotate", "StileControl.FnSignUser", "StileControl.ForeignSign", "StileControl.KeyChange", "StileControl.Publication",
			"StileControl.RoleRotate", "StileControl.RoleSignUser", "StileControl.Signed", "StileControl.Trust",
		}},
		{"stile:table:presence", "stile-presence-2", []string{
			"StileData.TablePresence", "StileData.TablePresenceNamed0fb2e56b69239847",
			"StileControl.AlarmTablesFailing", "StileControl.AlarmTablesThrottled", "StileControl.FnApi", "StileControl.FnJoin", "StileControl.FnLogin", "StileControl.FnQuery", "StileControl.FnRecording",
			"StileControl.RoleApi", "StileControl.RoleFleet", "StileControl.RoleJoin", "StileControl.RoleLogin", "StileControl.RoleQuery", "StileControl.RoleRecording",
			"StileControl.StoreChange", "StileFleet.Task",
		}},
		{"stile:epoch", "2", []string{"StileControl.FnRotate", "StileControl.Publication", "StileControl.Trust"}},
		{"stile:former-keys", "1234abcd-12ab-34cd-56ef-1234567890ab", []string{"StileControl.ForeignSign", "StileControl.KeyChange", "StileControl.Signed"}},
		{"stile:recordings-retention-days", "30", []string{
			"StileData.BucketRecordings",
			"StileControl.FnRecording", "StileControl.FnSweep",
			"StileControl.RoleRecording", "StileControl.RoleRecordingReader", "StileControl.RoleSweep",
		}},
		{"stile:api-url", "https://api.example.com", []string{"StileControl.FnCanary", "StileFleet.Task"}},
	} {
		second, err := synth.Templates(config(t), synth.Context{c.key: c.value})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, differing(t, first, second)); diff != "" {
			t.Errorf("%s=%s (-want +got):\n%s", c.key, c.value, diff)
		}
	}
}

// Nobody imports, and whoever refers to another stack says what it consumes.
func TestWhoRefersToAnotherStackSaysWhatItConsumes(t *testing.T) {
	all, err := synth.Templates(config(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, raw := range all {
		for id, r := range read(t, raw).Resources {
			text, err := json.Marshal(r.Properties)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "Fn::ImportValue") {
				t.Errorf("%s of %s imports, which freezes what it imports", id, name)
			}
			refers := strings.Contains(string(text), "Fn::GetStackOutput")
			if digest, _ := r.Metadata[stack.Consumes].(string); refers != (len(digest) == 32) {
				t.Errorf("%s of %s refers to another stack: %v, and its metadata %s is %q", id, name, refers, stack.Consumes, digest)
			}
			if refers {
				seen++
			}
		}
		for id, out := range read(t, raw).Outputs {
			if out["Export"] != nil {
				t.Errorf("output %s of %s is exported, and could not change while it is imported", id, name)
			}
		}
	}
	if seen == 0 {
		t.Error("no resource refers to another stack")
	}
}

// Whoever gets an alarm reads its page where the deployment says that the pages are; the folder changes nothing else.
func TestAlarmsNameTheirPagesByURL(t *testing.T) {
	own, err := synth.Templates(config(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	const folder = "https://wiki.example.com/stile"
	moved, err := synth.Templates(config(t), synth.Context{"stile:runbooks": folder})
	if err != nil {
		t.Fatal(err)
	}
	const before = "https://github.com/stile-dev/stile/blob/main/docs/runbooks"
	named := 0
	for name, raw := range own {
		for id, r := range read(t, raw).Resources {
			if r.Type == "AWS::CloudWatch::Alarm" || r.Type == "AWS::Events::Rule" && r.Properties["EventPattern"] != nil && r.Properties["EventBusName"] == nil {
				named++
				text, err := json.Marshal(r.Properties)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(text), before+"/") {
					t.Errorf("%s of %s names no page by its URL: %s", id, name, text)
				}
				// A rule's description has 512 characters, an alarm's more; the folder's URL may have 250 of them.
				if said, _ := r.Properties["Description"].(string); len(said)-len(before)+250 > 512 {
					t.Errorf("%s of %s says too much: %s", id, name, said)
				}
			}
		}
		if diff := cmp.Diff(read(t, []byte(strings.ReplaceAll(string(raw), before, folder))), read(t, moved[name])); diff != "" {
			t.Errorf("%s with its pages elsewhere (-want +got):\n%s", name, diff)
		}
	}
	if named == 0 {
		t.Error("there are no alarms")
	}
}

// What a setting puts in place keeps its output's name, and is retained like what it replaces.
func TestWhatIsReplacedKeepsItsOutputAndIsRetained(t *testing.T) {
	all, err := synth.Templates(config(t), changedContext(t))
	if err != nil {
		t.Fatal(err)
	}
	data, control := read(t, all[stack.Data]), read(t, all[stack.Control])
	table := ""
	for id, r := range data.Resources {
		if (r.Type == "AWS::KMS::Key" || r.Type == "AWS::DynamoDB::Table") && (r.DeletionPolicy != "RetainExceptOnCreate" || r.UpdateReplacePolicy != "Retain") {
			t.Errorf("%s is not retained", id)
		}
		if r.Type == "AWS::DynamoDB::Table" && r.Properties["TableName"] == "stile-state-restored" {
			table = id
		}
	}
	at := func(id, attribute string) any { return map[string]any{"Fn::GetAtt": []any{id, attribute}} }
	for output, want := range map[string]any{
		"OutKeyUserSshArn": at("KeyUserSsh2", "Arn"), "OutKeyUserX509Arn": at("KeyUserX509", "Arn"),
		"OutTableStateName": map[string]any{"Ref": table}, "OutTableStateStream": at(table, "StreamArn"),
	} {
		if diff := cmp.Diff(want, data.Outputs[output]["Value"]); diff != "" {
			t.Errorf("%s: %s", output, diff)
		}
	}
	if got := control.Outputs["OutApiUrl"]["Value"]; got != "https://api.example.com" {
		t.Errorf("OutApiUrl is %v", got)
	}
}

// The parameter Settings admits the template's own settings alone: with the value of the deployment before, which the
// CDK gives it, other settings are refused.
func TestOtherSettingsHaveToBeConfirmed(t *testing.T) {
	first, err := synth.Templates(config(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := synth.Templates(config(t), changedContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{stack.Data: "user-ssh/2+state/stile-state-restored+recordings/compliance/365", stack.Control: "https://api.example.com+epoch/2+former/1234abcd-12ab-34cd-56ef-1234567890ab"} {
		for value, raw := range map[string][]byte{"none": first[name], want: second[name]} {
			p := read(t, raw).Parameters["Settings"]
			if diff := cmp.Diff([]any{value}, p["AllowedValues"]); diff != "" || p["Default"] != value {
				t.Errorf("Settings of %s has default %v and allows (-want +got):\n%s", name, p["Default"], diff)
			}
			if hint := fmt.Sprintf("--parameters %s:Settings=%s", name, value); !strings.Contains(fmt.Sprint(p["ConstraintDescription"]), hint) {
				t.Errorf("the refusal of %s doesn't say %s", name, hint)
			}
		}
	}
}

func TestASettingThatIsWrongIsRefusedByName(t *testing.T) {
	for key, values := range map[string]map[any]string{
		"stile:generation:user-shh": {"2": "there is no key"},
		"stile:generation:":         {"2": "there is no key"},
		"stile:generation:root":     {"2": "can't be replaced"},
		"stile:generation:user-ssh": {
			"1": "from 2 to 999", "02": "from 2 to 999", "two": "from 2 to 999", "": "from 2 to 999", "1000": "from 2 to 999", 2.5: "from 2 to 999",
		},
		"stile:epoch": {"1": "from 2 to 999", "02": "from 2 to 999", "1000": "from 2 to 999", "": "from 2 to 999", -2: "from 2 to 999"},
		"stile:former-keys": {
			strings.Repeat("1234abcd-12ab-34cd-56ef-1234567890ab,", 11): "more than the 10 that fit",
			"": "ids of KMS keys", "alias/stile/policy": "ids of KMS keys", "1234abcd-12ab-34cd-56ef-1234567890ab,": "ids of KMS keys",
			"1234abcd-12ab-34cd-56ef-1234567890ab,1234abcd-12ab-34cd-56ef-1234567890ab": "each once", "1234ABCD-12ab-34cd-56ef-1234567890ab": "ids of KMS keys",
			"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab": "ids of KMS keys",
		},
		"stile:table:events": {"x-y-z": "there is no table"},
		"stile:table:state":  {"ab": "3 to 255", "a b c": "3 to 255", "arn:x": "3 to 255", "": "3 to 255"},
		"stile:api-url": {
			"": "https://", "http://api.example.com": "https://", "https://": "https://", "https://api.example.com/": "without a slash",
			"https://api.example.com/x?y": "https://", "https://user@api.example.com": "https://", "https://API.example.com": "lower case", "api.example.com": "https://",
		},
		"stile:runbooks": {
			"": "https://", "http://wiki.example.com": "https://", "https://wiki.example.com/": "without a slash", "docs/runbooks": "https://",
			`https://wiki.example.com/"`: "https://", "https://wiki.example.com/<x>": "https://", "https://wiki.example.com/a b": "https://",
			"https://wiki.example.com/" + strings.Repeat("x", 230): "at most 250",
		},
		"stile:recordings-retention-days": {
			"": "from 1 to 36500", "-1": "from 1 to 36500", "36501": "from 1 to 36500", "030": "from 1 to 36500", "a year": "from 1 to 36500", 1.5: "from 1 to 36500",
		},
		"stile:recordings-retention-mode": {
			"": "governance or compliance", "COMPLIANCE": "governance or compliance", "none": "governance or compliance",
			"governance": "no retention", "compliance": "no retention",
		},
		"stile:apiurl": {"https://api.example.com": "no such setting"},
		"stile:":       {"": "no such setting"},
	} {
		for value, want := range values {
			_, err := synth.Templates(config(t), synth.Context{key: value})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), key) {
				t.Errorf("%s=%v: got %v, want %s and %q", key, value, err, key, want)
			}
		}
	}
	_, err := synth.Templates(config(t), synth.Context{"stile:table:state": "same", "stile:table:ledger": "same"})
	if err == nil || !strings.Contains(err.Error(), "can't both be") {
		t.Errorf("one table in place of two: %v", err)
	}
}

// Whoever replaces a key is told of its use as before.
func TestFormerKeysAreWatched(t *testing.T) {
	all, err := synth.Templates(config(t), synth.Context{"stile:former-keys": "2234abcd-12ab-34cd-56ef-1234567890ab,1234abcd-12ab-34cd-56ef-1234567890ab"})
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{"ForeignSign", "KeyChange"} {
		raw, err := json.Marshal(read(t, all["StileControl"]).Resources[rule])
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"1234abcd", "2234abcd"} {
			if !strings.Contains(string(raw), "${AWS::AccountId}:key/"+id+"-12ab-34cd-56ef-1234567890ab") {
				t.Errorf("%s doesn't hear of %s: %s", rule, id, raw)
			}
		}
	}
}

// The state table of an earlier time publishes nothing that agents take in the epoch that they are in.
func TestARestoredStateTableBeginsAnEpoch(t *testing.T) {
	_, err := synth.Templates(config(t), synth.Context{"stile:table:state": "stile-state-2", "stile:table:secrets": "stile-secrets-2"})
	if err == nil || !strings.Contains(err.Error(), "set stile:epoch") {
		t.Errorf("without an epoch: %v", err)
	}
	if _, err := synth.Templates(config(t), synth.Context{"stile:table:secrets": "stile-secrets-2"}); err != nil {
		t.Errorf("secrets alone need no epoch: %v", err)
	}
}

func TestAGenerationMayBeANumber(t *testing.T) {
	all, err := synth.Templates(config(t), synth.Context{"stile:generation:challenge": 3, "other:setting": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := read(t, all[stack.Data]).Resources["KeyChallenge3"]; !ok {
		t.Error("there is no KeyChallenge3")
	}
}

// ObjectLockEnabled can't change on a bucket that exists: with it, CloudFormation would put an empty bucket in place of
// the recordings.
func TestRecordingsAreRetainedWithoutReplacingTheirBucket(t *testing.T) {
	rule := func(mode string, days float64) any {
		return map[string]any{"ObjectLockEnabled": "Enabled", "Rule": map[string]any{"DefaultRetention": map[string]any{"Mode": mode, "Days": days}}}
	}
	const days, mode = "stile:recordings-retention-days", "stile:recordings-retention-mode"
	for _, c := range []struct {
		name     string
		context  synth.Context
		lock     any
		settings string
	}{
		{"unset", nil, nil, "none"},
		{"zero", synth.Context{days: 0}, map[string]any{"ObjectLockEnabled": "Enabled"}, "recordings/0"},
		{"days alone", synth.Context{days: "1"}, rule("GOVERNANCE", 1), "recordings/governance/1"},
		{"governance", synth.Context{days: 36500, mode: "governance"}, rule("GOVERNANCE", 36500), "recordings/governance/36500"},
		{"compliance", synth.Context{days: "30", mode: "compliance"}, rule("COMPLIANCE", 30), "recordings/compliance/30"},
	} {
		all, err := synth.Templates(config(t), c.context)
		if err != nil {
			t.Fatal(err)
		}
		data := read(t, all[stack.Data])
		bucket := data.Resources["BucketRecordings"]
		if diff := cmp.Diff(c.lock, bucket.Properties["ObjectLockConfiguration"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if bucket.Properties["ObjectLockEnabled"] != nil || bucket.Properties["LifecycleConfiguration"] != nil || bucket.DeletionPolicy != "RetainExceptOnCreate" {
			t.Errorf("%s: the bucket has %v and policy %s", c.name, bucket.Properties, bucket.DeletionPolicy)
		}
		if got := data.Parameters["Settings"]["Default"]; got != c.settings {
			t.Errorf("%s: Settings is %v, want %s", c.name, got, c.settings)
		}
	}
	if _, err := synth.Templates(config(t), synth.Context{days: 0, mode: "compliance"}); err == nil || !strings.Contains(err.Error(), "no retention") {
		t.Errorf("a mode of no days: %v", err)
	}
}
