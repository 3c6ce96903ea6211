package conformance_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// asked is what CloudFormation asked of a custom resource, by its property Note.
func asked(t *testing.T, note string, count int) []map[string]any {
	t.Helper()
	found := awaitNotes(t, 5*time.Minute, "custom-"+note, count)
	all := make([]map[string]any, len(found))
	for i, raw := range found {
		if err := json.Unmarshal([]byte(raw), &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestCloudFormationWalksACustomResourceThroughItsLife(t *testing.T) {
	t.Parallel()
	note := "life" + nonce()
	given := map[string]string{"Prefix": here.Prefix, "Note": note, "Value": "1", "Answer": "SUCCESS"}
	deploy := func(template, value string) map[string]string {
		given["Value"] = value
		outputs, err := here.Stacks.Deploy(t.Context(), template, given)
		if err != nil {
			t.Fatal(err)
		}
		return outputs
	}
	made := deploy("custom", "1")
	saw(t, "cloudformation/custom/ref", made["Ref"], "made-Custom")
	saw(t, "cloudformation/custom/get-att", made["Value"], "1")
	saw(t, "cloudformation/custom/get-att-update", deploy("custom", "2")["Value"], "2")
	deploy("custom-gone", "2")
	all := asked(t, note, 3)
	var kinds []string
	for _, e := range all {
		kinds = append(kinds, fmt.Sprint(e["RequestType"]))
	}
	saw(t, "cloudformation/custom/order", strings.Join(kinds, " "), "Create Update Delete")
	fields := func(e map[string]any) string { return strings.Join(sorted(e), " ") }
	const always = "LogicalResourceId %sRequestId RequestType ResourceProperties ResourceType ResponseURL ServiceToken StackId"
	saw(t, "cloudformation/custom/create", fields(all[0]), fmt.Sprintf(always, ""))
	saw(t, "cloudformation/custom/update", fields(all[1]),
		"LogicalResourceId OldResourceProperties PhysicalResourceId RequestId RequestType ResourceProperties ResourceType ResponseURL ServiceToken StackId")
	saw(t, "cloudformation/custom/delete", fields(all[2]), fmt.Sprintf(always, "PhysicalResourceId "))
	properties, _ := all[0]["ResourceProperties"].(map[string]any)
	raw, err := json.Marshal([]any{properties["Number"], properties["Truth"], properties["List"], properties["ServiceTimeout"]})
	if err != nil {
		t.Fatal(err)
	}
	saw(t, "cloudformation/custom/strings", string(raw), `["5","true",["1","two"],"120"]`)
	saw(t, "cloudformation/import", fmt.Sprint(properties["ServiceToken"] == here.Outputs["Work"]), "true")
	saw(t, "cloudformation/stack-output", fmt.Sprint(properties["Weak"] == here.Outputs["Work"]), "true")
	updated, _ := all[1]["ResourceProperties"].(map[string]any)
	saw(t, "cloudformation/condition", fmt.Sprint(properties["Turn"], " ", updated["Turn"]), "first again")
}

func TestCloudFormationTellsWhyACustomResourceFailed(t *testing.T) {
	t.Parallel()
	note := "fails" + nonce()
	given := map[string]string{"Prefix": here.Prefix, "Note": note, "Value": "1", "Answer": "FAILED"}
	_, err := here.Stacks.Deploy(t.Context(), "custom", given)
	saw(t, "cloudformation/custom/failed", fmt.Sprint(err != nil && strings.Contains(err.Error(), "the suite asked for it")),
		"true")
	if absent(t, "cloudformation/custom/rollback") {
		return
	}
	all := asked(t, note, 2)
	back := strings.Contains(fmt.Sprint(err), "ROLLBACK_COMPLETE")
	saw(t, "cloudformation/custom/rollback", fmt.Sprintf("%v %v, rolled back %v", all[0]["RequestType"], all[1]["RequestType"], back),
		"Create Delete, rolled back true")
}
