package review_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/review"
)

// only is the one resource of a type.
func only(t *testing.T, a *review.Account, kind string) review.Resource {
	t.Helper()
	found := a.Resources(kind)
	if len(found) != 1 {
		t.Fatalf("%d resources of type %s, want one", len(found), kind)
	}
	return found[0]
}

// A task whose image is for another architecture ends with "exec format error" when it starts.
func TestTheImageIsForTheTasksArchitecture(t *testing.T) {
	a := account(t)
	task := only(t, a, "AWS::ECS::TaskDefinition")
	platform, _ := task.Properties["RuntimePlatform"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"}, platform); diff != "" {
		t.Error(diff)
	}
	if got := only(t, a, "Custom::StileImage").Properties["Architecture"]; got != "arm64" {
		t.Errorf("the image is made for %v", got)
	}
}

// TestSec_S93_TheImageIsOfTheProgramThatWasBuilt: in the committed template a fixed word stands for the digest.
func TestSec_S93_TheImageIsOfTheProgramThatWasBuilt(t *testing.T) {
	if got := only(t, account(t), "Custom::StileImage").Properties["Sha256"]; got != "BUILD-proxy" {
		t.Errorf("the image is to be made of a program with the digest %v", got)
	}
}

func TestTasksRunWhatTheDeploymentMadeUnlessToldOtherwise(t *testing.T) {
	a := account(t)
	task := only(t, a, "AWS::ECS::TaskDefinition")
	container := task.Properties["ContainerDefinitions"].([]any)[0].(map[string]any)
	if got, want := a.Text(task, container["Image"]), "<Image.Uri>, or if HasProxyImage <ProxyImage>"; got != want {
		t.Errorf("tasks run %s, want %s", got, want)
	}
}

// A rule that looks at age, or keeps few, expires an image that runs: nobody is asked whether it does.
func TestNoImageThatCouldRunExpires(t *testing.T) {
	repository := only(t, account(t), "AWS::ECR::Repository")
	if repository.Properties["ImageTagMutability"] != "IMMUTABLE" || repository.Properties["EmptyOnDelete"] != true {
		t.Errorf("properties %v: a tag must not move, and a stack must be deletable", repository.Properties)
	}
	text, _ := repository.Properties["LifecyclePolicy"].(map[string]any)["LifecyclePolicyText"].(string)
	var policy struct {
		Rules []struct {
			RulePriority int
			Description  string
			Selection    map[string]any
			Action       map[string]any
		}
	}
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatal(err)
	}
	if len(policy.Rules) != 1 {
		t.Fatalf("%d rules, want one", len(policy.Rules))
	}
	want := map[string]any{"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100.0}
	if diff := cmp.Diff(want, policy.Rules[0].Selection); diff != "" {
		t.Errorf("the rule selects (-want +got):\n%s", diff)
	}
}

// Whoever may push an image decides what proxies run.
func TestSec_S80_ImagesArePushedByTheirFunctionAloneAndDeletedByNobody(t *testing.T) {
	found := 0
	for _, role := range account(t).Roles() {
		for _, s := range role.May {
			for _, action := range s.Actions {
				verb, registry := strings.CutPrefix(action, "ecr:")
				if !registry || slices.Contains([]string{"BatchCheckLayerAvailability", "BatchGetImage", "GetAuthorizationToken", "GetDownloadUrlForLayer"}, verb) {
					continue
				}
				found++
				if role.Name != "image" || !slices.Equal(s.Resources, []string{"<Repository>"}) || strings.Contains(verb, "Delete") {
					t.Errorf("%s may %s on %v", role.Name, verb, s.Resources)
				}
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d actions that push were found: the test looks in the wrong place", found)
	}
	for _, role := range account(t).Roles() {
		for _, s := range role.May {
			if slices.Contains(s.Actions, "ecr:BatchGetImage") && !slices.Contains([]string{"<Repository>", "<Repository>, or if HasProxyImage arn:<partition>:ecr:<region>:<account>:repository/*"}, s.Resources[0]) {
				t.Errorf("%s may pull from %v", role.Name, s.Resources)
			}
		}
	}
}
