package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/stile-dev/stile/pkg/names"
)

// stockFunction copies the agent's programs from where the CDK uploaded them to the bucket of documents.
var stockFunction = function{
	name: fnStock, does: "keeps the agent's programs where servers can get them", memory: 512, timeout: 120,
	may: func() []statement {
		return []statement{
			readPrograms(),
			objects("StorePrograms", "s3:PutObject", agentPrefix),
			objects("ComparePrograms", "s3:GetObject", agentPrefix),
		}
	},
}

// agentPrefix is below what the agent's programs are in the bucket of documents.
const agentPrefix = "agent/"

// agentArchitectures are those of the servers that an agent is built for, as Go calls them.
var agentArchitectures = []string{"amd64", "arm64"}

func agents() (all []Built) {
	for _, arch := range agentArchitectures {
		all = append(all, Built{"agent-" + arch, "agent", arch})
	}
	return all
}

// agentEnv are the variables that hold the keys of the agent's programs, by architecture.
var agentEnv = map[string]string{"amd64": names.EnvAgentAMD64, "arm64": names.EnvAgentARM64}

// newStock declares what copies the agent's programs, and returns the variables with the key of each.
func newStock(s awscdk.Stack, cfg Config) map[string]func() *string {
	code := cfg.Code(s, fnStock)
	newFunction(s, stockFunction, code)
	keys := map[string]func() *string{}
	for _, agent := range agents() {
		program := cfg.Program(s, agent.Name)
		made := awscdk.NewCfnResource(s, new(camel(agent.Name)), &awscdk.CfnResourceProps{
			Type: new("Custom::StileProgram"),
			Properties: &map[string]any{
				"ServiceToken":   awscdk.Fn_GetAtt(new(functionID(fnStock)), new("Arn")),
				"ServiceTimeout": "300",
				"Bucket":         program.Bucket,
				"Key":            program.Key,
				"Sha256":         program.SHA256,
				"Name":           "stile-agent-linux-" + agent.Architecture,
				"Build":          code.S3Key,
			},
		})
		made.AddMetadata(new(binary), agent.Name)
		key := made.GetAtt(new("Key"), awscdk.ResolutionTypeHint_STRING).ToString()
		keys[agentEnv[agent.Architecture]] = func() *string { return key }
	}
	return keys
}
