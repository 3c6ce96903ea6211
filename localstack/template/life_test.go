package template_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/template"
)

// account is a provider in memory: what there is, by type and name, with its properties.
type account struct {
	types   []string
	there   map[string]string
	removed []string
	broken  map[string]bool // logical ids that can't be made or changed
	stuck   map[string]bool // logical ids that can't be removed
	half    map[string]bool // logical ids that are made, but not as they should be
}

func newAccount() *account {
	return &account{
		types: []string{"AWS::DynamoDB::Table", "AWS::IAM::Role", "AWS::ECS::TaskDefinition", "AWS::ECS::Service"},
		there: map[string]string{}, broken: map[string]bool{}, stuck: map[string]bool{}, half: map[string]bool{},
	}
}

func (a *account) Types() []string { return a.types }

func (a *account) name(r resource.Resource) string {
	if name, ok := r.Properties["RoleName"].(string); ok {
		return r.Type + " " + name
	}
	return r.Type + " " + r.Label()
}

func (a *account) Provision(r resource.Resource) (resource.Outcome, error) {
	if a.broken[r.LogicalID] {
		return resource.Outcome{}, errors.New("it is broken")
	}
	name := a.name(r)
	if _, exists := a.there[name]; exists && r.New() {
		return resource.Outcome{}, fmt.Errorf("%s %w", name, resource.ErrExists)
	}
	a.there[name] = fmt.Sprint(r.Properties)
	if a.half[r.LogicalID] {
		return resource.Outcome{Ref: name}, errors.New("it is only half there")
	}
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Arn": "arn:" + name}}, nil
}

func (a *account) Remove(r resource.Resource) error {
	if a.stuck[r.LogicalID] {
		return errors.New("it is stuck")
	}
	delete(a.there, r.PhysicalID)
	a.removed = append(a.removed, r.PhysicalID)
	return nil
}

// life is a deployer of one account, whose process may end at any time.
type life struct {
	*template.Deployer
	t       *testing.T
	dir     string
	account *account
	f       *function
}

func newLife(t *testing.T) *life {
	l := &life{t: t, dir: t.TempDir(), account: newAccount(), f: &function{t: t, hash: "h", answer: func(e map[string]any) map[string]any { return reply(e, nil) }}}
	l.restart()
	return l
}

// restart reads the state from its file.
func (l *life) restart() {
	l.t.Helper()
	l.Deployer = deployer(l.t, l.dir, l.f.custom(), l.account)
}

func (l *life) deploy(text string) error {
	l.t.Helper()
	_, err := l.Deploy(l.t.Context(), template.Stack{Name: "S", Template: parse(l.t, text)})
	return err
}

func (l *life) must(text string) {
	l.t.Helper()
	if err := l.deploy(text); err != nil {
		l.t.Fatal(err)
	}
}

// is holds the stack and the account against what they should be, as the file has it.
func (l *life) is(status template.Status, names ...string) {
	l.t.Helper()
	l.restart()
	if got := l.State.Status("S"); got != status {
		l.t.Errorf("the stack is in %s, not in %s", got, status)
	}
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(l.account.there)), cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		l.t.Errorf("there is (-want +got):\n%s", diff)
	}
}

// says holds an error against what it should contain.
func says(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v, want one with %q", err, w)
		}
	}
}

const (
	roleA   = `"A": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "a"}}`
	roleB   = `"B": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "b", "Description": {"Ref": "A"}}}`
	tableT  = `"T": {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain", "Properties": {"KeySchema": "k"}}`
	tableT2 = `"T": {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain", "Properties": {"KeySchema": "l"}}`
	tableR  = `"R": {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "Retain"}`
	customC = `"C": {"Type": "Custom::C", "Properties": {"ServiceToken": "arn:f", "V": "1"}}`
)

func stackOf(resources ...string) string {
	return `{"Resources": {` + strings.Join(resources, ", ") + `}}`
}

func TestAFailedCreationIsRolledBackAndTriedAgain(t *testing.T) {
	l := newLife(t)
	l.account.broken["B"] = true
	text := stackOf(roleA, roleB, tableT, tableR)
	says(t, l.deploy(text), "B (AWS::IAM::Role): it is broken", "the stack is in ROLLBACK_COMPLETE")
	l.is(template.RollbackComplete)
	first := l.State.Stacks["S"].ID
	l.account.broken["B"] = false
	l.must(text)
	l.is(template.CreateComplete, "AWS::DynamoDB::Table R", "AWS::DynamoDB::Table T", "AWS::IAM::Role a", "AWS::IAM::Role b")
	if l.State.Stacks["S"].ID == first {
		t.Error("the stack that was created again has the id of the one that was not")
	}
}

func TestWhatIsOnlyHalfMadeIsTakenAway(t *testing.T) {
	l := newLife(t)
	l.account.half["B"] = true
	says(t, l.deploy(stackOf(roleA, roleB)), "B (AWS::IAM::Role): it is only half there", "ROLLBACK_COMPLETE")
	l.is(template.RollbackComplete)
	l.account.half["B"] = false
	l.must(stackOf(roleA))
	l.account.half["B"] = true
	says(t, l.deploy(stackOf(roleA, roleB)), "UPDATE_ROLLBACK_COMPLETE")
	l.is(template.UpdateRollbackComplete, "AWS::IAM::Role a")
}

func TestWhatIsRetainedOutlivesARollbackAndBlocksItsName(t *testing.T) {
	l := newLife(t)
	kept := strings.Replace(roleA, `"Properties"`, `"DeletionPolicy": "Retain", "Properties"`, 1)
	l.account.broken["B"] = true
	says(t, l.deploy(stackOf(kept, roleB)), "ROLLBACK_COMPLETE")
	l.is(template.RollbackComplete, "AWS::IAM::Role a")
	l.account.broken["B"] = false
	says(t, l.deploy(stackOf(kept, roleB)), "AWS::IAM::Role a already exists", "ROLLBACK_COMPLETE")
}

func TestWhatIsOnlyRecordedHasItsNameAlone(t *testing.T) {
	l := newLife(t)
	log := `"L": {"Type": "AWS::Logs::LogGroup", "DeletionPolicy": "Retain", "Properties": {"LogGroupName": "/x"}}`
	l.must(stackOf(log))
	if kept, err := l.Delete(t.Context(), "S"); err != nil || len(kept) != 1 || kept[0].Ref != "/x" {
		t.Fatalf("%v, %v", kept, err)
	}
	says(t, l.deploy(stackOf(log)), "/x: already exists")
}

func TestAFailedUpdateBringsBackWhatWas(t *testing.T) {
	l := newLife(t)
	l.must(stackOf(roleA, tableT, customC))
	before := maps.Clone(l.account.there)
	// A is changed, T replaced, C asked, B made; then Z fails.
	changed := strings.Replace(roleA, `"a"`, `"a", "Description": "new"`, 1)
	last := `"Z": {"Type": "AWS::IAM::Role", "DependsOn": ["A", "B", "C", "T"], "Properties": {"RoleName": "z"}}`
	l.account.broken["Z"] = true
	next := stackOf(changed, roleB, tableT2, strings.Replace(customC, `"1"`, `"2"`, 1), last)
	says(t, l.deploy(next), "Z (AWS::IAM::Role): it is broken", "UPDATE_ROLLBACK_COMPLETE")
	l.is(template.UpdateRollbackComplete, slices.Sorted(maps.Keys(before))...)
	if diff := cmp.Diff(before, l.account.there); diff != "" {
		t.Error(diff)
	}
	var asked []string
	for _, e := range l.f.events {
		asked = append(asked, fmt.Sprint(e["RequestType"], e["ResourceProperties"].(map[string]any)["V"]))
	}
	if diff := cmp.Diff([]string{"Create1", "Update2", "Update1"}, asked); diff != "" {
		t.Error(diff)
	}
	l.account.broken["Z"] = false
	l.must(next)
	l.is(template.UpdateComplete, "AWS::DynamoDB::Table T", "AWS::DynamoDB::Table T-2", "AWS::IAM::Role a", "AWS::IAM::Role b", "AWS::IAM::Role z")
}

func TestWhatAnUpdateNoLongerNeedsIsDeletedAtItsEnd(t *testing.T) {
	l := newLife(t)
	task := func(cpu string) string {
		return `"D": {"Type": "AWS::ECS::TaskDefinition", "Properties": {"Cpu": "` + cpu + `"}}`
	}
	l.must(stackOf(roleA, roleB, task("1"), customC))
	l.account.stuck["A"] = true
	l.must(stackOf(task("2"), tableR)) // what can't be deleted is left behind
	l.is(template.UpdateComplete, "AWS::DynamoDB::Table R", "AWS::ECS::TaskDefinition D-1", "AWS::IAM::Role a")
	if diff := cmp.Diff([]string{"AWS::ECS::TaskDefinition D", "AWS::IAM::Role b"}, slices.Sorted(slices.Values(l.account.removed))); diff != "" {
		t.Error(diff)
	}
	if last := l.f.events[len(l.f.events)-1]; last["RequestType"] != "Delete" {
		t.Errorf("the custom resource was last asked for %v", last["RequestType"])
	}
	if diff := cmp.Diff([]template.Retained{{Stack: "S", LogicalID: "A", Type: "AWS::IAM::Role", Ref: "AWS::IAM::Role a"}}, l.State.Retained); diff != "" {
		t.Error(diff)
	}
}

func TestAnUpdateThatCannotBeRolledBackIsRolledBackByTheNext(t *testing.T) {
	l := newLife(t)
	l.must(stackOf(roleA))
	changed := strings.Replace(roleA, `"a"`, `"a", "Description": "new"`, 1)
	l.account.broken["A"] = true
	says(t, l.deploy(stackOf(changed, roleB)), "UPDATE_ROLLBACK_FAILED", "rolling back A")
	l.is(template.UpdateRollbackFailed, "AWS::IAM::Role a")
	l.account.broken["A"] = false
	l.must(stackOf(roleA))
	l.is(template.UpdateRollbackComplete, "AWS::IAM::Role a")
}

func TestAnUnchangedStackKeepsItsStatus(t *testing.T) {
	l := newLife(t)
	l.must(stackOf(roleA, customC))
	l.must(stackOf(roleA, customC))
	l.is(template.CreateComplete, "AWS::IAM::Role a")
}

func TestANameThatIsGivenCannotBeKeptByAReplacement(t *testing.T) {
	l := newLife(t)
	service := func(cluster string) string {
		return stackOf(`"V": {"Type": "AWS::ECS::Service", "Properties": {"ServiceName": "proxy", "Cluster": "` + cluster + `"}}`)
	}
	l.must(service("one"))
	says(t, l.deploy(service("two")), "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename proxy and update the stack again")
}

func TestAStackIsDeletedInReverse(t *testing.T) {
	l := newLife(t)
	text := stackOf(roleA, roleB, tableT, customC)
	if _, err := l.Deploy(t.Context(), template.Stack{Name: "S", Template: parse(t, text), Protect: true}); err != nil {
		t.Fatal(err)
	}
	_, err := l.Delete(t.Context(), "S")
	says(t, err, "stack S cannot be deleted while termination protection is enabled")
	if err := l.Unprotect("S"); err != nil {
		t.Fatal(err)
	}
	l.account.stuck["A"] = true
	_, err = l.Delete(t.Context(), "S")
	says(t, err, "deleting A (AWS::IAM::Role): it is stuck")
	l.is(template.DeleteFailed, "AWS::DynamoDB::Table T", "AWS::IAM::Role a")
	l.account.stuck["A"] = false
	if _, err := l.Delete(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	l.is("", "AWS::DynamoDB::Table T")
	if diff := cmp.Diff([]string{"AWS::IAM::Role b", "AWS::IAM::Role a"}, l.account.removed); diff != "" {
		t.Error(diff)
	}
}

func TestWhatAnotherStackImportsStays(t *testing.T) {
	l := newLife(t)
	exporting := func(value string) string {
		return `{"Resources": {` + roleA + `}, "Outputs": {"O": {"Value": "` + value + `", "Export": {"Name": "S-O"}}}}`
	}
	l.must(exporting("1"))
	user := template.Stack{Name: "U", Template: parse(t, `{"Resources": {"B": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": {"Fn::ImportValue": "S-O"}}}}}`)}
	if _, err := l.Deploy(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	l.restart()
	_, err := l.Delete(t.Context(), "S")
	says(t, err, "export S-O cannot be deleted as it is in use by U")
	says(t, l.deploy(exporting("2")), "export S-O cannot be updated as it is in use by U", "UPDATE_ROLLBACK_COMPLETE")
	says(t, l.deploy(stackOf(roleA)), "export S-O cannot be deleted as it is in use by U")
	if _, err := l.Delete(t.Context(), "U"); err != nil {
		t.Fatal(err)
	}
	l.must(exporting("2"))
}

func TestARetryAfterTheProcessEndedTakesOverWhatItHadBegun(t *testing.T) {
	l := newLife(t)
	l.account.there["AWS::IAM::Role a"] = "made by a process that ended before it could say so"
	if err := l.deploy(stackOf(roleA)); err == nil {
		t.Fatal("a role of somebody else was taken over")
	}
	state, err := template.OpenState(filepath.Join(l.dir, "stacks.json"))
	if err != nil {
		t.Fatal(err)
	}
	state.Stacks["S"] = &template.StackState{
		ID: "arn:aws:cloudformation:us-east-1:111122223333:stack/S/u", Status: template.CreateInProgress,
		Resources: map[string]*template.ResourceState{"A": {Type: "AWS::IAM::Role", Begun: true}},
	}
	l.State.Stacks = state.Stacks
	l.must(stackOf(roleA))
	l.is(template.CreateComplete, "AWS::IAM::Role a")
}

func TestEveryTypeSaysWhatReplacesIt(t *testing.T) {
	for _, row := range template.Table() {
		properties, known := template.Replacing()[row.Type]
		if !known {
			t.Errorf("localstack/template/replace.go doesn't say which properties of %s replace it when they change: "+
				`list those that CloudFormation documents with "Update requires: Replacement", or nil`, row.Type)
		}
		for _, p := range properties {
			if !slices.Contains(row.Properties, p) {
				t.Errorf("%s has no property %s in localstack/template/table.go: delete it in replace.go", row.Type, p)
			}
		}
	}
}
