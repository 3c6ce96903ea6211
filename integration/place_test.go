package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// places are agents that get their credentials as tasks of ECS and pods of EKS do, and one on an instance in another account,
// with a token that names its role there.
const places = `
  - name: node-task
    role: task-node
    service: ecs-tasks.amazonaws.com
    session: 0f1e2d3c4b5a69780f1e2d3c4b5a6978
    config: {api: "${API}", method: iam, token: places, name: node-task, state: "${STATE}/home/node-task/state"}
  - name: node-pod
    role: pod-node
    service: pods.eks.amazonaws.com
    session: eks-cluster-pod-0f1e2d3c
    config: {api: "${API}", method: iam, token: places, name: node-pod, state: "${STATE}/home/node-pod/state"}
  - name: node-far
    account: "444455556666"
    role: demo-node
    service: ec2.amazonaws.com
    session: i-0aaaaaaaaaaaaaaaa
    config: {api: "${API}", method: iam, token: places, name: node-far, state: "${STATE}/home/node-far/state"}
`

const placesToken = `
  - kind: token
    metadata: {name: places}
    spec:
      method: iam
      allow:
        - {partition: aws, account: "111122223333", role: task-node}
        - {partition: aws, account: "111122223333", role: pod-node}
        - {partition: aws, account: "444455556666", role: demo-node}
      resources: [node]
      names: ["node-*"]
      labels: {env: demo}
`

// Agents join as tasks, as pods and from another account. A role of the same name in another account is not enough.
func TestAgentsJoinFromTasksPodsAndOtherAccounts(t *testing.T) {
	s, err := newSystem(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.Root, "localstack/account.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const list = "\n# Processes with a role"
	if !strings.Contains(string(text), list) {
		t.Fatal("account.yaml has no list of agents")
	}
	text = []byte(strings.Replace(string(text), list, strings.TrimRight(placesToken, "\n")+"\n"+list, 1) + places)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.begin(t)
	p := s.person(t, engineer).login(t)
	for _, node := range []string{"node-task", "node-pod", "node-far"} {
		eventually(t, 30*time.Second, p.online(t, node, true))
		p.works(t, node)
	}
	for node, has := range map[string]string{
		"node-task": "AWS_CONTAINER_AUTHORIZATION_TOKEN", "node-pod": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "node-far": "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	} {
		if s.environment(t, node)[has] == "" {
			t.Errorf("%s has no %s", node, has)
		}
	}
	// The same role's name in another account is another role.
	metadata := s.environment(t, "node-far")["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
	s.agentOf(t, onInstance(t, metadata), enrol{name: "node-foreign", alone: true}).logs(t, "no such join token admits this AWS identity")
}
